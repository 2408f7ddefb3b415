"""``alerts``: what people are told, who acknowledged it; ``notify``: try where they are told."""

import time
import uuid
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence

from batching.alerts import KEPT_MAX, Alert, Alerts
from batching.outbox import Outbox
from batching.reminders import Acknowledgement, OpenAlert, Reminders
from cli.common import Request, UsageError, actions_of, as_json, table, up_to
from runtime import sentry
from runtime.clients import http_client
from runtime.health import UNDELIVERED_MS_MAX
from runtime.meanings import Severity, kinds
from runtime.notification import Links, notification_of
from runtime.publisher import Endpoint, trial_body
from runtime.settings import Settings
from runtime.sinks import Message, Outcome, addresses_of
from runtime.units import moment, span

_ALERT = ("kind", "account_id", "conversation_id", "batch_id", "detail")
#: Acknowledgements that are printed.
_ACKS_SHOWN = 5
_TEST = Message(
    "This is a test of AI Admin",
    "An operator asked for it: manage.py notify test. Nothing is to do.",
    Severity.INFO,
)


def arguments(parser: ArgumentParser) -> None:
    """Add the action and what it takes."""
    parser.add_argument("action", nargs="?", choices=("ack",), help="acknowledge open alerts")
    parser.add_argument("alert", nargs="*", metavar="ALERT", help="an open alert's id, or a kind")
    parser.add_argument("--all", action="store_true", help="with ack: all that are open")
    parser.add_argument("--by", metavar="NAME", help="with ack: in whose name (default: yours)")
    parser.add_argument(
        "--limit", type=up_to(KEPT_MAX), default=50, metavar="N", help=f"newest N, 1..{KEPT_MAX}"
    )


def run(request: Request) -> bool:
    """Print the newest alerts, or acknowledge some."""
    return _acknowledge(request) if request.arguments.action else _show(request)


def _show(request: Request) -> bool:
    """Print the newest alerts; False if one is undelivered for longer than UNDELIVERED_MS_MAX."""
    store, settings = request.open_store(), request.settings()
    alerts, reminders = Alerts(store), Reminders(store)
    kept = sorted(alerts.newest(KEPT_MAX), key=lambda alert: alert.at_ms, reverse=True)
    newest, throttled = kept[: request.arguments.limit], alerts.throttled_counts()
    counts = Counter(alert.kind for alert in kept)
    oldest_ms = alerts.undelivered().oldest_ms
    late = oldest_ms > UNDELIVERED_MS_MAX
    sink = _sink(settings)
    lines = table([_alert_row(alert, sink) for alert in newest]) or ["No alerts."]
    if sink == "log":
        lines.append("SENTRY_DSN is not set here: alerts go to the log alone, as alert.told.")
    lines += [
        f"{kind}: {count}{f'; {kinds()[kind]}' if kind in kinds() else ''}"
        for kind, count in counts.most_common()
    ]
    lines += [f"Throttled, for a summary: {name}: {n}" for name, n in throttled.items()]
    opened, acks = reminders.open(), reminders.acknowledgements()
    lines += [*_open_lines(opened), *map(_ack_line, acks[:_ACKS_SHOWN])]
    if late:
        lines.append(f"The oldest undelivered one is {span(oldest_ms)} old: is a scheduler alive,")
        lines.append("and does Sentry answer? Look for alert.delayed in the log.")
    document = {
        "ok": not late,
        "untold_ms": oldest_ms,
        "sink": sink,
        "counts": dict(counts),
        "held": throttled,
        "alerts": [_alert_json(it, Links.of(settings)) for it in newest],
        "open": [_open_json(it) for it in opened],
        "acknowledged": [as_json(it) for it in acks],
    }
    request.show(document, lines)
    return not late


def _sink(settings: Settings) -> str:
    if settings.sentry_dsn:
        return "sentry"
    return "notify" if settings.notify_urls else "log"


def _alert_row(alert: Alert, sink: str) -> list[str]:
    notified = "logged" if sink == "log" else "notified"
    state = notified if alert.notified else "undelivered"
    return [moment(alert.at_ms), state, *(str(getattr(alert, name)) or "-" for name in _ALERT)]


def _alert_json(alert: Alert, links: Links) -> dict[str, object]:
    """Return an alert for a program, with the words that a person is told."""
    words = notification_of(alert, links)
    told = {"title": words.title, "to_do": words.to_do, "runbook": words.runbook}
    return as_json(alert, throttled="held", notified="told") | told


