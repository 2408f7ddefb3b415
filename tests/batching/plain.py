"""The ledger once more, in plain Python, as naive as can be: what the scripts must agree with."""

from collections import Counter
from dataclasses import dataclass, field, replace

from batching.model import Expiry, Limits, Stage, Status, Timing, WakeUp


@dataclass
class Open:
    """Messages that still collect."""

    batch_id: str
    first_ms: int
    limits: Limits
    last_ms: int = 0
    ids: list[str] = field(default_factory=list)
    replayed_ms: int | None = None

    @property
    def due_ms(self) -> int:
        """When the batch is to be flushed: at once if a person replayed it."""
        if self.replayed_ms is not None:
            return self.replayed_ms
        if len(self.ids) >= self.limits.max_messages:
            return self.last_ms
        return min(self.last_ms + self.limits.idle_ms, self.first_ms + self.limits.max_wait_ms)


@dataclass
class Flight:
    """A batch that somebody is to answer."""

    batch_id: str
    first_ms: int
    limits: Limits
    ids: list[str]
    lease_ms: int
    state: str = "claimed"
    stage: Stage = Stage.GENERATE
    attempt: int = 1
    wake_ups: int = 0
    token: str = ""
    parts: int = 0
    part: int = 0
    policy: str = ""
    resent: bool = False

    @property
    def all_left(self) -> bool:
        """Whether nothing of the reply is still to be sent."""
        return self.stage is Stage.SEND and self.part == self.parts


