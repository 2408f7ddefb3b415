"""How many inputs, from which seed; the application as production builds it, on its own ledger."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning
from hypothesis.strategies import SearchStrategy

from runtime.build import Runtime, build
from tests.valkey_server import ValkeyServer
from tests.web.conftest import environ_of, write_accounts

#: Hypothesis remembers what it tried: runs of so many keep that small.
ROUND = 2_000


@dataclass(frozen=True, slots=True)
class Fuzz:
    """How much is tried: ``inputs`` in process; a run of so many is the same every time."""

    inputs: int
    seed: int

    def run(self, strategy: SearchStrategy[Any], check: Callable[[Any], None], share: int) -> int:
        """Try a ``share``-th part of the inputs, in rounds; return how many. Raise what fails."""
        wanted = self.inputs // share
        for number, done in enumerate(range(0, wanted, ROUND)):
            bounds = settings(
                max_examples=min(ROUND, wanted - done),
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                # An input is a few changes to a recorded one: readable as it is.
                phases=[Phase.generate],
            )
            # Named arguments only, so that a failure prints the input by name.
            trial = seed(self.seed + number)(bounds(given(delivery=strategy)(_named(check))))
            with warnings.catch_warnings():
                # What failed may be huge; Hypothesis warns about that and would hide the failure.
                warnings.simplefilter("ignore", HypothesisWarning)
                trial()
        return wanted

    @staticmethod
    def report(what: str, inputs: int, tally: Counter[int], more: str = "") -> None:
        """Print what came of a run; shown by ``make fuzz``."""
        statuses = ", ".join(f"{status}: {times}" for status, times in sorted(tally.items()))
        figures = f"{inputs} inputs, {tally.total()} requests ({statuses}) {more}"
        print(f"\n{what}: {figures}")  # noqa: T201 - its purpose


def _named(check: Callable[[Any], None]) -> Callable[..., None]:
    def check_one(delivery: Any) -> None:
        check(delivery)

    return check_one


@pytest.fixture(scope="session")
def fuzz() -> Fuzz:
    """Return how much to try: FUZZ_INPUTS and FUZZ_SEED, as ``make fuzz`` sets them."""
    return Fuzz(int(os.environ.get("FUZZ_INPUTS", "2400")), int(os.environ.get("FUZZ_SEED", "0")))


@pytest.fixture
def environ(valkey: ValkeyServer, client: redis.Redis, tmp_path) -> dict[str, str]:  # noqa: ARG001 - an empty ledger
    return environ_of(valkey, write_accounts(tmp_path))


@pytest.fixture
def runtime(environ: dict[str, str]) -> Iterator[Runtime]:
    built = build("web", environ)
    yield built
    built.store.client.connection_pool.disconnect()
