"""Releases that know other limits and other fields work side by side on one ledger."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from itertools import product
from typing import Any

import pytest
import redis

from batching import store
from batching.errors import PermanentError
from batching.inspect import dead_letters, watched_answers, watched_count
from batching.model import (
    DeliveryStatus,
    Dependency,
    Exchange,
    Expiry,
    InboundMessage,
    Kind,
    Limits,
    Media,
    Reaped,
    Run,
    Stage,
    Status,
    Tag,
    WakeUp,
    decode,
    encode,
)
from batching.rights import erase
from batching.store import CLOSED, DONE, GO, PROBE, SCRIPTS, SPENT, SUPERSEDED, Script, Store
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


@dataclass(frozen=True)
class Release:
    """One release: its limits, its scripts, and a store that it has to itself."""

    limits: type[Any]
    change: Callable[[str], str]
    store: Store
    clock: FakeClock

    def do(self, verb: str, *args: object, **options: object) -> Any:  # a value of the store's
        """Take a step as a process of this release does."""
        texts = {name: self.change(script.text) for name, script in SCRIPTS.items()}
        scripts = {
            name: Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
            for name, text in texts.items()
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "SCRIPTS", scripts)
            patch.setattr(store, "Limits", self.limits)
            return getattr(self.store, verb)(*args, **options)

    def write(self, text: str, **limits: int) -> None:
        """Accept a message, whose text is its id too."""
        message = InboundMessage("salon", ANNA, text, Kind.TEXT, text)
        receipt = self.do("append", self.conversation, message, self.limits(**limits))
        assert receipt.status is Status.ACCEPTED
        self.clock.advance_ms(1)

    def collect(self) -> WakeUp:
        """Collect the one batch that is due after a while."""
        self.clock.advance_ms(9_000)
        (batch,) = self.do("collect", self.store.keyring.shards[0], limit=9)
        wake_up: WakeUp = batch.wake_up
        return wake_up

    def begin(self, wake_up: WakeUp) -> Run:
        run: Run | None = self.do("begin", wake_up)
        assert run
        return run

    def reap(self, after_ms: int) -> Reaped:
        """Say what is to be done about the one lease that runs out after a while."""
        self.clock.advance_ms(after_ms)
        ((reaped,), _) = self.do("reap", self.store.keyring.shards[0], limit=9)
        found: Reaped = reaped
        return found

    @property
    def conversation(self) -> str:
        return self.store.conversation_id("salon", ANNA)


def fewer_defaults(text: str) -> str:
    return re.sub(r"(DEFAULTS = .*?)reply_deadline_ms = \d+, ", r"\1", text, flags=re.DOTALL)


@pytest.fixture(
    params=product(("this", "more", "fewer"), repeat=2), ids=lambda pair: f"{pair[0]}-{pair[1]}"
)
def pair(request: pytest.FixtureRequest, client: redis.Redis, clock: FakeClock) -> list[Release]:
    """Return two releases on one ledger."""
    known: dict[str, tuple[type[Any], Callable[[str], str]]] = {
        "this": (Limits, str),
        "more": (MoreLimits, lambda text: text.replace("{idle_ms", "{words_max = 400, idle_ms")),
        "fewer": (FewerLimits, fewer_defaults),
    }
    return [
        Release(*known[name], Store(client, privacy_key="k", clock=clock), clock)
        for name in request.param
    ]


def test_batch_that_one_release_opens_is_answered_by_another(pair: list[Release]) -> None:
    """Every step by the other of the two, as during a deploy; the limits are the opener's."""
    one, other = pair
    c = one.conversation
    one.write("m1", lease_ms=20_000, max_attempts=2)
    other.write("m2")
    run = one.begin(other.collect())
    assert (run.limits.lease_ms, run.limits.max_attempts) == (20_000, 2)
    assert isinstance(run.limits, one.limits)
    assert run.turn == "m1\nm2"
    assert other.do("renew", run)
    assert other.do("fail", run, "retry", 1_000) == DONE
    again = other.begin(one.reap(1_000).wake_up)
    assert again.limits.lease_ms == 20_000
    assert one.do("checkpoint", again, ["a"], Exchange("m1\nm2", "a"))
    sending = other.begin(replace(again.wake_up, attempt=1, stage=Stage.SEND))
    assert one.do("mark_sending", sending, 0, "alert") == GO
    tag = one.store.tag(sending.account_id, c, sending.wake_up.batch_id, 0)
    assert one.do("mark_sent", sending.account_id, tag, "out-1")
    assert other.do("finish", sending)
    assert other.do("history", c) == [Exchange("m1\nm2", "a")]
    assert not one.store.client.exists(one.store.shard_of(c).batches(c))


