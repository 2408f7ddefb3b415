"""The rounds of the scheduler over a real ledger."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from batching.alerts import Alerts
from batching.store import Store
from runtime import health
from runtime.clients import redis_client
from runtime.health import ALERT_RULES, MONITOR_EVERY_MS, AlertRule, CheckResult, Context, Monitor
from runtime.settings import load_settings
from tests.valkey_server import ValkeyServer

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def rounds(store: Store, valkey: ValkeyServer) -> Iterator[Monitor]:
    with valkey.client(1) as broker:
        yield Monitor(Context(store, load_settings({}), broker))


def kinds(store: Store) -> list[str]:
    return [alert.kind for alert in Alerts(store).newest(10)]


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [record for record in caplog.records if record.name == "runtime.health"]
    return [(record.message, record.levelname) for record in found]


def break_books(store: Store) -> None:
    store.client.hincrby(store.keyring.shards[0].stats, "accepted", 3)


def test_books_that_do_not_hold_are_told_once(
    rounds: Monitor, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    break_books(store)

    rounds()
    rounds()

    assert kinds(store) == ["unbalanced"]
    assert events(caplog) == [("ledger.unbalanced", "ERROR")]


def test_alarm_says_what_is_wrong_and_what_to_do(
    rounds: Monitor, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = store.client
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        rounds()
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    (alert,) = Alerts(store).newest(10)
    assert (alert.kind, alert.detail) == (
        "durability",
        (
            "REDIS_URL: maxmemory-policy=allkeys-lru: must be noeviction: "
            "when memory is full this server would delete customers' messages"
        ),
    )
    assert events(caplog) == [("alarm.raised", "ERROR")]


def test_two_schedulers_tell_once(rounds: Monitor, store: Store) -> None:
    store.client.hincrby(store.keyring.shards[0].stats, "lost", 1)
    store.client.hincrby(store.keyring.shards[0].stats, "accepted", 1)

    rounds()
    Monitor(rounds.context)()

    assert kinds(store) == ["lost"]


def test_missing_role_is_told_only_if_it_lasts(rounds: Monitor, store: Store) -> None:
    """A deploy stops processes before it starts them."""
    for _ in range(60_000 // MONITOR_EVERY_MS):
        rounds()
    before = kinds(store)
    rounds()

    assert (before, kinds(store)) == ([], ["missing_role"])


def test_role_that_comes_back_begins_anew(
    rounds: Monitor, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False, True])

    def ask(context: Context) -> list[CheckResult]:
        return health.check_roles(context) if next(answers) else []

    monkeypatch.setattr(
        health, "ALERT_RULES", [AlertRule("missing_role", ask, lasting_ms=MONITOR_EVERY_MS)]
    )

    for _ in range(3):
        rounds()

    assert kinds(store) == []


def test_ledger_that_is_away_is_not_its_business(caplog: pytest.LogCaptureFixture) -> None:
    away = Store(redis_client(NOWHERE, "manage"), privacy_key="k")

    Monitor(Context(away, load_settings({}), None))()

    assert events(caplog) == []


def test_broker_that_is_away_does_not_hide_the_rest(store: Store) -> None:
    away = redis_client(NOWHERE, "manage")
    without = Monitor(Context(store, load_settings({}), away))

    for _ in range(60_000 // MONITOR_EVERY_MS + 1):
        without()

    assert kinds(store) == ["missing_role"]


def test_fault_of_our_own_is_reported_and_the_round_goes_on(
    rounds: Monitor, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Context) -> list[CheckResult]:
        raise KeyError

    monkeypatch.setattr(health, "ALERT_RULES", [AlertRule("broken", fail), *ALERT_RULES])
    break_books(store)

    with caplog.at_level(logging.ERROR):
        rounds()

    assert [name for name, _ in events(caplog)] == ["watch.failed", "ledger.unbalanced"]
