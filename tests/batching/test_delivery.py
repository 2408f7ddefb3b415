"""Sent, not delivered: what a provider reports after it has taken an answer."""

from collections.abc import Callable, Sequence

import pytest

from batching.errors import AmbiguousError
from batching.inspect import DeadLetter, counters, dead_letters, total
from batching.model import DeliveryStatus, Tag, Timing
from batching.rights import erase
from batching.store import Store
from tests.batching.world import ANSWERED, DEAD, End, World
from tests.fakes import FakeChannel, FakeModel

UNDELIVERED = [("undelivered", "cloud_131026")]


def answered(world: World, *, parts: int = 1) -> list[Tag]:
    """Answer Anna in so many parts; return their tags."""
    world.channel, world.model = FakeChannel(length_max=2), FakeModel("aabbcc"[: 2 * parts])
    world.write("Hi")
    world.settle()
    tags = [Tag.parse(outbound.tag) for outbound in world.channel.attempts]
    return [tag for tag in tags if tag]


def report(world: World, tag: Tag, state: str, *, tagged: bool = True, copy: int = 0) -> None:
    """Report about a part as its provider does; ``copy``: of which copy, where there are two."""
    provider_id = f"out-{tag.part + 1 + copy}"
    carried = str(tag) if tagged else ""
    world.receive(DeliveryStatus("salon", provider_id, state, carried, "cloud_131026"))


def the_letter(world: World) -> DeadLetter:
    (letter,) = dead_letters(world.store)
    return letter


def watched(world: World) -> int:
    """Return how many answers are kept until they have arrived."""
    return len(world.client.keys(world.shard.answered("*", "*")))


@pytest.mark.parametrize("tagged", [True, False], ids=["by tag", "by id"])
@pytest.mark.parametrize("before", ["", "sent"])
def test_answer_that_did_not_arrive_is_a_dead_letter_with_all_that_a_person_needs(
    world: World, before: str, *, tagged: bool
) -> None:
    (tag,) = answered(world)
    if before:
        report(world, tag, before, tagged=tagged)

    for _ in range(2):
        report(world, tag, "failed", tagged=tagged)

    letter = the_letter(world)
    assert (letter.reason, letter.detail, letter.account_id) == (*UNDELIVERED[0], "salon")
    assert [(message.customer, message.text) for message in letter.messages] == [
        (world.message().customer, "Hi")
    ]
    assert (letter.reply, dict(letter.failed)) == (("aa",), {0: "cloud_131026"})
    assert (world.counts(), world.alerts(), watched(world)) == (DEAD, UNDELIVERED, 0)
    # The model must not believe that it was said.
    assert world.store.history(world.anna) == []
    assert total(counters(world.store))["undelivered"] == 1


def test_undelivered_answer_is_replayed_and_then_in_the_history_once(world: World) -> None:
    (tag,) = answered(world)
    report(world, tag, "failed")
    letter = the_letter(world)

    world.store.replay(letter.conversation_id, letter.batch_id, "salon", world.limits)
    world.settle(0)

    assert world.model.turns == ["Hi", "Hi"]
    assert [exchange.customer for exchange in world.store.history(world.anna)] == ["Hi"]
    assert world.counts() == ANSWERED
    # Of what was replayed, nothing more is to be told.
    report(world, tag, "failed", copy=7)
    assert (world.counts(), world.alerts()) == (ANSWERED, UNDELIVERED)


@pytest.mark.parametrize("state", ["delivered", "read", "played"])
@pytest.mark.parametrize("tagged", [True, False], ids=["by tag", "by id"])
def test_content_is_kept_until_the_customer_has_it(
    world: World, state: str, *, tagged: bool
) -> None:
    (tag,) = answered(world)
    report(world, tag, "sent", tagged=tagged)
    kept = watched(world)

    report(world, tag, state, tagged=tagged)
    report(world, tag, "failed", tagged=tagged)

    assert (kept, watched(world)) == (1, 0)
    assert (world.counts(), world.alerts()) == (ANSWERED, [])


