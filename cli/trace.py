"""``trace``: where is my message? Every step with its time, and what it waits for now."""

import re
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace

from batching.identity import family
from batching.inspect import (
    FlightBatch,
    MessageState,
    MessageStatus,
    OpenBatch,
    Step,
    Trace,
    awaited,
    batch_state,
    message_status,
    trace,
)
from batching.lookup import digests_of, find_batch, find_message, find_part
from batching.model import Dependency
from batching.store import Store
from cli.common import (
    Request,
    UsageError,
    account_ids,
    add_customer,
    as_json,
    conversations,
    read_id,
)
from runtime.meanings import meaning
from runtime.steps import looks_like, sentence
from runtime.units import moment, span

#: What log lines hold; "k_" begins the canary's conversations.
_CONVERSATION = re.compile(r"[ck]_[0-9a-f]{24}")
_BATCH = re.compile(r"b\d+")
_MESSAGE = re.compile(r"m_[0-9a-f]{24}")
_STATES = {
    "claimed": "waits for a worker to {stage}",
    "running": "is in a worker's hands to {stage}",
    "waiting": "waits to be tried again, attempt {attempt}",
    "sending": "is sending part {next} of {parts}",
    "ambiguous": "waits for the provider's status, without which {policy}",
}
UNKNOWN = "Never accepted here, or forgotten: deduplication keeps 8 days."
_FINE = frozenset(
    {MessageState.OPEN, MessageState.FLIGHT, MessageState.ANSWERED, MessageState.SUPPRESSED}
)


def arguments(parser: ArgumentParser) -> None:
    """Add what to look for."""
    parser.add_argument(
        "id",
        nargs="?",
        help="what a log line holds: a conversation (c_...), a batch (b...) or a message (m_...); "
        "or a provider's message id, which - reads from standard input",
    )
    add_customer(parser)


def run(request: Request) -> bool:
    """Print a conversation's steps; False if it is unknown, overdue or has a dead letter."""
    store = request.open_store()
    found, at = _found(request, store)
    if found is None:
        request.show({"conversation": None, "message": {"place": MessageState.UNKNOWN}}, [UNKNOWN])
        return False
    # Who is awaited under one id of the customer is awaited under all.
    people = awaited(store, family(store, found.conversation_id))
    found = replace(found, awaited=tuple(people))
    late = _late(found)
    request.show(_as_json(found, at, late), _lines(found, at, late))
    fine = at.state in _FINE if at else not found.dead_letters
    return fine and not late


def _found(request: Request, store: Store) -> tuple[Trace | None, MessageStatus | None]:
    """Return the trace, and where the message is if one was named. Raise UsageError."""
    typed = request.arguments
    if (typed.id is None) == (typed.customer is None):
        raise UsageError("name a conversation, a batch or a message, or a customer by --customer")
    if typed.id is None:
        traces = (trace(store, c) for c in conversations(request, store))
        return next((found for found in traces if found.is_known), None), None
    if _CONVERSATION.fullmatch(typed.id):
        found = trace(store, typed.id)
        return (found if found.is_known else None), None
    if _BATCH.fullmatch(typed.id) and (batch := _of_batch(store, typed.id)):
        return batch, None
    if _MESSAGE.fullmatch(typed.id):
        return _of_message(store, [typed.id.removeprefix("m_")])
    message_id = read_id(typed.id, "The message's id")
    digests = digests_of(store, account_ids(request), message_id)
    # As earlier releases named parts of ours.
    return _of_message(store, [*digests, store.keyring.digest(message_id)])


def _of_batch(store: Store, batch_id: str) -> Trace | None:
    """Return the trace of the one conversation that has a batch. Raise UsageError for several."""
    found = find_batch(store, batch_id)
    if len(found) > 1:
        raise UsageError(f"several conversations have a batch {batch_id}: {', '.join(found)}")
    return trace(store, found[0]) if found else None


def _of_message(store: Store, digests: Sequence[str]) -> tuple[Trace | None, MessageStatus | None]:
    """Return the trace of a customer's message, or of a part of ours."""
    if part := find_part(store, digests):
        found = trace(store, part.conversation_id)
        state, reason, batch_id = batch_state(found, part.batch_id)
        return found, MessageStatus(state, 0, batch_id, reason)
    accepted = find_message(store, digests)
    if accepted is None:
        return None, None
    conversation_id, accepted_ms, digest = accepted
    found = trace(store, conversation_id)
    kept = (it for it in found.batch_of if store.keyring.digest(found.account_id, it) == digest)
    return found, message_status(found, next(kept, ""), accepted_ms)


def _late(found: Trace) -> list[str]:
    """Return the batches that are overdue."""
    alerted = {step.batch_id for step in found.steps if step.verb == "overdue"}
    waiting = [batch.batch_id for batch in (found.flight, found.open) if batch]
    return [
        batch_id
        for batch_id in waiting
        if batch_id in alerted or found.overdue_ms.get(batch_id, found.now_ms) < found.now_ms
    ]


def _batches(found: Trace) -> dict[str, list[Step]]:
    """Return the steps by batch, in order; each batch begins with its first message."""
    batches: defaultdict[str, list[Step]] = defaultdict(list)
    for step in found.steps:
        first_ms = "".join(step.words[1:2])
        if step.verb == "collect" and first_ms.isdecimal() and not batches[step.batch_id]:
            batches[step.batch_id].append(_accept(step.batch_id, int(first_ms)))
        batches[step.batch_id].append(step)
    for letter in found.dead_letters:
        batches.setdefault(letter.batch_id, [])
    for batch in (found.flight, found.open):
        if batch and not batches[batch.batch_id]:
            batches[batch.batch_id].append(_accept(batch.batch_id, batch.first_ms))
    return dict(batches)


