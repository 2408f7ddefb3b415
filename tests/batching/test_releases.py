"""Releases that know other limits and other fields work side by side on one ledger."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, make_dataclass
from typing import Any

import pytest
import redis

from batching import store
from batching.errors import PermanentError
from batching.inspect import dead_letters
from batching.model import (
    Exchange,
    Expiry,
    InboundMessage,
    Kind,
    Limits,
    Media,
    Run,
    Stage,
    Status,
    Tag,
    WakeUp,
    decode,
    encode,
)
from batching.store import DONE, GO, SCRIPTS, SPENT, Script, Store
from tests.batching.world import ANNA, World
from tests.fakes import FakeClock, FakeModel

#: What a batch of the release before this one names its limits by, and nothing else is kept.
BARE = "9000 10 45000 120000 86400000 30000 2"


@dataclass(frozen=True, slots=True)
class MoreLimits(Limits):
    """The limits of a release that has one more."""

    words_max: int = 400


FewerLimits: Any = make_dataclass(
    "FewerLimits",
    [(it.name, int, it.default) for it in fields(Limits) if it.name != "reply_deadline_ms"],
    frozen=True,
    namespace={
        "encode": Limits.encode,
        "decode": classmethod(Limits.decode.__func__),  # type: ignore[attr-defined]
    },
)


def scripts_of(change: Callable[[str], str]) -> dict[str, Script]:
    """Return the scripts of a release whose defaults are others."""
    texts = {verb: change(script.text) for verb, script in SCRIPTS.items()}
    return {
        verb: Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
        for verb, text in texts.items()
    }


@dataclass(frozen=True)
class Release:
    """One release: its limits, its scripts, and a store that it has to itself."""

    limits: type[Any]
    scripts: dict[str, Script]
    store: Store

    @contextmanager
    def running(self) -> Iterator[Store]:
        """Yield its store; until the context ends, this process is of that release."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "SCRIPTS", self.scripts)
            patch.setattr(store, "Limits", self.limits)
            yield self.store


@pytest.fixture
def releases(client: redis.Redis, clock: FakeClock) -> dict[str, Release]:
    """Return three releases on one ledger."""
    changes: dict[str, tuple[type[Any], Callable[[str], str]]] = {
        "this": (Limits, lambda text: text),
        "more": (MoreLimits, lambda text: text.replace("{idle_ms", "{words_max = 400, idle_ms")),
        "fewer": (
            FewerLimits,
            lambda text: re.sub(
                r"(DEFAULTS = .*?)reply_deadline_ms = \d+, ", r"\1", text, flags=re.DOTALL
            ),
        ),
    }
    return {
        name: Release(limits, scripts_of(change), Store(client, privacy_key="k", clock=clock))
        for name, (limits, change) in changes.items()
    }


PAIRS = [
    (one, other) for one in ("this", "more", "fewer") for other in ("this", "more", "fewer")
]  # fmt: skip
in_turn = pytest.mark.parametrize(("first", "second"), PAIRS)


def write(release: Release, clock: FakeClock, message_id: str, **limits: int) -> str:
    """Have a release accept a message; return the conversation."""
    with release.running() as ledger:
        c = ledger.conversation_id("salon", ANNA)
        message = InboundMessage("salon", ANNA, message_id, Kind.TEXT, message_id)
        assert ledger.append(c, message, release.limits(**limits)).status is Status.ACCEPTED
    clock.advance_ms(1)
    return c


def collect(release: Release, clock: FakeClock) -> WakeUp:
    """Have a release collect the one batch that is due."""
    clock.advance_ms(9_000)
    with release.running() as ledger:
        (batch,) = ledger.collect(ledger.keyring.shards[0], limit=9)
    return batch.wake_up


def begin(release: Release, wake_up: WakeUp) -> Run:
    with release.running() as ledger:
        run = ledger.begin(wake_up)
    assert run
    return run


def to_next(release: Release, clock: FakeClock, wait_ms: int) -> tuple[Expiry, WakeUp, str]:
    """Let a lease run out, and have a release say what is to be done."""
    clock.advance_ms(wait_ms)
    with release.running() as ledger:
        (reaped,), _ = ledger.reap(ledger.keyring.shards[0], limit=9)
    return reaped.expiry, reaped.wake_up, reaped.token


