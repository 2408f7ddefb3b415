"""``python -m bench [--quick] [PART ...]``: measure, and print a table for each part."""

import argparse
import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench import ledger, overhead, webhooks
from bench.figures import QUICK, Figure, Scale, table
from demo.valkey import find_server
from tests.processes import Guard
from tests.stack.stack import WINDOWS, Stack

PARTS: dict[str, tuple[str, Callable[[Stack, Scale], list[Figure]]]] = {
    "webhooks": ("Webhooks, two workers", webhooks.measure),
    "durability": ("What BATCH_DURABILITY=always costs, two workers", webhooks.durability),
    "overhead": ("Overhead after the idle window, all processes", overhead.measure),
    "memory": ("Memory", ledger.weigh),
    "tick": ("A tick with nothing due", ledger.tick),
}
PROCESSORS = 2
#: What is on in the tests and would be measured too.
_OFF = {*WINDOWS, "CANARY_URL", "SENTRY_DSN"}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures of the parts asked for, all by default."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--quick", action="store_true", help="small: shows that it runs")
    args = parser.parse_args(argv)
    scale = QUICK if args.quick else Scale()
    print(
        f"{platform.machine()}, {_processors()} processors used, Python {platform.python_version()}"
    )
    for name in args.parts or PARTS:
        title, measure = PARTS[name]
        with installed(scale.idle_ms) as stack:
            print("\n" + table(title, measure(stack, scale)), end="", flush=True)


@contextmanager
def installed(idle_ms: int) -> Iterator[Stack]:
    """Yield an installation of which the ledger alone runs; its file is synced each second."""
    guard = Guard()
    stack = Stack(find_server(), guard, numbers=[overhead.ACCOUNT])
    stack.environ = {name: value for name, value in stack.environ.items() if name not in _OFF}
    stack.environ["BATCH_IDLE_MS"] = str(idle_ms)
    try:
        stack.valkey.start()
        stack.ledger.client.config_set("appendfsync", "everysec")
        yield stack
    finally:
        stack.stop()
        guard.close()


def _share_processors() -> None:
    """Keep this process and all that it starts on two processors, where the system can do that."""
    with contextlib.suppress(AttributeError):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 0


if __name__ == "__main__":
    _share_processors()
    main()
