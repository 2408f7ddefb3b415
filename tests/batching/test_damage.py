"""What somebody has damaged in the ledger stops nothing else, and a person is told of it."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from batching.inspect import dead_letters, trace
from batching.model import DeliveryStatus, InboundMessage, Kind, Limits
from batching.rights import erase, export
from tests.batching.world import BORIS, World
from tests.fakes import FakeChannel, FakeModel

SECRET = "my secret is X"

#: What a damaged header may be, whole, or in the place of one of its fields.
WHOLE = ["", "null", "[]", '[["a","b"]]', "[" * 9_000]
VALUES: list[Any] = [None, 7, [], {}, "[", '"x"']
FIELDS = ["reply", "exchange", "failed", "parts", "account"]


def damaged(header: bytes) -> dict[str, str]:
    """Return the damaged forms of a header by what was done to it."""
    known = json.loads(header)
    forms = {f"{field}: {value!r}": {**known, field: value} for field in FIELDS for value in VALUES}
    forms |= {f"no {field}": {k: v for k, v in known.items() if k != field} for field in known}
    texts = {name: json.dumps(form) for name, form in forms.items()}
    texts |= {f"infinite {field}": json.dumps({**known, field: 1e999}) for field in ["at_ms"]}
    # Cut off, it still says whose it is.
    return (
        texts
        | {"cut": header.decode()[: len(header) // 2]}
        | {f"whole: {it[:9]}": it for it in WHOLE}
    )


def said(world: World, text: str, message_id: str, **fields: Any) -> InboundMessage:
    return world.message(text, message_id=message_id, **fields)


def deletion(world: World, target: str) -> InboundMessage:
    return world.message("[Deleted]", kind=Kind.DELETED, amends=target)


def edit(world: World, target: str) -> InboundMessage:
    return world.message("Closed?", kind=Kind.EDITED, amends=target)


def an_answer(world: World) -> str:
    """Leave an answer that is watched, and one behind it; return the key of the first."""
    world.receive(said(world, SECRET, "D1"), said(world, "Open?", "D2"))
    world.settle()
    key = world.shard.answered(world.anna, world.tag().batch_id)
    world.receive(said(world, "my secret is Y", "D3"))
    world.settle()
    return key


def a_letter(world: World) -> str:
    """Leave the dead letter of an answer that did not arrive, and a watched answer behind it."""
    key = an_answer(world)
    tag = world.channel.attempts[0].tag
    world.receive(DeliveryStatus("salon", "out-1", "failed", tag, "cloud_131026"))
    return world.shard.dead_letter(key.rpartition(":")[2])


PLACES: dict[str, Callable[[World], str]] = {"answer": an_answer, "letter": a_letter}


def told(caplog: pytest.LogCaptureFixture) -> bool:
    """Return whether the log says that something cannot be read, and nothing of what it is."""
    assert "secret" not in caplog.text
    return any(record.msg == "content.damaged" for record in caplog.records)


@pytest.mark.parametrize("place", PLACES)
def test_damaged_header_stops_no_deletion_no_edit_no_export_and_no_erasure(
    world: World, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each form, one after the other; whatever else is kept of the customer is changed."""
    caplog.set_level(logging.ERROR, "batching")
    header = world.client.lindex(PLACES[place](world), 0)
    unread = []
    for name, form in damaged(header).items():
        world.client.flushdb()
        world.channel, world.model = FakeChannel(), FakeModel()
        key = PLACES[place](world)
        world.client.lset(key, 0, form)
        caplog.clear()

        world.receive(deletion(world, "D3"), edit(world, "D2"), deletion(world, "D1"))
        world.settle()

        # Nothing says whose a letter is that does not name them.
        is_known = place == "answer" or world.anna in form
        kept = repr([
            world.client.lrange(each, 0, -1)
            for each in world.client.keys("{*}:*")
            if world.client.type(each) == b"list" and (is_known or each != key.encode())
        ])  # fmt: skip
        assert "secret" not in kept, name
        assert "Closed?" in kept, name
        if told(caplog):
            unread.append(name)
        copy = export(world.store, trace(world.store, world.anna))
        assert json.dumps(copy), name
        caplog.clear()
        erase(world.store, world.anna)
        assert world.client.exists(key) == (not is_known), name
        assert is_known or told(caplog), name
    world.client.flushdb()
    assert {"reply: '['", "exchange: '['", "reply: 7"} <= {*unread}, unread


