"""``alerts``: what a person must be told, and whether anybody was."""

from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict

from batching.alerts import KEPT_MAX, Alerts
from batching.model import Alert, undelivered_ms
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
    """Print the newest alerts; 1 if one waits for longer than UNTOLD_MS_MAX to be told.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    store = open_store(request.environ)
    alerts = Alerts(store)
    kept = sorted(alerts.kept(KEPT_MAX), key=lambda alert: alert.at_ms, reverse=True)
    newest, held = kept[: request.arguments.limit], alerts.held_counts()
    counts = Counter(alert.kind for alert in kept)
    waits_ms = undelivered_ms(kept, store.watch().now_ms)
    late = waits_ms > UNDELIVERED_MS_MAX
    if request.as_json:
        shown = [asdict(alert) for alert in newest]
        told = {"undelivered_ms": waits_ms, "counts": dict(counts), "held": held, "alerts": shown}
        write_json({"ok": not late} | told)
    else:
        lines = table([_line(alert) for alert in newest]) if newest else ["No alerts."]
        lines += [f"{kind}: {count}" for kind, count in counts.most_common()]
        lines += [
            f"Held back, to be told together: {name}: {count}" for name, count in held.items()
        ]
        if late:
            lines.append(f"The oldest untold one waits for {span(waits_ms)}: is a worker alive,")
            lines.append("and does Sentry answer? Look for alert.delayed in the log.")
        write(lines)
    return EXIT_ACT if late else EXIT_OK


def _line(alert: Alert) -> list[str]:
    told = "told" if alert.told else "untold"
    return [moment(alert.at_ms), told, *(str(getattr(alert, name)) or "-" for name in _SHOWN)]
