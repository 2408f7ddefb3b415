"""Workers that die or are replaced, parts in doubt, and a person who answers meanwhile."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from batching import flow
from batching.errors import (
    AmbiguousError,
    PermanentError,
)
from batching.inspect import dead_letters
from batching.model import (
    DeliveryStatus,
    Exchange,
    Limits,
    Stage,
)
from batching.store import DONE, GO, STALE
from tests.batching.world import (
    ANSWERED,
    DEAD,
    IN_DOUBT,
    PERSON,
    WAITS,
    End,
    World,
)
from tests.fakes import FakeAccounts, FakeChannel, FakeModel

LOST, REFUSED = AmbiguousError("cloud_timeout"), PermanentError("cloud_131047")


# Workers that die, stand still or are replaced.


def test_worker_that_dies_in_generate_is_followed_by_another_attempt(world: World) -> None:
    first = world.to_generating()
    world.begin(first)

    world.wait(5_999)
    assert world.flush() == []
    second = world.after(1)
    world.answer([second])

    assert second == replace(first, attempt=2)
    assert world.counts() == ANSWERED


def test_batch_that_kills_its_workers_is_poison(world: World) -> None:
    world.limits = Limits(max_attempts=3)
    wake_up = world.to_generating()
    for _ in range(2):
        world.begin(wake_up)
        wake_up = world.after(30_000)
    world.begin(wake_up)

    world.settle(30_000)

    assert world.end() == End(DEAD, [("poison", "worker_died")], 0, 0)


@pytest.mark.parametrize("begun", [True, False])
def test_worker_without_lease_changes_nothing(world: World, *, begun: bool) -> None:
    """It woke up after its lease: every step is refused, whether or not another has begun.

    But for an answer that it has in hand, while nobody has: that saves the model a question.
    """
    zombie = world.begin(world.to_generating())
    second = world.after(30_000)
    if begun:
        world.begin(second)
        assert not world.store.checkpoint(zombie, ["late"], Exchange("Hi", "late"))

    assert not world.store.renew(zombie)
    assert not world.store.finish(zombie, suppressed="takeover")
    assert not world.store.fail(zombie, "retry", 0)
    assert world.store.dead_letter(zombie, "poison", "late") is None
    assert world.counts() == WAITS


def test_part_is_sent_by_the_holder_of_the_lease_and_in_order(world: World) -> None:
    """The holder may repeat it: the answer of Redis got lost. The batch ends after all parts."""
    world.channel, world.model = FakeChannel(length_max=4), FakeModel("aaaabbbb")
    zombie = world.begin(world.to_sending())
    run = world.begin(world.after(30_000))

    steps = [(zombie, 0), (run, 1), (run, 0), (run, 0), (run, 2)]
    answers = [world.store.mark_sending(by, part, "alert") for by, part in steps]
    world.store.mark_sent("salon", world.tag(run), "wamid.1")

    assert answers == [STALE, STALE, GO, GO, STALE]
    assert not world.store.finish(run)
    assert world.counts() == WAITS


def test_slow_worker_cannot_send_while_its_batch_is_given_up(world: World) -> None:
    world.limits = Limits(max_attempts=1)
    slow = world.begin(world.to_sending())
    world.wait(30_000)
    (spent,), _ = world.store.reap(world.shard, limit=9)

    assert world.store.mark_sending(slow, 0, "alert") == STALE
    assert world.store.dead_letter(spent, "poison", "worker_died")


@pytest.mark.parametrize("stage", Stage)
def test_call_that_outlasts_the_lease_is_kept_and_made_once(world: World, stage: Stage) -> None:
    """The flow gives the lease renewer what renews the lease of this run."""

    def take_long() -> None:
        renew, lease_ms = world.lease_renewer.calls[-1]
        for _ in range(3):
            world.wait(lease_ms - 1_000)
            assert renew()
            assert world.flush() == []

    slow = world.model if stage is Stage.GENERATE else world.channel
    slow.before = take_long
    world.write("Hi")

    world.settle()

    assert world.end() == End(ANSWERED)


def test_worker_that_was_replaced_sends_no_further_part(world: World) -> None:
    """It stood still in the first part's call; another sent the rest meanwhile."""

    def stand_still() -> None:
        world.channel.before = None
        world.settle(30_000)
        world.status(world.tag())
        world.settle(0)

    world.channel, world.model = (
        FakeChannel(length_max=4, before=stand_still),
        FakeModel("aaaabbbb"),
    )
    world.write("Hi")

    world.settle()

    assert [outbound.text for outbound in world.channel.attempts] == ["aaaa", "bbbb"]
    assert world.counts() == ANSWERED


