"""What other systems are told of batches: kept in the ledger until they took it.

``finish`` writes that a batch is answered, in the step that decides it; what died or did not arrive
is copied from the alert streams by a consumer group of our own. An entry that was not taken is
given out again after pauses that grow with its attempts, and after the last it is a dead letter.

The streams are there only while somebody is to be told: without one nothing is written.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batching.alerts import REDELIVER_MS, code_of, execute
from batching.inspect import to_number
from batching.keys import Shard
from batching.model import DROPS, Reason
from batching.store import Store, reached

_GROUP, _READER = "outbox", "publisher"
#: How long after each attempt an entry is given out again, ms; after the last it is given up.
PAUSES_MS = (5_000, 30_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 36_000_000)
#: Of each shard: new entries that are taken at once, those that are looked at whether they are due,
#: and dead letters that are kept.
TAKEN_MAX, PENDING_MAX, DEAD_MAX = 20, 1_000, 1_000
_ENDS = {Reason.UNDELIVERED: "undelivered"}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something to tell. ``event``: answered, dead or undelivered; ``messages``: of the batch.

    ``name``: the same at every attempt, and no other's of this ledger. ``reason`` and ``code``: why
    a batch is dead, "" for an answer. ``at_ms``: when it happened.
    """

    shard: int
    entry_id: str
    name: str
    event: str
    account_id: str
    conversation_id: str
    batch_id: str
    messages: int
    reason: str
    code: str
    at_ms: int


