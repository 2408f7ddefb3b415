"""``alerts``: what a person must be told, and whether it was delivered."""

from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict

from batching.alerts import KEPT_MAX, Alert, Alerts
from cli.common import (
    EXIT_ACT,
    EXIT_OK,
    Request,
    moment,
    open_store,
    span,
    table,
    up_to,
    write,
    write_json,
)
from runtime.health import UNDELIVERED_MS_MAX

_SHOWN = ("kind", "account_id", "conversation_id", "batch_id", "detail")


def arguments(parser: ArgumentParser) -> None:
    """Add --limit."""
    parser.add_argument(
        "--limit", type=up_to(KEPT_MAX), default=50, metavar="N", help=f"newest N, 1..{KEPT_MAX}"
    )


def run(request: Request) -> int:
    """Print the newest alerts; 1 if one is undelivered for longer than UNDELIVERED_MS_MAX.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    alerts = Alerts(open_store(request.environ))
    kept = sorted(alerts.newest(KEPT_MAX), key=lambda alert: alert.at_ms, reverse=True)
    newest, throttled = kept[: request.arguments.limit], alerts.throttled_counts()
    counts = Counter(alert.kind for alert in kept)
    oldest_ms = alerts.undelivered().oldest_ms
    late = oldest_ms > UNDELIVERED_MS_MAX
    if request.as_json:
        shown = [_as_json(alert) for alert in newest]
        found = {"untold_ms": oldest_ms, "counts": dict(counts), "held": throttled}
        write_json({"ok": not late} | found | {"alerts": shown})
    else:
        lines = table([_line(alert) for alert in newest]) if newest else ["No alerts."]
        lines += [f"{kind}: {count}" for kind, count in counts.most_common()]
        lines += [f"Throttled, for a summary: {name}: {n}" for name, n in throttled.items()]
        if late:
            lines.append(f"The oldest undelivered one is {span(oldest_ms)} old: is a scheduler")
            lines.append("alive, and does Sentry answer? Look for alert.delayed in the log.")
        write(lines)
    return EXIT_ACT if late else EXIT_OK


def _line(alert: Alert) -> list[str]:
    state = "notified" if alert.notified else "undelivered"
    return [moment(alert.at_ms), state, *(str(getattr(alert, name)) or "-" for name in _SHOWN)]


def _as_json(alert: Alert) -> dict[str, object]:
    """Return an alert by the names that programs know."""
    fields = asdict(alert)
    names = {"throttled": "held", "notified": "told"}
    return {names.get(name, name): value for name, value in fields.items()}
