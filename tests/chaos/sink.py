"""What reached a person: the alerts of the ledger, held against what a Sentry of ours was told."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from batching.keys import Shard
from tests.fake_sentry import FakeSentry

_GROUP = "told"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as the ledger wrote it down; ``batch`` is ``<conversation>:<batch>`` or ""."""

    entry: str
    kind: str
    account: str
    batch: str


class Sink:
    """The alerts in the ledger behind ``client``, and ``sentry``."""

    def __init__(self, client: redis.Redis, shards: Sequence[Shard], sentry: FakeSentry) -> None:
        self._client: Any = client
        self._shards = shards
        self._sentry = sentry

    def alerts(self) -> list[Alert]:
        """Return every alert of the ledger, told or not."""
        return [
            _alert(f"{shard.alerts} {entry.decode()}", fields)
            for shard in self._shards
            for entry, fields in self._client.xrange(shard.alerts)
        ]

    def is_told(self) -> bool:
        """Return whether nothing is left to be told, or held back by an answer that was late."""
        for shard in self._shards:
            for group in self._client.xinfo_groups(shard.alerts):
                last = group["last-delivered-id"].decode()
                if group["pending"] or self._client.xrange(shard.alerts, min=f"({last}", count=1):
                    return False
        return True

    def undelivered_count(self) -> Iterator[str]:
        """Yield what no person was told of, by kind and account; nothing where all were."""
        due = Counter((alert.account, alert.kind) for alert in self.alerts())
        seen = self._seen()
        held = self._held()
        for who, times in due.items():
            told = len({batch_or_id for batch_or_id, found in seen.items() if found == who})
            if told + held[who] < times:
                yield f"untold: {who}: {times} alerts, {told} told, {held[who]} held back"

    def _seen(self) -> dict[str, tuple[str, str]]:
        """Return account and kind of each single alert that Sentry has, by the event's id."""
        found = {}
        for event in self._sentry.events:
            alert = told_in(event)
            if alert and not alert.get("throttled"):
                found[str(event["event_id"])] = (str(alert.get("account", "")), str(alert["kind"]))
        return found

    def _held(self) -> Counter[tuple[str, str]]:
        """Return how many of each account and kind were told together, or will be."""
        found: Counter[tuple[str, str]] = Counter()
        for event in self._sentry.events:
            alert = told_in(event)
            if alert and alert.get("throttled"):
                found[str(alert.get("account", "")), str(alert["kind"])] += int(alert["throttled"])
        for shard in self._shards:
            for field, count in self._client.hgetall(f"{shard.prefix}held").items():
                account, _, kind = field.decode().partition(" ")
                found[account, kind] += int(count)
        return found


def told_in(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the alert that an event of Sentry's tells, empty if it tells of something else."""
    found = (event.get("contexts") or {}).get("alert")
    return dict(found) if found else {}


def _alert(entry: str, fields: Mapping[bytes, bytes]) -> Alert:
    told = {name.decode(): value.decode() for name, value in fields.items()}
    batch = f"{told.get('conversation', '')}:{told['batch']}" if told.get("batch") else ""
    return Alert(entry, told["kind"], told.get("account", ""), batch)
