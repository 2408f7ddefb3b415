"""Deliver the ledger's alerts: to Sentry if there is a DSN, else to the log alone.

An alert is acknowledged after Sentry has taken it: a crash repeats it, and nothing is lost.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sentry_sdk.types import Event

from batching.alerts import Alert, Alerts
from batching.errors import TransientError
from batching.model import Reason
from runtime.sentry import ALERT_LOGGER, deliver

log = logging.getLogger(__name__)

#: Most new alerts that are taken from a shard at once.
TAKEN_MAX = 50
_DROPS = frozenset(Reason)
#: Makes the id of an alert's event, the same for every attempt to send it.
_NAMESPACE = uuid.UUID("6f0c7d1e-93a4-4b57-8f0a-6f5c1f1d9b7a")
#: Kinds that warn of a batch that may still be answered.
_WARNINGS = frozenset({
    "overdue", "foreign_reply", "channel_warning", "channel_recovered", "customer_called",
    "customer_paid",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Notifier:
    """Delivers alerts to a person. ``ledger_id`` makes event ids unique among ledgers."""

    alerts: Alerts
    ledger_id: str
    sentry: bool

    def __call__(self) -> None:
        """Deliver pending alerts; failures stay pending. Never raises TransientError."""
        try:
            while taken := self.alerts.take(TAKEN_MAX):
                alerts = self.alerts.throttle(taken)
                delivered = self._deliver(alerts)
                self.alerts.acknowledge(delivered)
                if len(delivered) < len(alerts):
                    log.warning("alert.delayed", extra={"code": "sentry_away"})
                    break
        except TransientError as error:
            log.warning("alert.delayed", extra={"code": error.code})

    def _deliver(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Return those of ``alerts`` that Sentry took; without a DSN all, as the log has them."""
        delivered = list(alerts)
        if self.sentry and alerts:
            events = {event_id(self.ledger_id, alert): alert for alert in alerts}
            taken = deliver(report(event, alert) for event, alert in events.items())
            delivered = [alert for event, alert in events.items() if event in taken]
        # With Sentry the line is for the record; without, it is what a person must see.
        level = logging.INFO if self.sentry else logging.ERROR
        for alert in delivered:
            log.log(level, "alert.told", extra=_fields(alert))
        return delivered


def event_id(ledger_id: str, alert: Alert) -> str:
    """Return the id of an alert's event, 32 hex digits."""
    return uuid.uuid5(_NAMESPACE, f"{ledger_id}:{alert.name}").hex


def report(event_id: str, alert: Alert) -> Event:
    """Return the event of an alert: one issue a kind and account, no value of a person."""
    name = "batch.dropped" if alert.kind in _DROPS else "alert.raised"
    count = f" ({alert.throttled} more, throttled)" if alert.throttled else ""
    return {
        "event_id": event_id,
        "level": "warning" if alert.kind in _WARNINGS else "error",
        "logger": ALERT_LOGGER,
        "message": f"{name}: {alert.kind}{count}",
        "fingerprint": [name, alert.kind, alert.account_id],
        "tags": {"kind": alert.kind, "account": alert.account_id or "-"},
        "contexts": {"alert": _fields(alert)},
    }


def _fields(alert: Alert) -> dict[str, object]:
    """Return what the log and Sentry say of an alert, without what is empty."""
    fields: dict[str, object] = {
        "detail": alert.detail,
        "at_ms": alert.at_ms,
        "account": alert.account_id,
        "conversation": alert.conversation_id,
        "batch": alert.batch_id,
        "kept": alert.kept,
        "lost": alert.lost,
        "throttled": alert.throttled,
    }
    return {"kind": alert.kind} | {name: value for name, value in fields.items() if value}
