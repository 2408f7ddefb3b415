"""``trace``: where is my message? Every step with its time, and what it waits for now."""

from argparse import ArgumentParser
from collections import defaultdict
from dataclasses import asdict

from batching.inspect import (
    FlightBatch,
    MessageState,
    MessageStatus,
    OpenBatch,
    Step,
    Trace,
    batch_state,
    find_message,
    message_status,
    trace,
)
from batching.store import Store
from cli.common import (
    CONVERSATION,
    EXIT_ACT,
    EXIT_OK,
    Request,
    UsageError,
    account_ids,
    add_customer,
    conversations,
    moment,
    open_store,
    span,
    write,
    write_json,
)

#: What happened, by the verb of the step; its further words stand in order.
_SAYS = {
    "accept": "began to collect",
    "collect": "collected, because {0}",
    "begin": "attempt {1} to {0} began",
    "checkpoint": "the reply is kept, parts: {0}",
    "mark_sending": "part {0} is about to leave",
    "mark_sent": "part {0} left",
    "fail": "{0}: {1}",
    "reap": "{1} (was {0})",
    "overdue": "overdue: a person was told",
    "dead_letter": "became a dead letter, {0}: {1}",
    "finish": "{0}",
    "replay": "replayed as {0}",
    "discard": "discarded by a person",
}
#: Words of the scripts that say little to a person.
_TERMS = {
    ("collect", "idle"): "the customer was quiet (idle)",
    ("collect", "size"): "it was full (size)",
    ("collect", "age"): "it had collected for long enough (age)",
    ("fail", "retry"): "failed, to be tried again",
    ("fail", "park"): "failed, to wait for the account",
    ("fail", "ambiguous"): "a part may have left, the provider's status is awaited",
    ("reap", "ring"): "nobody had finished it in time: rung for again",
    ("reap", "spent"): "the last attempt died too",
    ("reap", "ambiguous"): "the sender died: a part may have left",
    ("reap", "unresolved"): "the provider never told what became of the part",
    ("finish", ""): "answered",
    ("finish", "takeover"): "deliberately not answered: a person has taken over",
}
_STATES = {
    "claimed": "waits for a worker to {stage}",
    "running": "is in a worker's hands to {stage}",
    "waiting": "waits to be tried again, attempt {attempt}",
    "sending": "has part {next} of {parts} on its way",
    "ambiguous": "waits for the provider's status, without which {policy}",
}


def batches(trace: Trace) -> dict[str, list[Step]]:
    """Return the steps by batch, in order, each batch beginning with its first message."""
    found: defaultdict[str, list[Step]] = defaultdict(list)
    for step in trace.steps:
        if step.verb == "collect" and not found[step.batch_id]:
            first_ms = int(step.words[1])
            found[step.batch_id].append(Step(first_ms, "accept", step.batch_id, ()))
        found[step.batch_id].append(step)
    for letter in trace.dead_letters:
        found.setdefault(letter.batch_id, [])
    for batch in (trace.flight, trace.open):
        if batch and not found[batch.batch_id]:
            found[batch.batch_id].append(Step(batch.first_ms, "accept", batch.batch_id, ()))
    return dict(found)


def sentence(step: Step) -> str:
    """Return what happened at a step."""
    says = _SAYS.get(step.verb)
    if says is None:
        return " ".join((step.verb, *step.words))
    if step.verb == "reap" and step.words == ("waiting", "ring"):
        return "its wait was over: rung for again"
    words = [_TERMS.get((step.verb, word), word) for word in step.words]
    if step.verb in ("mark_sending", "mark_sent"):
        words = [str(int(part) + 1) for part in words]
    return says.format(*words, "", "").rstrip(": ")


def waits(trace: Trace) -> list[str]:
    """Return what the conversation waits for now, and until when."""
    lines = []
    if trace.flight:
        lines.append(f"batch {trace.flight.batch_id} {_flight(trace, trace.flight)}")
    if trace.open:
        lines.append(f"batch {trace.open.batch_id} {_open(trace, trace.open)}")
    lines += [
        f"batch {letter.batch_id} waits for a person: dead show {letter.batch_id}"
        for letter in trace.dead_letters
    ]
    if trace.circuit_ms:
        lines.append(f"the account cannot send; tried again in {span(trace.circuit_ms)}")
    if trace.taken_over_ms:
        lines.append(f"a person answers this customer for another {span(trace.taken_over_ms)}")
    return lines or ["nothing waits"]


