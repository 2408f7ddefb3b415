"""Reports to Sentry: that something needs a person, never what a person wrote.

Sentry's own defaults send arguments, local variables, bodies and messages; each is turned off
here, and what is left is redacted like the log.
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.transport import HttpTransport
from sentry_sdk.types import Event

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope
import logging
import os
from dataclasses import asdict
from typing import cast

import redis
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.scrubber import DEFAULT_DENYLIST, DEFAULT_PII_DENYLIST, EventScrubber
from sentry_sdk.transport import Transport
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Hint, MonitorConfig

from batching.errors import AdminError
from batching.keys import CHECK_IN
from batching.store import reached
from runtime.logs import clean, fields_of, start_logging
from runtime.settings import Settings

SEND_S_MAX = 10
_REMEMBERED = 1_000


class ConfirmingTransport(HttpTransport):
    """Remembers which events Sentry took. The SDK's own knows only which it dropped itself."""

    def __init__(self, options: dict[str, object]) -> None:
        super().__init__(options)
        self.confirmed: deque[str] = deque(maxlen=_REMEMBERED)

    def _handle_response(
        self,
        response: Any,  # noqa: ANN401 - the HTTP library's, which is the SDK's business
        envelope: "Envelope | None",
    ) -> None:
        super()._handle_response(response=response, envelope=envelope)
        event = envelope.get_event() if envelope else None
        if event and response.status in range(200, 300):
            self.confirmed.append(event["event_id"])


def deliver(events: Iterable[Event]) -> set[str]:
    """Send events and return the ids of those that Sentry took within SEND_S_MAX.

    Without a DSN none is. Safe to run twice with the same ids.
    """
    ids = {sentry_sdk.capture_event(event) for event in events}
    sentry_sdk.flush(timeout=SEND_S_MAX)
    transport = sentry_sdk.get_client().transport
    if not isinstance(transport, ConfirmingTransport):
        return set()
    return {event_id for event_id in ids if event_id and event_id in transport.confirmed}


FLUSH_S = 5
_BREADCRUMBS_MAX = 20
_CHAIN_MAX = 20
_DENIED = ["text", "body", "phone", "customer", "name", "x_hub_signature_256", "x_signature"]
#: Log events that the ledger has an alert for: told from there, once, whoever logged them.
TOLD_BY_THE_LEDGER = frozenset({
    "batch.dropped", "batch.overdue", "channel.stopped", "alias.conflicted", "reply.undelivered",
    "alarm.raised", "alert.told", "canary.late", "ledger.unbalanced", "settings.drift",
})  # fmt: skip
#: What an event may carry beside its words; whatever else a library adds stays here.
_ALLOWED = {
    "contexts": frozenset({"alert", "runtime", "trace"}),
    "tags": frozenset({"account", "kind", "role"}),
}
#: Parts of an event that hold what our code or a library put there.
_FREE_PARTS = ("message", "logentry", "extra", "contexts", "tags", "transaction")


def start_reporting(
    settings: Settings, role: str, *, transport: type[Transport] | None = None
) -> None:
    """Report errors of this process to SENTRY_DSN; do nothing if that is not set.

    Call after the process forked, before its broker is built. ``transport`` is for tests.
    """
    if not settings.sentry_dsn:
        return
    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        environment=settings.environment,
        release=settings.release,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=_BREADCRUMBS_MAX,
        event_scrubber=EventScrubber(
            denylist=DEFAULT_DENYLIST + _DENIED, pii_denylist=DEFAULT_PII_DENYLIST, recursive=True
        ),
        # Those found by themselves record Redis commands, addresses and prompts.
        auto_enabling_integrations=False,
        integrations=_integrations(role),
        traces_sample_rate=settings.sentry_traces_percent / 100,
        before_send=scrub,
        before_send_transaction=scrub,
        before_breadcrumb=_scrub_breadcrumb,
        transport=transport or ConfirmingTransport,
    )
    sentry_sdk.set_tag("role", role)
    # It quotes the arguments of the message that failed; the door has reported that by itself.
    ignore_logger("dramatiq.worker.WorkerThread")


