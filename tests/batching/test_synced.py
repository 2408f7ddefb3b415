"""What is acknowledged is on the disk first, where the installation asks for it."""

from collections.abc import Iterator

import pytest

from batching.errors import LedgerUnavailableError
from batching.inspect import counters
from batching.store import Store
from tests.batching.world import World
from tests.fakes import FakeClock
from tests.valkey_server import ValkeyServer


@pytest.fixture
def world(durable: ValkeyServer) -> Iterator[World]:
    """Return a world whose server syncs its file only when somebody waits."""
    with durable.client() as client:
        client.config_set("appendfsync", "everysec")
        clock = FakeClock()
        store = Store(client, privacy_key="k", synced=True, clock=clock)
        yield World(store, clock)


def test_customer_is_answered_as_ever(world: World) -> None:
    world.store.client.script_flush()
    world.write("Hi", "there?")

    world.settle()

    assert world.model.turns == ["Hi\nthere?"]
    assert world.counts() == {"accepted": 2, "answered": 2}


def test_message_is_not_acknowledged_before_the_disk_has_it(world: World) -> None:
    """It may be in the ledger all the same: its next delivery is a duplicate, and then safe."""
    world.write("loads the script")
    world.store.client.config_set("appendonly", "no")
    message = world.message("Hi")

    with pytest.raises(LedgerUnavailableError, match="ledger_not_synced"):
        world.receive(message)

    world.store.client.config_set("appendonly", "yes")
    (receipt,) = world.receive(message)
    assert receipt.status == "duplicate"
    world.settle()
    assert world.model.turns == ["loads the script\nHi"]
    assert all(shard.holds for shard in counters(world.store))


def test_part_does_not_leave_before_the_disk_knows(world: World) -> None:
    wake_up = world.to_sending()
    world.store.client.config_set("appendonly", "no")

    with pytest.raises(LedgerUnavailableError, match="ledger_not_synced"):
        world.send(wake_up)

    assert world.channel.attempts == []
