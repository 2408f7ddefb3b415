"""What left is counted by account, once, however often and late it is reported.

The provider bills each message, so the figures must be those of its bill.
"""

from collections.abc import Callable

import pytest

from batching.errors import AmbiguousError, TransientError
from batching.inspect import SENT, by_reason, counters, total
from batching.model import DeliveryStatus
from tests.batching.world import BORIS, World
from tests.fakes import FakeChannel, FakeModel


def sent(world: World) -> dict[str, tuple[int, ...]]:
    """Return replies, parts and calls saved of each account that sent something."""
    named = total(counters(world.store))
    kinds = [by_reason(named, kind) for kind in SENT]
    accounts = sorted({account for kind in kinds for account in kind})
    return {account: tuple(kind.get(account, 0) for kind in kinds) for account in accounts}


def _burst(world: World) -> None:
    world.write("Hi", "a haircut", "tomorrow?")
    world.settle()


def _two_accounts(world: World) -> None:
    world.write("Hi", "you")
    world.write("Hello", customer=BORIS, account="sister")
    world.settle()


def _two_parts(world: World) -> None:
    world.channel, world.model = FakeChannel(length_max=4), FakeModel("aaaabbbb")
    world.write("Hi")
    world.settle()


def _statuses(world: World) -> None:
    world.write("Hi")
    world.settle()
    for state in ("sent", "delivered", "delivered", "read"):
        world.status(world.tag(), state)


def _marked_again(world: World) -> None:
    """Redis carried it out, and its answer got lost."""
    run = world.begin_sending(world.to_sending())
    for _ in range(3):
        world.store.mark_sent("salon", world.tag(run), "wamid.1")


def _refused_first(world: World) -> None:
    world.channel.outcomes = [TransientError("cloud_429"), TransientError("cloud_429")]
    world.write("Hi")
    world.settle(9_000, 30_000, 30_000)


def _status_before_the_end(world: World) -> None:
    """The provider's answer was lost; its status says that the message left."""
    world.channel.outcomes = [AmbiguousError("cloud_timeout")]
    world.write("Hi")
    world.settle()
    world.status(world.tag())
    world.settle(60_000)
    world.status(world.tag(), "delivered")


def _status_after_the_alert(world: World) -> None:
    world.channel.outcomes = [AmbiguousError("cloud_timeout")]
    world.write("Hi", "you")
    world.settle(9_000, 60_000)
    for state in ("sent", "delivered"):
        world.status(world.tag(), state)


def _unknown(world: World) -> None:
    world.channel.outcomes = [AmbiguousError("cloud_timeout")]
    world.write("Hi")
    world.settle(9_000, 60_000)


def _of_another(world: World) -> None:
    """An account reports about another's part."""
    run = world.begin_sending(world.to_sending())
    status = DeliveryStatus("sister", "wamid.1", "sent", str(world.tag(run)))
    world.receive(status)


def _half(world: World) -> None:
    """The second part is lost with its number: one message left, and no whole reply."""
    world.channel, world.model = FakeChannel(length_max=4), FakeModel("aaaabbbb")
    wake_up = world.to_sending()
    run = world.begin_sending(wake_up)
    world.store.mark_sent("salon", world.tag(run), "wamid.1")


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (_burst, {"salon": (1, 1, 2)}),
        (_two_accounts, {"salon": (1, 1, 1), "sister": (1, 1, 0)}),
        (_two_parts, {"salon": (1, 2, 0)}),
        (_statuses, {"salon": (1, 1, 0)}),
        (_marked_again, {"salon": (1, 1, 0)}),
        (_refused_first, {"salon": (1, 1, 0)}),
        (_status_before_the_end, {"salon": (1, 1, 0)}),
        (_status_after_the_alert, {"salon": (1, 1, 1)}),
        (_unknown, {}),
        (_of_another, {}),
        (_half, {"salon": (0, 1, 0)}),
    ],
)
def test_what_left_is_counted_once(
    world: World, happens: Callable[[World], None], expected: dict[str, tuple[int, ...]]
) -> None:
    happens(world)

    assert sent(world) == expected
    world.check()


def test_every_answered_message_is_a_reply_or_a_call_saved(world: World) -> None:
    for size in (1, 3, 2):
        world.write(*["Hi"] * size)
        world.settle()

    replies, _, saved = sent(world)["salon"]
    assert replies + saved == world.counts()["answered"] == 6
