"""Deliver the ledger's alerts: to Sentry if there is a DSN, else to the log alone.

An alert is acknowledged only after Sentry has it, so a crash repeats it and nothing is lost.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sentry_sdk.types import Event

from batching.alerts import Alerts
from batching.errors import TransientError
from batching.model import Alert, Reason
from runtime.sentry import deliver

log = logging.getLogger(__name__)

TAKEN_MAX = 50
_DROPS = frozenset(Reason)
#: Makes the id of an alert's event: the same for every attempt to send it.
_NAMESPACE = uuid.UUID("6f0c7d1e-93a4-4b57-8f0a-6f5c1f1d9b7a")
#: Kinds that warn of what is still being seen to.
_WARNINGS = frozenset({"overdue", "foreign_reply"})


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells what waits to be told. ``ledger_id`` makes event ids unique among ledgers."""

    alerts: Alerts
    ledger_id: str
    sentry: bool

    def __call__(self) -> None:
        """Tell what there is. Never raises TransientError: what was not told waits."""
        try:
            while taken := self.alerts.take(TAKEN_MAX):
                settled = self._tell(taken)
                self.alerts.forget()
                if len(settled) < len(taken):
                    break
            for alert in self.alerts.held_back():
                if self._told([alert]):
                    self.alerts.settle_held(alert)
        except TransientError as error:
            log.warning("alert.delayed", extra={"code": error.code})

    def _tell(self, taken: Sequence[Alert]) -> Sequence[Alert]:
        """Tell of alerts within their rate, count the others; return those that were settled."""
        now = [alert for alert in taken if self.alerts.may_tell(alert)]
        for alert in taken:
            if alert not in now:
                self.alerts.hold(alert)
        told = self._told(now)
        self.alerts.settle(told)
        return [alert for alert in taken if alert in told or alert not in now]

    def _told(self, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Return those of ``alerts`` that have reached a person's screen."""
        if not alerts:
            return []
        events = {event_id(self.ledger_id, alert): alert for alert in alerts}
        told = list(alerts)
        if self.sentry:
            taken = deliver(report(event, alert) for event, alert in events.items())
            told = [alert for event, alert in events.items() if event in taken]
        for alert in told:
            # With Sentry the line is for the record; without, it is what a person must see.
            log.log(
                logging.INFO if self.sentry else logging.ERROR, "alert.told", extra=_fields(alert)
            )
        if len(told) < len(alerts):
            log.warning("alert.delayed", extra={"code": "sentry_away"})
        return told


def event_id(ledger_id: str, alert: Alert) -> str:
    """Return the id of an alert's event, 32 hex digits."""
    return uuid.uuid5(_NAMESPACE, f"{ledger_id}:{alert.name}").hex


def report(identity: str, alert: Alert) -> Event:
    """Return the event of an alert: one issue a kind and account, no value of a person."""
    name = "batch.dropped" if alert.kind in _DROPS else "alert.raised"
    count = f" ({alert.held} more, held back)" if alert.held else ""
    return {
        "event_id": identity,
        "level": "warning" if alert.kind in _WARNINGS else "error",
        "logger": "ledger",
        "message": f"{name}: {alert.kind}{count}",
        "fingerprint": [name, alert.kind, alert.account_id],
        "tags": {"kind": alert.kind, "account": alert.account_id or "-"},
        "contexts": {"alert": _fields(alert)},
    }


def _fields(alert: Alert) -> dict[str, object]:
    fields: dict[str, object] = {"kind": alert.kind, "detail": alert.detail, "at_ms": alert.at_ms}
    fields |= {"account": alert.account_id, "conversation": alert.conversation_id}
    fields |= {"batch": alert.batch_id, "kept": alert.kept, "lost": alert.lost}
    fields |= {"held": alert.held}
    return {name: value for name, value in fields.items() if value or name == "kind"}