def flush() -> None:
    """Send what is still waiting, for FLUSH_S seconds at most; a forked worker never gets to."""
    sentry_sdk.flush(timeout=FLUSH_S)


def scrub(event: Event, hint: Hint) -> Event | None:
    """Return ``event`` without values of people: no request, user or words of an exception.

    None for a log line of something that the ledger's own alert tells.
    """
    if getattr(hint.get("log_record"), "msg", "") in TOLD_BY_THE_LEDGER:
        return None
    loose = cast("dict[str, Any]", event)
    errors = loose.get("exception", {}).get("values", [])
    if any((error.get("mechanism") or {}).get("type") == "falcon" for error in errors):
        return None  # The error handlers of web/ have logged it, and answered.
    for name in ("request", "user"):
        loose.pop(name, None)
    record = hint.get("log_record")
    if record is not None:
        # Sentry has turned an object among the fields into its own words; the record has not.
        loose["extra"] = fields_of(record)
        loose["logentry"] = {"message": str(record.msg)}
    for part, allowed in _ALLOWED.items():
        held = dict(loose.get(part) or {})
        loose[part] = {name: value for name, value in held.items() if name in allowed}
    for part in _FREE_PARTS:
        if part in loose:
            loose[part] = clean(loose[part], part)
    codes = _codes(hint.get("exc_info"))
    for error in errors:
        # Words of an exception may quote a customer; ours has a code that never does.
        error["value"] = codes.get(error.get("type"), "")
    return event


def _codes(exc_info: Any) -> dict[str | None, str]:  # noqa: ANN401 - as Sentry hands it over
    """Return the codes of our own errors in a chain, by the name of their class."""
    codes: dict[str | None, str] = {}
    error = exc_info[1] if exc_info else None
    while error is not None and len(codes) < _CHAIN_MAX:
        if isinstance(error, AdminError):
            codes[type(error).__name__] = error.code
        error = error.__cause__ or error.__context__
    return codes


def _scrub_breadcrumb(crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb:
    if record := hint.get("log_record"):
        crumb["message"] = str(record.msg)
    for part in ("message", "data"):
        if part in crumb:
            crumb[part] = clean(crumb[part], part)
    return crumb


def _integrations(role: str) -> list[Integration]:
    """Return those of the framework that the role runs; imported here, for only it has them."""
    if role == "web":
        from sentry_sdk.integrations.falcon import FalconIntegration  # noqa: PLC0415

        return [FalconIntegration()]
    if role == "worker":
        from sentry_sdk.integrations.dramatiq import DramatiqIntegration  # noqa: PLC0415

        return [DramatiqIntegration()]
    return []


SLUG = "ai-admin-flush"
#: A little less than the monitor's minute; Sentry takes six a minute at most.
CHECK_IN_EVERY_MS = 55_000
CONFIG: MonitorConfig = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 2,
    "max_runtime": 1,
    "failure_issue_threshold": 2,
    "recovery_threshold": 1,
}


class CronMonitor:
    """Checks in for the whole installation; the gate in the ledger is shared by all workers."""

    def __init__(self, ledger: redis.Redis) -> None:
        self._ledger = ledger

    def alive(self) -> None:
        """Give the sign if none was given lately. Raise LedgerUnavailableError."""
        with reached():
            our_turn = self._ledger.set(CHECK_IN, 1, nx=True, px=CHECK_IN_EVERY_MS)
        if our_turn:
            capture_checkin(monitor_slug=SLUG, status="ok", monitor_config=CONFIG)


__all__ = ["configure", "flush", "log_start"]

log = logging.getLogger(__name__)


def configure(settings: Settings, role: str) -> None:
    """Set up logs and reports of this process. Call once, after it forked."""
    start_logging(role=role, release=settings.release, level=settings.log_level)
    start_reporting(settings, role)


def log_start(settings: Settings, *, fingerprint: str, ledger: dict[str, object]) -> None:
    """Log who this process is, what it runs with, and which ledger it found.

    A stale setting or another Redis is found by comparing these lines of two processes.
    """
    log.info(
        "process.started",
        extra={
            "pid": os.getpid(),
            "environment": settings.environment,
            "fingerprint": fingerprint,
            "limits": asdict(settings.limits()),
            **ledger,
        },
    )
