"""A ledger: how it is opened, and how a flush serves its shards, whatever their number."""

from typing import Any

import pytest
import redis

from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.model import Watch
from batching.store import HEARTBEAT_RENEWED_MS, Store
from tests.batching.world import World
from tests.fakes import NOON_MS, FakeClock

#: More than two blocks of those that ``watch.lua`` passes over when they are empty.
SHARDS = 70


@pytest.fixture
def sharded(client: redis.Redis, clock: FakeClock) -> World:
    """Return a world of many shards that were just flushed."""
    world = World(Store(client, privacy_key="k", shards=SHARDS, clock=clock), clock)
    world.flush()
    return world


def write_to_many(world: World, conversations: int) -> None:
    for n in range(conversations):
        world.write("Hi", "there", customer=f"7999000{n:04}")


def round_trips(world: World) -> int:
    """Return how often a flush goes to the server: the reads of its socket."""
    client: Any = world.store.client
    before = client.info("stats")["total_reads_processed"]
    world.flush()
    return int(client.info("stats")["total_reads_processed"] - before - 1)


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
    client: Any = sharded.store.client
    used = [shard for shard in sharded.store.keyring.shards if client.exists(shard.stats)]
    assert len(used) > SHARDS // 2
    sharded.check()


def test_flush_with_nothing_to_do_is_one_round_trip(sharded: World) -> None:
    sharded.flush()  # the scripts are loaded

    assert round_trips(sharded) == 1


def test_flush_of_many_shards_with_something_to_do_is_two_round_trips(sharded: World) -> None:
    write_to_many(sharded, 20)
    sharded.wait(sharded.limits.idle_ms - 1)
    sharded.flush()  # renews every heartbeat
    sharded.wait(1)

    assert round_trips(sharded) == 2


def test_empty_shards_cost_a_flush_next_to_nothing(sharded: World) -> None:
    """One command for each block, not some for each shard."""
    client: Any = sharded.store.client
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
    assert (watch.due_ms, watch.lease_ms) == (now_ms + 1, now_ms + wake_up_ms)
    assert watch.heartbeat_ms == heartbeat_ms
    # All but the one that was collected from have an old heartbeat.
    assert len(watch.to_collect) == SHARDS
    assert watch.to_reap == []


def test_watch_of_an_empty_ledger(store: Store) -> None:
    assert store.watch() == Watch(NOON_MS, None, None, None, [0, 1], [])


def test_shard_that_fails_does_not_stop_the_others(client: Any) -> None:
    clock = FakeClock()
    world = World(Store(client, privacy_key="k", shards=3, clock=clock), clock)
    for n in range(9):
        world.write("Hi", customer=f"7999000000{n}")
    broken = world.store.keyring.shards[0]
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
    assert world.counts() == {"accepted": 9, "answered": 9}
