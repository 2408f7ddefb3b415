"""The world that the tests of the domain move in; checked after every test."""

from collections.abc import Iterator

import pytest

from batching.store import Store
from tests.batching.world import World
from tests.fakes import FakeClock


@pytest.fixture
def world(store: Store, clock: FakeClock) -> Iterator[World]:
    """Return a world at rest; its invariants hold when the test ends."""
    it = World(store, clock)
    yield it
    it.check()
