"""The operator's verbs: balance, audit, dead letters, erasure. All on the ledger's invariants."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batching.encoding import decode
from batching.keys import Shard
from batching.ledger import reached
from batching.limits import Limits
from batching.model import InboundMessage, Reason
from batching.scripts import Call, run
from batching.store import Store

_SCAN_COUNT = 500


@dataclass(frozen=True, slots=True)
class Balance:
    """The books of one shard, in messages: what came in is somewhere."""

    shard: int
    accepted: int
    answered: int
    suppressed: int
    dead: int
    lost: int
    open: int
    flight: int

    @property
    def holds(self) -> bool:
        """Whether every accepted message is accounted for."""
        ended = self.answered + self.suppressed + self.dead + self.lost
        return self.accepted == ended + self.open + self.flight


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A batch that waits for a person. ``part`` of ``parts`` had left; both "" before a reply."""

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
    messages: tuple[InboundMessage, ...]


class Operations:
    """What a person does to a ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def balance(self) -> list[Balance]:
        """Return the books of every shard."""
        names = ("accepted", "answered", "suppressed", "dead", "lost", "open", "flight")
        books = []
        for number, shard in enumerate(self._store.keyring.shards):
            with reached():
                counts: Any = self._store.client.hmget(shard.stats, names)
            books.append(Balance(number, *(int(count or 0) for count in counts)))
        return books

    def audit(self) -> list[str]:
        """Return what contradicts the ledger's invariants, in plain words; empty if nothing does.

        Walks by SCAN, so it blocks nobody; on a ledger in use a line may be a step in between.
        """
        problems: list[str] = []
        for number, shard in enumerate(self._store.keyring.shards):
            held = {"open": 0, "flight": 0}
            for conversations in self._walk(shard):
                for row in self._rows(shard, conversations):
                    problems += _contradictions(*row)
                    held["open"] += row[2]
                    held["flight"] += row[4]
            book = self.balance()[number]
            for name, found in held.items():
                booked = getattr(book, name)
                if booked != found:
                    problems.append(
                        f"shard {number}: {name} is {booked} in the books, {found} kept"
                    )
        return problems

    def dead_letters(self) -> list[DeadLetter]:
        """Return every dead letter, oldest first."""
        letters = []
        for shard in self._store.keyring.shards:
            with reached():
                batches: Any = self._store.client.zrange(shard.dead, 0, -1)
            for batch in batches:
                letter = self.dead_letter(batch.decode(), shard)
                if letter:
                    letters.append(letter)
        return sorted(letters, key=lambda letter: letter.died_ms)

    def dead_letter(self, batch_id: str, shard: Shard) -> DeadLetter | None:
        """Return one dead letter of a shard, None if there is none of that batch."""
        with reached():
            kept: Any = self._store.client.lrange(shard.dead_letter(batch_id), 0, -1)
        if not kept:
            return None
        why = json.loads(kept[0])
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
            messages=tuple(decode(why["account"], raw) for raw in kept[1:]),
        )

    def replay(self, letter: DeadLetter, limits: Limits) -> int:
        """Put a dead letter back to be answered; return its messages, -1 if it is gone."""
        s, c = self._store.shard_of(letter.conversation_id), letter.conversation_id
        dead_letter = s.dead_letter(letter.batch_id)
        names = (
            s.batches(c), s.open(c), s.due, s.stats, s.dead, dead_letter, s.overdue, s.trail(c),
        )  # fmt: skip
        args = (c, letter.batch_id, letter.account_id, limits.stamp())
        return int(run(self._store.client, self._store.timed("replay", names, args)))

    def discard(self, letter: DeadLetter, reason: Reason = Reason.DISCARDED) -> int:
        """Forget a dead letter; return its messages, -1 if it is gone."""
        s = self._store.shard_of(letter.conversation_id)
        names = (s.stats, s.dead, s.dead_letter(letter.batch_id))
        return int(run(self._store.client, Call("discard", names, (letter.batch_id, reason))))

    def erase(self, conversation_id: str) -> int:
        """Forget a customer: open, in flight, dead, history; return the messages forgotten."""
        s, c = self._store.shard_of(conversation_id), conversation_id
        names = (
            s.batches(c), s.open(c), s.flight(c), s.seen(c), s.history(c), s.takeover(c),
            s.due, s.lease, s.stats, s.overdue, s.trail(c),
        )  # fmt: skip
        opened, flying, _ = run(self._store.client, Call("erase", names, (c,)))
        dead = [letter for letter in self.dead_letters() if letter.conversation_id == c]
        return int(opened + flying + sum(self.discard(letter, Reason.ERASED) for letter in dead))

    def _walk(self, shard: Shard) -> Iterator[list[str]]:
        """Yield the shard's conversations in groups."""
        start, cursor = shard.batches(""), 0
        while True:
            with reached():
                found: Any = self._store.client.scan(
                    cursor, match=_literally(start) + "*", count=_SCAN_COUNT
                )
            cursor, names = found
            yield [name.decode().removeprefix(start) for name in names]
            if cursor == 0:
                return

    def _rows(
        self, shard: Shard, conversations: list[str]
    ) -> list[tuple[str, int, int, int, int, int, int]]:
        if not conversations:
            return []
        call = Call("audit", (shard.due, shard.lease), (shard.prefix, " ".join(conversations)))
        return [(c.decode(), *counts) for c, *counts in run(self._store.client, call)]


def _literally(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[]" else letter for letter in text)


def _contradictions(
    conversation: str,
    opened: int,
    open_kept: int,
    flying: int,
    flight_kept: int,
    due: int,
    leased: int,
) -> Iterator[str]:
    if opened != open_kept:
        yield f"{conversation}: {opened} open messages counted, {open_kept} kept"
    if flying != flight_kept:
        yield f"{conversation}: {flying} messages in flight counted, {flight_kept} kept"
    if bool(leased) != bool(flying):
        yield f"{conversation}: in flight {flying}, leased {leased}"
    if bool(due) != bool(opened and not flying):
        yield f"{conversation}: open {opened}, in flight {flying}, due {due}"
