"""Log lines: one JSON object each on stdout, with a constant event name and fields.

``ts`` is UTC; ``event`` is ``noun.verbed`` for our own lines, a library's message for others.
Our code logs no texts, names or numbers of customers; a library's message or an exception might,
so whatever leaves in a line or a report is redacted here.
"""

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from batching.errors import AdminError
from config.urls import hide_urls

#: What may be a phone number: 9 to 15 digits, however they are spaced, not inside a word.
_DIGITS_MIN, _DIGITS_MAX = 9, 15
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d[\d ()-]{7,20}\d(?!\w)")
_REMOVED = "[number]"
_TEXT_MAX, _ITEMS_MAX, _DEPTH_MAX = 2_000, 100, 5
_FRAMES_MAX = 30
#: Attributes of every log record; the others are the fields of the call.
_STANDARD = frozenset({*RESERVED_ATTRS, "message", "asctime", "taskName"})
#: Libraries that log every request or job at INFO, with customers' addresses among them.
_QUIET = ("apscheduler", "httpcore2", "httpx2", "urllib3")


class EventFormatter(JsonFormatter):
    """Format a record as one line: time, level, event, logger, process, then the fields."""

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
        """Fill ``log_data``. Of an exception its name and its path, not its message."""
        at = datetime.fromtimestamp(record.created, UTC)
        own = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "event": clean(record.getMessage()),
            "logger": record.name,
            "role": self._role,
            "release": self._release,
        }
        # First for their order, last so that no field of a call replaces them.
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
        # A framework's, and that of an earlier call; handlers of another class may stay.
        if type(present) is logging.StreamHandler:
            root.removeHandler(present)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a log call, redacted."""
    return {
        name: clean(value, name)
        for name, value in vars(record).items()
        if name not in _STANDARD and not name.startswith("_")
    }


def clean(value: object, name: str = "", depth: int = 0) -> object:
    """Return ``value`` as JSON types, redacted; an object of any other type by its type alone.

    ``name``: that of the field; a number whose name ends with ``_ms`` is a time, not a phone's.
    """
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        long = _DIGITS_MIN <= len(str(abs(value))) <= _DIGITS_MAX
        return _REMOVED if long and not name.endswith("_ms") else value
    if isinstance(value, str | PurePath):
        return redacted(str(value))
    if depth < _DEPTH_MAX and isinstance(value, Mapping):
        items = list(value.items())[:_ITEMS_MAX]
        return {redacted(str(key)): clean(item, str(key), depth + 1) for key, item in items}
    if depth < _DEPTH_MAX and isinstance(value, list | tuple):
        return [clean(item, name, depth + 1) for item in value[:_ITEMS_MAX]]
    return f"<{type(value).__name__}>"


def redacted(text: str) -> str:
    """Return ``text`` without what may be a phone number or a login, cut to a maximum length."""
    short = text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"
    return _PHONE.sub(_hide, hide_urls(short))


def _hide(found: re.Match[str]) -> str:
    digits = sum(letter.isdigit() for letter in found.group())
    return _REMOVED if _DIGITS_MIN <= digits <= _DIGITS_MAX else found.group()


def exception_name(error: BaseException) -> str:
    """Return the class of an exception and our code; its message may quote a customer."""
    code = f" {error.code}" if isinstance(error, AdminError) else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{code}"


def trace(tb: TracebackType | None) -> list[str]:
    """Return the path of an exception, innermost last: file, line and function, no values."""
    frames = []
    while tb is not None:
        code = tb.tb_frame.f_code
        frames.append(f"{code.co_filename}:{tb.tb_lineno} {code.co_name}")
        tb = tb.tb_next
    return frames[-_FRAMES_MAX:]
