"""How much of everything there is in a ledger: one round trip, whatever its size."""

from dataclasses import dataclass
from typing import Any

import redis

from batching.keys import Shard
from batching.ledger import reached
from batching.store import Store


@dataclass(frozen=True, slots=True)
class Census:
    """``open``, ``flight``, ``dead`` and ``lost`` are messages, as the books have them.

    ``due`` and ``leased`` are conversations, ``letters`` dead letters, ``late`` batches that are
    overdue and that nobody was told of yet, ``untold`` alerts. ``oldest_letter_ms``: how long the
    oldest dead letter has waited, 0 without one.
    """

    open: int
    flight: int
    dead: int
    lost: int
    due: int
    leased: int
    letters: int
    late: int
    untold: int
    oldest_letter_ms: int


def census(store: Store) -> Census:
    """Return how much there is of everything, in all shards. Raise LedgerUnavailableError."""
    with reached():
        now_ms = store.watch().now_ms
        pipeline: Any = store.client.pipeline(transaction=False)
        for shard in store.keyring.shards:
            _ask(pipeline, shard, now_ms)
        rows = pipeline.execute(raise_on_error=False)
        for row in rows:
            if isinstance(row, redis.RedisError) and "no such key" not in str(row):
                raise row
    answers = [rows[n : n + 8] for n in range(0, len(rows), 8)]
    counts = [_counts(*answer) for answer in answers]
    deaths = [int(oldest[0][1]) for _, _, _, _, _, oldest, _, _ in answers if oldest]
    age_ms = max(0, now_ms - min(deaths)) if deaths else 0
    return Census(*[sum(column) for column in zip(*counts, strict=True)] + [age_ms])


def _ask(pipeline: Any, shard: Shard, now_ms: int) -> None:  # noqa: ANN401
    pipeline.hmget(shard.stats, "open", "flight", "dead", "lost")
    pipeline.zcard(shard.due)
    pipeline.zcard(shard.lease)
    pipeline.zcard(shard.dead)
    pipeline.zcount(shard.overdue, "-inf", now_ms)
    pipeline.zrange(shard.dead, 0, 0, withscores=True)
    pipeline.xlen(shard.alerts)
    # An error where there is no stream yet.
    pipeline.xinfo_groups(shard.alerts)


def _counts(
    stats: list[bytes | None],
    due: int,
    leased: int,
    letters: int,
    late: int,
    _oldest: object,
    alerts: int,
    groups: list[dict[str, Any]] | redis.RedisError,
) -> list[int]:
    untold = alerts
    if isinstance(groups, list) and groups:
        untold = groups[0]["pending"] + (groups[0]["lag"] or 0)
    return [*(int(count or 0) for count in stats), due, leased, letters, late, untold]
