"""Dead letters: batches that will not be answered by themselves, until a person decides."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batching import walk
from batching.encoding import decode
from batching.keys import Shard
from batching.ledger import reached
from batching.limits import Limits
from batching.model import InboundMessage, Reason
from batching.scripts import run
from batching.store import Store


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A batch that waits for a person. ``part`` of ``parts`` had left; both "" before a reply.

    ``size``: its messages; ``messages`` are () where only the letter's face was read.
    """

    batch_id: str
    conversation_id: str
    account_id: str
    reason: str
    detail: str
    stage: str
    attempt: int
    part: str
    parts: str
    died_ms: int
    size: int
    messages: tuple[InboundMessage, ...] = ()

    @property
    def parts_left(self) -> int:
        """How many parts of a reply the customer has."""
        return int(self.part or 0)

    @property
    def may_repeat(self) -> bool:
        """Whether the customer may have an answer, or a part of it, already."""
        unknown = self.reason == Reason.AMBIGUOUS or self.detail == "flight_missing"
        return unknown or self.parts_left > 0


class Letters:
    """The dead letters of a ledger. Every method raises LedgerUnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client

    def faces(self) -> Iterator[DeadLetter]:
        """Yield every letter without its messages, in no order, without stopping anybody."""
        for shard in self._store.keyring.shards:
            for batches in walk.members(self._client, shard.dead):
                pipeline = self._client.pipeline(transaction=False)
                for batch_id in batches:
                    pipeline.lindex(shard.dead_letter(batch_id), 0)
                    pipeline.llen(shard.dead_letter(batch_id))
                with reached():
                    got = pipeline.execute()
                for batch_id, why, size in zip(batches, got[0::2], got[1::2], strict=True):
                    # One that was decided in between is no letter any more.
                    if why:
                        yield _letter(batch_id, json.loads(why), size - 1)

    def named(self, batch_id: str) -> list[DeadLetter]:
        """Return the letters of a batch's name, with messages: one a shard, as ids repeat there."""
        found = (self.read(batch_id, shard) for shard in self._store.keyring.shards)
        return [letter for letter in found if letter]

    def read(self, batch_id: str, shard: Shard) -> DeadLetter | None:
        """Return one letter of a shard with its messages, None if there is none of that batch."""
        with reached():
            kept: Any = self._client.lrange(shard.dead_letter(batch_id), 0, -1)
        if not kept:
            return None
        why = json.loads(kept[0])
        messages = tuple(decode(why["account"], raw) for raw in kept[1:])
        return _letter(batch_id, why, len(messages), messages)

    def replay(self, letter: DeadLetter, limits: Limits) -> int:
        """Put a letter back to be answered; return its messages, -1 if it is gone."""
        s, c = self._store.shard_of(letter.conversation_id), letter.conversation_id
        dead_letter = s.dead_letter(letter.batch_id)
        names = (
            s.batches(c), s.open(c), s.due, s.stats, s.dead, dead_letter, s.overdue, s.trail(c),
        )  # fmt: skip
        args = (c, letter.batch_id, letter.account_id, limits.stamp())
        return int(run(self._client, self._store.timed("replay", names, args)))

    def discard(self, letter: DeadLetter, reason: Reason = Reason.DISCARDED) -> int:
        """Forget a letter; return its messages, -1 if it is gone."""
        s = self._store.shard_of(letter.conversation_id)
        trail = s.trail(letter.conversation_id)
        names = (s.stats, s.dead, s.dead_letter(letter.batch_id), trail)
        return int(
            run(self._client, self._store.timed("discard", names, (letter.batch_id, reason)))
        )


def _letter(
    batch_id: str, why: dict[str, Any], size: int, messages: tuple[InboundMessage, ...] = ()
) -> DeadLetter:
    return DeadLetter(
        batch_id=batch_id,
        conversation_id=why["conversation"],
        account_id=why["account"],
        reason=why["reason"],
        detail=why["detail"],
        stage=why["stage"],
        attempt=int(why["attempt"]),
        part=str(why["part"]),
        parts=str(why["parts"]),
        died_ms=int(why["at_ms"]),
        size=size,
        messages=messages,
    )
