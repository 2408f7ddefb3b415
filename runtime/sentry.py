"""Reports to Sentry: that something needs a person, never what a customer wrote.

Sentry's defaults send arguments, local variables, bodies and messages. Each is turned off here, and
what is left is redacted like the log.
"""

import linecache
import logging
import platform
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import redis
import sentry_sdk
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.scrubber import DEFAULT_DENYLIST, DEFAULT_PII_DENYLIST, EventScrubber
from sentry_sdk.transport import HttpTransport
from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint, MonitorConfig

from batching.errors import AdminError
from batching.keys import CHECK_IN
from batching.store import reached
from runtime.limiter import COUNTED, Limiter
from runtime.logs import clean, fields_of, is_left_out
from runtime.meanings import events, kinds
from runtime.notification import Links, event_text
from runtime.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope, Item

log = logging.getLogger(__name__)

#: How long ``deliver`` waits for Sentry to take events.
SEND_S_MAX = 10
FLUSH_S = 5
_REMEMBERED = 1_000
_BREADCRUMBS_MAX = 20
_CHAIN_MAX = 20
#: The ``logger`` of an alert's event, which stays pending until Sentry has it.
ALERT_LOGGER = "ledger"
#: Why an error that was to be sent did not come to Sentry; the other reasons are our own will.
_LOSSES = frozenset({"network_error", "queue_overflow", "ratelimit_backoff", "send_error"})
_TOO_MANY_REQUESTS = 429
_REFUSALS = frozenset(range(400, 500))

_DENIED = ["text", "body", "phone", "customer", "name", "x_hub_signature_256", "x_signature"]
#: What may stay in these parts of an event; whatever else a library adds is removed.
_ALLOWED = {
    "contexts": frozenset({"alert", "runtime", "trace"}),
    "tags": frozenset({
        "account", "batch", "code", "conversation", "dependency", "host", "kind", "reason", "role",
        "stage",
    }),
}  # fmt: skip
#: Fields of a log line that become tags of its event.
_TAGGED = ("account", "batch", "code", "conversation", "dependency", "kind", "reason", "stage")
#: The field that tells two causes of one log event apart, the first that there is.
_CAUSES = ("dependency", "code", "reason", "kind", "setting")
#: A conversation is the keyed digest of a customer: all that may stand for one.
_ROOT = f"{Path(__file__).parent.parent}/"
_CONVERSATION = re.compile(r"c_[0-9a-f]{24}")
#: Parts of an event with values of our code or of a library.
_FREE_PARTS = (
    "message", "logentry", "extra", "contexts", "tags", "transaction", "fingerprint",
)  # fmt: skip

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
    rate = settings.sentry_traces_percent / 100
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
        # The log has what nobody caught, with our words (runtime.logs): once is enough.
        disabled_integrations=[ExcepthookIntegration(), ThreadingIntegration()],
        # A rate alone would obey who calls: with 0, whatever a caller's header asks for is sent.
        traces_sampler=(lambda _: rate) if rate else None,
        trace_ignore_status_codes=_REFUSALS,
        trace_propagation_targets=[],
        auto_session_tracking=False,
        before_send=partial(_limited, Links.of(settings)),
        before_send_transaction=partial(_scrub, Links.of(settings)),
        before_breadcrumb=_scrub_breadcrumb,
        transport=ConfirmingTransport,
    )
    # Of all events of the process: a request and a task have scopes of their own.
    scope = sentry_sdk.get_global_scope()
    scope.set_tag("role", role)
    scope.set_tag("host", platform.node())
    # It quotes the arguments of the message that failed, which the middleware has reported.
    ignore_logger("dramatiq.worker.WorkerThread")


def _integrations(role: str) -> list[Integration]:
    """Return that of the role's framework; imported here because only that role has it."""
    if role == "web":
        return [_falcon()]
    if role == "worker":
        from sentry_sdk.integrations.dramatiq import DramatiqIntegration  # noqa: PLC0415

        return [DramatiqIntegration()]
    return []


def _falcon() -> Integration:
    """Return Falcon's integration, but that each request begins a trace of its own.

    The SDK has no setting for that: it takes over a caller's ids and baggage, in errors too.
    """
    from sentry_sdk.integrations import wsgi  # noqa: PLC0415
    from sentry_sdk.integrations.falcon import FalconIntegration  # noqa: PLC0415

    def own_trace(_environ: object, **named: Any) -> Any:  # noqa: ANN401 - the SDK's
        return sentry_sdk.continue_trace({}, **named)

    wsgi.continue_trace = own_trace  # type: ignore[attr-defined,assignment]
    return FalconIntegration()


