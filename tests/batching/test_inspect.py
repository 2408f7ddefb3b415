"""The operator's views take few round trips, and read what other releases wrote."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from batching.errors import PermanentError
from batching.inspect import (
    MessageState,
    census,
    conversation_of,
    counters,
    dead_letter_headers,
    dead_letters,
    find_dead_letters,
    find_message,
    message_status,
    trace,
)
from batching.store import Store
from tests.batching.world import ANNA, BORIS, World
from tests.fakes import FakeClock, FakeModel


@pytest.mark.parametrize("shards", [1, 200])
def test_round_trips_do_not_grow_with_the_shards(
    client: redis.Redis,
    clock: FakeClock,
    round_trips: Callable[[Callable[[], object]], int],
    shards: int,
) -> None:
    world = World(Store(client, privacy_key="k", shards=shards, clock=clock), clock)
    world.model = FakeModel(*[PermanentError("model_auth")] * 20)
    for n in range(20):
        world.write("hello", customer=f"7999000{n:04d}")
    world.settle()
    world.write("hello")
    store, conversation = world.store, world.store.conversation_id("salon", ANNA)

    trips = {
        question: round_trips(act)
        for question, act in {
            "counters": lambda: counters(store),
            "census": lambda: census(store),
            "headers": lambda: list(dead_letter_headers(store)),
            "dead letters": lambda: dead_letters(store),
            "one dead letter": lambda: find_dead_letters(store, "b1"),
            "trace": lambda: trace(store, conversation),
        }.items()
    }

    assert trips == {
        "counters": 1,
        "census": 1,
        "headers": 2,
        "dead letters": 3,
        "one dead letter": 1,
        "trace": 5,
    }


def rewrite_header(world: World, change: Callable[[dict[str, Any]], object]) -> None:
    """Have another release written the header of the customer's dead letter."""
    shard = world.store.shard_of(world.store.conversation_id("salon", ANNA))
    client: Any = world.store.client
    (letter,) = [x for x in dead_letters(world.store) if x.messages[0].customer == ANNA]
    key = shard.dead_letter(letter.batch_id)
    header = json.loads(client.lindex(key, 0))
    changed = change(header)
    client.lset(key, 0, json.dumps(header if changed is None else changed))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda h: h.update(severity=9), {"reason": "fatal_model"}, id="unknown field"),
        pytest.param(lambda h: h.update(reason="quota"), {"reason": "quota"}, id="unknown reason"),
        pytest.param(lambda h: h.pop("detail") and None, {"detail": ""}, id="no detail"),
        pytest.param(lambda h: h.pop("account") and None, {"account_id": ""}, id="no account"),
        pytest.param(lambda h: h.pop("attempt") and None, {"attempt": 0}, id="no attempt"),
        pytest.param(lambda h: h.update(part=None), {"parts_sent": 0}, id="null"),
        pytest.param(lambda h: h.update(parts="two"), {"parts": 0}, id="no number"),
        pytest.param(lambda _: {}, {"reason": "", "died_ms": 0}, id="nothing"),
        pytest.param(lambda _: ["poison"], {"reason": ""}, id="another form"),
    ],
)
def test_dead_letter_of_another_release_is_read_and_hides_no_other(
    world: World, change: Callable[[dict[str, Any]], object], expected: dict[str, object]
) -> None:
    world.model = FakeModel(*[PermanentError("model_auth")] * 2)
    world.write("foreign")
    world.write("own", customer=BORIS)
    world.settle()

    rewrite_header(world, change)

    read = {
        header.batch_id: find_dead_letters(world.store, header.batch_id)[0]
        for header in dead_letter_headers(world.store)
    }
    by_text = {letter.messages[0].text: letter for letter in read.values()}
    assert set(by_text) == {"foreign", "own"}
    assert {name: getattr(by_text["foreign"], name) for name in expected} == expected
    assert by_text["own"].reason == "fatal_model"
    client: Any = world.store.client
    client.flushall()


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        pytest.param(b"1700000000000 begin b1 generate 1 on:worker-2", 1, id="more words"),
        pytest.param(b"1700000000000 begin b1", 1, id="fewer words"),
        pytest.param(b"1700000000000 hand_over b1 person", 1, id="unknown verb"),
        pytest.param(b"1700000000000 begin", 0, id="no batch"),
        pytest.param(b"soon begin b1 generate 1", 0, id="no time"),
        pytest.param(b"", 0, id="nothing"),
        pytest.param(b"1700000000000 begin b1 \xff", 1, id="no text"),
    ],
)
def test_step_of_another_release_hides_no_other(world: World, step: bytes, shown: int) -> None:
    world.write("hello")
    world.settle()
    conversation = world.store.conversation_id("salon", ANNA)
    own = trace(world.store, conversation).steps
    client: Any = world.store.client
    client.lpush(world.store.shard_of(conversation).trail(conversation), step)

    found = trace(world.store, conversation)

    assert found.steps[shown:] == own
    assert len(found.steps) == len(own) + shown