def test_attempts_of_a_batch_end_by_its_opener_and_its_letter_is_replayed_by_another(
    pair: list[Release],
) -> None:
    one, other = pair
    one.write("m1", max_attempts=2)
    run = other.begin(one.collect())
    one.write("m2", max_attempts=2)
    last = one.begin(other.reap(30_000).wake_up)
    assert other.do("fail", last, "retry", 1) == SPENT
    assert other.do("dead_letter", last, "poison", "test") == (1, 0)
    letter = one.conversation, run.wake_up.batch_id, "salon"
    assert other.do("replay", *letter, other.limits()) == 1

    answered = one.begin(other.collect())

    assert answered.turn == "m1\nm2"
    assert answered.limits.max_attempts == 2


def test_workers_that_die_spend_the_attempts_of_the_opener(pair: list[Release]) -> None:
    one, other = pair
    one.write("m1", max_attempts=1, lease_ms=10_000)
    other.begin(one.collect())

    assert other.reap(10_000).expiry is Expiry.SPENT


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
    client, c, s, now_ms = world.client, world.anna, world.shard, world.clock()
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
    run = world.begin(world.after(9_000))

    assert run.limits == Limits(max_attempts=2, lease_ms=30_000)
    world.begin(world.after(30_000))
    world.settle(30_000)
    assert world.alerts() == [("poison", "worker_died")]


def test_batch_of_this_release_is_one_that_the_release_before_can_read(world: World) -> None:
    world.write("Hi")
    kept = world.client.hgetall(world.shard.batches(world.anna))

    assert kept[b"open_limits"] == b"9000 10 45000 120000 86400000 6000 8"
    assert set(kept) == {b"account", *(f"open_{x}".encode() for x in (
        "id", "count", "first", "heard", "last", "limits", "pause"))}  # fmt: skip


@pytest.mark.parametrize("kept", ["nothing known", "{", "[]", "null", "1 2 3", '{"lease_ms": "x"}'])
def test_limits_that_cannot_be_read_are_the_defaults(
    world: World, caplog: pytest.LogCaptureFixture, kept: str
) -> None:
    """The run has its lease by then: to fail here would spend every attempt, and the batch."""
    world.write("Hi")
    world.client.hset(world.shard.limits, "odd", kept)
    world.client.hset(world.shard.batches(world.anna), "open_limits", "odd")

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
            _exchange,
            ["Hi", "Hello", {}, "a:x::0 b", 7, "0:zz 1"],
            Exchange("Hi", "Hello"),
            id="exchange, unreadable fields",
        ),
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
    client, shard = world.client, world.shard
    client.rpush(shard.dead_letter("b1"), json.dumps(header), encode(MESSAGE))
    client.zadd(shard.dead, {"b1": 5})
    client.hset(shard.stats, mapping={"accepted": 1, "dead": 1})

    (letter,) = dead_letters(world.store)
    settled = world.store.mark_sent("salon", world.store.tag("salon", "c_1", "b1", 0), "out-1")

    assert [message.text for message in letter.messages] == ["Hi"]
    assert settled == ({"part", "parts"} <= set(header))
    if not settled:
        assert world.store.discard("c_1", "b1", "discarded") == 1
    assert dead_letters(world.store) == []


