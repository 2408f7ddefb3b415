"""``python -m tests.simulation [--seeds N] [--first N] [--before N ...] [--jobs N] [--seed N]``.

Simulates days: each seed is one, with the faults that it draws.

Prints each failing seed with its faults and the end of its history, then the totals; ends with 1
if there was one. ``--seed`` runs that one and prints its whole history.
"""

import argparse
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis

from demo.valkey import find_server
from tests.processes import Guard, started
from tests.simulation.run import Outcome, run
from tests.valkey_server import ValkeyServer

CHUNK = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--before", type=int, nargs="*", default=[], help="try these seeds first")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (1)")
    parser.add_argument("--seed", type=int, help="run this one and print all of it")
    parser.add_argument("--failures", type=int, default=5, help="give up after so many (5)")
    args = parser.parse_args(argv)
    if args.seed is not None:
        (outcome,) = _outcomes([args.seed])
        print(outcome.tail(len(outcome.history)))
        return bool(outcome.broken)
    began, done, broken = time.monotonic(), Counter[str](), 0
    occurred = Counter[str]()
    seeds = [*args.before, *range(args.first, args.first + args.seeds)]
    for outcome in _in_processes(seeds, args.jobs):
        done.update(seeds=1, accepted=outcome.accepted, simulated_ms=outcome.simulated_ms)
        occurred += outcome.occurred
        if outcome.broken:
            print(outcome.tail(), end="\n\n", flush=True)
            broken += 1
            if broken >= args.failures:
                break
    took_s, hours = time.monotonic() - began, done["simulated_ms"] / 3_600_000
    print(
        f"{done['seeds']} seeds in {took_s:.0f} s ({done['seeds'] / took_s:.1f} a second), "
        f"{hours:.0f} hours simulated ({hours * 3_600 / took_s:,.0f} times as fast), "
        f"{done['accepted']} messages accepted, {broken} seeds broken"
    )
    print("Occurred: " + ", ".join(f"{name} {times}" for name, times in sorted(occurred.items())))
    return bool(broken)


def _in_processes(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """Yield what comes of the seeds, run by so many processes; this one if it is one."""
    if jobs == 1:
        yield from _outcomes(seeds)
        return
    chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)]
    with multiprocessing.get_context("fork").Pool(jobs, initializer=_exit_on_sigterm) as pool:
        for outcomes in pool.imap(_chunk, chunks):
            yield from outcomes


def _chunk(seeds: Sequence[int]) -> list[Outcome]:
    return list(_outcomes(seeds))


def _outcomes(seeds: Sequence[int]) -> Iterator[Outcome]:
    """Run seeds on a server of their own."""
    with _client_of_own_server() as client:
        for seed in seeds:
            yield run(seed, client)


def _exit_on_sigterm() -> None:
    """Have a process that is ended with its pool end its server."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())


@contextmanager
def _client_of_own_server() -> Iterator[redis.Redis]:
    """Start a server and yield a client of it. Raise DemoError where the machine has none."""
    guard = Guard()
    try:
        with started(ValkeyServer(find_server(), guard)) as server, server.client() as client:
            yield client
    finally:
        guard.close()


if __name__ == "__main__":
    sys.exit(main())