#: What a damaged message, and a damaged exchange of the history, may be.
ELEMENTS = ["", "not JSON", "null", "{}", "[]", '["D1",7]', "[" * 9_000]
ELEMENTS += ['["D1","79990000001","x","soon"]', '["D1","79990000001","x",0,"text",7]']
#: Not UTF-8 any more.
ELEMENTS += ['["D1","79990000001","\udcff"]', "\udcff"]


@pytest.mark.parametrize("at", ["flight", "open", "history", "answer", "letter"])
def test_damaged_message_or_exchange_stops_no_deletion_no_export_and_no_erasure(
    world: World, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch of which something cannot be read is a person's: nobody can say what it asks for."""
    caplog.set_level(logging.ERROR, "batching")
    for element in ELEMENTS:
        world.client.flushdb()
        world.channel, world.model = FakeChannel(), FakeModel()
        key = (a_letter if at == "letter" else an_answer)(world)
        keys = {
            "flight": world.shard.flight_messages(world.anna),
            "open": world.shard.open_messages(world.anna),
            "history": world.shard.history(world.anna),
        }
        world.receive(said(world, SECRET, "D4"), said(world, "Open?", "D5"))
        wake_up = world.after(9_000)
        world.receive(said(world, "Hello?", "D6"), deletion(world, "D1"), deletion(world, "D4"))
        damage = element.encode(errors="surrogateescape")
        world.client.lset(keys.get(at, key), 0 if at in keys else 2, damage)
        caplog.clear()

        world.answer([wake_up])
        copy = export(world.store, trace(world.store, world.anna))
        world.settle()

        assert json.dumps(copy), element
        lists = [it for it in world.client.keys("{*}:*") if world.client.type(it) == b"list"]
        kept = repr([world.client.lrange(each, 0, -1) for each in lists])
        assert SECRET.encode() not in kept.encode(), element
        died = [letter.reason for letter in dead_letters(world.store)]
        died_of = {"flight": ["vanished"], "open": ["vanished"], "letter": ["undelivered"]}
        assert died == died_of.get(at, []), element
        is_text = at == "history" and element.startswith('["D1"') and element.isprintable()
        assert told(caplog) or at == "flight" or is_text, element
        erase(world.store, world.anna)
        assert dead_letters(world.store) == [], element
    world.client.flushdb()


@pytest.mark.parametrize("element", ELEMENTS)
def test_damaged_batch_of_a_dead_worker_stops_no_other(world: World, element: str) -> None:
    world.limits = Limits(max_attempts=1)
    world.receive(said(world, SECRET, "D1"), said(world, "Open?", "D2"), deletion(world, "D2"))
    world.begin(world.after(9_000))
    damage = element.encode(errors="surrogateescape")
    world.client.lset(world.shard.flight_messages(world.anna), 0, damage)
    world.write("hello", customer=BORIS)

    world.settle(11_000, 11_000)

    assert world.model.turns == ["hello"]
    assert [letter.reason for letter in dead_letters(world.store)] == ["poison"]


@pytest.mark.parametrize("place", PLACES)
def test_damaged_header_keeps_no_status_from_being_taken(world: World, place: str) -> None:
    """A provider that is refused one delivers it again for days, with all that came beside it."""
    header = world.client.lindex(PLACES[place](world), 0)
    for form in damaged(header).values():
        world.client.flushdb()
        world.channel, world.model = FakeChannel(), FakeModel()
        world.client.lset(PLACES[place](world), 0, form)
        tag = world.channel.attempts[0].tag
        statuses = [
            DeliveryStatus("salon", f"copy-{n}", state, tag, "cloud_131026")
            for n, state in enumerate(["sent", "failed", "delivered"] * 2)
        ]

        world.receive(*statuses, said(world, "Hm?", "D9"))

        assert world.client.llen(world.shard.open_messages(world.anna)) == 1
    world.client.flushdb()
