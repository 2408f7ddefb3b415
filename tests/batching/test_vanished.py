"""What others deleted in Redis is alerted, counted, and kept as far as it is there."""

import pytest

from batching.audit import audit
from batching.erase import erase
from batching.inspect import dead_letters
from tests.batching.world import ANNA, BORIS, World


def lose_hash(world: World) -> str:
    """Delete the hash of the customer's batches, as an eviction would, and leave the messages."""
    conversation = world.store.conversation_id("salon", ANNA)
    world.store.client.delete(world.store.shard_of(conversation).batches(conversation))
    return conversation


def end_of_overdue(world: World) -> None:
    """Let a person be alerted to the batches that vanished too, so that no index names them."""
    world.wait(world.limits.overdue_ms)
    world.flush()


def letters(world: World) -> list[tuple[str, str, str, list[str]]]:
    return [
        (letter.reason, letter.detail, letter.account_id, [m.text for m in letter.messages])
        for letter in dead_letters(world.store)
    ]


def test_open_messages_without_a_batch_become_a_dead_letter(world: World) -> None:
    world.write("one", "two")
    lose_hash(world)

    world.settle()
    world.settle()

    assert letters(world) == [("vanished", "batch_missing", "", ["one", "two"])]
    assert world.alerts() == [("vanished", "batch_missing")]
    assert world.counts() == {"accepted": 2, "dead": 2}
    end_of_overdue(world)


def test_messages_in_flight_without_a_batch_become_a_dead_letter(world: World) -> None:
    world.write("one", "two")
    world.wait(9_000)
    (wake_up,) = world.flush()
    lose_hash(world)

    assert world.generate(wake_up) == []
    world.settle(10_000)

    assert letters(world) == [("vanished", "flight_missing", "", ["one", "two"])]
    assert world.alerts() == [("vanished", "flight_missing")]
    assert world.counts() == {"accepted": 2, "dead": 2}
    end_of_overdue(world)


def test_both_batches_of_a_conversation_become_dead_letters_at_once(world: World) -> None:
    world.write("in flight")
    world.wait(9_000)
    world.flush()
    world.write("open")
    lose_hash(world)

    world.settle(10_000)

    assert letters(world) == [
        ("vanished", "flight_missing", "", ["in flight"]),
        ("vanished", "batch_missing", "", ["open"]),
    ]
    assert world.counts() == {"accepted": 2, "dead": 2}
    end_of_overdue(world)


def test_messages_written_after_the_loss_are_answered_with_those_before(world: World) -> None:
    """The customer knows of no loss: the list is whole, only its count was gone."""
    world.write("one", "two")
    lose_hash(world)
    world.write("three")

    world.settle()

    assert world.model.turns == ["one\ntwo\nthree"]
    assert world.counts() == {"accepted": 3, "answered": 3}
    end_of_overdue(world)


def test_next_batch_does_not_overwrite_what_was_in_flight(world: World) -> None:
    world.write("in flight")
    world.wait(9_000)
    world.flush()
    lose_hash(world)
    world.write("next")

    world.settle()
    world.settle(0)

    assert letters(world) == [("vanished", "flight_missing", "salon", ["in flight"])]
    assert world.model.turns == ["next"]
    assert world.counts() == {"accepted": 2, "answered": 1, "dead": 1}
    end_of_overdue(world)


def test_batch_of_which_nothing_is_left_is_alerted_once(world: World) -> None:
    """How much it had is not known any more: only the audit finds that it was counted."""
    world.write("one")
    conversation = lose_hash(world)
    shard = world.store.shard_of(conversation)
    world.store.client.delete(shard.open_messages(conversation))

    world.settle()
    world.settle()

    assert letters(world) == []
    assert world.alerts() == [("vanished", "batch_missing")]
    end_of_overdue(world)
    assert audit(world.store).problems == ("shard 0: open is 1 by the counters, 0 kept",)
    world.store.client.hset(shard.stats, mapping={"open": 0, "lost": 1})


@pytest.mark.parametrize(
    ("deleted", "left"), [(1, {"dead": 2, "lost": 1}), (3, {"lost": 3})], ids=["a part", "all"]
)
def test_content_that_vanished_is_alerted_and_counted_as_lost(
    world: World, deleted: int, left: dict[str, int]
) -> None:
    """What is left of the batch stays readable; half a question is not answered."""
    world.write("one", "two", "three")
    conversation = world.store.conversation_id("salon", ANNA)
    world.store.client.lpop(world.store.shard_of(conversation).open_messages(conversation), deleted)

    world.settle()

    assert world.alerts() == [("vanished", "content_missing")]
    assert world.counts() == {"accepted": 3} | left


def test_recovery_of_a_sound_conversation_changes_nothing(world: World) -> None:
    world.write("one")
    world.wait(9_000)
    wake_ups = world.flush()
    world.write("two")

    assert world.store.recover_orphan(world.store.conversation_id("salon", ANNA)) == []

    world.answer(wake_ups)
    world.settle()
    assert world.counts() == {"accepted": 2, "answered": 2}


def test_loss_delays_no_other(world: World) -> None:
    world.write("one")
    lose_hash(world)
    world.write("hello", customer="79990000002")

    world.settle()

    assert world.model.turns == ["hello"]
    end_of_overdue(world)


def test_vanished_batch_is_logged_as_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("one")
    conversation = lose_hash(world)

    world.settle()

    (record,) = [record for record in caplog.records if record.msg == "batch.dropped"]
    logged = {name: vars(record)[name] for name in ("reason", "detail", "kept", "conversation")}
    assert logged == {
        "reason": "vanished",
        "detail": "batch_missing",
        "kept": 1,
        "conversation": conversation,
    }
    end_of_overdue(world)


def test_erased_content_without_a_batch_is_counted(world: World) -> None:
    world.write("in flight")
    world.wait(9_000)
    world.flush()
    world.write("open", "open too")
    conversation = lose_hash(world)

    assert erase(world.store, conversation).messages == 3

    assert world.counts() == {"accepted": 3, "suppressed": 3}
    end_of_overdue(world)


@pytest.mark.parametrize("field", ["account", "open_id", "open_count", "open_first", "open_limits"])
def test_damaged_batch_becomes_a_dead_letter_and_delays_no_other(world: World, field: str) -> None:
    """An error instead would stop the flush of the whole shard, again and again."""
    world.write("damaged")
    world.write("whole", customer=BORIS)
    conversation = world.store.conversation_id("salon", ANNA)
    world.store.client.hdel(world.store.shard_of(conversation).batches(conversation), field)

    world.settle()
    world.settle()

    assert world.model.turns == ["whole"]
    assert [texts for *_, texts in letters(world)] == [["damaged"]]
    assert world.counts() == {"accepted": 2, "answered": 1, "dead": 1}
    world.write("later")
    world.settle()
    assert world.model.turns == ["whole", "later"]
    end_of_overdue(world)
