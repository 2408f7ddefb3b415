"""The world that the tests of the domain move in; checked after every test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.connection import AbstractConnection

from batching.store import Store
from tests.batching.world import World
from tests.fakes import FakeClock


@pytest.fixture
def world(store: Store, clock: FakeClock) -> Iterator[World]:
    """Return a world at rest; its invariants hold when the test ends."""
    it = World(store, clock)
    yield it
    it.check()


#: Counts the round trips to Redis of an act.
Counting = Callable[[Callable[[], object]], int]


@pytest.fixture
def make_world(client: redis.Redis, clock: FakeClock) -> Callable[[int], World]:
    """Return what makes a world of so many shards."""
    return lambda shards: World(Store(client, privacy_key="k", shards=shards, clock=clock), clock)


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Return what counts the round trips to Redis of an act."""
    sent: list[int] = []
    send = AbstractConnection.send_packed_command

    def counted(connection: AbstractConnection, *args: Any, **options: Any) -> None:
        sent.append(1)
        send(connection, *args, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)

    def count(act: Callable[[], object]) -> int:
        before = len(sent)
        act()
        return len(sent) - before

    return count
