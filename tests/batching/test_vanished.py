"""What others deleted in Redis is alerted, counted, and kept as far as it is there."""

from collections.abc import Iterator, Sequence

import pytest

from batching.audit import audit
from batching.inspect import dead_letters
from batching.rights import erase
from tests.batching.world import BORIS, World


@pytest.fixture
def world(world: World) -> Iterator[World]:
    """Return a world; a person is alerted to the batches that vanished before it is checked."""
    yield world
    world.wait(world.limits.overdue_ms)
    world.flush()


def lose_hash(world: World) -> None:
    """Delete the hash of the customer's batches, as an eviction would, and leave the messages."""
    world.client.delete(world.shard.batches(world.anna))


def letters(world: World) -> list[tuple[str, str, str, list[str]]]:
    return [
        (letter.reason, letter.detail, letter.account_id, [m.text for m in letter.messages])
        for letter in dead_letters(world.store)
    ]


@pytest.mark.parametrize(
    ("flying", "opened"), [((), ("one", "two")), (("one", "two"), ()), (("one",), ("two",))]
)
def test_messages_without_a_batch_become_dead_letters_with_an_alert_each(
    world: World, flying: Sequence[str], opened: Sequence[str]
) -> None:
    wake_ups = [world.to_generating(*flying)] if flying else []
    world.write(*opened)
    lose_hash(world)

    assert [world.generate(wake_up) for wake_up in wake_ups] == [[]] * len(wake_ups)
    world.settle(10_000, 10_000)

    of = {"flight_missing": flying, "batch_missing": opened}
    left = {detail: list(texts) for detail, texts in of.items() if texts}
    assert letters(world) == [("vanished", detail, "", texts) for detail, texts in left.items()]
    assert world.alerts() == [("vanished", detail) for detail in left]
    assert world.counts() == {"accepted": 2, "dead": 2}


def test_messages_written_after_the_loss_are_answered_with_those_before(world: World) -> None:
    """The customer knows of no loss: the list is whole, only its count was gone."""
    world.write("one", "two")
    lose_hash(world)
    world.write("three")

    world.settle()

    assert world.model.turns == ["one\ntwo\nthree"]
    assert world.counts() == {"accepted": 3, "answered": 3}


def test_next_batch_does_not_overwrite_what_was_in_flight(world: World) -> None:
    world.to_generating("in flight")
    lose_hash(world)
    world.write("next")

    world.settle(9_000, 0)

    assert letters(world) == [("vanished", "flight_missing", "salon", ["in flight"])]
    assert world.model.turns == ["next"]
    assert world.counts() == {"accepted": 2, "answered": 1, "dead": 1}


def test_batch_of_which_nothing_is_left_is_alerted_once(world: World) -> None:
    """How much it had is not known any more: only the audit finds that it was counted."""
    world.write("one")
    lose_hash(world)
    world.client.delete(world.shard.open_messages(world.anna))

    world.settle(9_000, world.limits.overdue_ms)

    assert letters(world) == []
    assert world.alerts() == [("vanished", "batch_missing")]
    assert audit(world.store).problems == ("shard 0: open is 1 by the counters, 0 kept",)
    world.client.hset(world.shard.stats, mapping={"open": 0, "lost": 1})


@pytest.mark.parametrize(("key", "detail"), [("due", "batch_missing"), ("lease", "flight_missing")])
def test_index_that_names_nothing_is_alerted_once(world: World, key: str, detail: str) -> None:
    world.client.zadd(getattr(world.shard, key), {"c_gone": world.clock()})

    world.settle(0, 0)

    assert world.alerts() == [("vanished", detail)]


@pytest.mark.parametrize(
    ("deleted", "left"), [(1, {"dead": 2, "lost": 1}), (3, {"lost": 3})], ids=["a part", "all"]
)
def test_content_that_vanished_is_alerted_and_counted_as_lost(
    world: World, deleted: int, left: dict[str, int]
) -> None:
    """What is left of the batch stays readable; half a question is not answered."""
    world.write("one", "two", "three")
    world.client.lpop(world.shard.open_messages(world.anna), deleted)

    world.settle()

    assert world.alerts() == [("vanished", "content_missing")]
    assert world.counts() == {"accepted": 3} | left


def test_recovery_of_a_sound_conversation_changes_nothing(world: World) -> None:
    wake_up = world.to_generating("one")
    world.write("two")

    assert world.store.recover_orphan(world.anna) == []

    world.answer([wake_up])
    world.settle()
    assert world.counts() == {"accepted": 2, "answered": 2}


def test_vanished_batch_is_logged_as_dropped_and_delays_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("one")
    lose_hash(world)
    world.write("hello", customer=BORIS)

    world.settle()

    assert world.model.turns == ["hello"]
    (record,) = [record for record in caplog.records if record.msg == "batch.dropped"]
    logged = [vars(record)[name] for name in ("reason", "detail", "kept", "conversation")]
    assert logged == ["vanished", "batch_missing", 1, world.anna]


def test_erased_content_without_a_batch_is_counted(world: World) -> None:
    world.to_generating("in flight")
    world.write("open", "open too")
    lose_hash(world)

    assert erase(world.store, world.anna).messages == 3

    assert world.counts() == {"accepted": 3, "suppressed": 3}


@pytest.mark.parametrize("field", ["account", "open_id", "open_count", "open_first", "open_limits"])
def test_damaged_batch_becomes_a_dead_letter_and_delays_no_other(world: World, field: str) -> None:
    """An error instead would stop the flush of the whole shard, again and again."""
    world.write("damaged")
    world.write("whole", customer=BORIS)
    world.client.hdel(world.shard.batches(world.anna), field)

    world.settle(9_000, 9_000)

    assert world.model.turns == ["whole"]
    assert [texts for *_, texts in letters(world)] == [["damaged"]]
    assert world.counts() == {"accepted": 2, "answered": 1, "dead": 1}
    world.write("later")
    world.settle()
    assert world.model.turns == ["whole", "later"]


@pytest.mark.parametrize("missing", ["stage", "attempt", "rings", "state", "count", "first", "id"])
@pytest.mark.parametrize("state", ["claimed", "running", "sending"])
def test_batch_of_which_a_field_is_gone_is_a_dead_letter_and_stops_no_other(
    world: World, missing: str, state: str
) -> None:
    """Its record says too little to go on; what its customer writes next is answered."""
    wake_up = world.to_sending("broken") if state == "sending" else world.to_generating("broken")
    if state == "running":
        world.begin(wake_up)
    if state == "sending":
        world.begin_sending(wake_up)
    world.client.hdel(world.shard.batches(world.anna), missing)
    world.write("next")
    world.write("other", customer=BORIS)

    world.answer([wake_up])
    world.settle(30_000, 10_000)

    assert letters(world) == [("vanished", "flight_missing", "salon", ["broken"])]
    assert world.alerts() == [("vanished", "flight_missing")]
    assert world.model.turns[-2:] in (["next", "other"], ["other", "next"])
    assert world.counts() == {"accepted": 3, "answered": 2, "dead": 1}


def test_what_is_missing_of_a_broken_batch_is_counted_as_lost(world: World) -> None:
    world.to_generating("one", "two")
    world.client.hdel(world.shard.batches(world.anna), "rings")
    world.client.lpop(world.shard.flight_messages(world.anna))

    world.settle(10_000)

    assert world.counts() == {"accepted": 2, "dead": 1, "lost": 1}
