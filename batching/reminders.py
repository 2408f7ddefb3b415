"""Alerts that people are still to be told of, or told again: open until a person acknowledges them.

Alerts of one account, kind and cause are one open alert. It is told again when it is due, and what
comes meanwhile is counted, so that a storm of one cause is one line.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from batching.alerts import REDELIVER_MS, Alert
from batching.inspect import to_number
from batching.store import Store, reached

#: So many open alerts at most are told at once; the others follow in the next round.
TOLD_MAX = 50
#: So many acknowledgements are kept.
ACKS_MAX = 100
#: What is kept of the first alert of an open one; the rest is counted.
_KEPT = ("kind", "detail", "account_id", "conversation_id", "batch_id", "at_ms")
_FIRST, _COUNT, _UNTOLD = "first:", "count:", "untold:"
_PARTS = (_FIRST, _COUNT, _UNTOLD)


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """Alerts of one account, kind and cause. ``first``: the oldest; ``count``: how many there were.

    ``untold``: of how many people were not told; ``due_ms``: when they are told of it (again).
    """

    name: str
    first: Alert
    count: int
    untold: int
    due_ms: int

    @property
    def open_id(self) -> str:
        """Return 6 hex digits by which a person names it."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:6]

    @property
    def alert(self) -> Alert:
        """Return it as one alert, a summary where people were not told of several."""
        return replace(self.first, throttled=self.untold if self.untold > 1 else 0)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who acknowledged an open alert, when, and of how many alerts; ``by``: a name, or a kind."""

    name: str
    by: str
    at_ms: int
    count: int


class Reminders:
    """The open alerts of a ledger. Every method raises LedgerUnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client
        self._keys = store.keyring.shards[0]

    def known(self, names: Sequence[str]) -> set[str]:
        """Return those of the ``names`` (``Alert.rate_name``) that are open."""
        if not names:
            return set()
        with reached():
            scores = self._client.zmscore(self._keys.reminders, names)
        return {name for name, score in zip(names, scores, strict=True) if score is not None}

    def keep(self, due_ms: Mapping[Alert, int], told: Collection[Alert]) -> None:
        """Open an alert for each, or count it with the one that is open; the earlier time holds.

        ``told``: those of which people were told.
        """
        if not due_ms:
            return
        keys, pipeline = self._keys, self._client.pipeline(transaction=True)
        for alert, at_ms in due_ms.items():
            name, kept = alert.rate_name, {it: getattr(alert, it) for it in _KEPT}
            pipeline.hsetnx(keys.open_alerts, f"{_FIRST}{name}", json.dumps(kept))
            count = max(1, alert.throttled)
            pipeline.hincrby(keys.open_alerts, f"{_COUNT}{name}", count)
            if alert not in told:
                pipeline.hincrby(keys.open_alerts, f"{_UNTOLD}{name}", count)
            pipeline.zadd(keys.reminders, {name: at_ms}, lt=True)
        with reached():
            pipeline.execute()

    def due(self) -> list[OpenAlert]:
        """Return up to TOLD_MAX open alerts that are due, the earliest first; to one caller only.

        Another gets them after REDELIVER_MS, unless ``told`` or ``postpone`` came.
        """
        with reached():
            found = self._client.zrange(self._keys.reminders, 0, TOLD_MAX - 1, withscores=True)
        now_ms = self._store.now_ms() if found else 0
        due = [(name, at_ms) for name, at_ms in found if at_ms <= now_ms]
        if not due:
            return []
        with reached():
            turn = self._keys.cooldown("", "remind")
            if not self._client.set(turn, 1, nx=True, px=REDELIVER_MS):
                return []
        return self._read(due)

    def open(self) -> list[OpenAlert]:
        """Return all open alerts, the one that is due first first."""
        with reached():
            found = self._client.zrange(self._keys.reminders, 0, -1, withscores=True)
        return self._read(found)

    def told(self, alerts: Iterable[OpenAlert], *, again_ms: int) -> None:
        """Note that people were told of them: due again at ``again_ms``; 0: closed.

        One to which an alert was added meanwhile stays due.
        """
        self._end(alerts, again_ms)

    def postpone(self, due_ms: Mapping[OpenAlert, int]) -> None:
        """Set when they are due, without telling anybody."""
        if due_ms:
            with reached():
                scores = {it.name: at_ms for it, at_ms in due_ms.items()}
                self._client.zadd(self._keys.reminders, scores, xx=True)

    def end_turn(self) -> None:
        """Let the next caller of ``due`` have what is due."""
        with reached():
            self._client.delete(self._keys.cooldown("", "remind"))

    def acknowledge(self, alerts: Iterable[OpenAlert], by: str) -> list[Acknowledgement]:
        """Close them in the name of ``by``; return what was closed.

        One to which an alert was added since it was read stays open.
        """
        closed, now_ms = self._end(alerts, 0), self._store.now_ms()
        acks = [Acknowledgement(it.name, by, now_ms, it.count) for it in closed]
        if acks:
            pipeline = self._client.pipeline(transaction=True)
            lines = [json.dumps([ack.name, ack.by, ack.at_ms, ack.count]) for ack in acks]
            pipeline.lpush(self._keys.acks, *lines)
            pipeline.ltrim(self._keys.acks, 0, ACKS_MAX - 1)
            with reached():
                pipeline.execute()
        return acks

    def acknowledgements(self) -> list[Acknowledgement]:
        """Return the newest ACKS_MAX acknowledgements, newest first."""
        with reached():
            found = self._client.lrange(self._keys.acks, 0, -1)
        return [Acknowledgement(*json.loads(line)) for line in found]

    def count_failure(self) -> None:
        """Count that an address did not take a message."""
        with reached():
            self._client.hincrby(self._keys.stats, "sink_failed", 1)

    def _end(self, alerts: Iterable[OpenAlert], again_ms: int) -> list[OpenAlert]:
        """Close alerts, or set when they are due again; return those that are as they were read."""
        alerts, keys = list(alerts), self._keys

        def end(pipeline: Any) -> list[OpenAlert]:  # noqa: ANN401 - redis-py's is untyped
            counts = pipeline.hmget(keys.open_alerts, [f"{_COUNT}{it.name}" for it in alerts])
            same = [
                it for it, count in zip(alerts, counts, strict=True) if to_number(count) == it.count
            ]
            pipeline.multi()
            for it in same:
                if again_ms:
                    pipeline.zadd(keys.reminders, {it.name: again_ms})
                    pipeline.hdel(keys.open_alerts, f"{_UNTOLD}{it.name}")
                else:
                    pipeline.zrem(keys.reminders, it.name)
                    pipeline.hdel(keys.open_alerts, *(f"{part}{it.name}" for part in _PARTS))
            return same

        if not alerts:
            return []
        # Watched: what is added in between must not be closed with the rest.
        with reached():
            found: list[OpenAlert] = self._client.transaction(
                end, keys.open_alerts, value_from_callable=True
            )
        return found

    def _read(self, found: Iterable[tuple[bytes, float]]) -> list[OpenAlert]:
        due = {name.decode(): int(at_ms) for name, at_ms in found}
        if not due:
            return []
        fields = [f"{part}{name}" for name in due for part in _PARTS]
        with reached():
            values = self._client.hmget(self._keys.open_alerts, fields)
        return [
            OpenAlert(name, _first(name, first), to_number(count), to_number(untold), at_ms)
            for (name, at_ms), first, count, untold in zip(
                due.items(), values[::3], values[1::3], values[2::3], strict=True
            )
        ]


def _first(name: str, raw: bytes | None) -> Alert:
    """Return the first alert of an open one; of one that is damaged what its name tells."""
    account_id, _, rest = name.partition(" ")
    kept: dict[str, Any] = {"account_id": account_id, "kind": rest.partition(" ")[0]}
    with suppress(ValueError, AttributeError):
        kept |= {it: value for it, value in json.loads(raw or b"{}").items() if it in _KEPT}
    return Alert(0, f"open:{name}", **kept)