@pytest.mark.parametrize(
    ("former", "verb"),
    [("depart", "mark_sending"), ("bury", "dead_letter"), ("left", "mark_sent")],
)
def test_verbs_of_former_releases_are_read_by_their_present_names(
    world: World, former: str, verb: str
) -> None:
    conversation = world.store.conversation_id("salon", ANNA)
    client: Any = world.store.client
    client.rpush(world.store.shard_of(conversation).trail(conversation), f"17 {former} b1 0")

    (step,) = trace(world.store, conversation).steps

    assert (step.at_ms, step.verb, step.batch_id, step.words) == (17, verb, "b1", ("0",))


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"open_mood": "good", "mood": "good"}, ()),
        ({}, ("open_count", "open_first", "open_last", "account")),
        ({}, ("count", "first", "stage", "state", "attempt")),
        ({"count": "many", "open_count": "many"}, ()),
    ],
)
def test_batches_of_another_release_are_traced(
    world: World, fields: dict[str, Any], missing: tuple[str, ...]
) -> None:
    world.write("in flight")
    world.wait(9_000)
    world.flush()
    world.write("open")
    conversation = world.store.conversation_id("salon", ANNA)
    key = world.store.shard_of(conversation).batches(conversation)
    client: Any = world.store.client
    kept = client.hgetall(key)
    client.hset(key, mapping=fields or {"new": "field"})
    client.hdel(key, *missing, "nothing")

    found = trace(world.store, conversation)

    assert found.open
    assert found.flight
    assert set(found.batch_of.values()) == {found.open.batch_id, found.flight.batch_id}
    client.delete(key)
    client.hset(key, mapping=kept)


def test_counters_that_are_unknown_or_damaged_leave_the_others(world: World) -> None:
    world.write("hello")
    client: Any = world.store.client
    stats = world.store.keyring.shards[0].stats
    client.hset(stats, mapping={"handed_over": "3", "dead:quota": "many"})

    (found,) = counters(world.store)

    assert (found.accepted, found.open, found.holds) == (1, 1, True)
    assert (found.named["handed_over"], found.named["dead:quota"]) == (3, 0)


def test_message_is_found_by_its_id_and_its_status_told(world: World) -> None:
    world.receive(world.message("hello", message_id="wamid.1"))
    conversation = world.store.conversation_id("salon", ANNA)

    assert find_message(world.store, ["sister"], "wamid.1") is None
    found = find_message(world.store, ["sister", "salon"], "wamid.1")
    assert found == (conversation, world.clock())
    status = message_status(trace(world.store, conversation), "wamid.1", world.clock())
    assert (status.state, status.batch_id[:1]) == (MessageState.OPEN, "b")
    assert conversation_of(world.store, "salon", ANNA) == conversation