def _flight(trace: Trace, flight: FlightBatch) -> str:
    resends = flight.policy == "resend"
    does = _STATES.get(flight.state, flight.state).format(
        stage=flight.stage,
        attempt=flight.attempt,
        next=flight.part + 1,
        parts=flight.parts,
        policy="it is sent once more" if resends else "it becomes a dead letter",
    )
    return f"({flight.count} messages) {does}; {_again(trace, flight.until_ms)}"


def _open(trace: Trace, batch: OpenBatch) -> str:
    size = f"({batch.count} messages, the last {moment(batch.last_ms)} UTC)"
    if batch.due_ms is None:
        return f"{size} waits until the batch in flight has ended"
    if batch.due_ms <= trace.now_ms:
        return f"{size} is due since {span(trace.now_ms - batch.due_ms)}: is a flusher alive?"
    return f"{size} collects; due {_then(trace, batch.due_ms)}"


def _again(trace: Trace, at_ms: int | None) -> str:
    """Return when somebody looks at a batch again, whatever happens until then."""
    if at_ms is None:
        return "nobody looks at it again: report this as a fault"
    if at_ms <= trace.now_ms:
        return f"was to be looked at {span(trace.now_ms - at_ms)} ago: is a flusher alive?"
    return f"looked at again {_then(trace, at_ms)}"


def _then(trace: Trace, at_ms: int) -> str:
    return f"in {span(at_ms - trace.now_ms)}, at {moment(at_ms)} UTC"


UNKNOWN = "Never accepted here, or forgotten: deduplication keeps 8 days."
_FINE = frozenset({
    MessageState.OPEN, MessageState.FLIGHT, MessageState.ANSWERED, MessageState.SUPPRESSED,
})  # fmt: skip


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
            write_json({"conversation": None, "message": {"place": MessageState.UNKNOWN}})
        else:
            write([UNKNOWN])
        return EXIT_ACT
    late = _late(found)
    if request.as_json:
        write_json(_as_json(found, place, late))
    else:
        write(_told(found, place, late))
    fine = place.state in _FINE if place else not found.dead_letters
    return EXIT_OK if fine and not late else EXIT_ACT


def _found(request: Request, store: Store) -> tuple[Trace | None, MessageStatus | None]:
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
    at = find_message(store, account_ids(request), typed.id)
    if at is None:
        return None, None
    conversation_id, accepted_ms = at
    found = trace(store, conversation_id)
    return found, message_status(found, typed.id, accepted_ms)


def _late(found: Trace) -> list[str]:
    """Return the batches that wait for longer than a person should not be told of."""
    told = {step.batch_id for step in found.steps if step.verb == "overdue"}
    waiting = [batch.batch_id for batch in (found.flight, found.open) if batch]
    return [
        batch_id
        for batch_id in waiting
        if batch_id in told or found.overdue_ms.get(batch_id, found.now_ms) < found.now_ms
    ]


def _told(found: Trace, place: MessageStatus | None, late: list[str]) -> list[str]:
    account = found.account_id or "unknown, nothing of it waits"
    lines = [f"conversation {found.conversation_id}, account {account}"]
    lines.append(f"accepted in the last 8 days: {found.accepted}")
    if place:
        where = f"{place.state}{f', {place.reason}' if place.reason else ''}"
        batch = f", batch {place.batch_id}" if place.batch_id else ""
        lines.append(f"the message: accepted {moment(place.accepted_ms)} UTC, {where}{batch}")
    for batch_id, steps in batches(found).items():
        kind, reason, told_by = batch_state(found, batch_id)
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


def _as_json(found: Trace, place: MessageStatus | None, late: list[str]) -> dict[str, object]:
    shown = []
    for batch_id, steps in batches(found).items():
        kind, reason, told_by = batch_state(found, batch_id)
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
        "message": _message(place) if place else None,
        "batches": shown,
        "open": asdict(found.open) if found.open else None,
        "flight": asdict(found.flight) if found.flight else None,
        "dead": [letter.batch_id for letter in found.dead_letters],
        "overdue": late,
        "waits": waits(found),
    }


def _message(status: MessageStatus) -> dict[str, object]:
    """Return where a message is by the names that programs know."""
    return {("place" if name == "state" else name): v for name, v in asdict(status).items()}