def test_content_is_kept_for_a_time_at_most(world: World) -> None:
    """A provider may report nothing: the answer is one all the same."""
    answered(world)

    (key,) = world.client.keys(world.shard.answered("*", "*"))

    assert 0 < world.client.pttl(key) <= Timing().delivery_ms == 48 * 3_600_000
    world.client.delete(key)
    world.check()


@pytest.mark.parametrize("early", ["delivered", "read"])
def test_report_that_is_faster_than_the_providers_answer_is_kept(world: World, early: str) -> None:
    world.channel = FakeChannel(before=lambda: world.status(world.tag(), early))
    world.write("Hi")

    world.settle()

    assert (world.counts(), watched(world)) == (ANSWERED, 0)


PARTS_CASES: dict[str, tuple[Sequence[tuple[int, str]], dict[str, int], list[tuple[str, str]]]] = {
    "one failed, others arrived": (
        [(0, "delivered"), (1, "failed"), (2, "delivered")], DEAD, UNDELIVERED),
    "the first failed": ([(0, "failed"), (1, "sent"), (2, "sent")], DEAD, UNDELIVERED),
    "two failed": ([(0, "failed"), (2, "failed")], DEAD, UNDELIVERED),
    "all arrived": ([(2, "read"), (0, "delivered"), (1, "delivered")], ANSWERED, []),
    "failed, and arrived all the same": ([(1, "failed"), (1, "read")], ANSWERED, UNDELIVERED),
    "failed, and the provider has it": ([(1, "failed"), (1, "sent")], DEAD, UNDELIVERED),
    "two failed, one arrived": (
        [(0, "failed"), (1, "failed"), (1, "delivered")], DEAD, UNDELIVERED),
    "arrived, and failed later": ([(1, "delivered"), (1, "failed")], ANSWERED, []),
}  # fmt: skip


@pytest.mark.parametrize("case", PARTS_CASES)
def test_parts_are_told_apart(world: World, case: str) -> None:
    """That the customer has a part outweighs a failure, whichever comes first."""
    reports, counts, alerts = PARTS_CASES[case]
    tags = answered(world, parts=3)

    for part, state in reports:
        report(world, tags[part], state)

    assert (world.counts(), world.alerts()) == (counts, alerts)
    history = [exchange.answer for exchange in world.store.history(world.anna)]
    assert history == ([] if alerts else ["aabbcc"])


def test_failure_of_a_part_stops_those_behind_it(world: World) -> None:
    """The first was refused while the second was on its way: half an answer helps nobody."""
    world.model = FakeModel("aabbcc")

    def refuse_first() -> None:
        if len(world.channel.attempts) == 2:
            report(world, Tag.parse(world.channel.attempts[0].tag), "failed")  # type: ignore[arg-type]

    world.channel = FakeChannel(length_max=2, before=refuse_first)
    world.write("Hi")

    world.settle(9_000, 30_000, 60_000)

    assert world.channel.texts == ["aa", "bb"]
    assert (world.counts(), world.alerts()) == (DEAD, UNDELIVERED)
    assert the_letter(world).reply == ("aa", "bb", "cc")


@pytest.mark.parametrize("policy", ["alert", "resend"])
@pytest.mark.parametrize("ends", ["200", "lost", "dies"])
def test_failure_while_the_send_hangs_is_the_one_truth(
    world: World, policy: str, ends: str
) -> None:
    """One dead letter, one alert, no second copy, whatever becomes of the call."""
    world.ambiguous = policy
    lost = AmbiguousError("cloud_timeout")
    world.channel = FakeChannel(*([lost] if ends == "lost" else []))
    world.channel.before = lambda: report(world, world.tag(), "failed")
    if ends == "dies":
        run = world.begin_sending(world.to_sending())
        report(world, world.tag(run), "failed")
    else:
        world.write("Hi")

    world.settle(9_000, 30_000, 60_000, 60_000)

    assert world.end() == End(DEAD, UNDELIVERED, offered=int(ends != "dies"))
    assert the_letter(world).detail == "cloud_131026"