@pytest.mark.parametrize("later", ["attempts spent", "deadline", "takeover", "account gone"])
def test_batch_whose_parts_all_left_is_answered_whatever_holds_later(
    world: World, later: str
) -> None:
    """The worker died between the last part and the end of the batch."""
    world.limits = Limits(max_attempts=1)
    world.store.mark_sent("salon", world.tag(world.begin_sending(world.to_sending())), "wamid.1")
    if later == "takeover":
        world.receive(PERSON)
    wake_up = world.after(86_400_001 if later == "deadline" else 30_000)

    accounts = FakeAccounts() if later == "account gone" else world.accounts
    flow.send(world.store, accounts, wake_up, renew_lease=world.lease_renewer)

    assert world.end() == End(ANSWERED, offered=0)


# Doubt: a part may be with the customer.


@pytest.mark.parametrize(
    ("before", "state", "after", "expected"),
    [
        pytest.param([30_000, 60_000], "", [], End(DEAD, IN_DOUBT), id="no status"),
        pytest.param([0], "sent", [30_000], End(ANSWERED), id="before the lease runs out"),
        pytest.param([30_000], "sent", [30_000], End(ANSWERED), id="after the lease"),
        pytest.param([30_000, 60_000], "sent", [], End(ANSWERED, IN_DOUBT), id="after the alert"),
        pytest.param(
            [30_000], "failed", [1], End(DEAD, [("undelivered", "cloud_131026")]), id="failed"
        ),
    ],
)
def test_worker_that_dies_while_sending_leaves_a_doubt_that_a_status_ends(
    world: World, before: Sequence[int], state: str, after: Sequence[int], expected: End
) -> None:
    """Never a second copy, even where the account would have one sent and it is known to fail."""
    world.ambiguous = "resend" if state == "failed" else "alert"
    run = world.begin_sending(world.to_sending())
    world.settle(*before)

    if state:
        world.status(world.tag(run), state)
    if after:
        world.settle(*after)

    assert world.end() == replace(expected, offered=0)
    assert len(dead_letters(world.store)) == expected.counts.get("dead", 0)


def test_status_of_a_first_copy_takes_back_the_letter_of_a_refused_second(world: World) -> None:
    """Whatever the batch died of: once the provider has its last part, it is answered."""
    world.ambiguous = "resend"
    world.channel = FakeChannel(LOST, REFUSED)
    world.write("Hi")
    world.settle(9_000, 60_000, 1)
    assert world.counts() == DEAD

    world.status(world.tag())

    assert world.counts() == ANSWERED


def test_status_of_the_first_part_lets_the_second_leave(world: World) -> None:
    world.channel, world.model = FakeChannel(length_max=2), FakeModel("aabb")
    run = world.begin_sending(world.to_sending())
    world.settle(30_000)

    world.status(world.tag(run))
    world.settle(1)

    assert world.channel.texts == ["bb"]
    assert world.counts() == ANSWERED


def test_doubt_that_is_reported_again_sends_no_second_copy(world: World) -> None:
    """The answer of Redis got lost, and the client repeated the call."""
    run = world.begin_sending(world.to_sending())

    fail = world.store.fail
    results = [fail(run, "ambiguous", 60_000) for _ in range(2)]
    world.settle(60_000)

    assert results == [DONE, DONE]
    assert world.end() == End(DEAD, IN_DOUBT, offered=0)


