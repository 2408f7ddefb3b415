"""Points at which a real process fails once, because a test armed one: by files in a directory.

A test writes ``<point>`` with the action as its content. The first process that gets there
renames it to ``<point>.<pid>``, and acts: no other can, and the test sees which did.

The processes start here, as production starts them, with the points around what they talk to:
``gunicorn "tests.chaos.failpoints:application()"``, ``dramatiq tests.chaos.failpoints:worker``,
``python -m tests.chaos.failpoints`` for a scheduler.
"""

import os
import signal
from collections.abc import Sequence
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2

from batching import alerts, store
from batching.errors import LedgerUnavailableError, TransientError
from llm.guard import Guarded
from runtime import notifier

#: The environment's name for the directory of the failpoints.
DIRECTORY = "FAILPOINTS"
#: As a shell reports a process that SIGKILL ended.
EXIT_KILLED = 137
#: When an alert that was taken and not acknowledged is given out again, ms: tests wait for it.
REDELIVER_MS = 2_000
#: Many cases end for one cause within minutes, and each must be told.
RATE_MAX = 1_000
#: What a caller of the ledger sees whose answer is lost.
LOST = LedgerUnavailableError("lost")


class Point(StrEnum):
    """The places at which a crash could cost a message, an answer or an alert."""

    WEB_BEFORE_APPEND = "web.before_append"
    WEB_AFTER_APPEND = "web.after_append"
    FLUSH_AFTER_COLLECT_BEFORE_ENQUEUE = "flush.after_collect_before_enqueue"
    GENERATE_AFTER_BEGIN = "generate.after_begin"
    GENERATE_AFTER_MODEL = "generate.after_model"
    GENERATE_AFTER_CHECKPOINT = "generate.after_checkpoint"
    SEND_AFTER_MARK_SENDING = "send.after_mark_sending"
    SEND_AFTER_WRITE = "send.after_write"
    SEND_AFTER_RESPONSE = "send.after_response"
    SEND_AFTER_MARK_SENT = "send.after_mark_sent"
    DROP_AFTER_DEAD_LETTER_BEFORE_ALERT = "drop.after_dead_letter_before_alert"
    ALERT_AFTER_POST_BEFORE_ACK = "alert.after_post_before_ack"


class Action(StrEnum):
    """What happens at a point: the process ends, it stands still, or its answer is lost."""

    EXIT = "exit"
    PAUSE = "pause"
    LOST = "lost"


#: By script, where a web process loses a request to the ledger, and where the ledger's answer.
WEB = ({"append": Point.WEB_BEFORE_APPEND}, {"append": Point.WEB_AFTER_APPEND})
#: The same for a worker.
WORKER = (
    {"mark_sent": Point.SEND_AFTER_RESPONSE},
    {
        "collect": Point.FLUSH_AFTER_COLLECT_BEFORE_ENQUEUE,
        "begin": Point.GENERATE_AFTER_BEGIN,
        "checkpoint": Point.GENERATE_AFTER_CHECKPOINT,
        "mark_sending": Point.SEND_AFTER_MARK_SENDING,
        "mark_sent": Point.SEND_AFTER_MARK_SENT,
        "dead_letter": Point.DROP_AFTER_DEAD_LETTER_BEFORE_ALERT,
    },
)


class Failpoints:
    """The points that are armed in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def arm(self, point: Point, action: Action) -> None:
        """Have the next process that gets to ``point`` act there, once; forget who acted before."""
        for path in self._directory.iterdir():
            path.unlink()
        # Renamed into place: no process reads half a word.
        unfinished = self._directory / "unfinished"
        unfinished.write_text(action)
        unfinished.rename(self._directory / point)

    def hit_by(self, point: Point) -> int:
        """Return the process that acted at ``point``, 0 if none did yet."""
        found = list(self._directory.glob(f"{point}.*"))
        return int(found[0].suffix[1:]) if found else 0

    def reach(self, point: Point | None, lost: Exception) -> None:
        """Act if ``point`` is armed: for LOST raise ``lost``, what the caller would then see."""
        armed = self._directory / (point or "nowhere")
        try:
            action = Action(armed.read_text())
            armed.rename(f"{armed}.{os.getpid()}")
        except FileNotFoundError:
            return
        match action:
            case Action.EXIT:
                os._exit(EXIT_KILLED)
            case Action.PAUSE:
                # The whole process, its lease renewer too: as on a machine that stands still.
                os.kill(os.getpid(), signal.SIGSTOP)
            case Action.LOST:
                raise lost


def application() -> object:
    """Return the application of a web process that fails where a test armed a point."""
    fail_where_armed(*WEB)
    return import_module("wsgi").application


def worker() -> None:
    """Build a worker process that fails where a test armed a point."""
    fail_where_armed(*WORKER)
    import_module("actors").main()


def fail_where_armed(before: dict[str, Point], after: dict[str, Point]) -> None:
    """Have this process fail at those points, and around models, channels and Sentry."""
    failpoints = Failpoints(Path(os.environ[DIRECTORY]))
    _fail_ledger(failpoints, before, after)
    _fail_channel(failpoints)
    alerts.REDELIVER_MS, alerts.RATE_MAX = REDELIVER_MS, RATE_MAX
    broken = TransientError("model_broken")
    _fail_after(failpoints, Guarded, "answer", Point.GENERATE_AFTER_MODEL, broken)
    _fail_after(failpoints, notifier, "deliver", Point.ALERT_AFTER_POST_BEFORE_ACK, LOST)


def _fail_ledger(failpoints: Failpoints, before: dict[str, Point], after: dict[str, Point]) -> None:
    run_all = store._run_all

    def failing(client: Any, calls: Sequence[Any], *, durable: bool) -> list[Any]:
        for call in calls:
            failpoints.reach(before.get(call.verb), LOST)
        values = run_all(client, calls, durable=durable)
        for call, value in zip(calls, values, strict=True):
            # A send begins too, but its point is that its part is marked as leaving.
            if value and not (call.verb == "begin" and "send" in call.args):
                failpoints.reach(after.get(call.verb), LOST)
        return values

    store._run_all = failing


def _fail_channel(failpoints: Failpoints) -> None:
    """Reach the point when a text is written and its answer not read."""
    transport: Any = httpx2.HTTPTransport
    handle = transport.handle_request

    def failing(self: Any, request: httpx2.Request) -> Any:
        if request.url.path.endswith("/messages"):
            traced = request.extensions["trace"]

            def trace(event: str, info: dict[str, Any]) -> None:
                traced(event, info)
                if event.endswith("send_request_body.complete"):
                    unread = httpx2.ReadError("lost", request=request)
                    failpoints.reach(Point.SEND_AFTER_WRITE, unread)

            request.extensions["trace"] = trace
        return handle(self, request)

    transport.handle_request = failing


def _fail_after(
    failpoints: Failpoints, owner: object, name: str, point: Point, lost: Exception
) -> None:
    function = getattr(owner, name)

    def failing(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        failpoints.reach(point, lost)
        return result

    setattr(owner, name, failing)


if __name__ == "__main__":
    fail_where_armed({}, {})
    import_module("scheduler.__main__").main()
