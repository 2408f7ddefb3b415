"""``python -m bench [--quick] [PART ...]``: measure, and print a table for each part."""

import argparse
import contextlib
import os
import platform
from collections.abc import Callable, Sequence

from bench import ledger, overhead, webhooks
from bench.figures import QUICK, Figure, Scale, table
from bench.world import installed
from tests.stack.stack import Stack

PARTS: dict[str, tuple[str, Callable[[Stack, Scale], list[Figure]]]] = {
    "webhooks": ("Webhooks, two workers", webhooks.measure),
    "durability": ("What BATCH_DURABILITY=always costs, two workers", webhooks.durability),
    "overhead": ("Overhead after the idle window, all processes", overhead.measure),
    "memory": ("Memory", ledger.weigh),
    "tick": ("A tick with nothing due", ledger.tick),
}
PROCESSORS = 2


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