def flush() -> None:
    """Send what waits, for at most FLUSH_S. For the end of a process."""
    tell_counted(whole=True)
    sentry_sdk.flush(timeout=FLUSH_S)


class ConfirmingTransport(HttpTransport):
    """Remember which events Sentry took, count those that were lost, and send timings apart.

    Timings have a queue, a thread and rate limits of their own: however many there are, errors
    find room. The SDK itself does not know what was taken and logs nothing of what was not.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.confirmed: deque[str] = deque(maxlen=_REMEMBERED)
        self.lost = 0
        self.limiter = Limiter()
        self._timings = HttpTransport(options)

    def capture_envelope(self, envelope: "Envelope") -> None:
        """Queue an envelope: errors and check-ins here, timings and what else there is apart."""
        if any(item.type in {"event", "check_in"} for item in envelope.items):
            super().capture_envelope(envelope)
        else:
            self._timings.capture_envelope(envelope)

    def flush(self, timeout: float, callback: Any = None) -> None:  # noqa: ANN401 - the SDK's
        """Send what waits, errors first, each for at most ``timeout`` s."""
        super().flush(timeout, callback)
        self._timings.flush(timeout, callback)

    def kill(self) -> None:
        """End both threads."""
        super().kill()
        self._timings.kill()

    def record_lost_event(
        self,
        reason: str,
        data_category: Any = None,  # noqa: ANN401 - the SDK's
        item: "Item | None" = None,
        *,
        quantity: int = 1,
    ) -> None:
        """Count what was lost, as the SDK does, and log it if it is an error; no alert is."""
        super().record_lost_event(reason, data_category, item, quantity=quantity)
        if item and reason in _LOSSES:
            self._lose(item.get_event(), reason)

    def _handle_response(
        self,
        response: Any,  # noqa: ANN401 - the HTTP library's, which is the SDK's business
        envelope: "Envelope | None",
    ) -> None:
        super()._handle_response(response=response, envelope=envelope)
        event = envelope.get_event() if envelope else None
        if event and response.status in range(200, 300):
            self.confirmed.append(event["event_id"])
        elif response.status == _TOO_MANY_REQUESTS:
            # The SDK leaves this to Sentry's own counts.
            self._lose(event, "status_429")

    def _lose(self, event: Event | None, reason: str) -> None:
        if event and event.get("logger") != ALERT_LOGGER:
            self.lost += 1
            # A line that is itself no report. Fleet alerts a person.
            log.warning("report.lost", extra={"code": reason})


def deliver(reports: Iterable[tuple[Event, Sequence[str]]]) -> set[str]:
    """Send events, each with the addresses where a person reads on.

    Return the ids of those that Sentry took within SEND_S_MAX, () without a DSN. Safe to run twice
    with the same ids.
    """
    event_ids = set[str | None]()
    with sentry_sdk.isolation_scope() as scope:
        # What this process did meanwhile has nothing to do with what they are about.
        scope.clear_breadcrumbs()
        for event, links in reports:
            event_ids.add(sentry_sdk.capture_event(event, hint={"links": links}))
    sentry_sdk.flush(timeout=SEND_S_MAX)
    if (transport := _transport()) is None:
        return set()
    return {event_id for event_id in event_ids if event_id and event_id in transport.confirmed}


def report(name: str, fields: dict[str, object], level: str = "info") -> None:
    """Send an event that is no error, under a constant name; nothing happens without a DSN."""
    event: dict[str, Any] = {"level": level, "logger": __name__}
    record = logging.makeLogRecord({"name": __name__, "msg": name, **fields})
    sentry_sdk.capture_event(cast("Event", event), hint={"log_record": record})


def lost() -> int:
    """Return how many errors of this process did not come to Sentry; alerts are none of them."""
    transport = _transport()
    return transport.lost if transport else 0


def left_out() -> int:
    """Return how many events of this process were counted by its limiter and not sent."""
    transport = _transport()
    return transport.limiter.left_out if transport else 0


def tell_counted(*, whole: bool = False) -> None:
    """Send what the limiter counted long enough, one event a kind; with ``whole`` all of it.

    To be called every few seconds.
    """
    if transport := _transport():
        transport.limiter.tell(whole=whole)


def _transport() -> ConfirmingTransport | None:
    transport = sentry_sdk.get_client().transport
    return transport if isinstance(transport, ConfirmingTransport) else None


def check_in(ledger: redis.Redis) -> None:
    """Check in with Sentry's cron monitor, once a minute for the whole installation.

    Raise LedgerUnavailableError.
    """
    with reached():
        our_turn = ledger.set(CHECK_IN, 1, nx=True, px=CHECK_IN_EVERY_MS)
    if our_turn:
        capture_checkin(monitor_slug=CRON_SLUG, status="ok", monitor_config=CRON_CONFIG)


def _limited(links: Links, event: Event, hint: Hint) -> Event | None:
    """Return what is to be sent of an event now, None if nothing is."""
    scrubbed, transport = _scrub(links, event, hint), _transport()
    if scrubbed is None or transport is None or scrubbed.get("logger") == ALERT_LOGGER:
        return scrubbed
    if counted := hint.get(COUNTED):
        # Once scrubbed, an exception says where it came from, which is not found again.
        cast("dict[str, Any]", scrubbed)["exception"] = counted
    return transport.limiter.limit(scrubbed, hint)


def _scrub(links: Links, event: Event, hint: Hint) -> Event | None:
    """Return ``event`` without customers' values: no request, no user, no exception message.

    None for a log line that an alert of the ledger reports, and for one that was only counted.
    """
    record = hint.get("log_record")
    if record is not None and (record.msg in _reported_by_alert() or is_left_out(record)):
        return None
    loose = cast("dict[str, Any]", event)
    errors = loose.get("exception", {}).get("values", [])
    if any((error.get("mechanism") or {}).get("type") == "falcon" for error in errors):
        return None  # The error handlers of web/ have logged it.
    for name in ("request", "user"):
        loose.pop(name, None)
    read_on = hint.get("links", ())
    if record is not None:
        read_on = _describe(loose, str(record.msg), fields_of(record), links)
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
    _identify(loose, errors, _place(hint.get("exc_info")), read_on)
    return event


@cache
def _reported_by_alert() -> frozenset[str]:
    """Return the log events that an alert of the ledger reports, once for all processes."""
    return frozenset({"alert.told", *(event for it in kinds().values() for event in it.events)})


def _describe(
    event: dict[str, Any], name: str, fields: Mapping[str, object], links: Links
) -> list[str]:
    """Make an event of a log line by its fields: Sentry has turned objects of them into text.

    Return where a person reads on.
    """
    event["extra"] = fields
    *text, link = event_text(name, fields, links) or (name, "")
    event["logentry"] = {"message": name, "formatted": "\n".join(text)}
    tags = {tag: str(fields[tag]) for tag in _TAGGED if fields.get(tag)}
    event["tags"] = {**(event.get("tags") or {}), **tags}
    cause = next((str(fields[it]) for it in _CAUSES if fields.get(it)), "")
    alert = events()[name].kind if name in events() else ""
    named = ["alert.raised", alert] if alert else [name]
    event["fingerprint"] = [*named, *filter(None, [cause])]
    return [link] if link else []


def _identify(
    event: dict[str, Any], errors: Sequence[Any], place: Sequence[str], links: Sequence[str]
) -> None:
    """Add who is concerned and where to read on; name and group an exception by its place.

    The links come last: cleaning would cut them.
    """
    conversation = str(event["tags"].get("conversation", ""))
    if _CONVERSATION.fullmatch(conversation):
        event["user"] = {"id": conversation}
    entry = event.get("logentry")
    if errors and place:
        event["fingerprint"] = [*place]
        # Sentry's title of an exception is its class and this.
        name = f"{entry['message']} in " if entry else ""
        errors[-1]["value"] = errors[-1]["value"] or f"{name}{place[2]} ({place[1]})"
    if links and entry:
        entry["formatted"] = "\n".join((entry["formatted"], *links))


def _place(exc_info: Any) -> list[str]:  # noqa: ANN401 - as Sentry hands it over
    """Return where in our code an exception came from: class, file, function and line of source.

    [] without one. Not by the number of the line, which moves with every release.
    """
    frames = [(it.tb_frame.f_code, it.tb_lineno) for it in _walk(exc_info[2])] if exc_info else []
    ours = [it for it in frames if _is_ours(it[0].co_filename)] or frames
    if not ours:
        return []
    code, line = ours[-1]
    file = code.co_filename.removeprefix(_ROOT)
    source = linecache.getline(code.co_filename, line).strip()
    return [exc_info[0].__qualname__, file, code.co_qualname, source]


def _walk(tb: TracebackType | None) -> Iterator[TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _is_ours(file: str) -> bool:
    return file.startswith(_ROOT) and "/site-packages/" not in file


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