def test_batch_with_a_field_of_another_release_is_answered_and_forgotten(world: World) -> None:
    """In the hash of the open batch, of the batch in flight and of its reply."""
    world.write("Hi")
    key = world.shard.batches(world.anna)
    world.client.hset(key, mapping={"open_new": 1, "new": 1})

    world.settle()

    assert world.channel.texts == ["Answer to: Hi"]
    assert not world.client.exists(key)


def test_reply_of_another_release_is_sent(world: World) -> None:
    """JSON may be written with other spaces and escapes than ours."""
    wake_up = world.to_sending()
    world.client.hset(world.shard.batches(world.anna), "reply", '[ "na\\u00efve" ]')

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

    assert world.begin(world.after(0)).limits == Limits(lease_ms=11_000)


def test_exchange_of_this_release_is_one_that_the_release_before_can_read(world: World) -> None:
    """It reads two texts, and ignores what follows; a reply of its own gets no ids."""
    world.write("Hi")
    world.settle()
    wake_up = world.to_sending("again")
    former = json.dumps(["again", "Answer to: again"])
    world.client.hset(world.shard.batches(world.anna), "exchange", former)
    world.send(wake_up)

    kept = [json.loads(raw) for raw in world.client.lrange(world.shard.history(world.anna), 0, -1)]

    assert kept[0][:2] == ["Hi", "Answer to: Hi"]
    assert kept[1] == ["again", "Answer to: again"]


def sent(one: Release, other: Release, *, apology: tuple[str, str] | None = None) -> Run:
    """Have one release keep the reply to what waits, and another send its one part."""
    run = one.begin(other.collect())
    assert one.do("checkpoint", run, ["a"], Exchange(run.turn, "a"), apology=apology)
    sending = other.begin(replace(run.wake_up, attempt=1, stage=Stage.SEND))
    assert other.do("mark_sending", sending, 0, "alert") == GO
    assert one.do("mark_sent", "salon", tag_of(one, sending), f"out-{run.wake_up.batch_id}")
    return sending


def tag_of(release: Release, run: Run) -> Tag:
    place = run.wake_up.conversation_id, run.wake_up.batch_id, 0
    return release.store.tag("salon", *place)


def test_circuit_of_one_release_is_probed_and_closed_by_another(pair: list[Release]) -> None:
    one, other = pair
    of, batch = Dependency.CHANNEL, WakeUp(one.conversation, "b1", 1, Stage.SEND)
    assert one.do("open_circuit", "salon", of, "cloud_190", batch)
    waits_ms = other.do("try_circuit", "salon", of, batch)
    one.clock.advance_ms(waits_ms)

    probes = [it.do("try_circuit", "salon", of, batch) for it in (other, one)]
    lasted_ms = one.do("close_circuit", "salon", of, batch)

    assert (waits_ms > 0, probes, lasted_ms) == (True, [PROBE, PROBE], waits_ms)
    assert other.do("try_circuit", "salon", of, batch) == CLOSED


def test_apology_of_one_release_is_a_dead_letter_by_another(pair: list[Release]) -> None:
    one, other = pair
    one.write("m1")
    run = sent(one, other, apology=("fatal_model", "model_auth"))

    again = other.begin(one.reap(run.limits.lease_ms).wake_up)

    assert again.apology == ("fatal_model", "model_auth")
    assert not one.do("finish", again)
    assert other.do("dead_letter", again, "fatal_model", "model_auth; apology sent") == (1, 0)
    assert one.do("mark_delivered", "salon", tag_of(one, run), "out-1") is False
    (letter,) = dead_letters(one.store)
    assert (letter.reason, [it.text for it in letter.messages]) == ("fatal_model", ["m1"])


