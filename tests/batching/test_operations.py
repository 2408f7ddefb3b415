"""The operator's verbs keep the ledger's books and indexes."""

from typing import Any

import pytest

from batching.errors import PermanentError
from batching.operations import DeadLetter, Operations
from tests.batching.world import ANNA, BORIS, World
from tests.fakes import FakeModel


@pytest.fixture
def letter(world: World) -> DeadLetter:
    """Return a dead letter of two messages."""
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("Hi", "there")
    world.settle()
    return Operations(world.store).dead_letters()[0]


def test_replayed_letter_is_answered_before_what_came_since(
    world: World, letter: DeadLetter
) -> None:
    world.write("hello?")

    assert Operations(world.store).replay(letter, world.limits) == 2
    world.check()
    world.settle(0)

    assert world.model.turns[1:] == ["Hi\nthere\nhello?"]
    assert world.books() == {"accepted": 3, "answered": 3}


def test_letter_replayed_during_a_generation_waits_for_it(world: World, letter: DeadLetter) -> None:
    world.write("hello?")
    world.wait(9_000)
    wake_ups = world.flush()

    Operations(world.store).replay(letter, world.limits)
    world.check()
    world.answer(wake_ups)
    world.settle()

    assert world.model.turns[1:] == ["hello?", "Hi\nthere"]


def test_letter_is_replayed_once(world: World, letter: DeadLetter) -> None:
    operations = Operations(world.store)

    assert [operations.replay(letter, world.limits) for _ in range(2)] == [2, -1]
    assert world.books() == {"accepted": 2, "open": 2}


def test_discarded_letter_is_suppressed(world: World, letter: DeadLetter) -> None:
    operations = Operations(world.store)

    assert [operations.discard(letter) for _ in range(2)] == [2, -1]
    assert world.books() == {"accepted": 2, "suppressed": 2}
    assert operations.dead_letters() == []


def test_erased_customer_leaves_no_words_behind(world: World, letter: DeadLetter) -> None:
    world.model = FakeModel()
    world.write("earlier words")
    world.settle()
    world.write("in flight")
    world.wait(9_000)
    world.flush()
    world.write("open words")
    world.write("Hi", customer=BORIS)

    forgotten = Operations(world.store).erase(world.store.conversation_id("salon", ANNA))

    assert (forgotten, letter.conversation_id) == (4, world.store.conversation_id("salon", ANNA))
    assert world.books() == {"accepted": 6, "answered": 1, "suppressed": 4, "open": 1}
    client: Any = world.store.client
    kept = b"".join(b"".join(client.lrange(key, 0, -1)) for key in client.keys("*:[ofd]:*"))
    kept += b"".join(client.keys("*history*"))
    assert b"words" not in kept
    assert b"flight" not in kept


def test_erasing_stops_the_run_that_is_under_way(world: World) -> None:
    wake_up = world.to_sending()
    Operations(world.store).erase(wake_up.conversation_id)

    world.send(wake_up)

    assert world.channel.attempts == []


def test_audit_names_what_contradicts_the_books(world: World) -> None:
    world.write("Hi")
    conversation = world.store.conversation_id("salon", ANNA)
    shard = world.store.shard_of(conversation)
    client: Any = world.store.client
    kept = client.lpop(shard.open(conversation))
    client.zrem(shard.due, conversation)

    problems = Operations(world.store).audit()

    assert problems == [
        f"{conversation}: 1 open messages counted, 0 kept",
        f"{conversation}: open 1, in flight 0, due 0",
        "shard 0: open is 1 in the books, 0 kept",
    ]
    client.rpush(shard.open(conversation), kept)
    client.zadd(shard.due, {conversation: 1})


def test_content_that_vanished_is_told_and_booked_as_lost(world: World) -> None:
    """What is left of the batch stays readable; nobody answers half a question."""
    world.write("one", "two", "three")
    conversation = world.store.conversation_id("salon", ANNA)
    world.store.client.lpop(world.store.shard_of(conversation).open(conversation))

    world.settle()

    assert world.alerts() == [("vanished", "content_missing")]
    assert world.books() == {"accepted": 3, "dead": 2, "lost": 1}


def test_batch_that_vanished_whole_is_told_and_booked_as_lost(world: World) -> None:
    world.write("one", "two")
    conversation = world.store.conversation_id("salon", ANNA)
    world.store.client.delete(world.store.shard_of(conversation).open(conversation))

    world.settle()

    assert world.alerts() == [("vanished", "content_missing")]
    assert world.books() == {"accepted": 2, "lost": 2}
