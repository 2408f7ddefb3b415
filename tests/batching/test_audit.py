"""The audit finds what contradicts the counters, and nothing else, on a ledger in use too."""

from collections.abc import Callable
from typing import Any

import pytest

from batching.audit import SCANS_MAX, Scan, audit
from batching.erase import erase
from batching.errors import PermanentError
from batching.inspect import dead_letters
from batching.keys import Shard
from batching.store import Store
from tests.batching.world import ANNA, BORIS, World
from tests.fakes import FakeClock, FakeModel

Tamper = Callable[[Any, Shard, str, str], object]


@pytest.fixture
def full(world: World) -> World:
    """Return a world with something open, in flight and dead."""
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("dead")
    world.settle()
    world.write("in flight")
    world.wait(9_000)
    world.flush()
    world.write("open", "open too")
    world.write("open", customer=BORIS)
    return world


def found(full: World, tamper: Tamper) -> list[str]:
    """Return what an audit says after ``tamper``, on a server that is emptied then."""
    client: Any = full.store.client
    c = full.store.conversation_id("salon", ANNA)
    (letter,) = dead_letters(full.store)
    tamper(client, full.store.shard_of(c), c, letter.batch_id)
    problems = [line.replace(c, "C") for line in audit(full.store).problems]
    problems = [line.replace(letter.batch_id, "B") for line in problems]
    client.flushall()
    return problems


def test_sound_ledger_has_no_problems(full: World) -> None:
    report = audit(full.store)

    assert (report.problems, report.undecided) == ((), ())
    assert (report.conversations, report.dead_letters) == (2, 1)


@pytest.mark.parametrize(
    ("tamper", "problems"),
    [
        pytest.param(
            lambda client, shard, c, _: client.delete(shard.open_messages(c)),
            ["C: 2 open messages counted, 0 kept", "shard 0: open is 3 by the counters, 1 kept"],
            id="open content gone",
        ),
        pytest.param(
            lambda client, shard, c, _: client.delete(shard.flight_messages(c)),
            [
                "C: 1 messages in flight counted, 0 kept",
                "shard 0: flight is 1 by the counters, 0 kept",
            ],
            id="content in flight gone",
        ),
        pytest.param(
            lambda client, shard, c, _: client.zrem(shard.lease, c),
            ["C: in flight 1, leased 0"],
            id="not leased",
        ),
        pytest.param(
            lambda client, shard, c, _: client.zadd(shard.due, {c: 1}),
            ["C: open 2, in flight 1, due 1"],
            id="due while in flight",
        ),
        pytest.param(
            lambda client, shard, _c, _: client.zadd(shard.due, {"c_none": 1}),
            ["c_none: open 0, in flight 0, due 1"],
            id="due without content",
        ),
        pytest.param(
            lambda client, shard, _c, _: client.zadd(shard.lease, {"c_none": 1}),
            ["c_none: in flight 0, leased 1"],
            id="leased without content",
        ),
        pytest.param(
            lambda client, shard, _c, _: client.zadd(shard.overdue, {"c_none:b7": 1}),
            ["c_none: batch b7 waits, and is not there"],
            id="overdue without a batch",
        ),
        pytest.param(
            lambda client, shard, c, _: client.pexpire(shard.open_messages(c), 1_000_000),
            ["C: its content has an expiry"],
            id="open content expires",
        ),
        pytest.param(
            lambda client, shard, c, _: client.pexpire(shard.flight_messages(c), 1_000_000),
            ["C: its content has an expiry"],
            id="content in flight expires",
        ),
        pytest.param(
            lambda client, shard, _c, b: client.pexpire(shard.dead_letter(b), 1_000_000),
            ["shard 0: dead letter B has an expiry"],
            id="dead letter expires",
        ),
        pytest.param(
            lambda client, shard, _c, b: client.zrem(shard.dead, b),
            ["shard 0: dead letter B is kept, and not listed"],
            id="dead letter not listed",
        ),
        pytest.param(
            lambda client, shard, _c, b: client.delete(shard.dead_letter(b)),
            [
                "shard 0: dead letter B is listed, and not kept",
                "shard 0: dead is 1 by the counters, 0 kept",
            ],
            id="dead letter gone",
        ),
        pytest.param(
            lambda client, shard, _c, _: client.rpush(shard.open_messages("c_none"), "[]"),
            [
                "c_none: 0 open messages counted, 1 kept",
                "shard 0: open is 3 by the counters, 4 kept",
            ],
            id="orphan",
        ),
    ],
)
def test_tampering_is_found(full: World, tamper: Tamper, problems: list[str]) -> None:
    assert found(full, tamper) == problems


