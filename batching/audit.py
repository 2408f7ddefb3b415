"""Compare the counters with the content, on a ledger in use, without stopping anybody.

What contradicts itself is read again before it is reported: it may have been a step in between.
A sum over a ledger in use is never exact, but the counters say how much moved while it was taken,
so each scan gives bounds for what is kept; a difference that traffic can explain is no problem.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from batching import inspect
from batching.inspect import counters
from batching.store import Call, Store, reached, run

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
        for page in inspect.walk_keys(self._store.client, self._store.keyring, *kinds):
            for number in {number for number, _, _ in page}:
                for kind in (_CONVERSATION, _LETTER):
                    names = [name for n, start, name in page if (n, kinds[start]) == (number, kind)]
                    self.see(number, kind, names)
        for number, shard in enumerate(self._store.keyring.shards):
            for index in (shard.due, shard.lease):
                for names in inspect.walk_members(self._store.client, index):
                    self.see(number, _CONVERSATION, names)
            for names in inspect.walk_members(self._store.client, shard.dead):
                self.see(number, _LETTER, names)
            for names in inspect.walk_members(self._store.client, shard.overdue):
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


#: So often the sums are taken where traffic keeps them from being exact.
WALKS_MAX = 3


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. ``undecided``: sums that agree only within the traffic meanwhile."""

    conversations: int
    letters: int
    problems: tuple[str, ...]
    undecided: tuple[str, ...]


@dataclass(slots=True)
class _Sum:
    """What is kept less what is booked lies between ``least`` and ``most``."""

    booked: int = 0
    least: float = float("-inf")
    most: float = float("inf")

    @property
    def wrong(self) -> bool:
        return not self.least <= 0 <= self.most

    @property
    def undecided(self) -> bool:
        return self.least < self.most and not self.wrong

    def __str__(self) -> str:
        kept = dict.fromkeys((self.booked + self.least, self.booked + self.most))
        return f"is {self.booked} in the books, {' to '.join(f'{n:.0f}' for n in kept)} kept"


def audit(store: Store, pause: Callable[[], object] | None = None) -> Report:
    """Return what contradicts the ledger's invariants, in plain words.

    ``pause`` waits a moment; with it what is suspicious is looked at twice. Without it the
    ledger must be at rest. Raise LedgerUnavailableError.
    """
    sums = {
        (number, name): _Sum()
        for number in range(len(store.keyring.shards))
        for name in ("open", "flight", "dead")
    }
    first = _walk(store, sums)
    doubtful = first.doubtful
    if pause and doubtful:
        pause()
        again = Look(store)
        for number, kind, name in doubtful:
            again.see(number, kind, [name])
        doubtful = again.doubtful
    for _ in range(1, WALKS_MAX):
        if pause and any(found.undecided for found in sums.values()):
            pause()
            _walk(store, sums)
    named = [(f"shard {number}: {name} {found}", found) for (number, name), found in sums.items()]
    wrong = [line for line, found in named if found.wrong]
    undecided = tuple(line for line, found in named if found.undecided)
    lines = [line for lines in doubtful.values() for line in lines]
    return Report(first.conversations, first.letters, (*lines, *wrong), undecided)


def _walk(store: Store, sums: dict[tuple[int, str], _Sum]) -> Look:
    """Look at everything once, and narrow down each sum by what was found."""
    before = [counters(store, shard) for shard in store.keyring.shards]
    look = Look(store)
    look.at_everything()
    for number, shard in enumerate(store.keyring.shards):
        after = counters(store, shard)
        for name, (came, went) in _traffic(before[number], after).items():
            found = sums[number, name]
            found.booked = before[number].get(name, 0)
            off = look.kept[number, name] - found.booked
            found.least, found.most = max(found.least, off - came), min(found.most, off + went)
    return look


def _traffic(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return how many messages at most came into and went out of each sum in between."""

    def more(name: str) -> int:
        return after.get(name, 0) - before.get(name, 0)

    opened = more("accepted") + more("replayed")
    collected = opened - more("open")
    ended = collected - more("flight")
    died = sum(more(name) for name in after if name.startswith("dead:"))
    return {
        "open": (opened, collected),
        "flight": (collected, ended),
        "dead": (died, died - more("dead")),
    }
