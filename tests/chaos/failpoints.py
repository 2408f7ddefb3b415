"""Points at which a real process fails once, because a test armed one: by files in a directory.

A test writes ``<point>`` with the action as its content. The first process that gets there
renames it to ``<point>.<pid>``, and acts: no other can, and the test sees which did.
"""

import os
import signal
from enum import StrEnum
from pathlib import Path

#: As a shell reports a process that SIGKILL ended.
EXIT_KILLED = 137


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


class Failpoints:
    """The points that are armed in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def arm(self, point: Point, action: Action) -> None:
        """Have the next process that gets to ``point`` act there, once."""
        self.clear()
        # Renamed into place: no process reads half a word.
        unfinished = self._directory / "unfinished"
        unfinished.write_text(action)
        unfinished.rename(self._directory / point)

    def clear(self) -> None:
        """Disarm everything and forget who acted."""
        for path in self._directory.iterdir():
            path.unlink()

    def hit_by(self, point: Point) -> int:
        """Return the process that acted at ``point``, 0 if none did yet."""
        found = list(self._directory.glob(f"{point}.*"))
        return int(found[0].suffix[1:]) if found else 0

    def reach(self, point: Point, lost: Exception) -> None:
        """Act if ``point`` is armed: for LOST raise ``lost``, what the caller would then see."""
        armed = self._directory / point
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
