"""The ledger once more, in plain Python, as naive as can be: what the scripts must agree with."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from batching.keys import Shard
from batching.model import (
    Collected,
    Exchange,
    Expiry,
    InboundMessage,
    Limits,
    Overdue,
    Reaped,
    Receipt,
    Run,
    Stage,
    Status,
    Tag,
    Timing,
    WakeUp,
)
from batching.store import DONE, FULL, GO, GONE, SPENT, STALE, SUPERSEDED, Held


@dataclass
class Batch:
    """Messages that are answered together: open, in flight, or as they died."""

    conversation_id: str
    batch_id: str
    limits: Limits
    first_ms: int
    last_ms: int
    messages: list[InboundMessage] = field(default_factory=list)
    until_ms: int = 0
    state: str = ""
    stage: Stage = Stage.GENERATE
    attempt: int = 1
    wake_ups: int = 0
    token: str = ""
    late: str = ""
    parts: tuple[str, ...] = ()
    part: int = 0
    policy: str = ""
    resent: bool = False
    heard_ms: int = 0
    tries: int = 0
    superseded: int = 0

    @property
    def due_ms(self) -> int:
        if len(self.messages) >= self.limits.max_messages:
            return self.last_ms
        return min(self.last_ms + self.limits.idle_ms, self.first_ms + self.limits.max_wait_ms)

    @property
    def why(self) -> str:
        return "size" if len(self.messages) >= self.limits.max_messages else "idle"

    @property
    def is_spent(self) -> bool:
        all_left = self.stage is Stage.SEND and self.part == len(self.parts)
        return self.attempt >= self.limits.max_attempts and not all_left

    @property
    def wake_up(self) -> WakeUp:
        return WakeUp(self.conversation_id, self.batch_id, self.attempt, self.stage)


@dataclass
class Plain:
    """One shard of the salon's. Every method is that of the store: the same in, the same out."""

    timing: Timing
    clock: Callable[[], int]
    seq: int = 0
    flushed_ms: int | None = None
    open: dict[str, Batch] = field(default_factory=dict)
    flight: dict[str, Batch] = field(default_factory=dict)
    dead: dict[str, Batch] = field(default_factory=dict)
    #: What lost its record, and what is missing of it, by conversation.
    lost: dict[str, dict[str, Batch]] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    #: When a person is alerted that a batch waits; alerted, or ended, it is not here any more.
    overdue: dict[tuple[str, str], int] = field(default_factory=dict)
    #: Conversations whose overflow a person was alerted to.
    overflowed: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    alerts: int = 0

    def _number(self) -> int:
        self.seq += 1
        return self.seq

    def _held(self, c: str) -> int:
        return sum(len(batches[c].messages) for batches in (self.open, self.flight) if c in batches)

    def _opened(self, c: str, limits: Limits) -> Batch:
        if c not in self.open:
            now_ms = self.clock()
            self.open[c] = Batch(c, f"b{self._number()}", limits, now_ms, now_ms)
        return self.open[c]

    def _ended(self, batch: Batch) -> None:
        c = batch.conversation_id
        del self.flight[c]
        self.overdue.pop((c, batch.batch_id), None)
        if c in self.open:
            self.due[c] = self.open[c].due_ms

    def _holder(self, held: Held, *states: str) -> Batch | None:
        batch = self.flight.get(held.wake_up.conversation_id)
        good = batch and batch.token == held.token and batch.state in states
        return batch if good else None

    def _superseded(self, batch: Batch, *, is_told: bool = False) -> bool:
        """Return whether the batch in flight is to be put back."""
        if batch.conversation_id not in self.open or batch.policy:
            return False
        is_in_time = is_told or self.clock() < batch.first_ms + batch.limits.max_wait_ms
        return is_in_time and batch.superseded < batch.limits.supersede_max

    def _late(self, run: Run) -> Batch | None:
        """Return the batch of a run whose lease ran out, and that nobody has begun since."""
        found = self.flight.get(run.wake_up.conversation_id)
        return found if found and found.state == "claimed" and found.late == run.token else None

    def supersede(self, run: Run, *, draft: bool) -> int:
        batch = self._holder(run, "running") or self._late(run)
        if batch is None or not self._superseded(batch, is_told=True):
            return 0
        c = batch.conversation_id
        newer = self.open.pop(c)
        self.overdue.pop((c, newer.batch_id), None)
        del self.flight[c]
        # It begins anew, but for its name, its age, its limits and what was tried.
        self.open[c] = Batch(
            *(c, batch.batch_id, batch.limits, batch.first_ms, newer.last_ms),
            [*batch.messages, *newer.messages],
            heard_ms=max(batch.heard_ms, newer.heard_ms),
            attempt=batch.attempt,
            tries=batch.tries,
            superseded=batch.superseded + 1,
        )
        self.due[c] = self.open[c].due_ms
        self.sent["drafts_discarded"] += draft
        return self.open[c].superseded

    def append(self, c: str, message: InboundMessage, limits: Limits) -> Receipt:
        now_ms = self.clock()
        lag_ms = -1 if self.flushed_ms is None else now_ms - self.flushed_ms
        if (c, message.message_id) in self.seen:
            return Receipt(Status.DUPLICATE, c, flusher_lag_ms=lag_ms)
        if self._held(c) >= self.timing.waiting_max:
            held = len(self.open[c].messages) if c in self.open else 0
            return Receipt(Status.FULL, c, count=held, flusher_lag_ms=lag_ms)
        self.seen.add((c, message.message_id))
        self.counts["accepted"] += 1
        batch = self._opened(c, limits)
        batch.messages.append(message)
        batch.last_ms = batch.heard_ms = now_ms
        if len(batch.messages) == 1:
            self.overdue[c, batch.batch_id] = now_ms + batch.limits.overdue_ms
        if c not in self.flight:
            self.due[c] = batch.due_ms
        count = len(batch.messages)
        return Receipt(Status.ACCEPTED, c, batch.batch_id, count, batch.due_ms, lag_ms)

    def overflow(self, c: str, _: str) -> bool:
        batches = [held[c] for held in (self.flight, self.open) if c in held]
        oldest_ms = batches[0].first_ms if batches else self.clock()
        waits_ms = self.clock() - oldest_ms
        if self._held(c) < self.timing.waiting_max or waits_ms < self.timing.overflow_ms:
            return False
        self.counts.update(accepted=1, suppressed=1)
        # The pause between alerts is the server's hour: no example lasts as long.
        self.alerts += c not in self.overflowed
        self.overflowed.add(c)
        return True

    def collect(self, _shard: Shard, *, limit: int) -> list[Collected]:
        now_ms = self.flushed_ms = self.clock()
        taken = []
        for _, c in sorted((at, c) for c, at in self.due.items() if at <= now_ms)[:limit]:
            batch = self.flight[c] = self.open.pop(c)
            del self.due[c]
            batch.state, batch.until_ms = "claimed", now_ms + self.timing.wake_up_ms
            count, waited_ms = len(batch.messages), now_ms - batch.first_ms
            is_old = batch.why == "idle" and waited_ms >= batch.limits.max_wait_ms
            why = "age" if is_old else batch.why
            quiet_ms, attempt = now_ms - batch.last_ms, batch.attempt
            found = (c, "salon", batch.batch_id, count, waited_ms, why, quiet_ms, attempt)
            taken.append(Collected(*found))
        return taken

    def reap(self, _shard: Shard, *, limit: int) -> tuple[list[Reaped], list[Overdue]]:
        now_ms = self.clock()
        expired = sorted((b.until_ms, c) for c, b in self.flight.items() if b.until_ms <= now_ms)
        reaped = [self._expire(self.flight[c]) for _, c in expired[:limit]]
        late = sorted((at, *names) for names, at in self.overdue.items() if at <= now_ms)[:limit]
        for _, *names in late:
            del self.overdue[tuple(names)]  # type: ignore[arg-type]
        self.alerts += len(late)
        known = {*self.open, *self.flight}
        return reaped, [Overdue(c, batch, "salon" if c in known else "") for _, c, batch in late]

    def _expire(self, batch: Batch) -> Reaped:
        timing = self.timing
        expiry, wait_ms, wake_ups = Expiry.WAKE_UP, timing.wake_up_ms, 0
        match batch.state:
            case "claimed":
                wake_ups = batch.wake_ups + 1
                wait_ms = min(wait_ms * 2**wake_ups, timing.wake_up_max_ms)
            case "running" if batch.is_spent:
                expiry, batch.token = Expiry.SPENT, str(self._number())
            case "running":
                batch.attempt += 1
            case "sending":
                expiry, batch.state, wait_ms = Expiry.AMBIGUOUS, "ambiguous", timing.ambiguous_ms
            case "ambiguous":
                expiry = Expiry.UNRESOLVED
        if expiry is Expiry.WAKE_UP:
            batch.late = batch.token or batch.late
            batch.state, batch.wake_ups, batch.token = "claimed", wake_ups, ""
        batch.until_ms = self.clock() + wait_ms
        return Reaped(batch.wake_up, "salon", expiry, batch.token, batch.policy)

    def begin(self, wake_up: WakeUp) -> Run | None:
        batch = self.flight.get(wake_up.conversation_id)
        if batch is None or batch.state != "claimed" or batch.wake_up != wake_up:
            return None
        now_ms, messages = self.clock(), tuple(batch.messages)
        batch.token, batch.state, batch.late = str(self._number()), "running", ""
        batch.until_ms = now_ms + batch.limits.lease_ms
        return Run(
            *(wake_up, batch.token, "salon", now_ms, batch.first_ms, batch.limits),
            *(len(messages), messages, batch.parts, batch.part),
            heard_ms=batch.heard_ms,
            tries=batch.tries,
            address=messages[-1].customer,
            superseded=self._superseded(batch),
        )

    def renew(self, run: Run) -> int:
        batch = self._holder(run, "running", "sending")
        if batch is None:
            return STALE
        batch.until_ms = self.clock() + batch.limits.lease_ms
        asks = batch.stage is Stage.GENERATE
        return SUPERSEDED if asks and self._superseded(batch) else DONE

    def checkpoint(self, run: Run, parts: Sequence[str], _: Exchange) -> int:
        batch = self._holder(run, "running") or self._late(run)
        if batch is None or batch.stage is not Stage.GENERATE:
            return STALE
        if self._superseded(batch):
            return SUPERSEDED
        batch.state, batch.stage, batch.attempt, batch.wake_ups = "claimed", Stage.SEND, 1, 0
        batch.token, batch.late, batch.parts, batch.part = "", "", tuple(parts), 0
        batch.tries = 0
        batch.until_ms = self.clock() + self.timing.wake_up_ms
        return DONE

    def mark_sending(self, run: Run, part: int, policy: str) -> int:
        batch = self._holder(run, "running", "sending")
        if batch is None or not part == batch.part < len(batch.parts):
            return STALE
        if self._superseded(batch):
            return SUPERSEDED
        batch.state, batch.policy = "sending", "alert" if batch.resent else policy
        batch.until_ms = self.clock() + batch.limits.lease_ms
        return GO

    def mark_sent(self, _account_id: str, tag: Tag, _provider_id: str) -> bool:
        batch = self.flight.get(tag.conversation_id)
        is_awaited = batch and batch.stage is Stage.SEND and batch.batch_id == tag.batch_id
        if batch and is_awaited and batch.part == tag.part:
            batch.part, batch.resent = tag.part + 1, False
            self._count_sent(batch)
            if batch.state == "sending":
                batch.state = "running"
            elif batch.state == "ambiguous":
                batch.state, batch.until_ms, batch.token = "waiting", self.clock(), ""
            return True
        letter = self.dead.get(tag.batch_id)
        if letter and letter.part == tag.part == len(letter.parts) - 1:
            letter.part = tag.part + 1
            self._count_sent(letter)
            self.counts["answered"] += len(self.dead.pop(tag.batch_id).messages)
            return True
        return False

    def _count_sent(self, batch: Batch) -> None:
        self.sent["parts_sent"] += 1
        if batch.part == len(batch.parts):
            self.sent.update(replies_sent=1, calls_saved=len(batch.messages) - 1)

    def finish(self, run: Run, *, suppressed: str = "") -> bool:
        batch = self._holder(run, "running")
        if batch is None:
            return False
        if not suppressed and (not batch.parts or batch.part < len(batch.parts)):
            return False
        self.counts["suppressed" if suppressed else "answered"] += len(batch.messages)
        self._ended(batch)
        return True

    def fail(self, held: Held, outcome: str, wait_ms: int) -> int:
        batch = self._holder(held, "running", "sending", "ambiguous")
        if batch is None:
            return STALE
        if outcome == "ambiguous" and batch.state == "ambiguous":
            return DONE
        if outcome == "ambiguous" and batch.state == "sending":
            batch.state = "ambiguous"
        else:
            if outcome == "outage":
                batch.tries += 1
            elif outcome != "defer":
                if batch.is_spent or (outcome == "unusable" and batch.attempt >= 3):
                    return SPENT
                batch.attempt += 1
            batch.resent = batch.resent or batch.state == "ambiguous"
            batch.state, batch.token = "waiting", ""
        batch.until_ms = self.clock() + wait_ms
        return DONE

    def dead_letter(self, held: Held, _: str, __: str) -> tuple[int, int] | None:
        names = held.wake_up.batch_id, held.token
        batch = self.flight.get(held.wake_up.conversation_id)
        if batch is None or (batch.batch_id, batch.token) != names:
            return None
        self.dead[batch.batch_id] = batch
        self.alerts += 1
        self._ended(batch)
        return len(batch.messages), 0

    def lose(self, c: str) -> None:
        """Have the record of a conversation's batches vanish; their messages stay."""
        batches = {
            "flight_missing": self.flight.pop(c, None),
            "batch_missing": self.open.pop(c, None),
        }
        self.lost[c] = {detail: batch for detail, batch in batches.items() if batch}
        self.due.pop(c, None)

    def recover_orphan(self, c: str) -> list[tuple[str, str, int]]:
        saved = []
        for detail, batch in self.lost.pop(c, {}).items():
            batch_id, messages = f"b{self._number()}", batch.messages
            self.dead[batch_id] = Batch(c, batch_id, batch.limits, 0, 0, messages)
            saved.append((batch_id, detail, len(messages)))
        self.alerts += len(saved)
        return saved

    def replay(self, c: str, batch_id: str, _: str, limits: Limits) -> int:
        if batch_id not in self.dead:
            return GONE
        messages, held = self.dead[batch_id].messages, self._held(c)
        if held and held + len(messages) > self.timing.waiting_max:
            return FULL
        del self.dead[batch_id]
        is_new = c not in self.open
        batch = self._opened(c, limits)
        batch.messages[:0] = messages
        if is_new:
            batch.heard_ms = self.clock()
            self.overdue[c, batch.batch_id] = self.clock() + batch.limits.overdue_ms
        if c not in self.flight:
            self.due[c] = self.clock()
        return len(messages)

    def discard(self, _: str, batch_id: str, __: str) -> int:
        letter = self.dead.pop(batch_id, None)
        self.counts["suppressed"] += len(letter.messages) if letter else 0
        return len(letter.messages) if letter else GONE

    def erase(self, c: str) -> int:
        """Forget a conversation; return its messages."""
        before = self.counts["suppressed"]
        for batch_id in [b for b, letter in self.dead.items() if letter.conversation_id == c]:
            self.discard(c, batch_id, "erased")
        for batch in (self.open.pop(c, None), self.flight.pop(c, None)):
            self.counts["suppressed"] += len(batch.messages) if batch else 0
            self.overdue.pop((c, batch.batch_id if batch else ""), None)
        self.due.pop(c, None)
        self.seen = {pair for pair in self.seen if pair[0] != c}
        return self.counts["suppressed"] - before
