"""Runs many seeds, each lot on a server of its own, and adds up what they came to."""

import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from demo.valkey import find_server
from tests.processes import Guard, started
from tests.simulation.run import Outcome, run
from tests.valkey_server import ValkeyServer


@dataclass
class Totals:
    """What some seeds came to. ``failures`` are given in full."""

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


def simulate(seeds: Sequence[int], failures_max: int) -> Totals:
    """Run some seeds on a server of their own, until so many broke."""
    totals = Totals()
    with client_of_own_server() as client:
        for seed in seeds:
            totals.add(run(seed, client))
            if len(totals.failures) >= failures_max:
                break
    return totals


def exit_on_sigterm() -> None:
    """Have a process that is ended with its pool end its server."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())


@contextmanager
def client_of_own_server() -> Iterator[redis.Redis]:
    """Start a server and yield a client of it. Raise SystemExit where the machine has none."""
    binary = find_server()
    guard = Guard()
    try:
        with started(ValkeyServer(binary, guard)) as server, server.client() as client:
            yield client
    finally:
        guard.close()
