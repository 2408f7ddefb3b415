"""The environment of the demo's processes."""

import pytest

from demo.environment import ACCOUNTS_FILE, demo_environment, next_database


def embedded(db: int) -> str:
    return f"redis://127.0.0.1:7000/{db}"


def test_embedded_server_holds_ledger_and_broker_apart():
    environ = demo_environment({"HOME": "/home/me", "BATCH_IDLE_MS": "500"}, embedded, port=8000)

    assert environ == {
        "HOME": "/home/me",
        "BATCH_IDLE_MS": "500",
        "REDIS_URL": "redis://127.0.0.1:7000/0",
        "BROKER_URL": "redis://127.0.0.1:7000/1",
        "ACCOUNTS_FILE": str(ACCOUNTS_FILE),
        "ENVIRONMENT": "demo",
        "CANARY_URL": "http://127.0.0.1:8000",
        "PYTHONUNBUFFERED": "1",
    }


def test_redis_that_is_named_is_used():
    environ = demo_environment({"REDIS_URL": "redis://cache:6379/4"}, None, port=8000)

    assert (environ["REDIS_URL"], environ["BROKER_URL"]) == (
        "redis://cache:6379/4",
        "redis://cache:6379/5",
    )


def test_broker_that_is_named_is_used():
    environ = demo_environment({"BROKER_URL": "amqp://127.0.0.1/"}, embedded, port=8000)

    assert environ["BROKER_URL"] == "amqp://127.0.0.1/"


def test_settings_for_production_do_not_reach_the_demo():
    environ = demo_environment(
        {"ENVIRONMENT": "production", "ACCOUNTS_FILE": "mine.toml"}, embedded, port=8000
    )

    assert (environ["ENVIRONMENT"], environ["ACCOUNTS_FILE"]) == ("demo", str(ACCOUNTS_FILE))


@pytest.mark.parametrize(
    ("url", "following"),
    [
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379/1"),
        ("redis://127.0.0.1:6379/", "redis://127.0.0.1:6379/1"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/1"),
        ("rediss://user:secret@cache:6380/7", "rediss://user:secret@cache:6380/8"),
        ("redis://cache/?db=2", "redis://cache/?db=3"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=1"),
        ("unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=2"),
        ("redis://cache/not-a-number", "redis://cache/not-a-number"),
    ],
)
def test_next_database_is_on_the_same_server(url, following):
    assert next_database(url) == following