@pytest.mark.parametrize("policy", ["alert", "resend"])
def test_failure_of_a_part_in_doubt_tells_its_code(world: World, policy: str) -> None:
    world.ambiguous = policy
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.write("Hi")
    world.settle()

    report(world, world.tag(), "failed")
    world.settle(60_000, 60_000)

    assert world.end() == End(DEAD, UNDELIVERED)


def test_failure_after_the_alert_of_a_doubt_gives_the_letter_its_reason(world: World) -> None:
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.write("Hi")
    world.settle(9_000, 60_000)

    report(world, world.tag(), "failed")

    letter = the_letter(world)
    assert (letter.reason, letter.detail) == UNDELIVERED[0]
    assert world.alerts() == [("ambiguous", "no_status")]


def test_failure_of_a_first_copy_ends_the_wait_for_a_second(world: World) -> None:
    world.ambiguous = "resend"
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.write("Hi")
    world.settle(9_000, 60_000)

    report(world, world.tag(), "failed")
    world.settle(10_000, 60_000)

    assert world.end().counts in (DEAD, ANSWERED)
    assert len(world.channel.attempts) <= 2


def test_newer_batch_goes_on_while_an_older_answer_fails(world: World) -> None:
    (tag,) = answered(world)
    newer = world.to_generating("and?")

    report(world, tag, "failed")

    assert world.counts() == {"accepted": 2, "dead": 1, "flight": 1}
    world.answer([newer])
    assert world.counts() == {"accepted": 2, "dead": 1, "answered": 1}


def test_erased_customer_leaves_no_answer_behind(world: World) -> None:
    (tag,) = answered(world)

    erase(world.store, world.anna)
    report(world, tag, "failed")

    assert (watched(world), dead_letters(world.store), world.counts()) == (0, [], ANSWERED)


@pytest.mark.parametrize(
    "forget",
    [
        lambda world: world.client.delete(*world.client.keys(world.shard.answered("*", "*"))),
        lambda world: erase(world.store, world.anna),
    ],
    ids=["time is over", "erased"],
)
def test_failure_of_what_is_not_kept_any_more_is_alerted_once(
    world: World, forget: Callable[[World], object]
) -> None:
    tags = answered(world, parts=2)
    forget(world)

    for tag in tags:
        report(world, tag, "failed")

    assert (world.counts(), world.alerts()) == (ANSWERED, UNDELIVERED)


def test_nothing_is_kept_where_nobody_wants_it(store: Store, world: World) -> None:
    store.timing = Timing(delivery_ms=0)
    (tag,) = answered(world)
    kept = watched(world)

    report(world, tag, "failed")

    assert (kept, world.counts(), world.alerts()) == (0, ANSWERED, UNDELIVERED)


@pytest.mark.parametrize("state", ["answered", "sending"])
def test_failure_of_the_whole_account_opens_its_circuit(world: World, state: str) -> None:
    """As a refused send does: the next customer's model call is not paid for."""
    run = None
    if state == "answered":
        (tag,) = answered(world)
    else:
        run = world.begin_sending(world.to_sending())
        tag = world.tag(run)
    asked = len(world.model.questions)

    for _ in range(2):
        status = DeliveryStatus("salon", "out-1", "failed", str(tag), "cloud_131042", stops=True)
        world.receive(status)
    world.write("Hi", customer="79990000002")
    world.settle()

    kinds = sorted(kind for kind, _ in world.alerts())
    assert kinds == ["channel_stopped", "undelivered"]
    assert len(world.model.questions) - asked <= 1
    assert len(world.channel.attempts) == (state == "answered")
    assert world.counts() == {"accepted": 2, "dead": 1, "flight": 1}
