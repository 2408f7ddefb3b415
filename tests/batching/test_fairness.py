"""Nobody crowds out anybody: what is due goes in order of time, and each conversation once."""

from batching import flow
from batching.model import Ring
from tests.batching.world import World

LIMIT = 10
WAITING = 95


def flushed(world: World) -> list[Ring]:
    """Flush so much and no more, and return whom it rang for."""
    flow.flush(world.store, world.doorbell, limit=LIMIT)
    return world.doorbell.take()


def id_of(world: World, customer: str) -> str:
    return world.store.conversation_id("salon", customer)


def test_many_due_conversations_are_taken_in_order_of_their_time(world: World):
    customers = [f"7999{n:07}" for n in range(WAITING)]
    for customer in customers:
        world.write("hello", customer=customer)
        world.wait(1)
    world.wait(world.limits.idle_ms)

    taken = [flushed(world) for _ in range(WAITING // LIMIT + 1)]

    assert [len(rings) for rings in taken] == [LIMIT] * (WAITING // LIMIT) + [WAITING % LIMIT]
    order = [ring.conversation_id for rings in taken for ring in rings]
    assert order == [id_of(world, customer) for customer in customers]


def test_flooding_customer_takes_one_place_of_a_flush(world: World):
    """However much is written and however fast it is answered, others who are due come first."""
    flooder = "79990009999"
    world.write(*["flood"] * world.limits.messages_max, customer=flooder)
    world.wait(1)
    customers = [f"7999{n:07}" for n in range(WAITING)]
    for customer in customers:
        world.write("hello", customer=customer)
    world.wait(world.limits.idle_ms + 1)

    taken = []
    for _ in range(WAITING // LIMIT + 2):
        taken.append(flushed(world))
        world.answer(list(taken[-1]))
        world.write(*["flood"] * world.limits.messages_max, customer=flooder)

    places = [sum(ring.conversation_id == id_of(world, flooder) for ring in r) for r in taken]
    assert places == [1] + [0] * (WAITING // LIMIT - 1) + [1, 1]
    others = {ring.conversation_id for rings in taken for ring in rings}
    assert others >= {id_of(world, customer) for customer in customers}


def test_expired_leases_beyond_the_limit_are_seen_to_by_the_next_flushes(world: World):
    """Those whose doorbell was just repeated make room for those that still wait for it."""
    for n in range(WAITING):
        world.write("hello", customer=f"7999{n:07}")
    world.wait(world.limits.idle_ms)
    flow.flush(world.store, world.doorbell, limit=WAITING)
    rung = sorted(ring.conversation_id for ring in world.doorbell.take())
    world.wait(world.store.pace.ring_ms)

    again = [flushed(world) for _ in range(WAITING // LIMIT + 1)]

    assert sorted(ring.conversation_id for rings in again for ring in rings) == rung
