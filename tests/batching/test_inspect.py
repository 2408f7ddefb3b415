"""The operator's views take few round trips, and read what other releases wrote."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from batching.errors import PermanentError
from batching.inspect import (
    MessageState,
    Step,
    census,
    conversation_of,
    counters,
    dead_letter_headers,
    dead_letters,
    find_dead_letters,
    message_status,
    trace,
)
from batching.lookup import digests_of, find_message
from tests.batching.conftest import Counting
from tests.batching.world import ANNA, BORIS, World
from tests.fakes import FakeModel


@pytest.mark.parametrize("shards", [1, 200])
def test_round_trips_do_not_grow_with_the_shards(
    make_world: Callable[[int], World], round_trips: Counting, shards: int
) -> None:
    world = make_world(shards)
    world.model = FakeModel(*[PermanentError("model_auth")] * 20)
    for n in range(20):
        world.write("hello", customer=f"7999000{n:04d}")
    world.settle()
    world.write("hello")
    store = world.store

    assert [
        round_trips(lambda: counters(store)),
        round_trips(lambda: census(store)),
        round_trips(lambda: list(dead_letter_headers(store))),
        round_trips(lambda: dead_letters(store)),
        round_trips(lambda: find_dead_letters(store, "b1")),
        round_trips(lambda: trace(store, world.anna)),
    ] == [1, 1, 2, 3, 1, 6]


def rewrite_header(world: World, change: Callable[[dict[str, Any]], object]) -> None:
    """Have another release written the header of the customer's dead letter."""
    (letter,) = [x for x in dead_letters(world.store) if x.messages[0].customer == ANNA]
    key = world.shard.dead_letter(letter.batch_id)
    header = json.loads(world.client.lindex(key, 0))
    changed = change(header)
    world.client.lset(key, 0, json.dumps(header if changed is None else changed))


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
    world.client.flushall()


@pytest.mark.parametrize(
    ("raw", "step"),
    [
        pytest.param(
            b"17 begin b1 generate 1 on:worker-2",
            Step(17, "begin", "b1", ("generate", "1", "on:worker-2")),
            id="more words",
        ),
        pytest.param(b"17 begin b1", Step(17, "begin", "b1", ()), id="fewer words"),
        pytest.param(
            b"17 hand_over b1 person", Step(17, "hand_over", "b1", ("person",)), id="unknown verb"
        ),
        pytest.param(b"17 begin b1 \xff", Step(17, "begin", "b1", ("\ufffd",)), id="no text"),
        pytest.param(b"17 begin", None, id="no batch"),
        pytest.param(b"soon begin b1 generate 1", None, id="no time"),
        pytest.param(b"", None, id="nothing"),
        # Verbs of former releases are read by their present names.
        pytest.param(b"17 depart b1 0", Step(17, "mark_sending", "b1", ("0",)), id="depart"),
        pytest.param(b"17 bury b1 0", Step(17, "dead_letter", "b1", ("0",)), id="bury"),
        pytest.param(b"17 left b1 0", Step(17, "mark_sent", "b1", ("0",)), id="left"),
    ],
)
def test_step_of_another_release_is_read_as_far_as_it_is_known(
    world: World, raw: bytes, step: Step | None
) -> None:
    world.write("hello")
    world.settle()
    own = trace(world.store, world.anna).steps
    world.client.lpush(world.shard.trail(world.anna), raw)

    assert trace(world.store, world.anna).steps == ((step, *own) if step else own)


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
    world.to_generating("in flight")
    world.write("open")
    key, client = world.shard.batches(world.anna), world.client
    kept = client.hgetall(key)
    client.hset(key, mapping=fields or {"new": "field"})
    client.hdel(key, *missing, "nothing")

    found = trace(world.store, world.anna)

    assert found.open
    assert found.flight
    assert set(found.batch_of.values()) == {found.open.batch_id, found.flight.batch_id}
    client.delete(key)
    client.hset(key, mapping=kept)


def test_counters_that_are_unknown_or_damaged_leave_the_others(world: World) -> None:
    world.write("hello")
    world.client.hset(world.shard.stats, mapping={"handed_over": "3", "dead:quota": "many"})

    (found,) = counters(world.store)

    assert (found.accepted, found.open, found.holds) == (1, 1, True)
    assert (found.named["handed_over"], found.named["dead:quota"]) == (3, 0)


def test_message_is_found_by_its_id_and_its_status_told(world: World) -> None:
    world.receive(world.message("hello", message_id="wamid.1"))
    conversation = world.anna

    assert find_message(world.store, digests_of(world.store, ["sister"], "wamid.1")) is None
    digests = digests_of(world.store, ["sister", "salon"], "wamid.1")
    assert find_message(world.store, digests) == (conversation, world.clock(), digests[1])
    status = message_status(trace(world.store, conversation), "wamid.1", world.clock())
    assert (status.state, status.batch_id[:1]) == (MessageState.OPEN, "b")
    assert conversation_of(world.store, "salon", ANNA) == conversation
