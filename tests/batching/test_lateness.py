"""When customers wrote: the model is told, the order is theirs, and what is too old is told of."""

from dataclasses import replace

import pytest

from batching.inspect import dead_letters
from batching.model import BELIEVED_MS, Limits
from batching.store import Store
from tests.batching.world import DEAD, End, World

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
WINDOW_MS = Limits().reply_deadline_ms
#: Moments that no customer can have written at, by the time of arrival.
LIES = {
    "2004": lambda _: 1_072_915_200_000,
    "in 400 days": lambda now_ms: now_ms + 400 * DAY_MS,
    "in an hour": lambda now_ms: now_ms + HOUR_MS,
    "older than any delivery": lambda now_ms: now_ms - BELIEVED_MS - 1,
    "0": lambda _: 0,
    "negative": lambda _: -5_000,
    "in 1970": lambda _: 1_768_478_400,
}
each_lie = pytest.mark.parametrize("lie", LIES.values(), ids=LIES)


def write(world: World, text: str, *, age_ms: int) -> None:
    world.receive(replace(world.message(text), sent_at_ms=world.store.now_ms() - age_ms))


@pytest.mark.parametrize(
    ("age_ms", "told"),
    [
        (0, "Hi"),
        (9 * MINUTE_MS, "Hi"),
        (11 * MINUTE_MS, "[sent 11 minutes ago] Hi"),
        (119 * MINUTE_MS, "[sent 119 minutes ago] Hi"),
        (3 * HOUR_MS, "[sent 3 hours ago] Hi"),
        (47 * HOUR_MS, "[sent 47 hours ago] Hi"),
        (3 * DAY_MS, "[sent 3 days ago] Hi"),
    ],
)
def test_model_is_told_how_old_a_message_is(world: World, age_ms: int, told: str) -> None:
    world.limits = Limits(reply_deadline_ms=7 * DAY_MS)

    write(world, "Hi", age_ms=age_ms)
    world.settle()

    assert world.model.turns == [told]


def test_each_message_of_a_batch_has_its_own_age(world: World) -> None:
    write(world, "Book me today\nat five", age_ms=20 * HOUR_MS)
    write(world, "Hello?", age_ms=0)
    world.settle()

    assert world.model.turns == ["[sent 20 hours ago] Book me today\nat five\nHello?"]


def test_age_grows_while_the_batch_waits(world: World) -> None:
    write(world, "Hi", age_ms=0)
    world.settle(HOUR_MS * 5)

    assert world.model.turns == ["[sent 5 hours ago] Hi"]


@each_lie
def test_clock_that_lies_tells_no_age_and_moves_no_deadline(world: World, lie: object) -> None:
    sent_at_ms = lie(world.store.now_ms())  # type: ignore[operator]
    world.receive(replace(world.message("Hi"), sent_at_ms=sent_at_ms))
    world.settle()

    assert world.model.turns == ["Hi"]
    assert world.end().counts == {"accepted": 1, "answered": 1}


@pytest.mark.parametrize(
    ("ages_s", "said"),
    [
        ((3, 2, 1), "012"),
        ((1, 2, 3), "210"),
        ((5, 9, 5, 5), "1023"),
        ((4, None, 9), "201"),
        ((None, 4, 9), "021"),
        ((1, 9, None), "102"),
        ((None, None, None), "012"),
    ],
)
def test_batch_is_read_as_it_was_sent(
    world: World, ages_s: tuple[int | None, ...], said: str
) -> None:
    """Equal seconds keep the order of arrival; a clock that lies stays behind what came before."""
    for number, age_s in enumerate(ages_s):
        write(world, str(number), age_ms=400 * DAY_MS if age_s is None else age_s * 1_000)
    world.settle()

    assert world.model.turns == ["\n".join(said)]


def test_answer_goes_to_the_id_that_wrote_last(world: World) -> None:
    now_ms = world.store.now_ms()
    world.receive(replace(world.message(aliases=("RU.1",)), sent_at_ms=now_ms - 1_000))
    late = world.message(customer="RU.1", secondary=True)
    world.receive(replace(late, sent_at_ms=now_ms - 60_000))
    world.settle()

    assert [sent.customer for sent in world.channel.sent] == ["79990000001"]


@pytest.mark.parametrize(
    ("ages_ms", "wait_ms", "end"),
    [
        ([WINDOW_MS - HOUR_MS], 0, {"accepted": 1, "answered": 1}),
        ([WINDOW_MS + MINUTE_MS], 0, DEAD),
        ([3 * DAY_MS], 0, DEAD),
        # The newest counts: the customer wrote again, and the window is open.
        ([3 * DAY_MS, 0], 0, {"accepted": 2, "answered": 2}),
        ([0, 3 * DAY_MS], 0, {"accepted": 2, "answered": 2}),
        ([WINDOW_MS - HOUR_MS], HOUR_MS + MINUTE_MS, DEAD),
    ],
)
def test_message_beyond_the_providers_window_is_told_and_costs_no_question(
    world: World, ages_ms: list[int], wait_ms: int, end: dict[str, int]
) -> None:
    for age_ms in ages_ms:
        write(world, "Hi", age_ms=age_ms)
    world.settle(9_000 + wait_ms)

    told = [("deadline", "delivered_late")] if end == DEAD else []
    assert world.end() == End(end, told, asked=int(end != DEAD), offered=int(end != DEAD))
    kept = [message.text for letter in dead_letters(world.store) for message in letter.messages]
    assert kept == ["Hi"] * (end == DEAD)


def test_person_may_replay_what_came_too_late(world: World) -> None:
    """It is theirs to decide: the customer may have written since, or the channel has no window."""
    write(world, "Hi", age_ms=3 * DAY_MS)
    world.settle()
    (letter,) = dead_letters(world.store)

    world.store.replay(letter.conversation_id, letter.batch_id, "salon", world.limits)
    world.settle()

    assert world.model.turns == ["[sent 3 days ago] Hi"]
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_next_batch_has_a_window_of_its_own(world: World) -> None:
    write(world, "Hi", age_ms=0)
    world.settle()

    write(world, "again", age_ms=3 * DAY_MS)
    world.settle()

    assert world.counts() == {"accepted": 2, "answered": 1, "dead": 1}


def test_release_before_leaves_the_window_to_the_arrival(world: World, store: Store) -> None:
    """It noted no time of the customer's: what it opened or collected counts from the arrival."""
    write(world, "Hi", age_ms=3 * DAY_MS)
    store.client.hdel(world.shard.batches(world.anna), "open_heard")

    world.settle()

    assert world.counts() == {"accepted": 1, "answered": 1}
