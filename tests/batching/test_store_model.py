"""The store against a plain Python model, on a real server, its invariants after every step."""

import json
from collections import Counter
from typing import Any, ClassVar, get_args

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batching.audit import audit
from batching.inspect import SENT, by_reason, counters, dead_letters
from batching.model import (
    Exchange,
    Expiry,
    InboundMessage,
    Kind,
    Limits,
    Reason,
    Run,
    Stage,
    Timing,
    WakeUp,
)
from batching.rights import erase
from batching.store import DONE, FULL, SUPERSEDED, Outcome, Store
from tests.batching.plain import Plain
from tests.fakes import FakeClock

ANNA, BORIS = "79990000001", "79990000002"
#: Of an account that supersedes, for long.
SUPERSEDING = Limits(max_messages=3, max_attempts=3, max_wait_ms=300_000, supersede_max=2)
LIMITS = (
    Limits(max_messages=3, max_attempts=2),
    SUPERSEDING,
    Limits(idle_ms=1_000, max_wait_ms=3_000, max_messages=4, max_attempts=3, lease_ms=10_000),
)
TIMING = Timing(waiting_max=6, overflow_ms=60_000)
#: How many rounds of examples there may be.
ROUNDS_MAX = 4
#: What the examples must have met together.
EXPECTED = {
    *(f"reap {expiry}" for expiry in Expiry),
    *(f"fail {done}" for done in (0, 1, 2)),
    *(
        f"{step} {done}"
        for step in ("mark_sent", "finish", "dead_letter")
        for done in (True, False)
    ),
    *(f"{step} {answer}" for step in ("renew", "checkpoint") for answer in (0, 1, SUPERSEDED)),
    *(f"mark_sending {go}" for go in (0, 1, SUPERSEDED)),
    *(f"supersede {times}" for times in (0, 1, 2)),
    *(f"overdue {found}" for found in (True, False)),
    *("collect vanished", f"replay {FULL}", "overflow True", "overflow False"),
}
STEPS = (
    *(
        "renew",
        "checkpoint",
        "supersede",
        "mark_sending",
        "mark_sent",
        "finish",
        "suppress",
        "dead_letter",
    ),
    *get_args(Outcome),
)
TIMES = st.sampled_from([1, 1_000, 8_999, 9_000, 10_000, 30_000, 60_000])
customers, limits_of_either = st.sampled_from([ANNA, BORIS]), st.sampled_from(LIMITS)
policies = st.sampled_from(["alert", "resend"])


