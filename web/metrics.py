"""``/metrics``: the ledger's counters in Prometheus's text format. No label names a customer."""

from collections.abc import Iterator, Sequence
from typing import Any

import falcon

from batching.inspect import MESSAGES, SENT, Counters, by_reason, counters, total
from batching.keys import CANARY
from batching.store import reached
from runtime.build import Runtime
from web.access import Operators

#: Counted since the ledger was created; the others are gauges.
_COUNTERS = frozenset({"accepted", "answered", "suppressed", "lost"})
#: Further counters, by their name in the ledger.
_EVENTS = (
    "alarms", "ambiguous", "channel_stopped", "duplicate", "full", "limits_mismatch",
    "model_stopped", "overdue", "replayed", "sink_failed", "status_refused", "undelivered",
    "worker_died",
)  # fmt: skip
#: Counters with a reason: "dead:poison" is ai_admin_dead_total{reason="poison"}.
_REASONS = ("dead", "flush", "foreign", "suppressed")


class Metrics:
    """Counts of messages by outcome, counts of events, and ages in ms."""

    def __init__(self, runtime: Runtime, operators: Operators) -> None:
        self._store = runtime.store
        self._operators = operators

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 in Prometheus's text format.

        Raise RefusalError, 401, for a stranger, and LedgerUnavailableError.
        """
        self._operators.demand(req)
        shards = counters(self._store)
        lines = [*self._books(shards), *self._counters(shards), *self._ages()]
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.text = "\n".join(lines) + "\n"

    def _books(self, shards: Sequence[Counters]) -> Iterator[str]:
        for name in MESSAGES:
            kind, suffix = ("counter", "_total") if name in _COUNTERS else ("gauge", "")
            metric = f"ai_admin_messages_{name}{suffix}"
            yield f"# TYPE {metric} {kind}"
            yield from (
                f'{metric}{{shard="{shard.shard}"}} {shard.named[name]}' for shard in shards
            )

    def _counters(self, shards: Sequence[Counters]) -> Iterator[str]:
        counted = total(shards)
        for name in _EVENTS:
            yield from _metric(f"{name}_total", "counter", counted[name])
        for kind in _REASONS:
            yield f"# TYPE ai_admin_{kind}_total counter"
            for reason, count in by_reason(counted, kind).items():
                yield f'ai_admin_{kind}_total{{reason="{reason}"}} {count}'
        for kind in SENT:
            yield f"# TYPE ai_admin_{kind}_total counter"
            for account, count in by_reason(counted, kind).items():
                yield f'ai_admin_{kind}_total{{account="{account}"}} {count}'

    def _ages(self) -> Iterator[str]:
        """Yield lags and ages in ms: 0 if nothing waits, -1 if there never was one."""
        watch = self._store.watch()
        due = watch.due_ms
        late_ms = 0 if due is None else max(0, watch.now_ms - due)
        yield from _metric("flusher_lag_ms", "gauge", watch.flusher_lag_ms)
        yield from _metric("oldest_due_lag_ms", "gauge", late_ms)
        with reached():
            found: Any = self._store.client.hmget(CANARY, "answered_ms", "round_trip_ms")
        answered, round_trip = found
        age_ms = watch.now_ms - int(answered) if answered else -1
        yield from _metric("canary_age_ms", "gauge", age_ms)
        yield from _metric("canary_round_trip_ms", "gauge", int(round_trip or -1))


def _metric(name: str, kind: str, value: int) -> Iterator[str]:
    yield f"# TYPE ai_admin_{name} {kind}"
    yield f"ai_admin_{name} {value}"
