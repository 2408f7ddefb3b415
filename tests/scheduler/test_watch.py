"""The rounds of the scheduler over a real ledger."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from batching.alerts import Alerts
from batching.store import Store
from runtime import diagnosis
from runtime.clients import redis_client
from runtime.diagnosis import Subject
from runtime.durability import Finding
from runtime.settings import load_settings
from scheduler import watch
from scheduler.watch import CONCERNS, EVERY_MS, Concern, Rounds
from tests.valkey_server import ValkeyServer

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def rounds(store: Store, valkey: ValkeyServer) -> Iterator[Rounds]:
    with valkey.client(1) as broker:
        yield Rounds(Subject(store, load_settings({}), broker))


def kinds(store: Store) -> list[str]:
    return [alert.kind for alert in Alerts(store).kept(10)]


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [record for record in caplog.records if record.name == "scheduler.watch"]
    return [(record.message, record.levelname) for record in found]


def break_books(store: Store) -> None:
    store.client.hincrby(store.keyring.shards[0].stats, "accepted", 3)


def test_books_that_do_not_hold_are_told_once(
    rounds: Rounds, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    break_books(store)

    rounds()
    rounds()

    assert kinds(store) == ["unbalanced"]
    assert events(caplog) == [("ledger.unbalanced", "ERROR")]


def test_alarm_says_what_is_wrong_and_what_to_do(
    rounds: Rounds, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = store.client
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        rounds()
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    (alert,) = Alerts(store).kept(10)
    assert (alert.kind, alert.detail) == (
        "durability",
        (
            "REDIS_URL: maxmemory-policy=allkeys-lru: must be noeviction: "
            "when memory is full this server would delete customers' messages"
        ),
    )
    assert events(caplog) == [("alarm.raised", "ERROR")]


def test_two_schedulers_tell_once(rounds: Rounds, store: Store) -> None:
    store.client.hincrby(store.keyring.shards[0].stats, "lost", 1)
    store.client.hincrby(store.keyring.shards[0].stats, "accepted", 1)

    rounds()
    Rounds(rounds.subject)()

    assert kinds(store) == ["lost"]


def test_missing_role_is_told_only_if_it_lasts(rounds: Rounds, store: Store) -> None:
    """A deploy stops processes before it starts them."""
    for _ in range(60_000 // EVERY_MS):
        rounds()
    before = kinds(store)
    rounds()

    assert (before, kinds(store)) == ([], ["missing_role"])


def test_role_that_comes_back_begins_anew(
    rounds: Rounds, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False, True])

    def ask(subject: Subject) -> list[Finding]:
        return diagnosis.roles(subject) if next(answers) else []

    monkeypatch.setattr(watch, "CONCERNS", [Concern("missing_role", ask, lasting_ms=EVERY_MS)])

    for _ in range(3):
        rounds()

    assert kinds(store) == []


def test_ledger_that_is_away_is_not_its_business(caplog: pytest.LogCaptureFixture) -> None:
    away = Store(redis_client(NOWHERE, "manage"), privacy_key="k")

    Rounds(Subject(away, load_settings({}), None))()

    assert events(caplog) == []


def test_broker_that_is_away_does_not_hide_the_rest(store: Store) -> None:
    away = redis_client(NOWHERE, "manage")
    without = Rounds(Subject(store, load_settings({}), away))

    for _ in range(60_000 // EVERY_MS + 1):
        without()

    assert kinds(store) == ["missing_role"]


def test_fault_of_our_own_is_reported_and_the_round_goes_on(
    rounds: Rounds, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Subject) -> list[Finding]:
        raise KeyError

    monkeypatch.setattr(watch, "CONCERNS", [Concern("broken", fail), *CONCERNS])
    break_books(store)

    with caplog.at_level(logging.ERROR):
        rounds()

    assert [name for name, _ in events(caplog)] == ["watch.failed", "ledger.unbalanced"]
