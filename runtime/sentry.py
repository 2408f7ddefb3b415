"""Reports to Sentry: that something needs a person, never what a customer wrote.

Sentry's defaults send arguments, local variables, bodies and messages. Each is turned off here, and
what is left is redacted like the log.
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import redis
import sentry_sdk
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.scrubber import DEFAULT_DENYLIST, DEFAULT_PII_DENYLIST, EventScrubber
from sentry_sdk.transport import HttpTransport
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint, MonitorConfig

from batching.errors import AdminError
from batching.keys import CHECK_IN
from batching.store import reached
from runtime.logs import clean, fields_of
from runtime.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

#: How long ``deliver`` waits for Sentry to take events.
SEND_S_MAX = 10
FLUSH_S = 5
_REMEMBERED = 1_000
_BREADCRUMBS_MAX = 20
_CHAIN_MAX = 20

_DENIED = ["text", "body", "phone", "customer", "name", "x_hub_signature_256", "x_signature"]
#: Log events that the notifier reports from the ledger's alert, once for all processes.
_REPORTED_BY_ALERT = frozenset({
    "batch.dropped", "batch.overdue", "channel.stopped", "alias.conflicted", "reply.undelivered",
    "alarm.raised", "status.refused", "alert.told", "canary.late", "ledger.unbalanced",
    "settings.drift",
})  # fmt: skip
#: What may stay in these parts of an event; whatever else a library adds is removed.
_ALLOWED = {
    "contexts": frozenset({"alert", "runtime", "trace"}),
    "tags": frozenset({"account", "kind", "role"}),
}
#: Parts of an event with values of our code or of a library.
_FREE_PARTS = ("message", "logentry", "extra", "contexts", "tags", "transaction")

CRON_SLUG = "ai-admin-flush"
#: A little less than the monitor's minute; Sentry takes six check-ins a minute at most.
CHECK_IN_EVERY_MS = 55_000
CRON_CONFIG: MonitorConfig = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 2,
    "max_runtime": 1,
    "failure_issue_threshold": 2,
    "recovery_threshold": 1,
}


def start_reporting(settings: Settings, role: str) -> None:
    """Report errors of this process to SENTRY_DSN; do nothing if that is not set.

    Call after the process forked, before its broker is built.
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
        # Those that enable themselves record Redis commands, addresses and prompts.
        auto_enabling_integrations=False,
        integrations=_integrations(role),
        traces_sample_rate=settings.sentry_traces_percent / 100,
        before_send=_scrub,
        before_send_transaction=_scrub,
        before_breadcrumb=_scrub_breadcrumb,
        transport=ConfirmingTransport,
    )
    sentry_sdk.set_tag("role", role)
    # It quotes the arguments of the message that failed, which the middleware has reported.
    ignore_logger("dramatiq.worker.WorkerThread")


def _integrations(role: str) -> list[Integration]:
    """Return that of the role's framework; imported here because only that role has it."""
    if role == "web":
        from sentry_sdk.integrations.falcon import FalconIntegration  # noqa: PLC0415

        return [FalconIntegration()]
    if role == "worker":
        from sentry_sdk.integrations.dramatiq import DramatiqIntegration  # noqa: PLC0415

        return [DramatiqIntegration()]
    return []


def flush() -> None:
    """Send what waits, for at most FLUSH_S. For the end of a process."""
    sentry_sdk.flush(timeout=FLUSH_S)


class ConfirmingTransport(HttpTransport):
    """Remember which events Sentry took; the SDK itself knows only which it dropped."""

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
    """Send events; return the ids of those that Sentry took within SEND_S_MAX, () without a DSN.

    Safe to run twice with the same ids.
    """
    event_ids = {sentry_sdk.capture_event(event) for event in events}
    sentry_sdk.flush(timeout=SEND_S_MAX)
    transport = sentry_sdk.get_client().transport
    if not isinstance(transport, ConfirmingTransport):
        return set()
    return {event_id for event_id in event_ids if event_id and event_id in transport.confirmed}


def check_in(ledger: redis.Redis) -> None:
    """Check in with Sentry's cron monitor, once a minute for the whole installation.

    Raise LedgerUnavailableError.
    """
    with reached():
        our_turn = ledger.set(CHECK_IN, 1, nx=True, px=CHECK_IN_EVERY_MS)
    if our_turn:
        capture_checkin(monitor_slug=CRON_SLUG, status="ok", monitor_config=CRON_CONFIG)


def _scrub(event: Event, hint: Hint) -> Event | None:
    """Return ``event`` without customers' values: no request, no user, no exception message.

    None for a log line that an alert of the ledger reports.
    """
    record = hint.get("log_record")
    if getattr(record, "msg", "") in _REPORTED_BY_ALERT:
        return None
    loose = cast("dict[str, Any]", event)
    errors = loose.get("exception", {}).get("values", [])
    if any((error.get("mechanism") or {}).get("type") == "falcon" for error in errors):
        return None  # The error handlers of web/ have logged it.
    for name in ("request", "user"):
        loose.pop(name, None)
    if record is not None:
        # From the record: Sentry has already turned objects among the fields into text.
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
        # The message of an exception may quote a customer; the code of ours never does.
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
