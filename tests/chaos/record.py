"""What the world outside saw of a run, in order, while it happens in many threads."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.history.events import Accepted, Happening, Offered, Taken


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault began. ``unsettles``: the worker that may lose a lease by it, "" for any."""

    at_ms: int
    number: int
    kind: str
    unsettles: str | None


@dataclass(frozen=True, slots=True)
class Healed:
    """The fault was taken back; what it broke has to recover by itself from here on."""

    at_ms: int
    number: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A webhook was not answered 200: by what was said instead, "" if nothing was.

    ``why``: what became of the connection then.
    """

    at_ms: int
    status: str
    why: str = ""


Noted = Happening | Struck | Healed | Refused


class Record:
    """The events so far. Times are ms since the record was begun."""

    def __init__(self) -> None:
        self.events: list[Noted] = []
        self._began_ns = time.monotonic_ns()
        self._lock = threading.Lock()

    def note(self, make: Callable[[int], Noted]) -> None:
        """Add the event that ``make`` makes of the time."""
        with self._lock:
            self.events.append(make((time.monotonic_ns() - self._began_ns) // 1_000_000))

    def save(self, path: Path) -> None:
        """Write one event a line, as JSON with its name."""
        lines = [json.dumps({"event": type(e).__name__} | asdict(e)) for e in self.events]
        path.write_text("\n".join(lines) + "\n")


def accepted_ms(events: Sequence[Noted]) -> dict[str, int]:
    """Return when each word was first accepted, ms."""
    return {event.word: event.at_ms for event in reversed(events) if isinstance(event, Accepted)}


def answered_ms(events: Sequence[Noted]) -> dict[str, int]:
    """Return when an answer to each word was first taken, ms."""
    known = {event.word for event in events if isinstance(event, Offered)}
    taken = [event for event in reversed(events) if isinstance(event, Taken)]
    return {word: event.at_ms for event in taken for word in event.text.split() if word in known}
