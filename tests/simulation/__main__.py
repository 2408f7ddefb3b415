"""``python -m tests.simulation [--seeds N] [--first N] [--jobs N] [--seed N]``.

Simulates days: each seed is one, with the faults that it draws.

Prints each failing seed with its faults and the end of its history, then the totals; ends with 1
if there was one. ``--seed`` runs that one and prints its whole history.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tests.simulation.many import Totals, client_of_own_server, exit_on_sigterm, simulate
from tests.simulation.run import run

CHUNK = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (1)")
    parser.add_argument("--seed", type=int, help="run this one and print all of it")
    parser.add_argument("--failures", type=int, default=5, help="give up after so many (5)")
    args = parser.parse_args(argv)
    if args.seed is not None:
        return _replay(args.seed)
    chunks = [
        range(first, min(first + CHUNK, args.first + args.seeds))
        for first in range(args.first, args.first + args.seeds, CHUNK)
    ]
    began, totals = time.monotonic(), Totals()
    with _mapper(args.jobs) as in_turn:
        for done in in_turn(partial(simulate, failures_max=args.failures), chunks):
            totals.join(done)
            for failure in done.failures:
                print(failure, end="\n\n", flush=True)
            if len(totals.failures) >= args.failures:
                break
    _print(totals, time.monotonic() - began)
    return bool(totals.failures)


@contextmanager
def _mapper(jobs: int) -> Iterator[Callable[..., Iterable[Totals]]]:
    """Yield a ``map`` over so many processes, this one if it is one."""
    if jobs == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=exit_on_sigterm) as pool:
        yield pool.imap


def _replay(seed: int) -> int:
    with client_of_own_server() as client:
        outcome = run(seed, client)
    print(outcome.tail(len(outcome.history)))
    return bool(outcome.broken)


def _print(totals: Totals, took_s: float) -> None:
    hours = totals.simulated_ms / 3_600_000
    print(
        f"{totals.seeds} seeds in {took_s:.0f} s ({totals.seeds / took_s:.1f} a second), "
        f"{hours:.0f} hours simulated ({hours * 3_600 / took_s:,.0f} times as fast), "
        f"{totals.accepted} messages accepted, {len(totals.failures)} seeds broken"
    )
    counts = (f"{name} {times}" for name, times in sorted(totals.occurred.items()))
    print("Occurred: " + ", ".join(counts))


if __name__ == "__main__":
    sys.exit(main())