@pytest.mark.parametrize("ends", ["delivered", "failed", "erased"])
def test_answer_that_one_release_watches_is_ended_by_another(
    pair: list[Release], ends: str
) -> None:
    one, other = pair
    one.write("m1")
    run = sent(one, other)
    assert one.do("finish", run)
    tag, watched = tag_of(one, run), watched_count(one.store, ["salon"])

    match ends:
        case "delivered":
            assert other.do("mark_delivered", "salon", tag, "out-1")
        case "failed":
            assert other.do("mark_failed", "salon", tag, "out-1", "cloud_131026")
        case "erased":
            other.do("erase", one.conversation)

    assert (watched, watched_count(one.store, ["salon"])) == ({"salon": 1}, {"salon": 0})
    assert len(dead_letters(one.store)) == (ends == "failed")
    assert one.store.client.keys("*answered:*") == []


@pytest.mark.parametrize("ends", ["listed", "deleted", "delivered", "failed", "erased"])
def test_answer_that_the_release_before_watched_is_in_no_index_and_found_all_the_same(
    world: World, ends: str
) -> None:
    """That release found answers by the names of their keys, and named stopped accounts alone."""
    for shard in world.store.keyring.shards:
        world.client.set(f"{shard.prefix}circuit:salon", "cloud_190")
    world.receive(world.message("my secret is X", message_id="D1"))
    world.settle()
    world.client.delete(world.shard.answers(world.anna), world.shard.watched("salon"))
    tag = str(world.tag())

    match ends:
        case "listed":
            (answer,) = watched_answers(world.store, world.anna)
            assert [it.text for it in answer.messages] == ["my secret is X"]
            return
        case "deleted":
            world.receive(world.message("[Deleted]", kind=Kind.DELETED, amends="D1"))
            world.settle()
        case "delivered" | "failed":
            world.receive(DeliveryStatus("salon", "out-1", ends, tag, "cloud_131026"))
        case "erased":
            erase(world.store, world.anna)

    assert len(dead_letters(world.store)) == (ends == "failed")
    kept = [world.client.lrange(key, 0, -1) for key in world.client.keys("*answered:*:*")]
    assert "secret" not in repr(kept)
    assert bool(kept) == (ends == "deleted")


# A release that puts no batch back, beside this one.


FormerLimits: Any = make_dataclass(
    "FormerLimits",
    [(it.name, int, it.default) for it in fields(Limits) if it.name != "supersede_max"],
    frozen=True,
    namespace={
        "encode": Limits.encode,
        "decode": classmethod(Limits.decode.__func__),  # type: ignore[attr-defined]
    },
)


def without_superseding(text: str) -> str:
    """Return a script as the release before had it: it neither reads nor forgets the new field."""
    text = text.replace(", supersede_max = 0}", "}").replace(
        ', "spent", "superseded")', ', "spent")'
    )
    text = re.sub(
        r"(local function is_superseded\(.*?\)\n)", r"\1  if true then return false end\n", text
    )
    opening = r"(local function before_it_was_put_back\(.*?\)\n)"
    return re.sub(opening, r"\1  if true then return 0, 1, 0 end\n", text)


@pytest.fixture
def deploy(client: redis.Redis, clock: FakeClock) -> tuple[Release, Release]:
    """Return the release before this one, and this one."""
    before = Release(
        FormerLimits, without_superseding, Store(client, privacy_key="k", clock=clock), clock
    )
    return before, Release(Limits, str, Store(client, privacy_key="k", clock=clock), clock)


def put_back(this: Release, *, times: int = 1) -> WakeUp:
    """Have this release put a batch back, which was begun twice; return its wake-up."""
    this.write("m1", supersede_max=times)
    this.begin(this.collect())
    run = this.begin(this.reap(6_000).wake_up)
    this.write("m2")
    assert this.do("renew", run) == SUPERSEDED
    assert this.do("supersede", run, draft=True) == 1
    return run.wake_up