def test_hash_that_vanished_is_found(full: World) -> None:
    problems = found(full, lambda client, shard, c, _: client.delete(shard.batches(c)))

    assert problems[:3] == [
        "C: 0 open messages counted, 2 kept",
        "C: 0 messages in flight counted, 1 kept",
        "C: in flight 0, leased 1",
    ]
    assert sorted(line.split(" waits")[0].partition(": ")[0] for line in problems[3:]) == ["C", "C"]


def test_what_heals_before_the_second_inspection_is_not_reported(full: World) -> None:
    client: Any = full.store.client
    c = full.store.conversation_id("salon", ANNA)
    lease = full.store.shard_of(c).lease
    until = client.zscore(lease, c)
    client.zrem(lease, c)

    report = audit(full.store, lambda: client.zadd(lease, {c: until}))

    assert report.problems == ()


def test_what_is_still_wrong_at_the_second_inspection_is_reported(full: World) -> None:
    client: Any = full.store.client
    c = full.store.conversation_id("salon", ANNA)
    lease = full.store.shard_of(c).lease
    until = client.zscore(lease, c)
    client.zrem(lease, c)

    report = audit(full.store, lambda: None)

    assert report.problems == (f"{c}: in flight 1, leased 0",)
    client.zadd(lease, {c: until})


def write_during_scans(world: World, monkeypatch: pytest.MonkeyPatch, *writes: int) -> None:
    """Have customers write so many messages at the end of each of the first scans."""
    left, inspect_all = list(writes), Scan.inspect_all

    def scan_in_traffic(scan: Scan) -> None:
        inspect_all(scan)
        for _ in range(left.pop(0) if left else 0):
            world.write("meanwhile")

    monkeypatch.setattr(Scan, "inspect_all", scan_in_traffic)


def test_traffic_during_the_scan_is_no_problem(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_during_scans(full, monkeypatch, 2)

    report = audit(full.store, lambda: None)

    assert (report.problems, report.undecided) == ((), ())


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


def test_sum_that_traffic_could_explain_is_undecided(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_during_scans(full, monkeypatch, *[2] * SCANS_MAX)

    report = audit(full.store, lambda: None)

    assert report.problems == ()
    assert report.undecided == ("shard 0: open is 7 by the counters, 5 to 7 kept",)


def test_difference_greater_than_the_traffic_is_reported(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = full.store.keyring.shards[0].stats
    full.store.client.hincrby(stats, "open", 5)
    write_during_scans(full, monkeypatch, *[2] * SCANS_MAX)

    report = audit(full.store, lambda: None)

    assert report.problems == ("shard 0: open is 8 by the counters, 1 to 3 kept",)
    full.store.client.hincrby(stats, "open", -5)


def test_every_shard_is_scanned(client: Any, clock: FakeClock) -> None:
    world = World(Store(client, privacy_key="k", shards=4, clock=clock), clock)
    for n in range(40):
        world.write("hello", customer=f"7999000{n:04d}")
    last = world.store.keyring.shards[3]
    (conversation, *_) = (member.decode() for member in client.zrange(last.due, 0, -1))

    sound = audit(world.store)
    client.zrem(last.due, conversation)
    broken = audit(world.store)

    assert (sound.conversations, sound.problems) == (40, ())
    assert broken.problems == (f"{conversation}: open 1, in flight 0, due 0",)
