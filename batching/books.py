"""The books of a ledger: what came in is somewhere, counted by the scripts in the same step."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batching.keys import Shard
from batching.ledger import reached
from batching.store import Store

_COUNTS = ("accepted", "answered", "suppressed", "dead", "lost", "open", "flight")


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


def balance(store: Store) -> list[Balance]:
    """Return the books of every shard."""
    books = []
    for number, shard in enumerate(store.keyring.shards):
        with reached():
            counts: Any = store.client.hmget(shard.stats, _COUNTS)
        books.append(Balance(number, *(int(count or 0) for count in counts)))
    return books


def totals(store: Store) -> Counter[str]:
    """Return every counter by its name, over all shards."""
    found: Counter[str] = Counter()
    for shard in store.keyring.shards:
        found.update(counters(store, shard))
    return found


def reasons(totals: Mapping[str, int], kind: str) -> dict[str, int]:
    """Return the counters of a kind by their reason, sorted: "dead:poison" is a poison of dead."""
    start = f"{kind}:"
    return {
        name.removeprefix(start): totals[name] for name in sorted(totals) if name.startswith(start)
    }


def counters(store: Store, shard: Shard) -> dict[str, int]:
    """Return every counter of a shard by its name."""
    with reached():
        kept: Any = store.client.hgetall(shard.stats)
    return {name.decode(): int(count) for name, count in kept.items()}