def finish(one: Release, run: Run) -> None:
    """Have a release answer a run to its end."""
    assert one.do("checkpoint", run, ["a"], Exchange(run.turn, "a")) == DONE
    sending = one.begin(replace(run.wake_up, attempt=1, stage=Stage.SEND))
    assert one.do("mark_sending", sending, 0, "alert") == GO
    tag = one.store.tag("salon", one.conversation, run.wake_up.batch_id, 0)
    assert one.do("mark_sent", "salon", tag, "out-1")
    assert one.do("finish", sending)


def test_batch_that_is_put_back_is_answered_by_the_release_before(
    deploy: tuple[Release, Release],
) -> None:
    """Which counts its attempts anew."""
    before, this = deploy
    wake_up = put_back(this)

    run = before.begin(before.collect())
    before.write("m3")
    finish(before, run)

    assert (run.wake_up, run.turn) == (replace(wake_up, attempt=1), "m1\nm2")
    assert this.begin(this.collect()).turn == "m3"


def test_field_that_the_release_before_leaves_is_no_other_batchs(
    deploy: tuple[Release, Release],
) -> None:
    before, this = deploy
    put_back(this)
    run = before.begin(before.collect())
    this.write("m3", supersede_max=1)
    finish(before, run)
    assert this.store.client.hget(this.store.shard_of(this.conversation).batches(this.conversation),
                                  "superseded")  # fmt: skip

    again = this.begin(this.collect())
    this.write("m4")

    assert again.wake_up.attempt == 1
    assert this.do("renew", again) == SUPERSEDED
    assert this.do("supersede", again, draft=False) == 1


def test_batch_is_put_back_no_more_often_because_the_release_before_had_it(
    deploy: tuple[Release, Release],
) -> None:
    before, this = deploy
    put_back(this)

    run = before.begin(before.collect())
    this.write("m3")

    assert this.do("renew", run) == DONE
    assert this.do("checkpoint", run, ["a"], Exchange(run.turn, "a")) == DONE


def test_answer_of_the_release_before_is_made_anew_by_this_one(
    deploy: tuple[Release, Release],
) -> None:
    before, this = deploy
    this.write("m1", supersede_max=1)
    run = before.begin(before.collect())
    assert before.do("checkpoint", run, ["a"], Exchange("m1", "a")) == DONE
    before.write("m2")

    sending = this.begin(replace(run.wake_up, attempt=1, stage=Stage.SEND))

    assert sending.superseded
    assert this.do("supersede", sending, draft=True) == 1
    assert this.begin(this.collect()).turn == "m1\nm2"


def test_batch_that_the_release_before_opens_is_answered_as_it_is(
    deploy: tuple[Release, Release],
) -> None:
    before, this = deploy
    before.write("m1")
    run = this.begin(this.collect())
    this.write("m2", supersede_max=3)

    assert this.do("renew", run) == DONE
    assert this.do("checkpoint", run, ["a"], Exchange("m1", "a")) == DONE


def test_part_that_the_release_before_is_sending_leaves_no_batch_to_put_back(
    deploy: tuple[Release, Release],
) -> None:
    before, this = deploy
    this.write("m1", supersede_max=3)
    run = before.begin(before.collect())
    assert before.do("checkpoint", run, ["a"], Exchange("m1", "a")) == DONE
    sending = before.begin(replace(run.wake_up, attempt=1, stage=Stage.SEND))
    assert before.do("mark_sending", sending, 0, "alert") == GO
    assert before.do("fail", sending, "outage", 1_000) == DONE
    before.write("m2")

    again = this.begin(this.reap(1_000).wake_up)

    assert not again.superseded
    assert this.do("supersede", again, draft=True) == 0
    assert this.do("mark_sending", again, 0, "alert") == GO


def test_limits_of_who_has_new_messages_wait_are_those_of_the_release_before() -> None:
    assert (
        Limits().encode()[0] == FormerLimits().encode()[0] == "9000 10 45000 120000 86400000 6000 8"
    )
    assert Limits().encode() == FormerLimits().encode()
    assert "supersede_max" in Limits(supersede_max=1).encode()[1]
