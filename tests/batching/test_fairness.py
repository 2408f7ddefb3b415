"""Nobody crowds out anybody: what is due goes in order of time, and each conversation once."""

from batching import flow
from batching.model import WakeUp
from tests.batching.world import World

LIMIT = 10
WAITING = 95


def flushed(world: World) -> list[WakeUp]:
    """Flush so much and no more, and return whom it rang for."""
    flow.flush(world.store, world.queue, limit=LIMIT)
    return world.queue.take()


def many_write(world: World) -> list[str]:
    """Have many customers write, one a millisecond; return their conversations."""
    conversations = []
    for n in range(WAITING):
        (receipt,) = world.write("hello", customer=f"7999{n:07}")
        conversations.append(receipt.conversation_id)
        world.wait(1)
    return conversations


def test_many_due_conversations_are_taken_in_order_of_their_time(world: World):
    conversations = many_write(world)
    world.wait(world.limits.idle_ms)

    taken = [flushed(world) for _ in range(WAITING // LIMIT + 1)]

    assert [len(wake_ups) for wake_ups in taken] == [LIMIT] * (WAITING // LIMIT) + [WAITING % LIMIT]
    order = [wake_up.conversation_id for wake_ups in taken for wake_up in wake_ups]
    assert order == conversations


def test_flooding_customer_takes_one_place_of_a_flush(world: World):
    """However much is written and however fast it is answered, others who are due come first."""
    flood, flooder = ["flood"] * world.limits.max_messages, "79990009999"
    flooding = world.write(*flood, customer=flooder)[0].conversation_id
    conversations = many_write(world)
    world.wait(world.limits.idle_ms + 1)

    taken = []
    for _ in range(WAITING // LIMIT + 2):
        taken.append(flushed(world))
        world.answer(list(taken[-1]))
        world.write(*flood, customer=flooder)

    order = [[wake_up.conversation_id for wake_up in wake_ups] for wake_ups in taken]
    places = [flushed.count(flooding) for flushed in order]
    assert places == [1] + [0] * (WAITING // LIMIT - 1) + [1, 1]
    assert {c for flushed in order for c in flushed} == {flooding, *conversations}


def test_expired_leases_beyond_the_limit_are_seen_to_by_the_next_flushes(world: World):
    """Those whose wake-up was just repeated make room for those that still wait for it."""
    many_write(world)
    world.wait(world.limits.idle_ms)
    flow.flush(world.store, world.queue, limit=WAITING)
    waking = sorted(wake_up.conversation_id for wake_up in world.queue.take())
    world.wait(world.store.timing.wake_up_ms)

    again = [flushed(world) for _ in range(WAITING // LIMIT + 1)]

    assert sorted(wake_up.conversation_id for wake_ups in again for wake_up in wake_ups) == waking
