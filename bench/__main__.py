"""``python -m bench [--quick] [PART ...]``: measure, and print a table for each part."""

import argparse
import contextlib
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import redis

from bench import durability, ledger, overhead, webhooks
from bench.figures import QUICK, Figure, Scale, table
from bench.world import ledger_server, scratch

Part = Callable[[redis.Redis, str, Path, Scale], list[Figure]]
PARTS: dict[str, tuple[str, Part]] = {
    "webhooks": ("Webhooks, two workers", webhooks.measure),
    "durability": ("What BATCH_DURABILITY=always costs, two workers", durability.measure),
    "overhead": ("Overhead after the idle window, all processes", overhead.measure),
    "memory": ("Memory", lambda client, _url, _directory, scale: ledger.weigh(client, scale)),
    "tick": (
        "A tick with nothing due",
        lambda client, _url, _dir, scale: ledger.tick(client, scale),
    ),
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
        with scratch() as directory, ledger_server(directory) as url:
            client = redis.Redis.from_url(f"{url}/0", protocol=2)
            print("\n" + table(title, measure(client, url, directory, scale)), end="", flush=True)
            client.close()


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