def _accept(batch_id: str, first_ms: int) -> Step:
    return Step(first_ms, "accept", batch_id, ())


def _waits(found: Trace) -> list[str]:
    """Return what the conversation waits for now, and until when."""
    lines = []
    if found.flight:
        lines.append(f"batch {found.flight.batch_id} {_flight(found, found.flight)}")
    if found.open:
        lines.append(f"batch {found.open.batch_id} {_open(found, found.open)}")
    lines += [
        f"batch {letter.batch_id} waits for a person: dead show {letter.batch_id}"
        for letter in found.dead_letters
    ]
    for circuit in found.circuits:
        is_channel = circuit.of is Dependency.CHANNEL
        cannot = "cannot send" if is_channel else f"cannot ask its {circuit.of}"
        again = span(max(0, circuit.next_ms - found.now_ms))
        known = meaning(circuit.code)
        why = f"{circuit.code}: {known.says}" if known else circuit.code
        lines.append(f"the account {cannot} ({why}); one batch tries again in {again}")
    lines += [
        f"a person is awaited since {moment(it.since_ms)} UTC ({it.reason}): handovers list"
        for it in found.awaited
    ]
    if found.taken_over_ms:
        lines.append(f"a person answers this customer for another {span(found.taken_over_ms)}")
    return lines or ["nothing waits"]


def _flight(found: Trace, flight: FlightBatch) -> str:
    resends = flight.policy == "resend"
    does = _STATES.get(flight.state, flight.state).format(
        stage=flight.stage,
        attempt=flight.attempt,
        next=flight.part + 1,
        parts=flight.parts,
        policy="it is sent once more" if resends else "it becomes a dead letter",
    )
    return f"({flight.count} messages) {does}; {_next_check(found, flight.until_ms)}"


def _open(found: Trace, batch: OpenBatch) -> str:
    size = f"({batch.count} messages, the last {moment(batch.last_ms)} UTC)"
    if batch.due_ms is None:
        return f"{size} waits until the batch in flight has ended"
    if batch.due_ms <= found.now_ms:
        return f"{size} is due since {span(found.now_ms - batch.due_ms)}: is a flusher alive?"
    rule = batch.pause.partition(" ")[2]
    why = f", after {looks_like(rule)}" if rule else ""
    return f"{size} collects; due {_then(found, batch.due_ms)}{why}"


def _next_check(found: Trace, at_ms: int | None) -> str:
    """Return when a batch in flight is checked again, whatever happens until then."""
    if at_ms is None:
        return "it is never checked again: report this as a fault"
    if at_ms <= found.now_ms:
        return f"was to be checked {span(found.now_ms - at_ms)} ago: is a flusher alive?"
    return f"checked again {_then(found, at_ms)}"


def _then(found: Trace, at_ms: int) -> str:
    return f"in {span(at_ms - found.now_ms)}, at {moment(at_ms)} UTC"


def _lines(found: Trace, at: MessageStatus | None, late: list[str]) -> list[str]:
    account = found.account_id or "unknown: its steps are kept for 7 days"
    lines = [f"conversation {found.conversation_id}, account {account}"]
    lines.append(f"accepted in the last 8 days: {found.accepted}")
    if at:
        where = f"{at.state}{f', {at.reason}' if at.reason else ''}"
        batch = f", batch {at.batch_id}" if at.batch_id else ""
        is_ours = "" if at.accepted_ms else "ours, a part of the answer, "
        accepted = is_ours or f"accepted {moment(at.accepted_ms)} UTC, "
        lines.append(f"the message: {accepted}{where}{batch}")
    for batch_id, steps in _batches(found).items():
        state, reason, now = batch_state(found, batch_id)
        renamed = f" as {now}" if now != batch_id else ""
        lines += ["", f"batch {batch_id}: {state}{f', {reason}' if reason else ''}{renamed}"]
        before_ms = None
        for step in steps:
            since = "" if before_ms is None else f"+{span(max(0, step.at_ms - before_ms))}"
            lines.append(f"  {moment(step.at_ms)}  {since:>8}  {sentence(step)}")
            before_ms = step.at_ms
    lines += ["", *_waits(found)]
    lines += [f"OVERDUE: {batch_id}, a person is alerted." for batch_id in late]
    return lines


def _as_json(found: Trace, at: MessageStatus | None, late: list[str]) -> dict[str, object]:
    batches = []
    for batch_id, steps in _batches(found).items():
        state, reason, now = batch_state(found, batch_id)
        shown = [
            {"at_ms": s.at_ms, "step": s.verb, "words": list(s.words), "says": sentence(s)}
            for s in steps
        ]
        batches.append(
            {"batch": batch_id, "place": state, "reason": reason, "now": now, "steps": shown}
        )
    return {
        "conversation": found.conversation_id,
        "account": found.account_id,
        "now_ms": found.now_ms,
        "accepted": found.accepted,
        "message": as_json(at, state="place") if at else None,
        "batches": batches,
        "open": asdict(found.open) if found.open else None,
        "flight": asdict(found.flight) if found.flight else None,
        "dead": [letter.batch_id for letter in found.dead_letters],
        "overdue": late,
        "awaited": [asdict(it) | {"summary": None} for it in found.awaited],
        "waits": _waits(found),
    }