@in_turn
def test_batch_that_one_release_opens_is_answered_by_another(
    releases: dict[str, Release], clock: FakeClock, first: str, second: str
) -> None:
    """Every step by the other of the two, as during a deploy; the limits are the opener's."""
    one, other = releases[first], releases[second]
    c = write(one, clock, "m1", lease_ms=20_000, max_attempts=2)
    write(other, clock, "m2")
    run = begin(one, collect(other, clock))
    assert (run.limits.lease_ms, run.limits.max_attempts) == (20_000, 2)
    assert isinstance(run.limits, one.limits)
    assert run.turn == "m1\nm2"
    with other.running() as ledger:
        assert ledger.renew(run)
        assert ledger.fail(run.wake_up, run.token, "retry", 1_000) == DONE
    _, wake_up, _ = to_next(one, clock, 1_000)
    again = begin(other, wake_up)
    assert again.limits.lease_ms == 20_000
    with one.running() as ledger:
        assert ledger.checkpoint(again, ["a"], Exchange("m1\nm2", "a"))
    sending = begin(other, WakeUp(c, again.wake_up.batch_id, 1, Stage.SEND))
    with one.running() as ledger:
        assert ledger.mark_sending(sending, 0, "alert") == GO
        assert ledger.mark_sent(Tag(c, sending.wake_up.batch_id, 0), "out-1")
    with other.running() as ledger:
        assert ledger.finish(sending)
        assert ledger.history(c) == [Exchange("m1\nm2", "a")]
        assert not ledger.client.exists(ledger.shard_of(c).batches(c))


@in_turn
def test_attempts_of_a_batch_end_by_its_opener_and_its_letter_is_replayed_by_another(
    releases: dict[str, Release], clock: FakeClock, first: str, second: str
) -> None:
    one, other = releases[first], releases[second]
    c = write(one, clock, "m1", max_attempts=2)
    run = begin(other, collect(one, clock))
    write(one, clock, "m2", max_attempts=2)
    outcome, wake_up, _ = to_next(other, clock, 30_000)
    assert outcome is Expiry.WAKE_UP
    last = begin(one, wake_up)
    with other.running() as ledger:
        assert ledger.fail(last.wake_up, last.token, "retry", 1) == SPENT
        assert ledger.dead_letter(last.wake_up, last.token, "poison", "test") == (1, 0)
        assert ledger.replay(c, run.wake_up.batch_id, "salon", other.limits()) == 1

    answered = begin(one, collect(other, clock))

    assert answered.turn == "m1\nm2"
    assert answered.limits.max_attempts == 2


@in_turn
def test_workers_that_die_spend_the_attempts_of_the_opener(
    releases: dict[str, Release], clock: FakeClock, first: str, second: str
) -> None:
    one, other = releases[first], releases[second]
    write(one, clock, "m1", max_attempts=1, lease_ms=10_000)
    begin(other, collect(one, clock))

    outcome, _, _ = to_next(other, clock, 10_000)

    assert outcome is Expiry.SPENT


def test_limits_of_a_release_with_other_names_have_an_id_of_their_own() -> None:
    """Equal numbers mean something else where the names differ."""
    other: Any = make_dataclass(
        "Other",
        [(f"{it.name}_2", int, it.default) for it in fields(Limits)],
        frozen=True,
        namespace={"encode": Limits.encode},
    )

    ids = {it.encode()[0] for it in (Limits(), MoreLimits(), FewerLimits(), other())}

    assert len(ids) == 4
    # A longer value would take the hash of a conversation out of its compact form.
    assert all(len(set_id) <= 64 for set_id in ids)


# The release before this one: it kept bare numbers, and reads nothing else.


