"""``python -m tests.alarms``: count what a whole installation sends to Sentry of one fault."""

import argparse
import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from demo.valkey import find_server
from tests.alarms.faults import FAULTS, Fault
from tests.alarms.site import Site
from tests.processes import Guard
from tests.stack.stack import running

#: What counts: the events of the first minute.
COUNTED_S = 60
#: Most of them, and how late the first may be where something, or silence alone, tells, s.
EVENTS_MAX, FIRST_S_MAX, SILENCE_S_MAX = 5, 30, 60
#: How long a site works before its fault, and after it, s.
CALM_S, AFTER_S = 8, 20


@dataclass(frozen=True, slots=True)
class Count:
    """What came of one fault: in its first minute by name, when the first came, and all of it."""

    fault: Fault
    events: Counter[str]
    first_s: float | None
    all: Counter[str]

    @property
    def is_good(self) -> bool:
        if self.fault.name == "nothing":
            return not self.all
        late = SILENCE_S_MAX if self.fault.silent else FIRST_S_MAX
        in_time = self.first_s is not None and self.first_s <= late
        return in_time and self.events.total() <= EVENTS_MAX

    def row(self) -> str:
        first = "-" if self.first_s is None else f"{self.first_s:.0f}"
        later = self.all - self.events
        return (
            f"| {self.fault.name} | {self.events.total()} | {first} | {_named(self.events)} "
            f"| {_named(later)} | {'yes' if self.is_good else 'NO'} |"
        )


def _named(events: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in events.most_common()) or "none"


def measure(fault: Fault, binary: str, guard: Guard, *, factor: float, keep: str) -> Count:
    """Return what comes to Sentry when ``fault`` strikes a working installation."""
    site = Site(binary, guard)
    with running(site):
        site.load(customers_write=fault.customers_write, is_scraped=fault.is_scraped)
        time.sleep(CALM_S)
        calm = len(site.sentry.events)
        site.restarts, began_s = fault.restarts, time.monotonic()
        fault.begin(site)
        time.sleep(fault.lasts_s * factor)
        fault.end(site)
        time.sleep(max(AFTER_S, began_s + COUNTED_S - time.monotonic()))
        came = [item for item in list(site.sentry.items) if item.kind == "event"][calm:]
        if keep:
            bodies = (item.body.decode() for item in came)
            print(fault.name, site.shown(), *bodies, sep="\n", file=sys.stderr)
    named = [(item.at_s - began_s, name_of(item.json)) for item in came]
    return Count(
        fault,
        Counter(name for at_s, name in named if at_s <= COUNTED_S),
        min((at_s for at_s, _ in named), default=None),
        Counter(name for _, name in named),
    )


def name_of(event: dict[str, object]) -> str:
    """Return an event's name: its message, or the class of its exception."""
    entry: dict[str, str] = event.get("logentry") or {}  # type: ignore[assignment]
    message = entry.get("message") or event.get("message")
    if message:
        return str(message)
    errors: dict[str, list[dict[str, str]]] = event.get("exception") or {}  # type: ignore[assignment]
    return "/".join(error["type"] for error in errors.get("values", [])) or "?"


def table(counts: Sequence[Count]) -> str:
    head = "| Fault | Events | First, s | Which | After the first minute | Good |"
    return "\n".join([head, "|---|---:|---:|---|---|---|", *(count.row() for count in counts)])


def main() -> int:
    """Measure; return 0 where each fault made 1 to 5 events, the first of them soon."""
    parser = argparse.ArgumentParser(prog="make alarms", description=__doc__)
    parser.add_argument("--only", default="", help="names of faults, separated by a semicolon")
    parser.add_argument("--jobs", type=int, default=3, help="how many installations side by side")
    parser.add_argument("--factor", type=float, default=1.0, help="0.2: faults last a fifth")
    parser.add_argument("--keep", default="", help="anything: print logs and events")
    options = parser.parse_args()
    wanted = [name.strip() for name in options.only.split(";") if name.strip()]
    faults = [fault for fault in FAULTS if not wanted or fault.name in wanted]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    guard, binary = Guard(), find_server()
    with contextlib.closing(guard), ThreadPoolExecutor(options.jobs) as pool:
        counts = list(
            pool.map(
                lambda fault: measure(
                    fault, binary, guard, factor=options.factor, keep=options.keep
                ),
                faults,
            )
        )
    print(table(counts))
    return 0 if all(count.is_good for count in counts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
