"""Log lines: one JSON object each on stdout, with a constant event name and fields.

``ts`` is UTC; ``event`` is ``noun.verbed`` for our own lines, a library's message for others.
Our code logs no texts, names or numbers of customers; a library's message or an exception might,
so whatever leaves in a line or a report is redacted here.
"""

import copy
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
#: Our events that strangers can cause as often as they like begin with one of these.
_SAMPLED = ("report.", "request.", "webhook.")
#: For how long after a line those that are equal to it are only counted, ms.
SAMPLE_EVERY_MS = 60_000
#: Most kinds of lines that are counted apart; beyond them the fields make no difference.
KINDS_MAX = 200
#: Attributes of a record that was only counted, and of one that says how many were.
_LEFT_OUT, _SUMMARY = "_left_out", "_summary"
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


@dataclass(slots=True)
class _Window:
    """What was counted since a line was written; ``last``: the newest such record."""

    ends_ms: int
    count: int = 0
    last: logging.LogRecord | None = None


class Sampling(logging.Filter):
    """Write the first of many equal lines at once, then one each SAMPLE_EVERY_MS at most.

    Equal: logger, level, event and fields. Each line has in ``count`` for how many it stands.
    ``clock``: monotonic ms. Safe in threads.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write ``record``; one that is not written is counted."""
        event, attributes = str(record.msg), vars(record)
        if not event.startswith(_SAMPLED) or _SUMMARY in attributes:
            return True
        count, now_ms = attributes.get("count", 1), self._clock()
        with self._lock:
            kind = self._kind(record)
            window = self._windows.get(kind)
            if window is None or window.ends_ms <= now_ms:
                attributes["count"] = count + (window.count if window else 0)
                self._windows[kind] = _Window(now_ms + SAMPLE_EVERY_MS)
                return True
            window.count += count
            window.last = record
        attributes[_LEFT_OUT] = True
        return False

    def write(self, *, whole: bool = False) -> None:
        """Log what was counted in windows that are over; with ``whole`` in all of them."""
        now_ms, summaries = self._clock(), []
        with self._lock:
            for kind, window in list(self._windows.items()):
                if not whole and window.ends_ms > now_ms:
                    continue
                del self._windows[kind]
                if window.last:
                    summaries.append((window.last, window.count))
                    self._windows[kind] = _Window(now_ms + SAMPLE_EVERY_MS)
        for record, count in summaries:
            summary = copy.copy(record)
            vars(summary).pop(_LEFT_OUT, None)
            vars(summary).update({_SUMMARY: True, "count": count, "created": time.time()})
            logging.getLogger(record.name).handle(summary)

    def _kind(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in fields_of(record).items() if name != "count"}
        kind = f"{record.name} {record.levelno} {record.msg} {fields}"
        if kind in self._windows or len(self._windows) < KINDS_MAX:
            return kind
        return f"{record.name} {record.levelno} {record.msg}"


def is_left_out(record: logging.LogRecord) -> bool:
    """Return whether ``record`` was only counted, so that nobody else need report it."""
    return _LEFT_OUT in vars(record)


def write_counted(*, whole: bool = False) -> None:
    """Log what was left out of this process's lines long enough; with ``whole`` all of it.

    To be called every few seconds, and at the end of the process.
    """
    for handler in logging.getLogger().handlers:
        for found in handler.filters:
            if isinstance(found, Sampling):
                found.write(whole=whole)


def start_logging(*, role: str, release: str, level: str) -> None:
    """Send every record of this process to stdout as JSON. Safe to run twice."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(EventFormatter(role=role, release=release))
    handler.addFilter(Sampling())
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
