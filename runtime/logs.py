"""Log lines: one JSON object each on stdout, with a constant event name and fields.

``ts`` is UTC; ``event`` is ``noun.verbed`` for our own lines and what ``runtime.libraries`` knows,
a library's message for others. Our code logs no texts, names or numbers of customers; a library's
message or an exception might, so whatever leaves in a line or a report is redacted here.
"""

import copy
import logging
import os
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
from batching.model import CANARY_ACCOUNT
from config.urls import hide_urls
from runtime.libraries import translate

log = logging.getLogger(__name__)

#: What may be a phone number: 9 to 15 digits, however they are spaced, not inside a word.
_DIGITS_MIN, _DIGITS_MAX = 9, 15
_SPACES = r"[ \u00a0\u2007\u202f]"
_DIGITS = re.compile(
    rf"(?<![\w.])[+(]*\d(?:(?:{_SPACES}|[\d()+\u2010-\u2015-])*\d)?(?!\w|\.\d)"
    # Groups between points: an address of the Internet, or a version, has other ones.
    r"|(?<![\w.])(?:\+?\d{1,3}[. ]?)?\(?\d{3}\)?[. ]\d{3}\.(?:\d{4}|\d{2}\.\d{2})(?![\w.])"
)
#: What looks like it and is none: a moment, an id, a quantity. After "+7 " nothing is.
_NO_PHONE = re.compile(
    r"(?<![\w.+(])(?<!\+\d )(?<!\+\d\d )(?<!\+\d\d\d )(?:"
    # A date with dashes or slashes, perhaps with a time of day.
    r"(?:(?:19|20)\d\d([-/])(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[1-9]|[12]\d|3[01])[-/](?:0[1-9]|1[0-2])[-/](?:19|20)\d\d)"
    r"(?:[ T](?:[01]\d|2[0-3]):?[0-5]\d(?::?[0-5]\d(?:[.,]\d+)?)?(?:Z| ?[+-]\d\d:?\d\d)?)?"
    # Both without any sign, as no number of a telephone is so long with such a beginning.
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?"
    r"(?:[01]\d|2[0-3])[0-5]\d[0-5]\d"
    # Milliseconds since 1970; a UUID; an address with its port; a process id; a quantity.
    r"|1[6-9]\d{11}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?=\d)|(?![\d.]))){4}(?::\d{1,5})?"
    r"|\(\d{6,8}\)"
    r"|\d+ (?:bytes|microseconds|milliseconds|ms|ns|seconds|us)"
    r")(?!\w|\.\d)"
)
_REMOVED = "[number]"
#: Integers of fields with such names are times, sizes and counts.
_QUANTITY = re.compile(r"(?:.*_)?(?:ms|s|bytes|count|counts|total)")
_TEXT_MAX, _ITEMS_MAX, _DEPTH_MAX = 2_000, 100, 5
_FRAMES_MAX = 30
#: Attributes of every log record; the others are the fields of the call.
_STANDARD = frozenset({*RESERVED_ATTRS, "message", "asctime", "taskName"})
#: Events that strangers, or an outage, can cause as often as they like begin with one of these.
_SAMPLED = (
    *("report.", "request.", "webhook."),
    *("alert.delayed", "broker.", "connection.", "doorbell.", "supervisor.", "watch.failed"),
)
#: Fields that make no difference between such lines: the first of them names one, as an example.
_EXAMPLES = frozenset({"attempt", "batch", "batch_size", "conversation", "count"})
#: Events of the steps of a message: of the canary's they are routine.
_STEPS = ("batch.", "doorbell.", "message.", "reply.")
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
        self._host = os.uname().nodename
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
            "host": self._host,
            # Not that of the record, which a thread may have made before a fork.
            "pid": os.getpid(),
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

    Equal: logger, level, event and fields but for those that name a batch. Each line has in
    ``count`` for how many it stands.
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
        found = fields_of(record).items()
        fields = {name: value for name, value in found if name not in _EXAMPLES}
        error = record.exc_info[1] if record.exc_info else None
        place = trace(error.__traceback__)[-1:] if error else []
        kind = f"{record.name} {record.levelno} {record.msg} {fields} {place}"
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


def toned(record: logging.LogRecord) -> bool:
    """Translate what a library says, lower routine of the canary; return whether it is wanted."""
    translate(record)
    is_step = record.levelno == logging.INFO and str(record.msg).startswith(_STEPS)
    if is_step and _is_of_canary(vars(record)):
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return record.levelno >= logging.getLogger().level


def _is_of_canary(fields: Mapping[str, object]) -> bool:
    return fields.get("account") == CANARY_ACCOUNT or str(fields.get("conversation")).startswith(
        "k_"
    )


def start_logging(*, role: str, release: str, level: str) -> None:
    """Send every record of this process to stdout as JSON. Safe to run twice."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(EventFormatter(role=role, release=release))
    handler.addFilter(toned)
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
    sys.excepthook = _crashed
    threading.excepthook = lambda crash: _crashed(
        crash.exc_type, crash.exc_value, crash.exc_traceback
    )


def _crashed(
    kind: type[BaseException], error: BaseException | None, tb: TracebackType | None
) -> None:
    """Log what nobody caught: Python would print its words, which may quote a customer."""
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        log.critical("process.crashed", exc_info=(kind, error or kind(), tb))


def line_without_locks(event: str, **fields: object) -> bytes:
    """Return a critical line in this process's form, for who cannot wait for a thread that logs."""
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    ours = next((it for it in formatters if isinstance(it, EventFormatter)), None)
    record = logging.makeLogRecord({"name": __name__, "levelname": "CRITICAL", "msg": event})
    vars(record).update(fields)
    return (
        f"{(ours or EventFormatter(role='unknown', release='unknown')).format(record)}\n".encode()
    )


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a log call, redacted."""
    return {
        name: clean(value, name)
        for name, value in vars(record).items()
        if name not in _STANDARD and not name.startswith("_")
    }


def clean(value: object, name: str = "", depth: int = 0) -> object:
    """Return ``value`` as JSON types, redacted; an object of any other type by its type alone.

    ``name``: that of the field; a number whose name ends with a unit, as ``_ms``, is no phone's.
    """
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        long = _DIGITS_MIN <= len(str(abs(value))) <= _DIGITS_MAX
        return _REMOVED if long and not _QUANTITY.fullmatch(name) else value
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
    short = hide_urls(text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…")
    if not _DIGITS.search(short):
        return short
    pieces, end = [], 0
    for found in _NO_PHONE.finditer(short):
        pieces += [_without_phones(short[end : found.start()]), found.group()]
        end = found.end()
    return "".join([*pieces, _without_phones(short[end:])])


def _without_phones(text: str) -> str:
    return _DIGITS.sub(lambda found: _hidden(found.group()), text)


def _hidden(digits: str) -> str:
    """Return a run of digits and signs between them, or what stands for it."""
    count = sum(letter.isdigit() for letter in digits)
    if count < _DIGITS_MIN or (count > _DIGITS_MAX and digits.isdigit()):
        return digits
    if count <= _DIGITS_MAX:
        return _REMOVED
    # Several numbers in a row: each by itself where one is a phone's, else all of them.
    words = digits.split()
    each = [_hidden(word) for word in words] if len(words) > 1 else []
    return " ".join(each) if _REMOVED in each else _REMOVED


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
