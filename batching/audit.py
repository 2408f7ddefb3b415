"""Compare the counters with the content, on a ledger in use, without stopping anything.

What contradicts itself is read again before it is reported: it may have been a step in between.
A sum over a ledger in use is never exact, but the counters say how much moved while it was taken,
so each scan gives bounds for what is kept; a difference that traffic can explain is no problem.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from batching.inspect import Counters, counters
from batching.scan import scan_keys, scan_members
from batching.store import Store, reached

#: So many scans at most, where traffic keeps the sums from being exact.
SCANS_MAX = 3

_CONVERSATION, _DEAD_LETTER, _OVERDUE = "conversation", "dead letter", "overdue"
#: By what their keys begin with, those that have content.
_KINDS = {"c:": _CONVERSATION, "o:": _CONVERSATION, "f:": _CONVERSATION, "d:": _DEAD_LETTER}
#: A name, and what contradicts itself there.
_Found = Iterator[tuple[str, Iterable[str]]]


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found, in plain words.

    ``undecided``: sums that traffic during the audit may explain. ``conversations`` and
    ``dead_letters``: how many were inspected.
    """

    conversations: int
    dead_letters: int
    problems: tuple[str, ...]
    undecided: tuple[str, ...]


def audit(store: Store, pause: Callable[[], object] | None = None) -> Report:
    """Return what contradicts the ledger's invariants.

    ``pause`` waits a moment, after which what is suspicious is inspected again. Without it the
    ledger must be at rest. Raise LedgerUnavailableError.
    """
    sums = [_Sum(n, name) for n in range(len(store.keyring.shards)) for name in _Sum.NAMES]
    first = _scan(store, sums)
    problems = first.problems
    if pause and problems:
        pause()
        again = Scan(store)
        for number, kind, name in problems:
            again.inspect(number, kind, [name])
        problems = again.problems
    for _ in range(1, SCANS_MAX):
        if pause and any(found.is_undecided for found in sums):
            pause()
            _scan(store, sums)
    lines = [line for lines in problems.values() for line in lines]
    return Report(
        first.count(_CONVERSATION),
        first.count(_DEAD_LETTER),
        (*lines, *(str(found) for found in sums if found.is_wrong)),
        tuple(str(found) for found in sums if found.is_undecided),
    )


