"""The audit finds what contradicts the counters, and nothing else, on a ledger in use too."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from batching.audit import SCANS_MAX, Scan, audit
from batching.errors import PermanentError
from batching.inspect import dead_letters
from batching.keys import Shard
from batching.rights import erase
from tests.batching.world import BORIS, World
from tests.fakes import FakeModel

#: Changes something by the client, the shard, the conversation, and the id of the dead batch.
Tamper = Callable[[Any, Shard, str, str], object]
OPEN, FLIGHT, DEAD = (f"shard 0: {name} is" for name in ("open", "flight", "dead"))
LETTER = "shard 0: dead letter B"


@pytest.fixture
def full(world: World) -> World:
    """Return a world with something open, in flight and dead."""
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("dead")
    world.settle()
    world.to_generating("in flight")
    world.write("open", "open too")
    world.write("open", customer=BORIS)
    return world


def test_sound_ledger_has_no_problems(full: World) -> None:
    report = audit(full.store)

    assert (report.problems, report.undecided) == ((), ())
    assert (report.conversations, report.dead_letters) == (2, 1)


@pytest.mark.parametrize(
    ("tamper", "problems"),
    [
        pytest.param(
            lambda client, s, c, _: client.delete(s.open_messages(c)),
            ["C: 2 open messages counted, 0 kept", f"{OPEN} 3 by the counters, 1 kept"],
            id="open content gone",
        ),
        pytest.param(
            lambda client, s, c, _: client.delete(s.flight_messages(c)),
            ["C: 1 messages in flight counted, 0 kept", f"{FLIGHT} 1 by the counters, 0 kept"],
            id="content in flight gone",
        ),
        pytest.param(
            lambda client, s, c, _: client.delete(s.batches(c)),
            [
                "C: 0 open messages counted, 2 kept",
                "C: 0 messages in flight counted, 1 kept",
                "C: in flight 0, leased 1",
                "C: batch N waits, and is not there",
                "C: batch N waits, and is not there",
            ],
            id="hash gone",
        ),
        pytest.param(
            lambda client, s, _c, _: client.rpush(s.open_messages("c_none"), "[]"),
            ["c_none: 0 open messages counted, 1 kept", f"{OPEN} 3 by the counters, 4 kept"],
            id="orphan",
        ),
        pytest.param(
            lambda client, s, c, _: client.zrem(s.lease, c),
            ["C: in flight 1, leased 0"],
            id="not leased",
        ),
        pytest.param(
            lambda client, s, c, _: client.zadd(s.due, {c: 1}),
            ["C: open 2, in flight 1, due 1"],
            id="due while in flight",
        ),
        pytest.param(
            lambda client, s, _c, _: client.zadd(s.due, {"c_none": 1}),
            ["c_none: open 0, in flight 0, due 1"],
            id="due without content",
        ),
        pytest.param(
            lambda client, s, _c, _: client.zadd(s.lease, {"c_none": 1}),
            ["c_none: in flight 0, leased 1"],
            id="leased without content",
        ),
        pytest.param(
            lambda client, s, _c, _: client.zadd(s.overdue, {"c_none:b7": 1}),
            ["c_none: batch N waits, and is not there"],
            id="overdue without a batch",
        ),
        *(
            pytest.param(
                lambda client, s, c, _, key=key: client.pexpire(getattr(s, key)(c), 1_000_000),
                ["C: its content has an expiry"],
                id=f"{key} expire",
            )
            for key in ("batches", "open_messages", "flight_messages")
        ),
        pytest.param(
            lambda client, s, _c, b: client.pexpire(s.dead_letter(b), 1_000_000),
            [f"{LETTER} has an expiry"],
            id="dead letter expires",
        ),
        pytest.param(
            lambda client, s, _c, b: client.zrem(s.dead, b),
            [f"{LETTER} is kept, and not listed"],
            id="dead letter not listed",
        ),
        pytest.param(
            lambda client, s, _c, b: client.delete(s.dead_letter(b)),
            [f"{LETTER} is listed, and not kept", f"{DEAD} 1 by the counters, 0 kept"],
            id="dead letter gone",
        ),
    ],
)
def test_tampering_is_found(full: World, tamper: Tamper, problems: list[str]) -> None:
    (letter,) = dead_letters(full.store)
    tamper(full.client, full.shard, full.anna, letter.batch_id)

    found = [line.replace(full.anna, "C") for line in audit(full.store).problems]

    found = [line.replace(letter.batch_id, "B") for line in found]
    assert [re.sub(r"batch b\d+ waits", "batch N waits", line) for line in found] == problems
    full.client.flushall()


@pytest.mark.parametrize("heals", [True, False])
def test_what_heals_before_the_second_inspection_is_not_reported(
    full: World, *, heals: bool
) -> None:
    c, client, lease = full.anna, full.client, full.shard.lease
    until = {c: client.zscore(lease, c)}
    client.zrem(lease, c)

    report = audit(full.store, lambda: heals and client.zadd(lease, until))

    assert report.problems == (() if heals else (f"{c}: in flight 1, leased 0",))
    client.zadd(lease, until)


def write_during_scans(world: World, monkeypatch: pytest.MonkeyPatch, *writes: int) -> None:
    """Have customers write so many messages at the end of each of the first scans."""
    left, inspect_all = list(writes), Scan.inspect_all

    def scan_in_traffic(scan: Scan) -> None:
        inspect_all(scan)
        for _ in range(left.pop(0) if left else 0):
            world.write("meanwhile")

    monkeypatch.setattr(Scan, "inspect_all", scan_in_traffic)


@pytest.mark.parametrize(
    ("writes", "miscounted", "problems", "undecided"),
    [
        pytest.param([2], 0, [], [], id="traffic during the first scan"),
        pytest.param(
            [2] * SCANS_MAX, 0, [], [f"{OPEN} 7 by the counters, 5 to 7 kept"],
            id="sum that traffic could explain",
        ),
        pytest.param(
            [2] * SCANS_MAX, 5, [f"{OPEN} 8 by the counters, 1 to 3 kept"], [],
            id="difference greater than the traffic",
        ),
    ],
)  # fmt: skip
def test_sum_is_compared_in_traffic(
    full: World,
    monkeypatch: pytest.MonkeyPatch,
    writes: list[int],
    miscounted: int,
    problems: list[str],
    undecided: list[str],
) -> None:
    full.client.hincrby(full.shard.stats, "open", miscounted)
    write_during_scans(full, monkeypatch, *writes)

    report = audit(full.store, lambda: None)

    assert (report.problems, report.undecided) == (tuple(problems), tuple(undecided))
    full.client.hincrby(full.shard.stats, "open", -miscounted)


def test_messages_that_leave_before_they_are_seen_are_no_problem(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversation is inspected once: what ended just before is in no sum."""
    inspect_all = Scan.inspect_all

    def scan_late(scan: Scan) -> None:
        monkeypatch.setattr(Scan, "inspect_all", inspect_all)
        erase(full.store, full.store.conversation_id("salon", BORIS))
        inspect_all(scan)

    monkeypatch.setattr(Scan, "inspect_all", scan_late)

    report = audit(full.store, lambda: None)

    assert (report.problems, report.undecided) == ((), ())


def test_every_shard_is_scanned(make_world: Callable[[int], World]) -> None:
    world = make_world(4)
    for n in range(40):
        world.write("hello", customer=f"7999000{n:04d}")
    last = world.store.keyring.shards[3]
    (conversation, *_) = (member.decode() for member in world.client.zrange(last.due, 0, -1))

    sound = audit(world.store)
    world.client.zrem(last.due, conversation)
    broken = audit(world.store)

    assert (sound.conversations, sound.problems) == (40, ())
    assert broken.problems == (f"{conversation}: open 1, in flight 0, due 0",)
