"""The verbs that print a state: ``balance``, ``audit``, ``fleet`` and ``model``."""

import time
from argparse import ArgumentParser
from collections.abc import Mapping

from batching.audit import audit
from batching.inspect import MESSAGES, SENT, awaited, by_reason, counters, total
from cli.common import Request, as_json, table
from runtime.fleet import Member, drift, members, missing
from runtime.units import span

#: Longer than any step takes, so that a step in between is over at the second scan.
AUDIT_PAUSE_S = 1.0

_COUNTERS = ("shard", *MESSAGES)
#: Counters that are also kept by reason, since the ledger was made.
_BY_REASON = ("dead", "suppressed")


def show_balance(request: Request) -> bool:
    """Print the counters of every shard; False if they do not add up or something was lost."""
    store = request.open_store()
    shards = counters(store)
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
    waiting = len(awaited(store))
    lines.append(f"Customers who wait for a person: {waiting}.")
    if broken:
        numbers = ", ".join(map(str, broken))
        lines.append(f"The counters do not add up in shard {numbers}: report this as a fault.")
    if lost:
        lines.append(f"Lost: {lost}. Something else deleted messages in Redis.")
    if not broken and not lost:
        lines.append("Every accepted message is accounted for.")
    documents = [{name: getattr(it, name) for name in (*_COUNTERS, "holds")} for it in shards]
    document = {"holds": not broken, "lost": lost, "shards": documents, "reasons": ever}
    request.show(document | {"sent": sent, "awaited": waiting}, lines)
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
