"""``trace``: where is my message? Every step with its time, and what it waits for now."""

from argparse import ArgumentParser
from dataclasses import asdict

from batching.place import Place, Whereabouts, find, outcome, whereabouts
from batching.store import Store
from batching.trace import Trace, trace
from runtime.commands.naming import CONVERSATION, account_ids, add_customer, conversations
from runtime.commands.steps import batches, sentence, waits
from runtime.commands.verb import (
    EXIT_ACT,
    EXIT_OK,
    Request,
    UsageError,
    open_store,
    write,
    write_json,
)
from runtime.commands.words import moment, span

UNKNOWN = "Never accepted here, or forgotten: deduplication keeps 8 days."
_FINE = frozenset({Place.OPEN, Place.FLIGHT, Place.ANSWERED, Place.SUPPRESSED})


def arguments(parser: ArgumentParser) -> None:
    """Add what is looked for."""
    parser.add_argument("id", nargs="?", help="a conversation (c_...) or a provider's message id")
    add_customer(parser)


def run(request: Request) -> int:
    """Print a conversation's steps; 1 if it is unknown, overdue or has a dead letter.

    Raise UsageError, ConfigurationError or LedgerUnavailableError.
    """
    store = open_store(request.environ)
    found, place = _found(request, store)
    if found is None:
        if request.as_json:
            write_json({"conversation": None, "message": {"place": Place.UNKNOWN}})
        else:
            write([UNKNOWN])
        return EXIT_ACT
    late = _late(found)
    if request.as_json:
        write_json(_as_json(found, place, late))
    else:
        write(_told(found, place, late))
    fine = place.place in _FINE if place else not found.letters
    return EXIT_OK if fine and not late else EXIT_ACT


def _found(request: Request, store: Store) -> tuple[Trace | None, Whereabouts | None]:
    """Return the trace that is meant, and the place of the message if one was named."""
    typed = request.arguments
    if (typed.id is None) == (typed.customer is None):
        raise UsageError("name a conversation or a message id, or a customer by --customer")
    if typed.id is None:
        traces = (trace(store, c) for c in conversations(request, store))
        return next((found for found in traces if found.is_known), None), None
    if CONVERSATION.fullmatch(typed.id):
        found = trace(store, typed.id)
        return (found if found.is_known else None), None
    at = find(store, account_ids(request), typed.id)
    if at is None:
        return None, None
    conversation_id, accepted_ms = at
    found = trace(store, conversation_id)
    return found, whereabouts(found, typed.id, accepted_ms)


def _late(found: Trace) -> list[str]:
    """Return the batches that wait for longer than a person should not be told of."""
    told = {step.batch_id for step in found.steps if step.verb == "overdue"}
    waiting = [batch.batch_id for batch in (found.flight, found.open) if batch]
    return [
        batch_id
        for batch_id in waiting
        if batch_id in told or found.overdue_ms.get(batch_id, found.now_ms) < found.now_ms
    ]


def _told(found: Trace, place: Whereabouts | None, late: list[str]) -> list[str]:
    account = found.account_id or "unknown, nothing of it waits"
    lines = [f"conversation {found.conversation_id}, account {account}"]
    lines.append(f"accepted in the last 8 days: {found.accepted}")
    if place:
        where = f"{place.place}{f', {place.reason}' if place.reason else ''}"
        batch = f", batch {place.batch_id}" if place.batch_id else ""
        lines.append(f"the message: accepted {moment(place.accepted_ms)} UTC, {where}{batch}")
    for batch_id, steps in batches(found).items():
        kind, reason, told_by = outcome(found, batch_id)
        also = f" as {told_by}" if told_by != batch_id else ""
        lines += ["", f"batch {batch_id}: {kind}{f', {reason}' if reason else ''}{also}"]
        before_ms = None
        for at_ms, words in ((step.at_ms, sentence(step)) for step in steps):
            since = "" if before_ms is None else f"+{span(max(0, at_ms - before_ms))}"
            lines.append(f"  {moment(at_ms)}  {since:>8}  {words}")
            before_ms = at_ms
    lines += ["", *waits(found)]
    lines += [f"OVERDUE: {batch_id}, told or to be told at once." for batch_id in late]
    return lines


def _as_json(found: Trace, place: Whereabouts | None, late: list[str]) -> dict[str, object]:
    shown = []
    for batch_id, steps in batches(found).items():
        kind, reason, told_by = outcome(found, batch_id)
        told = [
            {"at_ms": s.at_ms, "step": s.verb, "words": list(s.words), "says": sentence(s)}
            for s in steps
        ]
        shown.append(
            {"batch": batch_id, "place": kind, "reason": reason, "now": told_by, "steps": told}
        )
    return {
        "conversation": found.conversation_id,
        "account": found.account_id,
        "now_ms": found.now_ms,
        "accepted": found.accepted,
        "message": asdict(place) if place else None,
        "batches": shown,
        "open": asdict(found.open) if found.open else None,
        "flight": asdict(found.flight) if found.flight else None,
        "dead": [letter.batch_id for letter in found.letters],
        "overdue": late,
        "waits": waits(found),
    }
