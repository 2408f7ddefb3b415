"""What one account's channel reports changes nothing of another's, whatever it knows of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batching.model import DeliveryStatus, ForeignMessage, Tag
from tests.batching.world import ANNA, World

#: The provider's id of the salon's part, as FakeChannel gives it.
PART_ID = "out-1"


def sending(world: World) -> Tag:
    """Leave a part of the salon on its way."""
    return world.tag(world.begin_sending(world.to_sending()))


def ambiguous(world: World) -> Tag:
    """Leave a part of the salon of which nobody knows whether it arrived."""
    tag = sending(world)
    world.settle(30_000)
    return tag


def dead(world: World) -> Tag:
    """Leave a dead letter of the salon with such a part."""
    tag = ambiguous(world)
    world.settle(world.store.timing.ambiguous_ms)
    return tag


def answered(world: World) -> Tag:
    """Leave an answered batch of the salon."""
    world.write("Hi")
    world.settle()
    return world.tag()


#: What the hostile account writes for a tag of which it knows all.
FORGED: dict[str, Callable[[World, Tag], str]] = {
    "stolen": lambda _, tag: str(tag),
    "of the release before": lambda _, tag: f"aa:{tag.conversation_id}:{tag.batch_id}:{tag.part}",
    "without a seal": lambda _, tag: str(replace(tag, seal="")),
    "with its own seal": lambda world, tag: str(
        world.store.tag("sister", tag.conversation_id, tag.batch_id, tag.part)
    ),
    "with an invented seal": lambda _, tag: str(replace(tag, seal="0" * 24)),
}


def kept(world: World) -> dict[bytes, Any]:
    """Return all that the ledger has, but for alerts, counters and cooldowns."""
    client, shard = world.client, world.shard
    ignored = {shard.alerts.encode(), shard.stats.encode()}
    keys = sorted(k for k in client.keys("*") if k not in ignored and b"cooldown" not in k)
    # The fields of a large hash have no order.
    held = {key: client.type(key) == b"hash" and client.hgetall(key) for key in keys}
    return {key: (held[key] or client.dump(key), client.pexpiretime(key)) for key in keys}


@pytest.mark.parametrize("stage", [sending, ambiguous, dead])
@pytest.mark.parametrize("state", ["sent", "read", "failed"])
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_status_of_another_accounts_part_is_refused(
    world: World, stage: Callable[[World], Tag], state: str, forged: Callable[[World, Tag], str]
) -> None:
    tag = stage(world)
    ledger, alerts = kept(world), world.alerts()

    for _ in range(3):
        world.receive(DeliveryStatus("sister", PART_ID, state, forged(world, tag)))

    assert kept(world) == ledger
    assert world.alerts() == [*alerts, ("status_refused", "")]
    assert world.client.hget(world.shard.stats, "status_refused") == b"3"


@pytest.mark.parametrize("state", ["sent", "read", "failed"])
@pytest.mark.parametrize(
    ("form", "alerts"),
    [
        ("stolen", [("status_refused", "")]),
        ("with an invented seal", [("status_refused", "")]),
        # Nothing says whose it is.
        ("of the release before", []),
        ("without a seal", []),
    ],
)
def test_status_of_what_has_ended_counts_only_with_the_accounts_seal(
    world: World, state: str, form: str, alerts: list[tuple[str, str]]
) -> None:
    tag = answered(world)
    ledger = kept(world)

    for _ in range(3):
        world.receive(DeliveryStatus("sister", PART_ID, state, FORGED[form](world, tag)))

    assert (kept(world), world.alerts()) == (ledger, alerts)


def test_failure_known_by_its_id_alone_is_the_accounts_own(world: World) -> None:
    """Providers that carry no tag name the part by their id; two accounts may have one id."""
    answered(world)
    ledger = kept(world)

    world.receive(DeliveryStatus("sister", PART_ID, "failed"))

    assert (kept(world), world.alerts()) == (ledger, [])
    world.receive(DeliveryStatus("salon", PART_ID, "failed"))
    assert world.alerts() == [("undelivered", "")]


def test_echo_with_the_id_of_another_accounts_part_is_foreign(world: World) -> None:
    answered(world)

    world.receive(ForeignMessage("sister", ANNA, PART_ID, "app"))
    world.receive(ForeignMessage("salon", ANNA, PART_ID, "app"))

    assert world.alerts() == [("foreign_reply", "app")]


@pytest.mark.parametrize("state", ["sent", "failed"])
def test_status_of_the_accounts_own_part_is_obeyed_as_earlier_releases_tagged_it(
    world: World, state: str
) -> None:
    """A batch that was on its way when the release changed."""
    tag = ambiguous(world)

    world.receive(
        DeliveryStatus("salon", PART_ID, state, FORGED["of the release before"](world, tag))
    )

    world.settle(0)
    assert world.counts() == {"accepted": 1, "answered" if state == "sent" else "dead": 1}


def test_part_that_an_earlier_release_sent_is_known_by_its_id(world: World) -> None:
    tag = answered(world)
    digest = world.store.keyring.digest
    world.client.delete(world.shard.sent(digest("salon", PART_ID)))
    world.client.set(
        world.shard.sent(digest(PART_ID)), f"{tag.conversation_id}:{tag.batch_id}:{tag.part}"
    )

    world.receive(ForeignMessage("salon", ANNA, PART_ID, "app"))
    world.receive(DeliveryStatus("salon", PART_ID, "failed"))

    assert world.alerts() == [("undelivered", "")]


def test_release_before_finds_that_a_part_is_ours(world: World) -> None:
    """It looks for the id alone, while both serve webhooks."""
    answered(world)

    assert world.client.exists(world.shard.sent(world.store.keyring.digest(PART_ID)))


@pytest.mark.parametrize(
    "text", ["aa:c_0:b1.\u00e9:0", "aa:c_0:b1.\ud800:0", "aa:c_0:b1.:x", "aa::.:0", "aa:c:b.s.t:0"]
)
def test_odd_tag_is_refused_or_none(world: World, text: str) -> None:
    world.receive(DeliveryStatus("salon", PART_ID, "sent", text))

    assert world.counts() == {}
