"""Looks at conversations, dead letters and waiting batches, and says what contradicts itself."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from batching import walk
from batching.ledger import reached
from batching.scripts import Call, run
from batching.store import Store

_CONVERSATION, _LETTER, _WAIT = "conversation", "letter", "wait"
#: A name, and what contradicts itself there.
_Found = Iterator[tuple[str, Iterable[str]]]


class Look:
    """One look at a ledger, each thing once.

    ``doubtful``: (shard, kind, name) → what contradicts itself, in plain words.
    ``kept``: messages by (shard, open, flight or dead).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client
        self._seen: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
        self.doubtful: dict[tuple[int, str, str], list[str]] = {}
        self.kept: Counter[tuple[int, str]] = Counter()

    @property
    def conversations(self) -> int:
        """Return how many conversations were looked at."""
        return self._count(_CONVERSATION)

    @property
    def letters(self) -> int:
        """Return how many dead letters were looked at."""
        return self._count(_LETTER)

    def at_everything(self) -> None:
        """Look at all that has content, and at all that an index names."""
        kinds = {"c:": _CONVERSATION, "o:": _CONVERSATION, "f:": _CONVERSATION, "d:": _LETTER}
        for page in walk.keys(self._store.client, self._store.keyring, *kinds):
            for number in {number for number, _, _ in page}:
                for kind in (_CONVERSATION, _LETTER):
                    names = [name for n, start, name in page if (n, kinds[start]) == (number, kind)]
                    self.see(number, kind, names)
        for number, shard in enumerate(self._store.keyring.shards):
            for index in (shard.due, shard.lease):
                for names in walk.members(self._store.client, index):
                    self.see(number, _CONVERSATION, names)
            for names in walk.members(self._store.client, shard.dead):
                self.see(number, _LETTER, names)
            for names in walk.members(self._store.client, shard.overdue):
                self.see(number, _WAIT, names)

    def see(self, number: int, kind: str, names: Sequence[str]) -> None:
        """Look at some things of a kind in a shard that were not looked at before."""
        known = self._seen[number, kind]
        fresh = [name for name in dict.fromkeys(names) if name not in known]
        known.update(fresh)
        if not fresh:
            return
        seen = {
            _CONVERSATION: self._conversations,
            _LETTER: self._letters,
            _WAIT: self._waits,
        }
        for name, lines in seen[kind](number, fresh):
            if told := list(lines):
                self.doubtful[number, kind, name] = told

    def _count(self, kind: str) -> int:
        return sum(len(names) for (_, seen), names in self._seen.items() if seen == kind)

    def _conversations(self, number: int, names: Sequence[str]) -> _Found:
        shard = self._store.keyring.shards[number]
        call = Call("audit", (shard.due, shard.lease), (shard.prefix, " ".join(names)))
        for conversation, *counts in run(self._store.client, call):
            self.kept[number, "open"] += counts[1]
            self.kept[number, "flight"] += counts[3]
            name = conversation.decode()
            yield name, _contradictions(name, *counts)

    def _letters(self, number: int, names: Sequence[str]) -> _Found:
        shard = self._store.keyring.shards[number]
        pipeline = self._client.pipeline(transaction=True)
        for batch in names:
            pipeline.llen(shard.dead_letter(batch))
            pipeline.pttl(shard.dead_letter(batch))
            pipeline.zscore(shard.dead, batch)
        with reached():
            got = pipeline.execute()
        for name, size, ttl_ms, died_ms in zip(names, got[0::3], got[1::3], got[2::3], strict=True):
            self.kept[number, "dead"] += max(0, size - 1)
            yield name, _letter_contradictions(number, name, size, ttl_ms, died_ms)

    def _waits(self, number: int, names: Sequence[str]) -> _Found:
        shard = self._store.keyring.shards[number]
        pipeline = self._client.pipeline(transaction=True)
        for member in names:
            pipeline.zscore(shard.overdue, member)
            pipeline.hmget(shard.batches(member.rpartition(":")[0]), "open_id", "id")
        with reached():
            got = pipeline.execute()
        for member, at_ms, batches in zip(names, got[0::2], got[1::2], strict=True):
            conversation, _, batch = member.rpartition(":")
            if at_ms is not None and batch.encode() not in batches:
                yield member, [f"{conversation}: batch {batch} waits, and is not there"]


def _contradictions(
    conversation: str,
    opened: int,
    open_kept: int,
    flying: int,
    flight_kept: int,
    due: int,
    leased: int,
    expires: int,
) -> Iterator[str]:
    if opened != open_kept:
        yield f"{conversation}: {opened} open messages counted, {open_kept} kept"
    if flying != flight_kept:
        yield f"{conversation}: {flying} messages in flight counted, {flight_kept} kept"
    if bool(leased) != bool(flying):
        yield f"{conversation}: in flight {flying}, leased {leased}"
    if bool(due) != bool(opened and not flying):
        yield f"{conversation}: open {opened}, in flight {flying}, due {due}"
    if expires:
        yield f"{conversation}: its content has an expiry"


def _letter_contradictions(
    number: int, batch: str, size: int, ttl_ms: int, died_ms: float | None
) -> Iterator[str]:
    if size and died_ms is None:
        yield f"shard {number}: dead letter {batch} is kept, and not listed"
    if died_ms is not None and not size:
        yield f"shard {number}: dead letter {batch} is listed, and not kept"
    if ttl_ms >= 0:
        yield f"shard {number}: dead letter {batch} has an expiry"
