"""What the demo prints: its own words, and the processes' warnings, errors and crashes."""

import contextlib
import json
import sys
import threading

_NAME_WIDTH = 9
_LEVELS_SHOWN = frozenset({"WARNING", "ERROR", "CRITICAL"})
#: Of no use to somebody who reads one line.
_FIELDS_HIDDEN = frozenset(
    {
        *("ts", "level", "event", "logger", "role", "host", "pid", "release", "trace"),
    }
)


class Screen:
    """Prints for a person; with ``verbose`` also every line of every process."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._quiet = False
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print ``text``."""
        with self._lock:
            try:
                print(text, flush=True)
            except OSError:
                # The terminal is gone. What is being stopped must be stopped all the same.
                sys.stdout = None

    def hush(self) -> None:
        """Show no more warnings."""
        self._quiet = True

    def log(self, name: str, line: str) -> None:
        """Print a line that the process called ``name`` wrote, if it is worth it."""
        # Valkey's warnings mean nothing to a newcomer.
        quiet = self._quiet or name == "valkey"
        shown = line if self._verbose else None if quiet else notable(line)
        if shown is not None:
            self.say("\n".join(f"{name:<{_NAME_WIDTH}} | {part}" for part in shown.split("\n")))


def notable(line: str) -> str | None:
    """Return what to show of a log line, None for routine.

    What is no log line at all is shown as it is: most likely it is a crash.
    """
    if not line.strip():
        return None
    if record := _record(line):
        level = str(record.get("level", ""))
        return _sentence(level, record) if level in _LEVELS_SHOWN else None
    return line


def _record(line: str) -> dict[str, object]:
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        return record if isinstance(record, dict) else {}
    return {}


def _sentence(level: str, record: dict[str, object]) -> str:
    fields = (f"{name}={value}" for name, value in record.items() if name not in _FIELDS_HIDDEN)
    what, trace = str(record.get("event", "")), record.get("trace")
    return "\n".join([" ".join([level, what, *fields]), *([str(trace)] if trace else [])])