def _open_lines(opened: Sequence[OpenAlert]) -> list[str]:
    rows = [
        [it.open_id, it.name, f"{it.count} times", f"since {moment(it.first.at_ms)[:16]}"]
        for it in opened
    ]
    advice = "Not acknowledged (manage.py alerts ack, by id, by kind or --all):"
    return [advice, *table(rows)] if rows else []


def _open_json(it: OpenAlert) -> dict[str, object]:
    return {
        "id": it.open_id,
        "name": it.name,
        "kind": it.first.kind,
        "account_id": it.first.account_id,
        "count": it.count,
        "untold": it.untold,
        "since_ms": it.first.at_ms,
        "due_ms": it.due_ms,
    }


def _ack_line(ack: Acknowledgement) -> str:
    return f"Acknowledged: {ack.name}, {ack.count} times, by {ack.by} at {moment(ack.at_ms)[:16]}"


def _acknowledge(request: Request) -> bool:
    """Acknowledge what was named; False if an alert was added to one meanwhile."""
    typed = request.arguments
    if typed.all == bool(typed.alert):
        raise UsageError("name open alerts by id or kind, or say --all")
    reminders = Reminders(request.open_store())
    opened = reminders.open()
    chosen = [it for it in opened if typed.all or {it.open_id, it.first.kind} & {*typed.alert}]
    known = {name for it in opened for name in (it.open_id, it.first.kind)}
    if unknown := [name for name in typed.alert if name not in known]:
        raise UsageError(f"not open, neither as an id nor as a kind: {len(unknown)} of them")
    acks = reminders.acknowledge(chosen, typed.by or _operator(request))
    lines = [_ack_line(ack) for ack in acks] or ["Nothing was open."]
    if left := len(chosen) - len(acks):
        lines.append(f"{left} stay open: an alert was added meanwhile. Read them again.")
    request.show({"ok": not left, "acknowledged": [as_json(ack) for ack in acks]}, lines)
    return not left


def _operator(request: Request) -> str:
    """Return who runs this, as the system knows them."""
    names = (request.environ.get(name) for name in ("SUDO_USER", "LOGNAME", "USER"))
    return next((name for name in names if name), "operator")[:64]


def notify_arguments(parser: ArgumentParser) -> None:
    """Add the two actions."""
    add = actions_of(parser)
    add("test", "send a test to Sentry and to every address", _test)
    add("replay", "tell EVENTS_URL again what was given up", _replay)


def _replay(request: Request) -> bool:
    """Have events told again that were given up; False while nobody is told."""
    is_told = bool(request.settings().events_url)
    count = Outbox(request.open_store()).replay() if is_told else 0
    line = (
        f"{count} events are told again." if is_told else "EVENTS_URL is not set: nobody is told."
    )
    request.show({"ok": is_told, "replayed": count}, [line])
    return is_told


def _test(request: Request) -> bool:
    """Send a test to Sentry and to every address; False if one of them did not take it."""
    settings = request.settings()
    addresses = addresses_of(settings, request.accounts().values())
    sendings = [address.send(_TEST) for address in addresses]
    found: dict[str, Outcome] = {}
    if settings.sentry_dsn:
        found["SENTRY_DSN"] = _try_sentry(settings)
    found |= {sending.address.name: sending.outcome() for sending in sendings}
    if settings.events_url:
        found["EVENTS_URL"] = _try_events(settings)
    lines = [f"{name}: {outcome.says}" for name, outcome in found.items()]
    if not lines:
        lines = ["Neither SENTRY_DSN nor NOTIFY_URLS is set: alerts go to the log alone."]
    ok = bool(found) and not any(outcome.code for outcome in found.values())
    sinks = [{"sink": name, "code": it.code, "says": it.says} for name, it in found.items()]
    request.show({"ok": ok, "sinks": sinks}, lines)
    return ok


def _try_events(settings: Settings) -> Outcome:
    with http_client() as http:
        endpoint = Endpoint(settings.events_url, settings.events_secret, http)
        now_ms = time.time_ns() // 1_000_000
        code = endpoint.tell(f"msg_{uuid.uuid4().hex}", trial_body(now_ms))
    return Outcome(code, f"not taken: {code}") if code else Outcome()


def _try_sentry(settings: Settings) -> Outcome:
    sentry.start_reporting(settings, "manage")
    if sentry.deliver([({"message": _TEST.title, "level": "info"}, [])]):
        return Outcome()
    return Outcome("timed_out", f"did not confirm within {sentry.SEND_S_MAX} s")