def former_batch(world: World, state: str) -> str:
    """Write a batch as the release before this one did: open, in flight or dead."""
    client: Any = world.store.client
    c = world.store.conversation_id("salon", ANNA)
    s, now_ms = world.store.shard_of(c), world.clock()
    message = f'["m1","{ANNA}","Hi",0]'
    client.hset(s.stats, mapping={"seq": 7, "accepted": 1, state: 1})
    if state == "open":
        batch = {"open_id": "b7", "open_count": 1, "open_first": now_ms, "open_last": now_ms}
        client.hset(s.batches(c), mapping={"account": "salon", **batch, "open_limits": BARE})
        client.rpush(s.open_messages(c), message)
        client.zadd(s.due, {c: now_ms + 9_000})
        client.zadd(s.overdue, {f"{c}:b7": now_ms + 120_000})
    elif state == "flight":
        batch = {"id": "b7", "count": 1, "first": now_ms, "state": "running", "token": "6"}
        where = {"stage": "generate", "attempt": 1, "rings": 0, "limits": BARE}
        client.hset(s.batches(c), mapping={"account": "salon", **batch, **where})
        client.rpush(s.flight_messages(c), message)
        client.zadd(s.lease, {c: now_ms + 9_000})
        client.zadd(s.overdue, {f"{c}:b7": now_ms + 120_000})
        client.rpush(s.trail(c), f"{now_ms} collect b7 idle {now_ms}")
    else:
        header = {"conversation": c, "account": "salon", "reason": "poison", "detail": "x"}
        header |= {"stage": "generate", "attempt": "2", "part": "", "parts": ""}
        client.rpush(s.dead_letter("b7"), json.dumps(header | {"at_ms": now_ms}), message)
        client.zadd(s.dead, {"b7": now_ms})
    return c


@pytest.mark.parametrize("state", ["open", "flight", "dead"])
def test_batch_of_the_release_before_is_answered_without_a_migration(
    world: World, state: str
) -> None:
    c = former_batch(world, state)
    if state == "dead":
        assert world.store.replay(c, "b7", "salon", Limits()) == 1

    world.settle()

    assert world.model.turns == ["Hi"]
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_limits_of_the_release_before_are_obeyed(world: World) -> None:
    """Two attempts, not the eight of today's defaults."""
    former_batch(world, "open")
    world.wait(9_000)
    (wake_up,) = world.flush()
    run = world.store.begin(wake_up)

    assert run
    assert run.limits == Limits(max_attempts=2)
    world.wait(30_000)
    (second,) = world.flush()
    assert world.store.begin(second)
    world.wait(30_000)
    assert world.flush() == []
    assert world.alerts() == [("poison", "worker_died")]


def test_batch_of_this_release_is_one_that_the_release_before_can_read(world: World) -> None:
    world.write("Hi")
    c = world.store.conversation_id("salon", ANNA)
    kept: Any = world.store.client.hgetall(world.store.shard_of(c).batches(c))

    assert kept[b"open_limits"] == b"9000 10 45000 120000 86400000 30000 8"
    assert set(kept) == {b"account", *(f"open_{x}".encode() for x in (
        "id", "count", "first", "last", "limits"))}  # fmt: skip


@pytest.mark.parametrize("kept", ["nothing known", "{", "[]", "null", "1 2 3", '{"lease_ms": "x"}'])
def test_limits_that_cannot_be_read_are_the_defaults(
    world: World, caplog: pytest.LogCaptureFixture, kept: str
) -> None:
    """The run has its lease by then: to fail here would spend every attempt, and the batch."""
    world.write("Hi")
    c = world.store.conversation_id("salon", ANNA)
    shard = world.store.shard_of(c)
    world.store.client.hset(shard.limits, "odd", kept)
    world.store.client.hset(shard.batches(c), "open_limits", "odd")

    world.settle()

    assert world.model.turns == ["Hi"]
    assert world.counts() == {"accepted": 1, "answered": 1}
    unreadable = sum(record.msg == "limits.unreadable" for record in caplog.records)
    assert unreadable == (0 if "lease_ms" in kept else 2)


# Every other record that one release writes and another reads.

MESSAGE = InboundMessage(
    "salon", ANNA, "m", Kind.VOICE, "Hi", 5, media=Media("id", "audio/ogg", "u")
)
HEADER = {
    "conversation": "c_1", "account": "salon", "reason": "poison", "detail": "x", "stage": "send",
    "attempt": "2", "part": "0", "parts": "1", "at_ms": 5,
}  # fmt: skip


def _message(kept: Sequence[Any]) -> object:
    return decode("salon", json.dumps(kept).encode())


def _exchange(kept: Sequence[Any]) -> object:
    return Exchange.decode(json.dumps(kept).encode())


FULL_MESSAGE: list[Any] = json.loads(encode(MESSAGE))


