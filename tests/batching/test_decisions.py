"""What an operator decides about messages keeps counters and indexes: replay, discard, erase."""

import pytest

from batching.errors import PermanentError
from batching.inspect import DeadLetter, dead_letters
from batching.model import Reason, Timing
from batching.rights import erase
from batching.store import FULL
from tests.batching.world import BORIS, World
from tests.fakes import FakeModel


@pytest.fixture
def letter(world: World) -> DeadLetter:
    """Return a dead letter of two messages."""
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("Hi", "there")
    world.settle()
    (letter,) = dead_letters(world.store)
    return letter


def replay(world: World, letter: DeadLetter) -> int:
    names = letter.conversation_id, letter.batch_id, letter.account_id
    return world.store.replay(*names, world.limits)


def test_replayed_letter_is_answered_before_what_came_since(
    world: World, letter: DeadLetter
) -> None:
    world.write("hello?")

    assert replay(world, letter) == 2
    world.check()
    world.settle(0)

    assert world.model.turns[1:] == ["Hi\nthere\nhello?"]
    assert world.counts() == {"accepted": 3, "answered": 3}


def test_letter_replayed_during_a_generation_waits_for_it(world: World, letter: DeadLetter) -> None:
    wake_up = world.to_generating("hello?")

    replay(world, letter)
    world.check()
    world.answer([wake_up])
    world.settle()

    assert world.model.turns[1:] == ["hello?", "Hi\nthere"]


def test_letter_is_replayed_once(world: World, letter: DeadLetter) -> None:
    assert [replay(world, letter) for _ in range(2)] == [2, -1]
    assert world.counts() == {"accepted": 2, "open": 2}


def test_letter_waits_until_its_conversation_has_room(world: World, letter: DeadLetter) -> None:
    """A replay obeys the cap of a webhook."""
    world.store.timing = Timing(waiting_max=3)
    world.write("three", "four")

    assert replay(world, letter) == FULL
    world.check()
    assert dead_letters(world.store) == [letter]
    world.settle()

    assert replay(world, letter) == 2
    world.settle(0)
    assert world.model.turns[1:] == ["three\nfour", "Hi\nthere"]
    assert world.counts() == {"accepted": 4, "answered": 4}


def test_letter_that_is_larger_than_the_cap_is_replayed_into_an_empty_conversation(
    world: World, letter: DeadLetter
) -> None:
    """Messages whose batch vanished are not counted, so a letter may hold more than the cap."""
    world.store.timing = Timing(waiting_max=1)

    assert replay(world, letter) == 2


def test_discarded_letter_is_suppressed(world: World, letter: DeadLetter) -> None:
    names = letter.conversation_id, letter.batch_id, Reason.DISCARDED

    assert [world.store.discard(*names) for _ in range(2)] == [2, -1]
    assert world.counts() == {"accepted": 2, "suppressed": 2}
    assert dead_letters(world.store) == []


def test_erased_customer_leaves_no_words_behind(world: World, letter: DeadLetter) -> None:
    world.model = FakeModel()
    world.write("earlier words")
    world.settle()
    world.to_generating("in flight")
    world.write("open words")
    world.write("Hi", customer=BORIS)

    erased = erase(world.store, world.anna)

    assert (erased.open, erased.flight, erased.dead) == (1, 1, letter.size)
    assert world.counts() == {"accepted": 6, "answered": 1, "suppressed": 4, "open": 1}
    client = world.client
    kept = b"".join(b"".join(client.lrange(key, 0, -1)) for key in client.keys("*:[ofd]:*"))
    kept += b"".join(client.keys("*history*"))
    assert b"words" not in kept
    assert b"flight" not in kept


def test_replay_into_an_open_batch_leaves_its_clock(world: World) -> None:
    """Whoever collects already is alerted to, and given up, as if nothing had been put in front."""
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("old")
    world.settle()
    (letter,) = dead_letters(world.store)
    world.write("new")
    before = world.client.hget(world.shard.batches(world.anna), "open_first")
    alerted = world.client.zrange(world.shard.overdue, 0, -1, withscores=True)
    world.wait(5_000)

    world.store.replay(letter.conversation_id, letter.batch_id, "salon", world.limits)

    assert world.client.hget(world.shard.batches(world.anna), "open_first") == before
    assert world.client.zrange(world.shard.overdue, 0, -1, withscores=True) == alerted
    world.settle(0)
    assert world.model.turns == ["old", "old\nnew"]