class Outbox:
    """The outboxes of a ledger's shards. Every method raises LedgerUnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client
        # Not the canary's.
        self._shards: Sequence[Shard] = store.keyring.shards

    def open(self) -> None:
        """Have everything written from now on. Safe to run twice."""
        pipeline = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipeline.xgroup_create(shard.outbox, _GROUP, id="0", mkstream=True)
            pipeline.xgroup_create(shard.alerts, _GROUP, id="$", mkstream=True)
        execute(pipeline, "BUSYGROUP")

    def close(self) -> None:
        """Have nothing written any more, and forget what waits. Safe to run twice."""
        pipeline = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipeline.delete(shard.outbox)
            pipeline.xgroup_destroy(shard.alerts, _GROUP)
        execute(pipeline)

    def take(self) -> list[Outgoing]:
        """Return what is to be told now: what is new, and what is due again.

        Each is given to one caller; its attempt counts from now.
        """
        self._copy_drops()
        pipeline = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipeline.xpending_range(shard.outbox, _GROUP, "-", "+", PENDING_MAX)
        pipeline.xreadgroup(
            _GROUP, _READER, dict.fromkeys([it.outbox for it in self._shards], ">"), TAKEN_MAX
        )
        *pending, new = execute(pipeline)
        if new is None or None in pending:
            self.open()
            return []
        numbers = {shard.outbox.encode(): n for n, shard in enumerate(self._shards)}
        fresh = [
            _outgoing(numbers[key], entry) for key, entries in new for entry in entries if entry[1]
        ]
        again = [it for n, entries in enumerate(pending) for it in self._claimed(n, entries)]
        return [*again, *fresh]

    def done(self, told: Outgoing) -> None:
        """Forget what was taken."""
        self._forget(told, self._client.pipeline(transaction=True))

    def attempts_left(self, told: Outgoing) -> int:
        """Return how often it is given out again."""
        with reached():
            found = self._client.xpending_range(
                self._shards[told.shard].outbox, _GROUP, told.entry_id, told.entry_id, 1
            )
        return len(PAUSES_MS) - (found[0]["times_delivered"] - 1 if found else 0)

    def give_up(self, told: Outgoing, code: str) -> None:
        """Make it a dead letter, for ``code``."""
        shard, pipeline = self._shards[told.shard], self._client.pipeline(transaction=True)
        pipeline.lpush(shard.outbox_dead, json.dumps(asdict(told) | {"failed": code}))
        pipeline.ltrim(shard.outbox_dead, 0, DEAD_MAX - 1)
        self._forget(told, pipeline)

    def replay(self) -> int:
        """Put dead letters back, to be told again; return how many. None while nobody is told."""
        count = 0
        for shard in self._shards:
            with reached():
                if not self._client.exists(shard.outbox):
                    continue
                lines = self._client.lrange(shard.outbox_dead, 0, -1)
            pipeline = self._client.pipeline(transaction=True)
            for line in reversed(lines):
                pipeline.xadd(shard.outbox, _fields_of(json.loads(line)), nomkstream=True)
                pipeline.lrem(shard.outbox_dead, -1, line)
            execute(pipeline)
            count += len(lines)
        return count

    def _forget(self, told: Outgoing, pipeline: Any) -> None:  # noqa: ANN401 - redis-py's
        key = self._shards[told.shard].outbox
        pipeline.xack(key, _GROUP, told.entry_id)
        pipeline.xdel(key, told.entry_id)
        with reached():
            pipeline.execute()

    def _claimed(self, number: int, pending: Sequence[dict[str, Any]]) -> Iterator[Outgoing]:
        """Yield the entries of a shard whose pause is over, and that nobody else claims."""
        key = self._shards[number].outbox
        for it in pending:
            pause_ms = PAUSES_MS[min(it["times_delivered"], len(PAUSES_MS)) - 1]
            if it["time_since_delivered"] >= pause_ms:
                with reached():
                    claimed = self._client.xclaim(
                        key, _GROUP, _READER, pause_ms, [it["message_id"]]
                    )
                yield from (_outgoing(number, entry) for entry in claimed if entry[1])

    def _copy_drops(self) -> None:
        """Copy from the alert streams what died or did not arrive; a crash may copy it twice."""
        keys = {shard.alerts.encode(): n for n, shard in enumerate(self._shards)}
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.xautoclaim(key, _GROUP, _READER, REDELIVER_MS, "0-0", count=TAKEN_MAX)
        pipeline.xreadgroup(_GROUP, _READER, dict.fromkeys(keys, ">"), PENDING_MAX)
        *again, new = execute(pipeline)
        if new is None or None in again:
            self.open()
            return
        found = [(key, answer[1]) for key, answer in zip(keys, again, strict=True)]
        pipeline = self._client.pipeline(transaction=False)
        for key, entries in (*found, *new):
            shard = self._shards[keys[key]]
            for entry_id, fields in entries:
                if fields and fields.get(b"kind", b"").decode() in DROPS:
                    pipeline.xadd(shard.outbox, _copy(entry_id, fields), nomkstream=True)
                pipeline.xack(key, _GROUP, entry_id)
        execute(pipeline)


def _copy(entry_id: bytes, fields: dict[bytes, bytes]) -> dict[str | bytes, Any]:
    """Return an alert as an entry of an outbox; of its detail the code alone."""
    kind = fields[b"kind"].decode()
    return {
        "event": _ENDS.get(Reason(kind), "dead"),
        "name": f"alert-{entry_id.decode()}",
        "reason": kind,
        "code": code_of(fields.get(b"detail", b"").decode(errors="replace")),
        "account": fields.get(b"account", b""),
        "conversation": fields.get(b"conversation", b""),
        "batch": fields.get(b"batch", b""),
        "messages": to_number(fields.get(b"kept")) + to_number(fields.get(b"lost")),
        "at_ms": fields.get(b"at_ms", b""),
    }


def _fields_of(told: dict[str, Any]) -> dict[str | bytes, Any]:
    """Return a dead letter as an entry of an outbox, under its name."""
    return {
        "event": told["event"],
        "name": told["name"].partition(":")[2],
        "reason": told["reason"],
        "code": told["code"],
        "account": told["account_id"],
        "conversation": told["conversation_id"],
        "batch": told["batch_id"],
        "messages": told["messages"],
        "at_ms": told["at_ms"],
    }


def _outgoing(shard: int, entry: tuple[bytes, dict[bytes, bytes]]) -> Outgoing:
    entry_id = entry[0].decode()
    fields = {name.decode(): value.decode(errors="replace") for name, value in entry[1].items()}
    return Outgoing(
        shard=shard,
        entry_id=entry_id,
        name=f"{shard}:{fields.get('name', entry_id)}",
        event=fields.get("event", ""),
        account_id=fields.get("account", ""),
        conversation_id=fields.get("conversation", ""),
        batch_id=fields.get("batch", ""),
        messages=to_number(fields.get("messages")),
        reason=fields.get("reason", ""),
        code=fields.get("code", ""),
        at_ms=to_number(fields.get("at_ms"), int(entry_id.partition("-")[0])),
    )