@pytest.mark.parametrize("meanwhile", ["lease ran out", "status came"])
def test_answer_that_gets_lost_after_a_while_sends_no_second_copy(
    world: World, meanwhile: str
) -> None:
    """The flush saw the lease run out, or the provider's status was faster than its answer."""
    settled = meanwhile == "status came"
    world.channel = FakeChannel(
        LOST, before=lambda: world.status(world.tag()) if settled else world.settle(30_000)
    )
    world.write("Hi")

    world.settle(9_000, 60_000)

    assert world.end() == (End(ANSWERED) if settled else End(DEAD, IN_DOUBT))


def test_status_that_comes_while_a_doubt_is_given_up_wins(world: World) -> None:
    """Reaped as unresolved, then its status came, then the flusher went on to dead_letter it."""
    run = world.begin_sending(world.to_sending())
    world.settle(30_000)
    world.wait(60_000)
    (reaped,), _ = world.store.reap(world.shard, limit=9)

    world.status(world.tag(run))

    dropped = world.store.dead_letter(reaped, "ambiguous", "no_status")
    assert dropped is None
    world.settle(10_000)
    assert world.counts() == ANSWERED


@pytest.mark.parametrize("states", [("failed", "failed"), ("failed", "sent", "failed")])
def test_failed_status_of_an_answered_batch_alerts_once(
    world: World, states: Sequence[str]
) -> None:
    """Even after a late success."""
    world.channel = FakeChannel("wamid.1")
    world.write("Hi")
    world.settle()

    for state in states:
        world.status(world.tag(), state)

    assert world.alerts() == [("undelivered", "cloud_131026")]


def test_failed_status_without_our_tag_is_known_by_the_providers_id(world: World) -> None:
    """Gateways carry no tag; of a message that is not ours a failure says nothing."""
    world.channel = FakeChannel("gateway-1")
    world.write("Hi")
    world.settle()

    world.receive(DeliveryStatus("salon", "gateway-1", "failed", code="venom_ack"))
    world.receive(DeliveryStatus("salon", "gateway-2", "failed", code="venom_ack"))

    assert world.alerts() == [("undelivered", "venom_ack")]


def test_strangers_status_changes_nothing(world: World) -> None:
    world.receive(DeliveryStatus("salon", "wamid.9", "sent", "somebody else's"))
    world.receive(DeliveryStatus("salon", "wamid.9", "in_orbit", "aa:c_0:1:0"))

    assert world.counts() == {}


# Messages of others from our number.


@pytest.mark.parametrize("stage", Stage)
def test_person_who_answers_is_not_talked_over(world: World, stage: Stage) -> None:
    """Neither before nor during the generation; for a while."""
    wake_up = world.to_generating() if stage is Stage.GENERATE else world.to_sending()

    world.receive(PERSON)
    world.answer([wake_up])

    asked = int(stage is Stage.SEND)
    assert world.end() == End({"accepted": 1, "suppressed": 1}, asked=asked, offered=0)
    left_ms = world.client.pttl(world.shard.takeover(world.anna))
    assert 0 < left_ms <= world.store.timing.takeover_ms


def test_echo_of_our_own_reply_is_no_takeover(world: World) -> None:
    world.channel = FakeChannel("wamid.ours")
    world.write("Hi")
    world.settle()

    world.receive(replace(PERSON, provider_id="wamid.ours"))
    world.write("and?")
    world.settle()

    assert world.channel.texts == ["Answer to: Hi", "Answer to: and?"]


def test_echo_during_a_doubt_is_taken_for_our_own(world: World) -> None:
    world.begin_sending(world.to_sending())
    world.settle(30_000)

    world.receive(replace(PERSON, author="app"))

    assert world.alerts() == []
