"""A hundred days, each with the faults of its seed: nothing is lost, nothing goes unsaid."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.history.events import digest
from tests.simulation.rates import MOST
from tests.simulation.run import Outcome, run

ROOT = Path(__file__).parent.parent.parent
#: Enough for every fault to strike; thousands are for `make simulate`.
SEEDS = range(100)
#: What the seeds must have met together: a simulation that never gets there proves nothing.
EXPECTED = {
    *MOST,
    *("receipt accepted", "receipt duplicate", "receipt full", "receipt suppressed"),
    *("receipt overflow", "alert overflow"),
    *("alert poison", "alert fatal_model", "alert fatal_provider", "alert ambiguous"),
    *("alert deadline", "alert undelivered", "alert channel_stopped"),
    *("alert model_stopped", "apology"),
    "alert status_refused",
    *("could be made anew", "call cut off", "draft discarded"),
    *("message edit", "message deletion", "message quotes"),
    *("clock step", "outage", "replayed", "discarded", "erased", "taken over"),
}


@pytest.mark.long
def test_every_promise_holds_in_every_seed(client: redis.Redis) -> None:
    outcomes = [run(seed, client) for seed in SEEDS]
    occurred = sum((outcome.occurred for outcome in outcomes), Counter[str]())

    broken = [outcome for outcome in outcomes if outcome.broken]
    assert not broken, "\n\n".join(outcome.tail() for outcome in broken[:3])
    assert EXPECTED - occurred.keys() == set()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_seed_has_the_same_history_in_every_process(client: redis.Redis, hash_seed: str) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", "7"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert printed.stdout.startswith(f"seed 7 holds, history {run(7, client).digest}")


def test_seeds_differ(client: redis.Redis) -> None:
    assert run(1, client).digest != run(2, client).digest


def test_broken_seed_says_what_broke_and_how_to_see_it_again(client: redis.Redis) -> None:
    outcome: Outcome = replace(run(3, client), broken=("lost: m1",))

    printed = outcome.tail(lines=2)

    assert printed.startswith(f"seed 3 BREAKS, history {digest(outcome.history)}\n  lost: m1\n")
    assert "rates: " in printed
    assert f"  {outcome.history[-1]}\n" in printed
    assert printed.endswith("again: make simulate SEED=3")
