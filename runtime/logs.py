"""Log lines: one JSON object each on stdout, a constant event name and fields, no values of people.

``ts`` is UTC; ``event`` is ``noun.verbed`` for our own lines, a library's message for others.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from runtime.privacy import clean, exception_name, fields_of, trace

#: Libraries that tell of every request or job at INFO, and of customers' addresses while at it.
_QUIET = ("apscheduler", "httpcore2", "httpx2", "urllib3")


class EventFormatter(JsonFormatter):
    """Writes a record as one line: when, how bad, what, who says it, which process, then fields."""

    def __init__(self, *, role: str, release: str) -> None:
        super().__init__()
        self._role = role
        self._release = release

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],  # noqa: ARG002 - the base class's
    ) -> None:
        """Fill ``log_data``; what an exception says stays out, where it came from goes in."""
        moment = datetime.fromtimestamp(record.created, UTC)
        own = {
            "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "event": clean(record.getMessage()),
            "logger": record.name,
            "role": self._role,
            "release": self._release,
        }
        # The second time, so that no field can pretend to be another process.
        log_data |= own | fields_of(record) | own
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            log_data["exception"] = exception_name(error)
            log_data["trace"] = trace(error.__traceback__)


def start_logging(*, role: str, release: str, level: str) -> None:
    """Send every record of this process to stdout as JSON. Safe to run twice."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(EventFormatter(role=role, release=release))
    root = logging.getLogger()
    for present in root.handlers[:]:
        # Those of a framework and of an earlier call; a test's own kind of handler may stay.
        if type(present) is logging.StreamHandler:
            root.removeHandler(present)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
