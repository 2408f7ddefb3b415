"""Open alerts: told again until somebody acknowledges them, and none is forgotten in between."""

from random import Random
from typing import Any

import pytest

from batching import reminders as module
from batching.alerts import Alert
from batching.reminders import OpenAlert, Reminders
from batching.store import Store


def alert(n: int = 0, **fields: Any) -> Alert:
    return Alert(0, f"{n}-0", "poison", account_id="salon", at_ms=5, **fields)


def end_turn(reminders: Reminders) -> None:
    """Let a caller of ``due`` be asked at once, as when REDELIVER_MS are over."""
    reminders.end_turn()


def test_alerts_of_one_cause_are_one_and_the_earlier_time_holds(store: Store) -> None:
    reminders, now_ms = Reminders(store), store.now_ms()
    reminders.keep({alert(): now_ms + 1}, told=[alert()])
    reminders.keep({alert(1): now_ms}, told=())
    reminders.keep({alert(2, throttled=5): now_ms + 9}, told=())

    (found,) = reminders.due()

    assert (found.name, found.count, found.untold, found.due_ms) == ("salon poison", 7, 6, now_ms)
    assert (found.first.at_ms, found.alert.throttled) == (5, 6)
    assert reminders.known(["salon poison", "salon drift"]) == {"salon poison"}


def test_what_is_due_is_given_to_one_caller_and_after_a_while_to_the_next(store: Store) -> None:
    first, second = Reminders(store), Reminders(store)
    first.keep({alert(): 1}, told=())

    assert (len(first.due()), len(second.due())) == (1, 0)
    end_turn(first)
    assert len(second.due()) == 1


def test_what_is_not_due_waits(store: Store) -> None:
    reminders = Reminders(store)
    reminders.keep({alert(): store.now_ms() + 1_000}, told=())
    assert reminders.due() == []

    read = reminders.open()
    reminders.postpone(dict.fromkeys(read, 1))
    assert len(reminders.due()) == 1

    reminders.acknowledge(read, "anna")
    reminders.postpone(dict.fromkeys(read, 1))
    assert reminders.open() == []


def test_damaged_open_alert_is_told_by_its_name(store: Store) -> None:
    reminders, client = Reminders(store), store.client
    reminders.keep({alert(): 1}, told=())
    client.delete(store.keyring.shards[0].open_alerts)

    (found,) = reminders.due()

    assert (found.first.account_id, found.first.kind, found.count) == ("salon", "poison", 0)
    reminders.told([found], again_ms=0)
    assert reminders.open() == []


def test_only_the_newest_acknowledgements_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ACKS_MAX", 2)
    reminders = Reminders(store)
    for by in ("anna", "boris", "clara"):
        reminders.keep({alert(): 1}, told=())
        reminders.acknowledge(reminders.open(), by)

    assert [it.by for it in reminders.acknowledgements()] == ["clara", "boris"]


@pytest.mark.parametrize("seed", range(20))
def test_every_alert_is_told_or_acknowledged_whatever_comes_in_between(
    store: Store, seed: int
) -> None:
    """Two notifiers and an operator, at any step: what ends was told or acknowledged, every one."""
    rng, reminders = Random(seed), Reminders(store)  # noqa: S311 - reproducible
    added, seen, read = 0, 0, reminders.open()
    for n in range(60):
        match rng.choice(("add", "add", "read", "tell", "close", "acknowledge")):
            case "add":
                reminders.keep({alert(n, detail=rng.choice("ab")): 1}, told=())
                added += 1
            case "read":
                read = reminders.open()
            case "tell":
                reminders.told(read, again_ms=1)
            case "close":
                seen += sum(it.count for it in closed(reminders, read))
            case _:
                seen += sum(ack.count for ack in reminders.acknowledge(read, "anna"))

    assert seen + sum(it.count for it in reminders.open()) == added


def closed(reminders: Reminders, read: list[OpenAlert]) -> list[OpenAlert]:
    """Close what people were told; return of that what is open no more."""
    before = {it.name for it in reminders.open()}
    reminders.told(read, again_ms=0)
    ended = before - {it.name for it in reminders.open()}
    return [it for it in read if it.name in ended]
