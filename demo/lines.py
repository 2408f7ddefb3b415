"""Which of the processes' log lines a newcomer wants to see: warnings, errors, crashes."""

import json
import re

_LEVELS_SHOWN = frozenset({"WARNING", "ERROR", "CRITICAL"})
#: Dramatiq's master writes "[time] [PID 1] [MainThread] [dramatiq.MainProcess] [INFO] text".
_BRACKETED = re.compile(r"^\[[^]]+\] \[PID \d+\] \[[^]]+\] \[[^]]+\] \[(?P<level>[A-Z]+)\] ")
#: Of no use to somebody who reads one line.
_FIELDS_HIDDEN = frozenset(
    {
        *("ts", "level", "event", "logger", "role", "release", "trace"),
        *("asctime", "levelname", "name", "message", "exc_info"),
    }
)


def notable(line: str) -> str | None:
    """Return what to show of a log line, None for routine.

    What is no log line at all is shown as it is: most likely it is a crash.
    """
    if not line.strip():
        return None
    if record := _record(line):
        level = str(record.get("level", record.get("levelname", "")))
        return _told(level, record) if level in _LEVELS_SHOWN else None
    if found := _BRACKETED.match(line):
        return line[found.end() :] if found["level"] in _LEVELS_SHOWN else None
    return line


def _record(line: str) -> dict[str, object]:
    if not line.startswith("{"):
        return {}
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _told(level: str, record: dict[str, object]) -> str:
    fields = (f"{name}={value}" for name, value in record.items() if name not in _FIELDS_HIDDEN)
    what = str(record.get("event", record.get("message", "")))
    told = [" ".join([level, what, *fields])]
    traces = (record.get("trace"), record.get("exc_info"))
    return "\n".join(told + [str(trace) for trace in traces if trace])