class LedgerMachine(RuleBasedStateMachine):
    """Steps in any order, by anybody: fresh and stale wake-ups, live workers and zombies."""

    client: Any
    #: What occurred in all examples: a machine that never gets there proves nothing.
    occurred: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.clock = FakeClock()
        self.store = Store(self.client, privacy_key="k", timing=TIMING, clock=self.clock)
        self.shard = self.store.keyring.shards[0]
        self.plain = Plain(TIMING, self.clock)
        self.written = 0
        self.wake_ups: list[WakeUp] = []
        self.runs: list[Run] = []

    def both(self, verb: str, *args: object, **options: object) -> Any:
        """Take a step of the store and of the model; return what both say of it."""
        got, expected = (getattr(it, verb)(*args, **options) for it in (self.store, self.plain))
        assert got == expected, verb
        self.occurred[f"{verb} {got if isinstance(got, int) else bool(got)}"] += 1
        return got

    def _id(self, customer: str) -> str:
        return self.store.conversation_id("salon", customer)

    def _append(self, customer: str, number: int, limits: Limits) -> None:
        message_id = f"m{number}"
        message = InboundMessage("salon", customer, message_id, Kind.TEXT, f"text {message_id}")
        self.both("append", self._id(customer), message, limits)
        # Asked for whatever became of it: it finds out by itself whether there is room.
        self.both("overflow", self._id(customer), "salon")

    @rule(customer=customers, limits=limits_of_either)
    def write(self, customer: str, limits: Limits) -> None:
        """Accept a new message."""
        self.written += 1
        self._append(customer, self.written, limits)

    @precondition(lambda self: self.written)
    @rule(customer=customers, data=st.data())
    def deliver_again(self, customer: str, data: st.DataObject) -> None:
        """Deliver a message that was written before, perhaps accepted, perhaps refused."""
        self._append(customer, data.draw(st.integers(1, self.written)), LIMITS[0])

    @rule(ms=TIMES)
    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.clock.advance_ms(ms)

    @rule(limit=st.integers(1, 3))
    def collect(self, limit: int) -> None:
        """Collect what is due."""
        taken = self.store.collect(self.shard, limit=limit)
        found = [batch for batch in taken if batch.batch_id]
        assert found == self.plain.collect(self.shard, limit=limit)
        self.occurred["collect vanished"] += len(taken) - len(found)
        self.wake_ups += [batch.wake_up for batch in found]

    @rule(limit=st.integers(1, 3))
    def reap(self, limit: int) -> None:
        """See to expired leases and to what waits too long, as the flow would."""
        reaped, late = self.store.reap(self.shard, limit=limit)
        found = [item for item in reaped if item.expiry is not Expiry.VANISHED]
        assert (found, late) == self.plain.reap(self.shard, limit=limit)
        self.occurred[f"overdue {bool(late)}"] += 1
        for item in reaped:
            self.occurred[f"reap {item.expiry}"] += 1
            match item.expiry:
                case Expiry.WAKE_UP:
                    self.wake_ups.append(item.wake_up)
                case Expiry.SPENT:
                    self.both("dead_letter", item, "poison", "test")
                case Expiry.UNRESOLVED if item.policy == "resend":
                    self.both("fail", item, "retry", 0)
                case Expiry.UNRESOLVED:
                    self.both("dead_letter", item, "ambiguous", "test")

    @rule(customer=customers, written=st.booleans())
    def vanish(self, customer: str, *, written: bool) -> None:
        """Lose what is known of a customer's batches; a flush finds it, and keeps the messages."""
        if written:
            self.write(customer, LIMITS[0])
        c = self._id(customer)
        self.client.delete(self.shard.batches(c))
        self.plain.lose(c)
        self.wait(120_000)
        self.collect(9)
        self.reap(9)
        self.both("recover_orphan", c)

    @precondition(lambda self: self.wake_ups)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Begin by any wake-up that ever was enqueued, rather by the newest."""
        self._begin(data.draw(st.sampled_from(self.wake_ups[::-1])))

    def _begin(self, wake_up: WakeUp | None) -> Run | None:
        run: Run | None = self.both("begin", wake_up) if wake_up else None
        self.runs += [run] if run else []
        return run

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), step=st.sampled_from(STEPS), policy=policies)
    def act(self, data: st.DataObject, step: str, policy: str) -> None:
        """Take any step of any run, alive or long replaced."""
        self._act(data.draw(st.sampled_from(self.runs[::-1])), step, policy)

    def _act(self, run: Run, step: str, policy: str = "alert") -> None:
        c, batch_id = run.wake_up.conversation_id, run.wake_up.batch_id
        match step:
            case "checkpoint":
                kept = self.both("checkpoint", run, ("a", "b"), Exchange(run.turn, "ab"))
                if kept == DONE:
                    self.wake_ups.append(WakeUp(c, batch_id, 1, Stage.SEND))
            case "mark_sending":
                for part in (0, 1):
                    self.both("mark_sending", run, part, policy)
            case "mark_sent":
                for part in (0, 1):
                    tag = self.store.tag(run.account_id, c, batch_id, part)
                    self.both("mark_sent", run.account_id, tag, f"{run.wake_up}{part}")
            case "suppress":
                self.both("finish", run, suppressed="takeover")
            case "dead_letter":
                self.both("dead_letter", run, "fatal_model", "test")
            case "renew" | "finish" | "supersede":
                self.both(step, run, **{"draft": True} if step == "supersede" else {})
            case _:
                self.both("fail", run, step, 5_000)

    def _start(self, customer: str, limits: Limits) -> WakeUp | None:
        """Bring a new batch of the customer in flight; None if another is."""
        c = self._id(customer)
        if c in self.plain.flight:
            return None
        self.write(customer, limits)
        self.wait(60_000)
        self.collect(3)
        return self._next(c)

    def _next(self, c: str) -> WakeUp | None:
        """Return the wake-up that the batch in flight waits for, None where there is none."""
        return self.plain.flight[c].wake_up if c in self.plain.flight else None

    @rule(
        customer=customers,
        until=st.sampled_from(["running", "claimed", "sending", "ambiguous", "end"]),
    )
    def drive(self, customer: str, until: str) -> None:
        """Jump to a deep state: random steps seldom get there by themselves."""
        c = self._id(customer)
        run = self._begin(self._next(c) or self._start(customer, LIMITS[0]))
        if run is None or until == "running":
            return
        if run.wake_up.stage is Stage.GENERATE:
            self._act(run, "checkpoint")
            if until == "claimed":
                return
            run = self._begin(self.wake_ups[-1])
            if run is None:  # Something new waits behind it.
                return
        self._act(run, "mark_sending")
        if until == "ambiguous":
            self._act(run, "ambiguous")
        if until == "end":
            for step in ("mark_sent", "mark_sending", "mark_sent", "finish"):
                self._act(run, step)

    @rule(customer=customers, moment=st.sampled_from(["running", "claimed", "sending", "late"]))
    def write_again(self, customer: str, moment: str) -> None:
        """Write while a batch is in flight that is to be made anew, as often as it may be."""
        c, wake_up = self._id(customer), self._start(customer, SUPERSEDING)
        for _ in range(3):
            run = self._begin(wake_up)
            if run is None:
                return
            if moment in {"claimed", "sending"}:
                self._act(run, "checkpoint")
                run = self._begin(self._next(c)) if moment == "sending" else run
            self.write(customer, LIMITS[0])
            if moment == "late":
                self.wait(10_000)
                self.reap(3)
            for step in ("renew", "checkpoint", "mark_sending", "supersede"):
                self._act(run or self.runs[-1], step)
            self.wait(9_000)
            self.collect(3)
            wake_up = self._next(c)

    @rule(customer=customers, limits=limits_of_either, dies=st.booleans())
    def spend_every_attempt(self, customer: str, limits: Limits, *, dies: bool) -> None:
        """Begin and die, or fail, until no attempt is left; then dead-letter the batch."""
        wake_up = self._start(customer, limits)
        for _ in range(limits.max_attempts):
            run = self._begin(wake_up)
            if run is not None:
                for step in () if dies else ("retry", "dead_letter"):
                    self._act(run, step)
                self.wait(30_000)
                self.reap(3)
                wake_up = self._next(run.wake_up.conversation_id)

    @rule(customer=customers, policy=policies, status=st.sampled_from(["never", "in time", "late"]))
    def die_while_sending(self, customer: str, policy: str, status: str) -> None:
        """Leave a part in doubt; its status comes before the doubt is given up, after, or never."""
        run = self._begin(self._start(customer, LIMITS[0]))
        if run is None:
            return
        self._act(run, "checkpoint")
        sending = self._begin(self.wake_ups[-1])
        assert sending
        self._act(sending, "mark_sending", policy)
        for pause_ms, moment in ((30_000, "in time"), (60_000, "late"), (60_000, "")):
            self.wait(pause_ms)
            self.reap(3)
            if status == moment:
                self._act(sending, "mark_sent")

    @precondition(lambda self: self.plain.dead)
    @rule(data=st.data(), verb=st.sampled_from(["replay", "replay full", "discard"]))
    def decide(self, data: st.DataObject, verb: str) -> None:
        """Let a person replay or discard a dead letter, perhaps of a customer who wrote a lot."""
        letter = self.plain.dead[data.draw(st.sampled_from(sorted(self.plain.dead)))]
        c, batch_id = letter.conversation_id, letter.batch_id
        if verb == "discard":
            self.both("discard", c, batch_id, Reason.DISCARDED)
            return
        if verb == "replay full":
            for _ in range(TIMING.waiting_max):
                self.write(ANNA if c == self._id(ANNA) else BORIS, LIMITS[0])
        self.both("replay", c, batch_id, "salon", LIMITS[0])

    @rule(customer=customers)
    def erase(self, customer: str) -> None:
        """Forget a customer, whatever is under way."""
        c = self._id(customer)
        assert erase(self.store, c).messages == self.plain.erase(c)

    @invariant()
    def content_is_the_models(self) -> None:
        """Every message is where the model has it, in order, and nowhere else."""
        for c in (self._id(ANNA), self._id(BORIS)):
            for key, batches in (
                (self.shard.open_messages(c), self.plain.open),
                (self.shard.flight_messages(c), self.plain.flight),
            ):
                ids = [json.loads(raw)[0] for raw in self.client.lrange(key, 0, -1)]
                messages = batches[c].messages if c in batches else []
                assert ids == [message.message_id for message in messages]
            flight = self.plain.flight.get(c)
            kept = self.client.hmget(self.shard.batches(c), "state", "attempt")
            expected = [flight.state, str(flight.attempt)] if flight else [None, None]
            assert [value and value.decode() for value in kept] == expected
        assert {
            letter.batch_id: [m.message_id for m in letter.messages]
            for letter in dead_letters(self.store)
        } == {
            letter.batch_id: [m.message_id for m in letter.messages]
            for letter in self.plain.dead.values()
        }

    def _times(self, index: str) -> dict[str, int]:
        pairs = self.client.zrange(index, 0, -1, withscores=True)
        return {member.decode(): int(at_ms) for member, at_ms in pairs}

    @invariant()
    def a_conversation_is_in_exactly_one_index(self) -> None:
        """What has messages is due or leased, with the model's times; the counters add up."""
        plain = self.plain
        assert self._times(self.shard.due) == plain.due
        assert self._times(self.shard.lease) == {c: b.until_ms for c, b in plain.flight.items()}
        overdue = {":".join(names): at for names, at in plain.overdue.items()}
        assert self._times(self.shard.overdue) == overdue
        assert self.client.xlen(self.shard.alerts) == plain.alerts
        (counted,) = counters(self.store)
        assert (counted.holds, counted.lost) == (True, 0)
        ended = {name: counted.named[name] for name in ("accepted", "answered", "suppressed")}
        assert +Counter(ended) == +plain.counts
        kinds = (*SENT, "drafts_discarded")
        sent = {kind: by_reason(counted.named, kind).get("salon", 0) for kind in kinds}
        assert +Counter(sent) == +plain.sent
        # No content expires, either.
        assert audit(self.store).problems == ()


@pytest.mark.long
def test_store_agrees_with_a_plain_model_whatever_the_order_of_steps(client: redis.Redis) -> None:
    LedgerMachine.client = client
    case = LedgerMachine.TestCase
    case.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
    # Chance decides what a round meets: one that missed something rare is followed by more.
    for _ in range(ROUNDS_MAX):
        case().runTest()
        if (+LedgerMachine.occurred).keys() >= EXPECTED:
            break

    assert (+LedgerMachine.occurred).keys() >= EXPECTED
