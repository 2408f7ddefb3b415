"""What a person must be told, as the scripts wrote it down: read, settled, held back, forgotten.

An alert is one entry of a shard's stream, written in the very step that decides it. A consumer
group knows which were told; one that was taken by a reader that died is given out again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import redis

from batching.keys import Shard
from batching.model import Alert, alert_of, position
from batching.store import Store, reached, server_ms

_GROUP, _READER = "told", "teller"
#: After this an alert that was taken and not settled is given out again, ms.
TAKEN_MS_MAX = 30_000
#: So many of one kind and account are told one by one in a window, ms; then they are counted.
RATE_MAX, RATE_MS = 20, 600_000
#: Told alerts are kept for the operator to list: so many of each shard.
KEPT_MAX = 1_000


class Alerts:
    """The alert streams of a ledger. Every method raises LedgerUnavailableError."""

    def __init__(self, store: Store) -> None:
        self._client: Any = store.client
        self._shards = store.keyring.all_shards

    def take(self, limit: int) -> list[Alert]:
        """Return up to ``limit`` a shard that nobody has told yet, oldest first.

        Those in other hands come again after TAKEN_MS_MAX, so each may be told twice, never not.
        """
        taken: list[Alert] = []
        with reached():
            for number, shard in enumerate(self._shards):
                self._ensure_group(shard)
                _, again, _ = self._client.xautoclaim(
                    shard.alerts, _GROUP, _READER, TAKEN_MS_MAX, "0-0", count=limit
                )
                fresh = self._client.xreadgroup(
                    _GROUP, _READER, {shard.alerts: ">"}, count=max(1, limit - len(again))
                )
                entries = [*again, *(fresh[0][1] if fresh else [])]
                taken += [alert_of(number, entry) for entry in entries if entry[1]]
        return taken

    def may_tell(self, alert: Alert) -> bool:
        """Count the alert; False where too many of its kind and account were told lately."""
        key = self._shards[0].told(alert.account_id, f"rate:{alert.kind}")
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(key, 0, nx=True, px=RATE_MS)
        pipeline.incr(key)
        with reached():
            return int(pipeline.execute()[1]) <= RATE_MAX

    def settle(self, alerts: Sequence[Alert]) -> None:
        """Note that a person was told of them. Safe to run twice."""
        pipeline = self._client.pipeline(transaction=False)
        for alert in alerts:
            pipeline.xack(self._shards[alert.shard].alerts, _GROUP, alert.entry_id)
        with reached():
            pipeline.execute()

    def hold(self, alert: Alert) -> None:
        """Settle an alert by counting it among those that are told together, later."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hincrby(self._shards[0].held, f"{alert.account_id} {alert.kind}", 1)
        pipeline.xack(self._shards[alert.shard].alerts, _GROUP, alert.entry_id)
        with reached():
            pipeline.execute()

    def held_back(self) -> list[Alert]:
        """Return one alert for each kind and account of which the window is over.

        To one caller at a time: two that counted the same would settle twice as many. Its name
        holds the window in which it is told: told again after a crash it is the same.
        """
        found = []
        with reached():
            now_ms = server_ms(self._client.time())
            for field, count in self._client.hgetall(self._shards[0].held).items():
                account_id, kind = field.decode().split(" ", 1)
                if self._client.exists(self._shards[0].told(account_id, f"rate:{kind}")):
                    continue
                turn = self._shards[0].told(account_id, f"held:{kind}")
                if self._client.set(turn, 1, nx=True, px=TAKEN_MS_MAX):
                    entry_id = f"held:{field.decode()}:{int(count)}:{now_ms // RATE_MS}"
                    found.append(Alert(0, entry_id, kind, account_id=account_id, held=int(count)))
        return found

    def settle_held(self, alert: Alert) -> None:
        """Note that those which ``held_back`` counted were told; later ones stay counted."""
        field, key = f"{alert.account_id} {alert.kind}", self._shards[0].held
        with reached():
            if int(self._client.hincrby(key, field, -alert.held)) <= 0:
                self._client.hdel(key, field)

    def held_counts(self) -> dict[str, int]:
        """Return how many are held back, by account and kind."""
        with reached():
            held = self._client.hgetall(self._shards[0].held)
        return {field.decode(): int(count) for field, count in held.items()}

    def kept(self, limit: int) -> Iterator[Alert]:
        """Yield the newest ``limit`` of each shard, told or not, newest first."""
        for number, shard in enumerate(self._shards):
            with reached():
                self._ensure_group(shard)
                newest = self._client.xrevrange(shard.alerts, count=limit)
                first_untold = self._first_untold(shard)
            for entry in newest:
                told = first_untold is None or position(entry[0]) < first_untold
                yield alert_of(number, entry, told=told)

    def forget(self) -> None:
        """Let go of told alerts beyond KEPT_MAX; one that was not told stays, however old."""
        with reached():
            for shard in self._shards:
                self._ensure_group(shard)
                newest = self._client.xrevrange(shard.alerts, count=KEPT_MAX)
                first_untold = self._first_untold(shard)
                bounds = [position(newest[-1][0])] if len(newest) == KEPT_MAX else []
                if bounds and first_untold is not None:
                    bounds.append(first_untold)
                if bounds:
                    ms, number = min(bounds)
                    self._client.xtrim(shard.alerts, minid=f"{ms}-{number}", approximate=False)

    def _first_untold(self, shard: Shard) -> tuple[int, int] | None:
        """Return the position of the oldest alert that nobody settled, None if all are."""
        pending = self._client.xpending(shard.alerts, _GROUP)
        (group,) = self._client.xinfo_groups(shard.alerts)
        fresh = self._client.xrange(
            shard.alerts, min=f"({group['last-delivered-id'].decode()}", count=1
        )
        found = [position(fresh[0][0])] if fresh else []
        if pending["pending"]:
            found.append(position(pending["min"]))
        return min(found, default=None)

    def _ensure_group(self, shard: Shard) -> None:
        """Make the group if there is none: a ledger that came back empty has lost it too."""
        try:
            self._client.xgroup_create(shard.alerts, _GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