@pytest.mark.parametrize(
    ("read", "kept", "expected"),
    [
        pytest.param(_message, [*FULL_MESSAGE, {"new": 1}], MESSAGE, id="message, unknown field"),
        pytest.param(
            _message,
            [*FULL_MESSAGE[:5], [*FULL_MESSAGE[5], "new"]],
            MESSAGE,
            id="media, unknown field",
        ),
        pytest.param(
            _message,
            [*FULL_MESSAGE[:5], FULL_MESSAGE[5][:1]],
            InboundMessage("salon", ANNA, "m", Kind.VOICE, "Hi", 5, media=Media("id")),
            id="media, missing field",
        ),
        pytest.param(
            _message,
            [*FULL_MESSAGE[:4], "hologram", None, "new"],
            InboundMessage("salon", ANNA, "m", Kind.UNSUPPORTED, "Hi", 5),
            id="message, unknown kind",
        ),
        pytest.param(
            _message,
            FULL_MESSAGE[:3],
            InboundMessage("salon", ANNA, "m", Kind.TEXT, "Hi"),
            id="message, missing field",
        ),
        pytest.param(
            _exchange, ["Hi", "Hello", 7], Exchange("Hi", "Hello"), id="exchange, unknown field"
        ),
        pytest.param(_exchange, ["Hi"], Exchange("Hi", ""), id="exchange, missing field"),
        pytest.param(
            Limits.decode,
            json.dumps(asdict(Limits(lease_ms=10_000)) | {"new": 1}),
            Limits(lease_ms=10_000),
            id="limits, unknown field",
        ),
        pytest.param(
            Limits.decode, '{"idle_ms":1000}', Limits(idle_ms=1_000), id="limits, missing field"
        ),
    ],
)
def test_record_of_another_release_is_read(
    read: Callable[[Any], object], kept: object, expected: object
) -> None:
    assert read(kept) == expected


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(HEADER | {"new": {"x": 1}}, id="unknown field"),
        *(
            pytest.param({n: v for n, v in HEADER.items() if n != name}, id=f"without {name}")
            for name in HEADER
        ),
    ],
)
def test_dead_letter_of_another_release_is_listed_settled_and_discarded(
    world: World, header: dict[str, Any]
) -> None:
    """Missing is what it was about at worst; the texts are there, and nothing raises."""
    client: Any = world.store.client
    shard = world.store.keyring.shards[0]
    client.rpush(shard.dead_letter("b1"), json.dumps(header), encode(MESSAGE))
    client.zadd(shard.dead, {"b1": 5})
    client.hset(shard.stats, mapping={"accepted": 1, "dead": 1})

    (letter,) = dead_letters(world.store)
    settled = world.store.mark_sent(Tag("c_1", "b1", 0), "out-1")

    assert [message.text for message in letter.messages] == ["Hi"]
    assert settled == ({"part", "parts"} <= set(header))
    if not settled:
        assert world.store.discard("c_1", "b1", "discarded") == 1
    assert dead_letters(world.store) == []


def test_batch_with_a_field_of_another_release_is_answered_and_forgotten(world: World) -> None:
    """In the hash of the open batch, of the batch in flight and of its reply."""
    world.write("Hi")
    c = world.store.conversation_id("salon", ANNA)
    client: Any = world.store.client
    client.hset(world.store.shard_of(c).batches(c), mapping={"open_new": 1, "new": 1})

    world.settle()

    assert world.channel.texts == ["Answer to: Hi"]
    assert not client.exists(world.store.shard_of(c).batches(c))


def test_reply_of_another_release_is_sent(world: World) -> None:
    """JSON may be written with other spaces and escapes than ours."""
    wake_up = world.to_sending()
    key = world.store.shard_of(wake_up.conversation_id).batches(wake_up.conversation_id)
    world.store.client.hset(key, "reply", '[ "na\\u00efve" ]')

    world.send(wake_up)

    assert world.channel.texts == ["na\u00efve"]


def test_letter_is_replayed_with_the_limits_of_the_release_that_replays_it(
    world: World,
) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("Hi")
    world.settle()
    (letter,) = dead_letters(world.store)
    limits = MoreLimits(lease_ms=11_000)

    world.store.replay(letter.conversation_id, letter.batch_id, "salon", limits)
    (wake_up,) = world.flush()
    run = world.store.begin(wake_up)

    assert run
    assert run.limits == Limits(lease_ms=11_000)
