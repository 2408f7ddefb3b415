"""A ledger: how it is opened, and how a flush serves its shards, whatever their number."""

from collections.abc import Callable
from typing import Any

import pytest

from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.model import Watch
from batching.store import HEARTBEAT_RENEWED_MS, Store
from tests.batching.conftest import Counting
from tests.batching.world import World
from tests.fakes import NOON_MS

#: More than two blocks of those that ``watch.lua`` passes over when they are empty.
SHARDS = 70


@pytest.fixture
def sharded(make_world: Callable[[int], World]) -> World:
    """Return a world of many shards that were just flushed."""
    world = make_world(SHARDS)
    world.flush()
    return world


def write_to_many(world: World, conversations: int) -> None:
    for n in range(conversations):
        world.write("Hi", "there", customer=f"7999000{n:04}")


def test_ledger_of_another_form_is_refused(client: Any) -> None:
    """Its conversations would be looked for where they are not, and found as strangers."""
    ledger_id = Store(client, privacy_key="k", shards=4).open()

    assert Store(client, privacy_key="k", shards=4).open() == ledger_id
    with pytest.raises(ConfigurationError, match="shards=1: this ledger was made with shards=4"):
        Store(client, privacy_key="k").open()
    with pytest.raises(ConfigurationError, match="privacy_key"):
        Store(client, privacy_key="other", shards=4).open()


@pytest.mark.parametrize("began_ms", [None, 1, NOON_MS - 1, NOON_MS, NOON_MS + 5])
def test_opening_never_lets_a_number_be_given_twice(store: Store, began_ms: int | None) -> None:
    """An append into an emptied ledger has begun at 1, and may have been given that before."""
    (shard,) = store.keyring.shards
    if began_ms is not None:
        store.client.hset(shard.stats, "seq", began_ms)

    store.open()
    store.open()

    kept: Any = store.client.hget(shard.stats, "seq")
    assert int(kept) == max(NOON_MS, began_ms or 0)


def test_looking_for_a_ledger_makes_none(store: Store) -> None:
    found = [store.ledger_id()]
    found.append(store.open())

    assert found == ["", store.ledger_id()]
    assert found[1] != ""


def test_conversations_of_all_shards_are_answered(sharded: World) -> None:
    write_to_many(sharded, 200)

    sharded.settle()

    assert sharded.counts() == {"accepted": 400, "answered": 400}
    shards = sharded.store.keyring.shards
    used = [shard for shard in shards if sharded.client.exists(shard.stats)]
    assert len(used) > SHARDS // 2
    sharded.check()


def test_flush_is_one_round_trip_and_another_where_there_is_something_to_do(
    sharded: World, round_trips: Counting
) -> None:
    write_to_many(sharded, 20)
    sharded.wait(sharded.limits.idle_ms - 1)
    sharded.flush()  # renews every heartbeat

    idle = round_trips(sharded.flush)
    sharded.wait(1)

    assert (idle, round_trips(sharded.flush)) == (1, 2)


def test_empty_shards_cost_a_flush_next_to_nothing(sharded: World) -> None:
    """One command for each block, not some for each shard."""
    client = sharded.client
    sharded.flush()
    client.config_resetstat()

    sharded.flush()

    stats = client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()}
    del calls["config|resetstat"]
    assert calls == {"evalsha": 1, "time": 1, "mget": 1, "exists": -(-(SHARDS + 1) // 32)}


def test_heartbeat_of_every_shard_is_renewed_when_it_is_old(sharded: World) -> None:
    """A webhook reads that of its conversation's shard, whether or not anything is due there."""
    began_ms = sharded.clock()
    sharded.wait(HEARTBEAT_RENEWED_MS - 1)
    sharded.flush()
    early = sharded.store.watch()
    sharded.wait(1)
    sharded.flush()

    assert early.heartbeat_ms == began_ms
    assert sharded.store.watch().heartbeat_ms == sharded.clock()
    (receipt,) = sharded.write("Hi")
    assert receipt.flusher_lag_ms == 0


def test_watch_says_what_is_due_where(sharded: World) -> None:
    (first,) = sharded.write("Hi", customer="79990000001")
    sharded.wait(1)
    sharded.write("Hi", customer="79990000002")
    shard = sharded.store.shard_of(first.conversation_id)
    sharded.wait(sharded.limits.idle_ms - 1)
    sharded.store.collect(shard, limit=9)
    now_ms, wake_up_ms = sharded.clock(), sharded.store.timing.wake_up_ms

    watch = sharded.store.watch()

    heartbeat_ms = now_ms - sharded.limits.idle_ms
    # All but the one that was collected from have an old heartbeat.
    shards = sharded.store.keyring.all_shards
    old = [number for number, each in enumerate(shards) if each is not shard]
    assert watch == Watch(now_ms, now_ms + 1, now_ms + wake_up_ms, heartbeat_ms, old, [], [])


def test_watch_of_an_empty_ledger(store: Store) -> None:
    assert store.watch() == Watch(NOON_MS, None, None, None, [0, 1], [], [])


def test_shard_that_fails_does_not_stop_the_others(make_world: Callable[[int], World]) -> None:
    world = make_world(3)
    write_to_many(world, 9)
    broken, client = world.store.keyring.shards[0], world.client
    kept = client.dump(broken.due)
    client.delete(broken.due)
    client.set(broken.due, "not a sorted set")
    world.wait(9_000)

    with pytest.raises(LedgerUnavailableError):
        world.flush()

    others = [shard for shard in world.store.keyring.shards if shard is not broken]
    assert len(world.queue.wake_ups) == sum(client.zcard(shard.lease) for shard in others) > 0
    client.restore(broken.due, 0, kept, replace=True)
    world.answer(world.queue.take())
    world.settle()
    assert world.counts() == {"accepted": 18, "answered": 18}
