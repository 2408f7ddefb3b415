"""One limiter for what a process sends to Sentry, so that a fault is told and not repeated.

Equal events are sent once a minute, the second and further ones as one with their count; of one
name no more than NAMED_MAX a minute are sent, however they differ. The ledger's alerts are not
limited here: they have cooldowns of their own, and none may be lost.
"""

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import sentry_sdk
from sentry_sdk.types import Event, Hint

#: For how long events are only counted after one was sent, ms; doubled while more of them come.
WINDOW_MS = 60_000
WINDOW_MS_MAX = 3_600_000
#: Most events of one name in a window, of all kinds.
NAMED_MAX = 5
#: Most kinds that are counted apart; beyond them only names are.
KINDS_MAX = 400
#: Fields that make another event of the same name: what failed, not whom it concerns.
CAUSES = ("account", "channel", "code", "dependency", "error", "kind", "place", "reason")
#: The hint of an event that says how many were left out: its exception.
COUNTED = "counted"


@dataclass(slots=True)
class _Window:
    """How many may still be sent, and what was left out; ``last``: the newest of those."""

    ends_ms: int
    room: int
    lasts_ms: int = WINDOW_MS
    left_out: int = 0
    last: Event | None = None


class Limiter:
    """Lets the first of equal events pass, and counts the others. ``clock``: monotonic ms.

    ``left_out``: how many were not sent one by one. Safe in threads.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self.left_out = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, ...], _Window] = {}

    def limit(self, event: Event, hint: Hint) -> Event | None:
        """Return ``event`` if it is to be sent now; one that is not is counted."""
        if COUNTED in hint:
            return event
        name = _name(event)
        with self._lock:
            kind = (name, *_cause(event))
            if len(self._windows) >= KINDS_MAX and kind not in self._windows:
                name = name if (name,) in self._windows else "more"
                kind = (name, "more")
            windows = [self._window((name,), NAMED_MAX), self._window(kind, 1)]
            if all(window.room for window in windows):
                for window in windows:
                    window.room -= 1
                return event
            self.left_out += 1
            windows[1].left_out += _count(event)
            windows[1].last = event
        return None

    def tell(self, *, whole: bool = False) -> None:
        """Send what was counted in windows that are over, with ``whole`` in all of them.

        To be called every few seconds, and at the end of the process.
        """
        now_ms, counted = self._clock(), []
        with self._lock:
            for kind, window in list(self._windows.items()):
                if not whole and window.ends_ms > now_ms:
                    continue
                del self._windows[kind]
                if window.last is not None:
                    counted.append((window.last, window.left_out))
                    longer = min(2 * window.lasts_ms, WINDOW_MS_MAX)
                    self._windows[kind] = _Window(now_ms + longer, 0, longer)
        for event, count in counted:
            summary = cast("dict[str, Any]", copy.copy(event))
            # Sentry ignores a second event of the same id, and is to see when this one was made.
            summary = {k: v for k, v in summary.items() if k not in {"event_id", "timestamp"}}
            summary["extra"] = dict(summary.get("extra") or {}) | {"count": count}
            with sentry_sdk.isolation_scope() as scope:
                scope.clear_breadcrumbs()
                hint = {COUNTED: copy.deepcopy(summary.get("exception"))}
                sentry_sdk.capture_event(cast("Event", summary), hint=hint)

    def _window(self, kind: tuple[str, ...], most: int) -> _Window:
        """Return the window of a kind, a new one in which ``most`` may be sent if there is none."""
        window = self._windows.get(kind)
        if window is None or (window.ends_ms <= self._clock() and window.last is None):
            window = self._windows[kind] = _Window(self._clock() + WINDOW_MS, most)
        return window


def _name(event: Event) -> str:
    """Return the constant name of a log event, of any other its message or its exception."""
    loose = cast("dict[str, Any]", event)
    entry = loose.get("logentry") or {}
    return str(entry.get("message") or loose.get("message") or _errors(event))


def _count(event: Event) -> int:
    """Return for how many lines an event stands: the log counts some before they come here."""
    count = (cast("dict[str, Any]", event).get("extra") or {}).get("count", 1)
    return count if isinstance(count, int) else 1


def _cause(event: Event) -> tuple[str, ...]:
    """Return what makes two events of the same name different."""
    extra = cast("dict[str, Any]", event).get("extra") or {}
    # The same place in our code is the same cause, whichever account meets it.
    return (_errors(event),) if _errors(event) else tuple(str(extra.get(it, "")) for it in CAUSES)


def _errors(event: Event) -> str:
    """Return classes, codes and innermost places of an event's exceptions."""
    found = []
    for error in cast("dict[str, Any]", event).get("exception", {}).get("values", []):
        frames = (error.get("stacktrace") or {}).get("frames") or [{}]
        place = f"{frames[-1].get('module')}:{frames[-1].get('lineno')}"
        found.append(f"{error.get('type')} {error.get('value')} {place}")
    return "; ".join(found)