@dataclass
class Plain:
    """One shard. Every method mirrors a script and returns what the store's method does."""

    timing: Timing
    now_ms: int
    seq: int = 0
    opened: dict[str, Open] = field(default_factory=dict)
    flying: dict[str, Flight] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    dead: dict[str, tuple[str, str, list[str], Flight]] = field(default_factory=dict)
    #: When a person is alerted that a batch waits; alerted, or ended, it is not here any more.
    overdue: dict[tuple[str, str], int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    alerts: int = 0

    def append(self, c: str, message_id: str, limits: Limits) -> Status:
        if (c, message_id) in self.seen:
            return Status.DUPLICATE
        if self._held(c) >= self.timing.waiting_max:
            return Status.FULL
        self.seen.add((c, message_id))
        self.counts["accepted"] += 1
        if c not in self.opened:
            self.seq += 1
            self.opened[c] = Open(f"b{self.seq}", self.now_ms, limits)
            self.overdue[c, f"b{self.seq}"] = self.now_ms + limits.overdue_ms
        batch = self.opened[c]
        batch.ids.append(message_id)
        batch.replayed_ms = None
        batch.last_ms = self.now_ms
        return Status.ACCEPTED

    def _held(self, c: str) -> int:
        batches = (self.opened.get(c), self.flying.get(c))
        return sum(len(batch.ids) for batch in batches if batch)

    def due(self) -> dict[str, int]:
        return {c: batch.due_ms for c, batch in self.opened.items() if c not in self.flying}

    def collect(self, limit: int) -> set[tuple[str, str, int]]:
        ready = sorted((at, c) for c, at in self.due().items() if at <= self.now_ms)[:limit]
        taken = set()
        for _, c in ready:
            batch = self.opened.pop(c)
            lease_ms = self.now_ms + self.timing.wake_up_ms
            self.flying[c] = Flight(
                batch.batch_id, batch.first_ms, batch.limits, batch.ids, lease_ms
            )
            taken.add((c, batch.batch_id, len(batch.ids)))
        return taken

    def reap(self, limit: int) -> set[tuple[WakeUp, Expiry, str]]:
        expired = sorted(
            (f.lease_ms, c) for c, f in self.flying.items() if f.lease_ms <= self.now_ms
        )
        found = set()
        for _, c in expired[:limit]:
            flight = self.flying[c]
            outcome, wait_ms, wake_ups = Expiry.WAKE_UP, self.timing.wake_up_ms, 0
            if flight.state == "claimed":
                wake_ups = flight.wake_ups + 1
                wait_ms = min(self.timing.wake_up_ms * 2**wake_ups, self.timing.wake_up_max_ms)
            elif flight.state == "running":
                if flight.attempt >= flight.limits.max_attempts and not flight.all_left:
                    outcome = Expiry.SPENT
                    self.seq += 1
                    flight.token = str(self.seq)
                else:
                    flight.attempt += 1
            elif flight.state == "sending":
                flight.state, outcome, wait_ms = (
                    "ambiguous",
                    Expiry.AMBIGUOUS,
                    self.timing.ambiguous_ms,
                )
            elif flight.state == "ambiguous":
                outcome = Expiry.UNRESOLVED
            if outcome is Expiry.WAKE_UP:
                flight.state, flight.wake_ups, flight.token = "claimed", wake_ups, ""
            flight.lease_ms = self.now_ms + wait_ms
            wake_up = WakeUp(c, flight.batch_id, flight.attempt, flight.stage)
            found.add((wake_up, outcome, flight.token))
        return found

    def alert_overdue(self, limit: int) -> set[tuple[str, str]]:
        late = sorted((at, *names) for names, at in self.overdue.items() if at <= self.now_ms)
        alerted = {(c, batch_id) for _, c, batch_id in late[:limit]}
        for names in alerted:
            del self.overdue[names]
        self.alerts += len(alerted)
        return alerted

    def begin(self, wake_up: WakeUp) -> Flight | None:
        flight = self.flying.get(wake_up.conversation_id)
        if flight is None or flight.state != "claimed":
            return None
        if (flight.batch_id, flight.attempt, flight.stage) != (
            wake_up.batch_id,
            wake_up.attempt,
            wake_up.stage,
        ):
            return None
        self.seq += 1
        flight.token, flight.state = str(self.seq), "running"
        flight.lease_ms = self.now_ms + flight.limits.lease_ms
        return replace(flight, ids=list(flight.ids))

    def _run(self, c: str, token: str, *states: str) -> Flight | None:
        flight = self.flying.get(c)
        good = flight is not None and flight.token == token and flight.state in states
        return flight if good else None

    def renew(self, c: str, token: str) -> bool:
        flight = self._run(c, token, "running", "sending")
        if flight:
            flight.lease_ms = self.now_ms + flight.limits.lease_ms
        return flight is not None

    def checkpoint(self, c: str, token: str, parts: int) -> bool:
        flight = self._run(c, token, "running")
        if flight is None or flight.stage is not Stage.GENERATE:
            return False
        flight.state, flight.stage, flight.attempt, flight.wake_ups = "claimed", Stage.SEND, 1, 0
        flight.token, flight.parts, flight.part = "", parts, 0
        flight.lease_ms = self.now_ms + self.timing.wake_up_ms
        return True

    def mark_sending(self, c: str, token: str, part: int, policy: str) -> int:
        flight = self._run(c, token, "running", "sending")
        if flight is None or flight.stage is not Stage.SEND:
            return 0
        if flight.part != part or part >= flight.parts:
            return 0
        flight.state, flight.policy = "sending", "alert" if flight.resent else policy
        flight.lease_ms = self.now_ms + flight.limits.lease_ms
        return 1

    def mark_sent(self, c: str, batch_id: str, part: int) -> bool:
        flight = self.flying.get(c)
        if flight and (flight.batch_id, flight.stage, flight.part) == (batch_id, Stage.SEND, part):
            flight.part, flight.resent = part + 1, False
            if flight.state == "sending":
                flight.state = "running"
            elif flight.state == "ambiguous":
                flight.state, flight.lease_ms, flight.token = "waiting", self.now_ms, ""
            return True
        if batch_id in self.dead:
            _, _, ids, then = self.dead[batch_id]
            if then.stage is Stage.SEND and then.part == part == then.parts - 1:
                del self.dead[batch_id]
                self.counts["answered"] += len(ids)
                return True
        return False

    def finish(self, c: str, token: str, suppressed: str) -> bool:
        flight = self._run(c, token, "running")
        if flight is None:
            return False
        if not suppressed and (flight.stage is not Stage.SEND or flight.part < flight.parts):
            return False
        self.counts["suppressed" if suppressed else "answered"] += len(flight.ids)
        self.overdue.pop((c, flight.batch_id), None)
        del self.flying[c]
        return True

    def fail(self, c: str, token: str, outcome: str, wait_ms: int) -> int:
        flight = self._run(c, token, "running", "sending", "ambiguous")
        if flight is None:
            return 0
        if outcome == "ambiguous" and flight.state == "ambiguous":
            return 1
        if outcome == "ambiguous" and flight.state == "sending":
            flight.state = "ambiguous"
        else:
            if outcome != "defer":
                if flight.attempt >= flight.limits.max_attempts and not flight.all_left:
                    return 2
                flight.attempt += 1
            flight.resent = flight.resent or flight.state == "ambiguous"
            flight.state, flight.token = "waiting", ""
        flight.lease_ms = self.now_ms + wait_ms
        return 1

    def dead_letter(self, c: str, batch_id: str, token: str, reason: str) -> bool:
        flight = self.flying.get(c)
        if flight is None or (flight.batch_id, flight.token) != (batch_id, token):
            return False
        self.dead[batch_id] = (c, reason, flight.ids, flight)
        self.alerts += 1
        self.overdue.pop((c, batch_id), None)
        del self.flying[c]
        return True

    def lose(self, c: str) -> list[Flight | Open]:
        """Forget a conversation's batches; return them, that in flight first."""
        return [part for part in (self.flying.pop(c, None), self.opened.pop(c, None)) if part]

    def recover_orphan(self, c: str, lost: list[Flight | Open]) -> None:
        for part in lost:
            self.seq += 1
            then = Flight("", part.first_ms, part.limits, part.ids, 0)
            self.dead[f"b{self.seq}"] = (c, "vanished", part.ids, then)
        self.alerts += len(lost)

    def replay(self, batch_id: str, limits: Limits) -> int:
        c, _, ids, _ = self.dead[batch_id]
        if self._held(c) and self._held(c) + len(ids) > self.timing.waiting_max:
            return -2
        del self.dead[batch_id]
        if c not in self.opened:
            self.seq += 1
            self.opened[c] = Open(f"b{self.seq}", self.now_ms, limits, last_ms=self.now_ms)
        batch = self.opened[c]
        batch.ids[:0] = ids
        batch.first_ms = self.now_ms
        self.overdue[c, batch.batch_id] = self.now_ms + batch.limits.overdue_ms
        batch.replayed_ms = None if c in self.flying else self.now_ms
        return len(ids)

    def discard(self, batch_id: str) -> None:
        self.counts["suppressed"] += len(self.dead.pop(batch_id)[2])

    def erase(self, c: str) -> None:
        for batch_id in [b for b, letter in self.dead.items() if letter[0] == c]:
            self.discard(batch_id)
        for part in (self.opened.pop(c, None), self.flying.pop(c, None)):
            self.counts["suppressed"] += len(part.ids) if part else 0
            self.overdue.pop((c, part.batch_id if part else ""), None)
        self.seen = {pair for pair in self.seen if pair[0] != c}
