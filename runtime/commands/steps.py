"""Puts the steps of a trail, and what a batch waits for, into words."""

from collections import defaultdict

from batching.trace import FlightBatch, OpenBatch, Step, Trace
from runtime.commands.words import moment, span

#: What happened, by the verb of the step; its further words stand in order.
_SAYS = {
    "accept": "began to collect",
    "collect": "collected, because {0}",
    "begin": "attempt {1} to {0} began",
    "checkpoint": "the reply is kept, parts: {0}",
    "depart": "part {0} is about to leave",
    "left": "part {0} left",
    "fail": "{0}: {1}",
    "reap": "{1} (was {0})",
    "overdue": "overdue: a person was told",
    "bury": "became a dead letter, {0}: {1}",
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
    for letter in trace.letters:
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
    if step.verb in ("depart", "left"):
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
        for letter in trace.letters
    ]
    if trace.stopped_ms:
        lines.append(f"the account cannot send; tried again in {span(trace.stopped_ms)}")
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
