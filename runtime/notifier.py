"""Deliver the ledger's alerts to Sentry and to people, as configured, else to the log alone.

An alert is acknowledged after one of them has taken it: a crash repeats it, and nothing is lost.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sentry_sdk.types import Event

from batching.alerts import Alert, Alerts
from batching.background import Background, backgrounds
from batching.errors import TransientError
from batching.inspect import Step
from batching.model import DROPS
from runtime.logs import redacted
from runtime.notification import Notification, notification_of
from runtime.people import People
from runtime.sentry import ALERT_LOGGER, deliver
from runtime.steps import sentence

log = logging.getLogger(__name__)

#: Most new alerts that are taken from a shard at once.
TAKEN_MAX = 50
#: Makes the id of an alert's event, the same for every attempt to send it.
_NAMESPACE = uuid.UUID("6f0c7d1e-93a4-4b57-8f0a-6f5c1f1d9b7a")


@dataclass(frozen=True, slots=True)
class Notifier:
    """Delivers alerts to a person. ``ledger_id`` makes event ids unique among ledgers."""

    alerts: Alerts
    ledger_id: str
    sentry: bool
    people: People

    def __call__(self) -> None:
        """Deliver pending alerts; failures stay pending. Never raises TransientError."""
        try:
            while taken := self.alerts.take(TAKEN_MAX):
                alerts = self.alerts.throttle(taken)
                delivered = self._deliver(alerts)
                self.alerts.acknowledge(delivered)
                if len(delivered) < len(alerts):
                    code = "sentry_away" if self.sentry else "sinks_away"
                    log.warning("alert.delayed", extra={"code": code})
                    break
            self.people.remind()
        except TransientError as error:
            log.warning("alert.delayed", extra={"code": error.code})

    def _deliver(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Return those of ``alerts`` that a sink took, and without Sentry those meant for no one.

        With a sink the line is for the record; without one it is what a person must see.
        """
        told = self.notifications(alerts)
        taken, nobodys = self.people.tell(alerts, told, lambda: self._report(alerts, told))
        in_log = set() if self.sentry else nobodys
        for alert in alerts:
            if alert in taken or alert in in_log:
                level = logging.INFO if alert in taken else logging.ERROR
                log.log(level, "alert.told", extra=_fields(alert))
        return [alert for alert in alerts if alert in taken or alert in in_log]

    def _report(self, alerts: Sequence[Alert], told: Mapping[str, Notification]) -> list[Alert]:
        """Return those of ``alerts`` that Sentry took, none without a DSN."""
        if not self.sentry or not alerts:
            return []
        events = {event_id(self.ledger_id, alert): alert for alert in alerts}
        taken = deliver(
            (report(event, alert, told[alert.name]), _links(told[alert.name]))
            for event, alert in events.items()
        )
        return [alert for event, alert in events.items() if event in taken]

    def notifications(self, alerts: Sequence[Alert]) -> Mapping[str, Notification]:
        """Return what a person is told of each alert, by the alert's name.

        Without what the ledger has of its batch where that cannot be read: the alert goes first.
        """
        known: Mapping[str, Background] = {}
        try:
            known = backgrounds(self.alerts.store, alerts)
        except TransientError as error:
            log.warning("alert.delayed", extra={"code": error.code})
        return {
            it.name: notification_of(it, self.people.links, known.get(it.name)) for it in alerts
        }


def event_id(ledger_id: str, alert: Alert) -> str:
    """Return the id of an alert's event, 32 hex digits."""
    return uuid.uuid5(_NAMESPACE, f"{ledger_id}:{alert.name}").hex


def report(event_id: str, alert: Alert, told: Notification) -> Event:
    """Return the event of an alert: one issue a kind and cause, no value of a person."""
    is_drop = alert.kind in DROPS
    name = "batch.dropped" if is_drop else "alert.raised"
    tags = {
        "account": told.account_id or "-",
        "kind": told.kind,
        "reason": told.kind if is_drop else "",
        "code": told.code,
        "conversation": told.conversation_id,
        "batch": told.batch_id,
        "stage": told.stage,
    }
    context = _fields(alert) | {"to_do": told.to_do, "waited_ms": told.waited_ms or None}
    event: Event = {
        "event_id": event_id,
        "level": told.severity.value,
        "logger": ALERT_LOGGER,
        "logentry": {
            "message": f"{name}: {told.kind}",
            "formatted": f"{told.title}\n{told.to_do}",
        },
        "fingerprint": [name, told.kind, *filter(None, [told.code])],
        "tags": {tag: value for tag, value in tags.items() if value},
        "contexts": {"alert": {name: value for name, value in context.items() if value}},
        "breadcrumbs": {"values": [_crumb(step) for step in told.steps]},
    }
    with suppress(ValueError, OverflowError, OSError):  # No time at all, whoever wrote it.
        if told.at_ms:
            event["timestamp"] = datetime.fromtimestamp(told.at_ms / 1_000, UTC)
    return event


def _links(told: Notification) -> list[str]:
    return [link for link in (told.runbook, told.console) if link]


def _crumb(step: Step) -> dict[str, object]:
    """Return a step of the batch as Sentry shows what led to an event."""
    return {
        "timestamp": step.at_ms / 1_000,
        "category": step.verb,
        "message": redacted(sentence(step)),
        "level": "error" if step.is_failure else "info",
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
