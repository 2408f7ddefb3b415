"""Proves the books against the content, on a ledger in use, without stopping anybody.

What contradicts itself is looked at again before it is told: it may have been a step in between.
A sum over a ledger in use is never exact, but the books say how much moved while it was taken, so
each walk gives bounds for what is kept; a difference that traffic can explain is no problem.
"""

from collections.abc import Callable
from dataclasses import dataclass

from batching.books import counters
from batching.look import Look
from batching.store import Store

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
