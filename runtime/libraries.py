"""What libraries say, as events of ours: a constant name and fields in place of a sentence.

A sentence with a number in it can be neither searched for nor counted. gunicorn's stand in
gunicorn.conf.py, because its master imports nothing of ours.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Saying:
    """``fields``: the names of a sentence's values, "" for one to leave out. ``level``: instead."""

    event: str
    fields: tuple[str, ...] = ()
    level: int | None = None


#: Of Dramatiq, by the sentence as its code has it.
SAYINGS: Mapping[str, Saying] = {
    "Dramatiq %r is booting up.": Saying("master.started", ("version",)),
    "Sending signal %r to subprocesses...": Saying("master.signalled", ("signal",)),
    "Failed to send %r to PID %d.": Saying("master.signal_lost", ("signal", "worker_pid")),
    "Worker with PID %r exited unexpectedly (code %r). Shutting down...": Saying(
        "worker.died", ("worker_pid", "exit_code"), logging.ERROR
    ),
    "Worker process is ready for action.": Saying("worker.started"),
    "Stopping worker process...": Saying("worker.stopping"),
    "Killing worker process...": Saying("worker.killed"),
    "Shutting down...": Saying("worker.draining"),
    "Worker has been shut down.": Saying("worker.stopped"),
    # It is tried again each second, and each queue says so.
    "Consumer encountered a connection error: %s": Saying(
        "broker.unreachable", ("error",), logging.WARNING
    ),
    "Restarting consumer in %0.2f seconds.": Saying("broker.retried", ("",), logging.DEBUG),
    "Consumer encountered an unexpected error.": Saying("consumer.failed", level=logging.ERROR),
    "Failed to requeue messages on queue %r.": Saying("doorbell.not_returned", ("queue",)),
}
#: Sentences that their code puts together before it logs them.
_READY = {"Dramatiq %r is booting up.": re.compile(r"Dramatiq '([^']*)' is booting up\.")}
_QUEUE = re.compile(r"ConsumerThread\((.+)\)")


def translate(record: logging.LogRecord) -> None:
    """Turn a sentence of Dramatiq into an event. Safe to run twice."""
    if not record.name.startswith("dramatiq."):
        return
    sentence, values = str(record.msg), record.args if isinstance(record.args, tuple) else ()
    for template, pattern in _READY.items():
        if found := pattern.fullmatch(sentence):
            sentence, values = template, found.groups()
    saying = SAYINGS.get(sentence)
    if saying is None:
        return
    named = zip(saying.fields, values, strict=False)
    fields = {name: _plain(value) for name, value in named if name}
    if queue := _QUEUE.search(record.name):
        fields["queue"] = queue[1]
    record.msg, record.args = saying.event, ()
    vars(record).update(fields)
    if saying.level is not None:
        record.levelno, record.levelname = saying.level, logging.getLevelName(saying.level)


def _plain(value: object) -> object:
    """Return a value for a line; of an exception its class, for its words are a library's."""
    if not isinstance(value, BaseException):
        return value
    # Dramatiq wraps the error of the broker's client, as an argument.
    inner = [it for it in (value.__cause__, *value.args) if isinstance(it, BaseException)]
    return type([*inner, value][0]).__name__
