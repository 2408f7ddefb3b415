"""The ledger: one method per Lua script, typed. It decides nothing; ``flow.py`` does.

Every method is one atomic step, safe to repeat, and raises LedgerUnavailableError where Redis
did not take it. A step of a run is refused, never half done, once the token is not the holder's.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

from batching.keys import Shard
from batching.ledger import Arg, Ledger
from batching.model import Exchange, Ring, Stage, Tag
from batching.records import Collected, Overdue, Reaped, Run, Verdict, decode_run
from batching.scripts import Call, run, run_all

#: How depart answers: go; the account is stopped; the part is not this run's to send.
GO, STOPPED, STALE = 1, -1, 0
#: How fail answers: done; refused because the attempts are spent; not this run's any more.
DONE, SPENT = 1, 2
#: Why a run ends without success: try again, wait for the account, or the part may be out.
Setback = Literal["retry", "park", "ambiguous"]


class Store(Ledger):
    """The scripts by which batches move."""

    # The flusher.

    def collect(self, shard: Shard, *, limit: int) -> list[Collected]:
        """Put up to ``limit`` (at most 200) due batches in flight and return them."""
        keys = (shard.due, shard.lease, shard.stats, shard.heartbeat)
        _, *taken = self._run("collect", keys, shard.prefix, limit, self.pace.ring_ms)
        return [
            Collected(c.decode(), account.decode(), batch.decode(), count, waited, why.decode())
            for c, account, batch, count, waited, why in taken
        ]

    def reap(self, shard: Shard, *, limit: int) -> list[Reaped]:
        """Return what is to be done about up to ``limit`` batches whose lease ran out."""
        keys, pace = (shard.lease, shard.stats), self.pace
        waits = (pace.ring_ms, pace.ring_max_ms, pace.ambiguous_ms)
        return [
            Reaped(
                Ring(c.decode(), batch.decode(), attempt, Stage(stage.decode())),
                account.decode(),
                Verdict(verdict.decode()),
                token.decode(),
                policy.decode(),
            )
            for c, account, batch, stage, attempt, verdict, token, policy in self._run(
                "reap", keys, shard.prefix, limit, *waits
            )
        ]

    def overdue(self, shard: Shard, *, limit: int) -> list[Overdue]:
        """Tell a person of up to ``limit`` batches that waited too long, and return them."""
        keys = (shard.overdue, shard.stats, shard.alerts)
        late = self._run("overdue", keys, shard.prefix, limit)
        return [Overdue(c.decode(), batch.decode(), account.decode()) for c, batch, account in late]

    def salvage(self, conversation_id: str) -> list[tuple[str, str, int]]:
        """Make dead letters of what is left where a batch vanished; [] if none did.

        For each that did: its new id, "" if nothing was left of it; a detail; messages kept.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        keys = (
            s.batches(c), s.open(c), s.flight(c), s.due, s.lease, s.stats, s.dead, s.alerts,
            s.trail(c),
        )  # fmt: skip
        left = self._run("salvage", keys, c, s.prefix)
        return [(batch.decode(), detail.decode(), kept) for batch, detail, kept in left]

    # One run of a batch.

    def begin(self, ring: Ring) -> Run | None:
        """Take the attempt that a doorbell names; None if it is over or in other hands."""
        s, c = self.shard_of(ring.conversation_id), ring.conversation_id
        keys = (s.batches(c), s.flight(c), s.lease, s.stats, s.takeover(c), s.trail(c))
        status, *fields = self._run("begin", keys, c, ring.batch_id, ring.stage, ring.attempt)
        return decode_run(ring, fields) if status == 1 else None

    def extend(self, held: Run) -> bool:
        """Keep the lease for another while."""
        s, c = self._place(held)
        keys = (s.batches(c), s.lease)
        return bool(self._run("extend", keys, c, held.token, held.limits.lease_ms))

    def checkpoint(self, held: Run, parts: Sequence[str], exchange: Exchange) -> bool:
        """Keep the reply and pass the batch on to sending."""
        s, c = self._place(held)
        reply = json.dumps(list(parts), ensure_ascii=False)
        kept = json.dumps([exchange.customer, exchange.answer], ensure_ascii=False)
        args = (c, held.token, reply, len(parts), kept, self.pace.ring_ms)
        return bool(self._run("checkpoint", (s.batches(c), s.lease, s.trail(c)), *args))

    def depart(self, held: Run, part: int, policy: str) -> int:
        """Record that ``part`` is about to leave; GO, STOPPED or STALE."""
        s, c = self._place(held)
        keys = (s.batches(c), s.lease, s.stopped(held.account_id), s.trail(c))
        args = (c, held.token, part, policy, held.limits.lease_ms)
        # As durable as what is acknowledged: a power cut must not forget that a part left.
        call = self.timed("depart", keys, args)
        return int(run_all(self.client, [call], synced=self.synced)[0])

    def left(self, tag: Tag, provider_id: str) -> bool:
        """Record that a part is with the provider; False if the batch knew or is gone."""
        return bool(run(self.client, self.left_call(tag, provider_id)))

    def left_call(self, tag: Tag, provider_id: str) -> Call:
        """Return the call of ``left``."""
        s, c = self.shard_of(tag.conversation_id), tag.conversation_id
        sent = s.sent(self.keyring.digest(provider_id or str(tag)))
        dead_letter = s.dead_letter(tag.batch_id)
        keys = (s.batches(c), s.lease, sent, s.dead, dead_letter, s.stats, s.trail(c))
        return self.timed("left", keys, (c, tag.batch_id, tag.part, self.pace.sent_ms))

    def finish(self, held: Run, *, suppressed: str = "") -> bool:
        """End the batch as answered, or as suppressed for a reason."""
        (s, c), pace = self._place(held), self.pace
        keys = (
            s.batches(c), s.flight(c), s.due, s.lease, s.stats, s.history(c), s.overdue, s.trail(c),
        )  # fmt: skip
        args = (c, held.token, suppressed, pace.history_max, pace.history_ms)
        return bool(self._run("finish", keys, *args))

    def fail(self, ring: Ring, token: str, verdict: Setback, wait_ms: int, detail: str = "") -> int:
        """End a run without success and wait; DONE, SPENT (bury it) or STALE."""
        s, c = self.shard_of(ring.conversation_id), ring.conversation_id
        keys = (s.batches(c), s.lease, s.stats, s.trail(c))
        return int(self._run("fail", keys, c, token, verdict, wait_ms, detail))

    def bury(self, ring: Ring, token: str, reason: str, detail: str) -> tuple[int, int] | None:
        """Make the batch a dead letter; messages (kept, lost), None if it is not the holder's."""
        s, c = self.shard_of(ring.conversation_id), ring.conversation_id
        dead_letter = s.dead_letter(ring.batch_id)
        keys = (
            s.batches(c), s.flight(c), s.due, s.lease, s.stats, s.dead, dead_letter, s.alerts,
            s.overdue, s.trail(c),
        )  # fmt: skip
        kept, lost = self._run("bury", keys, c, ring.batch_id, token, reason, detail)
        return None if kept < 0 else (kept, lost)

    def stop(self, held: Run, detail: str) -> bool:
        """Keep the run's account from sending for a while; whether a person is told by this."""
        s, account_id = self.shard_of(held.ring.conversation_id), held.account_id
        told = s.told(account_id, "channel_stopped")
        keys = (s.stopped(account_id), told, s.alerts, s.stats)
        return bool(self._run("stop", keys, account_id, detail, self.pace.park_ms))

    def alarm(self, kind: str, detail: str, *, account_id: str = "", quiet_ms: int) -> bool:
        """Tell a person what is wrong with the installation; False if that was done lately.

        ``quiet_ms``: how long the next alarm of this kind and account is held back.
        """
        s = self.keyring.shards[0]
        keys = (s.told(account_id, kind), s.alerts, s.stats)
        return bool(self._run("alarm", keys, kind, detail, account_id, quiet_ms))

    def _place(self, held: Run) -> tuple[Shard, str]:
        return self.shard_of(held.ring.conversation_id), held.ring.conversation_id

    def _run(self, verb: str, keys: tuple[str, ...], *args: Arg) -> Any:  # noqa: ANN401
        return run(self.client, self.timed(verb, keys, args))
