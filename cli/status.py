"""The verbs that print a state: ``balance``, ``audit``, ``fleet``, ``alerts`` and ``model``."""

import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping

from batching.alerts import KEPT_MAX, Alert, Alerts
from batching.audit import audit
from batching.inspect import MESSAGES, SENT, by_reason, counters, total
from cli.common import Request, as_json, table, up_to
from runtime.fleet import Member, drift, members, missing
from runtime.health import UNDELIVERED_MS_MAX
from runtime.units import moment, span

#: Longer than any step takes, so that a step in between is over at the second scan.
AUDIT_PAUSE_S = 1.0

_COUNTERS = ("shard", *MESSAGES)
#: Counters that are also kept by reason, since the ledger was made.
_BY_REASON = ("dead", "suppressed")
_ALERT = ("kind", "account_id", "conversation_id", "batch_id", "detail")


def show_balance(request: Request) -> bool:
    """Print the counters of every shard; False if they do not add up or something was lost."""
    shards = counters(request.open_store())
    named, broken = total(shards), [it.shard for it in shards if not it.holds]
    lost = named["lost"]
    ever = {
        kind: {reason: count for reason, count in by_reason(named, kind).items() if count}
        for kind in _BY_REASON
    }
    lines = table(
        [_COUNTERS, *([str(getattr(it, name)) for name in _COUNTERS] for it in shards)],
        numbers=True,
    )
    sent = _sent_by_account(named)
    lines += [
        f"Ever {kind}: {', '.join(f'{reason} {n}' for reason, n in counts.items())}"
        for kind, counts in ever.items()
        if counts
    ]
    lines += [
        f"Sent by {account}: replies {it['replies_sent']}, in messages {it['parts_sent']}; "
        f"calls of the model saved {it['calls_saved']}"
        for account, it in sent.items()
    ]
    if broken:
        numbers = ", ".join(map(str, broken))
        lines.append(f"The counters do not add up in shard {numbers}: report this as a fault.")
    if lost:
        lines.append(f"Lost: {lost}. Something else deleted messages in Redis.")
    if not broken and not lost:
        lines.append("Every accepted message is accounted for.")
    documents = [{name: getattr(it, name) for name in (*_COUNTERS, "holds")} for it in shards]
    document = {"holds": not broken, "lost": lost, "shards": documents, "reasons": ever}
    request.show(document | {"sent": sent}, lines)
    return not broken and not lost


def _sent_by_account(named: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return the counters of SENT by account, sorted, for each account that sent something."""
    kinds = {kind: by_reason(named, kind) for kind in SENT}
    return {
        account: {kind: counts.get(account, 0) for kind, counts in kinds.items()}
        for account in kinds["parts_sent"]
    }


def show_audit(request: Request) -> bool:
    """Print what contradicts the ledger's invariants; False if something does. Stops no process."""
    store, began = request.open_store(), time.monotonic()
    report = audit(store, lambda: time.sleep(AUDIT_PAUSE_S))
    took_ms = int((time.monotonic() - began) * 1000)
    checked = f"{report.conversations} conversations and {report.dead_letters} dead letters"
    lines = [*report.problems, f"Checked {checked} in {span(took_ms)}."]
    lines += [f"In use, so not exact: {line}." for line in report.undecided]
    lines.append(
        f"Problems: {len(report.problems)}. Another program writes into this Redis, "
        "or it is a fault of ours: report it."
        if report.problems
        else "The counters agree with what is kept."
    )
    document = as_json(report, dead_letters="letters")
    request.show({"ok": not report.problems, "took_ms": took_ms} | document, lines)
    return not report.problems


def show_fleet(request: Request) -> bool:
    """Print every process and what they disagree about; False if there is a problem."""
    found = members(request.store().client)
    problems = [*missing(found), *drift(found, 0)]
    lines = [*map(_member_line, found), *(problems or [f"{len(found)} processes agree."])]
    request.show({"members": [it.as_json() for it in found], "problems": problems}, lines)
    return not problems


def _member_line(member: Member) -> str:
    state = "alive" if member.is_alive else f"silent for {span(member.silent_ms)}"
    return f"{member.name}  release {member.release}  settings {member.fingerprint}  {state}"


def add_alerts(parser: ArgumentParser) -> None:
    """Add --limit."""
    parser.add_argument(
        "--limit", type=up_to(KEPT_MAX), default=50, metavar="N", help=f"newest N, 1..{KEPT_MAX}"
    )


def show_alerts(request: Request) -> bool:
    """Print the newest alerts; False if one is undelivered for longer than UNDELIVERED_MS_MAX."""
    alerts = Alerts(request.open_store())
    kept = sorted(alerts.newest(KEPT_MAX), key=lambda alert: alert.at_ms, reverse=True)
    newest, throttled = kept[: request.arguments.limit], alerts.throttled_counts()
    counts = Counter(alert.kind for alert in kept)
    oldest_ms = alerts.undelivered().oldest_ms
    late = oldest_ms > UNDELIVERED_MS_MAX
    sentry = bool(request.settings().sentry_dsn)
    lines = table([_alert_row(alert, sentry=sentry) for alert in newest]) or ["No alerts."]
    if not sentry:
        lines.append("SENTRY_DSN is not set here: alerts go to the log alone, as alert.told.")
    lines += [f"{kind}: {count}" for kind, count in counts.most_common()]
    lines += [f"Throttled, for a summary: {name}: {n}" for name, n in throttled.items()]
    if late:
        lines.append(f"The oldest undelivered one is {span(oldest_ms)} old: is a scheduler alive,")
        lines.append("and does Sentry answer? Look for alert.delayed in the log.")
    document = {
        "ok": not late,
        "untold_ms": oldest_ms,
        "sink": "sentry" if sentry else "log",
        "counts": dict(counts),
        "held": throttled,
        "alerts": [as_json(it, throttled="held", notified="told") for it in newest],
    }
    request.show(document, lines)
    return not late


def _alert_row(alert: Alert, *, sentry: bool) -> list[str]:
    state = ("notified" if sentry else "logged") if alert.notified else "undelivered"
    return [moment(alert.at_ms), state, *(str(getattr(alert, name)) or "-" for name in _ALERT)]


def add_model(parser: ArgumentParser) -> None:
    """Add the state to switch to."""
    parser.add_argument("state", nargs="?", choices=("off", "on"))


def show_model(request: Request) -> bool:
    """Switch models off or on if asked to, then print the state."""
    store, state = request.store(), request.arguments.state
    if state is not None:
        store.switch_model(on=state == "on")
    on, count = store.model_is_on(), store.asked()
    most = request.settings().budget_installation_day
    words = "on" if on else "off: batches wait, and nothing is lost, until their deadline"
    lines = [f"The model is {words}.", f"Questions today: {count} of {most}."]
    request.show({"on": on, "asked": count, "budget": most}, lines)
    return True
