"""What other systems are told: each end of a batch once, until they took it or days are over."""

from typing import Any

import pytest

from batching import outbox as module
from batching.errors import PermanentError
from batching.model import DeliveryStatus, ForeignMessage, Tag
from batching.outbox import Outbox
from batching.store import Store
from tests.alerts import raise_alerts
from tests.batching.world import ANNA, World


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three attempts follow each other without a pause."""
    monkeypatch.setattr(module, "PAUSES_MS", (0, 0))


@pytest.fixture
def outbox(store: Store) -> Outbox:
    found = Outbox(store)
    found.open()
    return found


def undelivered(world: World) -> None:
    world.write("Hi")
    world.settle()
    tag = Tag.parse(world.channel.attempts[-1].tag)
    world.receive(DeliveryStatus("salon", "out-1", "failed", str(tag), "cloud_131026"))


def dead(world: World) -> None:
    world.model.outcomes = [PermanentError("model_filtered", "")]
    world.write("Hi", "there")
    world.settle()


def answered(world: World) -> None:
    world.write("Hi", "there")
    world.settle()


def suppressed(world: World) -> None:
    world.write("Hi")
    world.receive(ForeignMessage("salon", ANNA, "f1", "person"))
    world.settle()


ENDS: dict[str, list[tuple[str, str, str, int]]] = {
    "answered": [("answered", "", "", 2)],
    "undelivered": [
        ("answered", "", "", 1),
        ("undelivered", "undelivered", "cloud_131026", 1),
    ],
    "dead": [("dead", "fatal_model", "model_filtered", 2)],
    "suppressed": [],
}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_of_a_batch_is_told_once(world: World, outbox: Outbox, end: str) -> None:
    globals()[end](world)

    found = outbox.take()

    assert sorted((it.event, it.reason, it.code, it.messages) for it in found) == ENDS[end]
    assert {it.conversation_id for it in found} <= {world.anna}
    assert all(it.batch_id.startswith("b") and it.account_id == "salon" for it in found)
    assert outbox.take() == []


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_written_while_nobody_is_told(world: World, end: str) -> None:
    outbox = Outbox(world.store)
    outbox.open()
    outbox.close()

    globals()[end](world)

    assert world.client.exists(world.shard.outbox) == 0
    assert outbox.take() == []


@pytest.mark.usefixtures("at_once")
def test_what_was_not_taken_comes_again_with_its_name_and_then_no_more(
    world: World, outbox: Outbox
) -> None:
    answered(world)

    tries = [outbox.take()[0] for _ in range(3)]
    left = outbox.attempts_left(tries[-1])
    outbox.give_up(tries[-1], "http_500")

    assert len({it.name for it in tries}) == 1
    assert (left, outbox.take()) == (0, [])
    outbox.close()
    assert outbox.replay() == 0
    outbox.open()
    assert world.client.llen(world.shard.outbox_dead) == 1
    assert outbox.replay() == 1
    assert [it.name for it in outbox.take()] == [tries[0].name]
    assert world.client.llen(world.shard.outbox_dead) == 0


def test_pause_between_attempts_is_waited_for(world: World, outbox: Outbox) -> None:
    answered(world)
    (told,) = outbox.take()

    assert outbox.take() == []
    assert outbox.attempts_left(told) == len(module.PAUSES_MS)


@pytest.mark.usefixtures("at_once")
def test_what_was_taken_is_forgotten(world: World, outbox: Outbox) -> None:
    answered(world)
    outbox.done(outbox.take()[0])

    assert outbox.take() == []
    assert world.client.xlen(world.shard.outbox) == 0


def test_crash_between_copying_and_noting_it_copies_again_under_the_same_name(
    store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_alerts(store)
    client: Any = store.client
    key = store.keyring.shards[0].alerts
    client.xreadgroup(module._GROUP, module._READER, {key: ">"})
    monkeypatch.setattr(module, "REDELIVER_MS", 0)

    (told,) = outbox.take()

    assert (told.event, told.reason, told.batch_id) == ("dead", "poison", "b0")


def test_ledger_that_came_back_empty_is_opened_again(store: Store, outbox: Outbox) -> None:
    client: Any = store.client
    client.delete(*(key for shard in store.keyring.shards for key in (shard.outbox, shard.alerts)))

    assert outbox.take() == []
    raise_alerts(store)

    assert [it.event for it in outbox.take()] == ["dead"]


@pytest.mark.parametrize("raw", [{}, {"event": "answered", "messages": "x", "at_ms": ""}])
def test_entry_of_another_release_is_told_as_far_as_it_is_understood(
    store: Store, outbox: Outbox, raw: dict[str, str]
) -> None:
    client: Any = store.client
    client.xadd(store.keyring.shards[0].outbox, raw | {"new": "field"})

    (told,) = outbox.take()

    assert (told.messages, told.batch_id, told.at_ms > 0) == (0, "", True)