class Scan:
    """One scan of a ledger, which inspects each thing once.

    ``problems``: (shard, kind, name) → what contradicts itself, in plain words. ``kept``: how many
    messages there are, by (shard, one of ``_Sum.NAMES``).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client
        self._seen: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
        self.problems: dict[tuple[int, str, str], list[str]] = {}
        self.kept: Counter[tuple[int, str]] = Counter()

    def count(self, kind: str) -> int:
        """Return how many things of a kind were inspected."""
        return sum(len(names) for (_, seen), names in self._seen.items() if seen == kind)

    def inspect_all(self) -> None:
        """Inspect all that has content, and all that an index names."""
        for page in scan_keys(self._store, *_KINDS):
            self._inspect_page((n, _KINDS[start], name) for n, start, name in page)
        indexes = {"due": _CONVERSATION, "lease": _CONVERSATION, "dead": _DEAD_LETTER}
        for index, kind in (indexes | {"overdue": _OVERDUE}).items():
            keys = [getattr(shard, index) for shard in self._store.keyring.shards]
            for names in scan_members(self._store, keys):
                self._inspect_page((number, kind, name) for number, name in names)

    def _inspect_page(self, page: Iterable[tuple[int, str, str]]) -> None:
        together = defaultdict[tuple[int, str], list[str]](list)
        for number, kind, name in page:
            together[number, kind].append(name)
        for (number, kind), names in together.items():
            self.inspect(number, kind, names)

    def inspect(self, number: int, kind: str, names: Sequence[str]) -> None:
        """Inspect things of a kind in a shard that were not inspected before."""
        known = self._seen[number, kind]
        fresh = [name for name in dict.fromkeys(names) if name not in known]
        known.update(fresh)
        if not fresh:
            return
        inspections = {
            _CONVERSATION: self._conversations,
            _DEAD_LETTER: self._dead_letters,
            _OVERDUE: self._overdue,
        }
        for name, found in inspections[kind](number, fresh):
            if lines := list(found):
                self.problems[number, kind, name] = lines

    def _conversations(self, number: int, names: Sequence[str]) -> _Found:
        shard = self._store.keyring.shards[number]
        for name, counts in self._store.audit(shard, names):
            self.kept[number, "open"] += counts[1]
            self.kept[number, "flight"] += counts[3]
            yield name, _conversation_problems(name, *counts)

    def _dead_letters(self, number: int, names: Sequence[str]) -> _Found:
        shard = self._store.keyring.shards[number]
        pipeline = self._client.pipeline(transaction=True)
        for batch_id in names:
            pipeline.llen(shard.dead_letter(batch_id))
            pipeline.pttl(shard.dead_letter(batch_id))
            pipeline.zscore(shard.dead, batch_id)
        with reached():
            got = pipeline.execute()
        for name, size, ttl_ms, died_ms in zip(names, got[0::3], got[1::3], got[2::3], strict=True):
            self.kept[number, "dead"] += max(0, size - 1)
            yield name, _dead_letter_problems(number, name, size, ttl_ms, died_ms)

    def _overdue(self, number: int, names: Sequence[str]) -> _Found:
        shard = self._store.keyring.shards[number]
        pipeline = self._client.pipeline(transaction=True)
        for member in names:
            pipeline.zscore(shard.overdue, member)
            pipeline.hmget(shard.batches(member.rpartition(":")[0]), "open_id", "id")
        with reached():
            got = pipeline.execute()
        for member, at_ms, batch_ids in zip(names, got[0::2], got[1::2], strict=True):
            conversation, _, batch_id = member.rpartition(":")
            if at_ms is not None and batch_id.encode() not in batch_ids:
                yield member, [f"{conversation}: batch {batch_id} waits, and is not there"]


def _conversation_problems(
    conversation: str,
    opened: int,
    open_kept: int,
    flying: int,
    flight_kept: int,
    due: int,
    leased: int,
    expires: int,
    notice: int,
) -> Iterator[str]:
    """Yield what contradicts itself in a row of ``audit.lua``."""
    if opened != open_kept:
        yield f"{conversation}: {opened} open messages counted, {open_kept} kept"
    if flying != flight_kept:
        yield f"{conversation}: {flying} messages in flight counted, {flight_kept} kept"
    if bool(leased) != bool(flying or notice):
        yield f"{conversation}: in flight {flying}, leased {leased}"
    if bool(due) != bool(opened and not (flying or notice)):
        yield f"{conversation}: open {opened}, in flight {flying}, due {due}"
    if expires:
        yield f"{conversation}: its content has an expiry"


def _dead_letter_problems(
    number: int, batch_id: str, size: int, ttl_ms: int, died_ms: float | None
) -> Iterator[str]:
    if size and died_ms is None:
        yield f"shard {number}: dead letter {batch_id} is kept, and not listed"
    if died_ms is not None and not size:
        yield f"shard {number}: dead letter {batch_id} is listed, and not kept"
    if ttl_ms >= 0:
        yield f"shard {number}: dead letter {batch_id} has an expiry"


@dataclass(slots=True)
class _Sum:
    """The messages of a state in a shard.

    How many more are kept than counted lies between ``least`` and ``most``.
    """

    NAMES: ClassVar = ("open", "flight", "dead")

    shard: int
    name: str
    counted: int = 0
    least: float = float("-inf")
    most: float = float("inf")

    def narrow(self, before: Counters, kept: int, came: int, went: int) -> None:
        """Take in that ``kept`` were found while ``came`` came at most, and ``went`` went."""
        self.counted = before.named[self.name]
        off = kept - self.counted
        self.least, self.most = max(self.least, off - came), min(self.most, off + went)

    @property
    def is_wrong(self) -> bool:
        return not self.least <= 0 <= self.most

    @property
    def is_undecided(self) -> bool:
        return self.least < self.most and not self.is_wrong

    def __str__(self) -> str:
        kept = dict.fromkeys((self.counted + self.least, self.counted + self.most))
        bounds = " to ".join(f"{n:.0f}" for n in kept)
        return f"shard {self.shard}: {self.name} is {self.counted} by the counters, {bounds} kept"


def _scan(store: Store, sums: Iterable[_Sum]) -> Scan:
    """Scan everything once, and narrow each sum by what was found."""
    before = counters(store)
    scan = Scan(store)
    scan.inspect_all()
    after = counters(store)
    for found in sums:
        n = found.shard
        came, went = _traffic(before[n], after[n])[found.name]
        found.narrow(before[n], scan.kept[n, found.name], came, went)
    return scan


def _traffic(before: Counters, after: Counters) -> dict[str, tuple[int, int]]:
    """Return how many messages at most came into and went out of each sum in between."""

    def more(name: str) -> int:
        return after.named[name] - before.named[name]

    opened = more("accepted") + more("replayed")
    collected = opened - more("open")
    ended = collected - more("flight")
    died = sum(more(name) for name in after.named if name.startswith("dead:"))
    return {
        "open": (opened, collected),
        "flight": (collected, ended),
        "dead": (died, died - more("dead")),
    }
