"""What models may cost: never a question beyond a budget, and never a message lost to one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from batching.errors import BudgetSpentError, TransientError
from batching.flow import spend
from batching.model import Budget, Limits, Run
from tests.batching.world import ANNA, ANSWERED, BORIS, WAITS, End, World
from tests.fakes import FakeModel

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
AMPLE = Budget(
    conversation_hour=1_000, conversation_day=1_000, account_day=9_000, installation_day=9_000
)
SPENT, DEADLINE = ("budget_account", "budget_account"), ("deadline", "reply_deadline")


@pytest.fixture
def run(world: World) -> Run:
    """Return a run that is about to ask."""
    return world.begin(world.to_generating())


def test_questions_that_fail_count_and_the_last_is_the_budgets_last(world: World) -> None:
    world.budget = replace(AMPLE, conversation_hour=3)
    world.model = FakeModel(*[TransientError("model_500")] * 100)
    world.write("Hi")

    world.settle(9_000, *[MINUTE_MS] * 20)

    assert (len(world.model.questions), world.counts()) == (3, WAITS)


def test_conversation_is_answered_when_its_hour_has_ended(world: World) -> None:
    world.budget = replace(AMPLE, conversation_hour=1)
    world.write("Hi")
    world.settle()
    world.write("And?")
    world.settle(9_000, HOUR_MS - 20_000)
    assert world.model.turns == ["Hi"]

    world.settle(20_000)

    assert world.model.turns == ["Hi", "And?"]
    assert world.counts() == {"accepted": 2, "answered": 2}


def test_flooding_customer_costs_the_budget_and_delays_no_other(world: World) -> None:
    """What they write meanwhile is one question when the hour has ended."""
    world.budget = replace(AMPLE, conversation_hour=2)
    for _ in range(12):
        world.write(*"abcdefghij")
        world.settle(MINUTE_MS)
    world.write("Hello", customer=BORIS)
    world.settle()

    assert len(world.model.questions) == 3
    assert world.model.turns[-1] == "Hello"
    assert [sent.customer for sent in world.channel.sent] == [ANNA, ANNA, BORIS]

    world.settle(*[MINUTE_MS] * 70)
    assert world.counts() == {"accepted": 121, "answered": 121}
    assert len(world.model.questions) == 5
    assert world.alerts() == [("budget_conversation", "budget_conversation")]


@pytest.mark.parametrize(
    ("budget", "most"),
    [
        (replace(AMPLE, conversation_day=3), 3),
        (replace(AMPLE, account_day=12), 3),
        (replace(AMPLE, account_day=9), 3),
        (replace(AMPLE, account_day=1), 1),
        (replace(AMPLE, installation_day=12), 3),
        (replace(AMPLE, conversation_day=2, account_day=12), 2),
    ],
    ids=["of its own", "share", "share, rounded up", "at least one", "share of all", "the least"],
)
def test_customer_who_floods_all_day_leaves_the_day_to_others(
    world: World, budget: Budget, most: int
) -> None:
    """No conversation takes more than its day, or a quarter of the account's or of all."""
    world.budget = budget
    for n in range(20):
        world.write(f"Hi {n}")
        world.settle(HOUR_MS)

    assert len(world.model.questions) == most
    assert world.alerts() == [("budget_conversation_day", "budget_conversation_day")]

    world.settle(DAY_MS - 20 * HOUR_MS, HOUR_MS)

    assert len(world.model.questions) == most + 1
    assert {*world.counts()} == {"accepted", "answered", "open"}


def test_two_customers_who_flood_leave_half_of_the_accounts_day(world: World) -> None:
    world.budget = replace(AMPLE, account_day=8)
    for customer in [ANNA, BORIS] * 9:
        world.write("Hi", customer=customer)
        world.settle(MINUTE_MS)
    assert len(world.model.questions) == 4

    for n in range(4):
        world.write("Hi", customer=f"7999000010{n}")
    world.settle()

    assert len(world.model.questions) == 8
    assert "budget_account" not in dict(world.alerts())


def test_day_of_a_conversation_is_counted_beside_the_hours_of_the_release_before(
    world: World, run: Run
) -> None:
    """That release counts hours alone, in the same hash, and reads nothing else in it."""
    home, c = world.store.keyring.shards[0], world.anna
    until_ms = world.clock() + 1_000
    world.client.hset(home.spent(c), mapping={"count": 3, "until": until_ms, "token": "old"})

    spend(world.store, run, replace(AMPLE, conversation_hour=4, conversation_day=1))

    assert world.client.hget(home.spent(c), "count") == b"4"
    with pytest.raises(BudgetSpentError, match="budget_conversation_day"):
        spend(world.store, replace(run, token="next"), replace(AMPLE, conversation_day=1))


@pytest.mark.parametrize(
    ("budget", "account", "why"),
    [
        (replace(AMPLE, account_day=5), "salon", "budget_account"),
        (replace(AMPLE, installation_day=5), "sister", "budget_installation"),
    ],
)
def test_day_of_an_account_or_of_all_ends_with_its_budget(
    world: World, budget: Budget, account: str, why: str
) -> None:
    """Who wrote an hour later is answered in time: the day ends before their deadline."""
    world.budget = budget
    for n in range(9):
        world.write("Hi", customer=f"7999000000{n}", account=account if n % 2 else "salon")
        world.settle(HOUR_MS)
    assert len(world.model.questions) == 5
    assert world.counts() == {"accepted": 9, "answered": 5, "flight": 4}
    assert world.alerts() == [(why, why)]

    world.settle(DAY_MS - 9 * HOUR_MS, HOUR_MS)

    assert len(world.model.questions) == 9
    assert world.counts() == {"accepted": 9, "answered": 9}


def test_account_beyond_its_day_leaves_the_others_theirs(world: World) -> None:
    world.budget = replace(AMPLE, account_day=1)
    world.write("Hi")
    world.write("Hi", customer=BORIS)
    world.write("Hi", account="sister")

    world.settle()

    assert len(world.model.questions) == 2
    assert world.counts() == {"accepted": 3, "answered": 2, "flight": 1}


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (AMPLE, End({"accepted": 2, "answered": 2}, [SPENT], 2, 2)),
        (None, End({"accepted": 2, "answered": 1, "dead": 1}, [SPENT, DEADLINE])),
    ],
    ids=["raised", "never"],
)
def test_batch_waits_for_a_budget_until_the_deadline_and_spends_no_attempt(
    world: World, later: Budget | None, expected: End
) -> None:
    world.limits = Limits(max_attempts=1, reply_deadline_ms=HOUR_MS)
    world.budget = replace(AMPLE, account_day=1)
    world.write("Hi", customer=BORIS)
    world.settle()
    world.write("Hi")
    world.settle(*[MINUTE_MS] * 10)

    world.budget = later or world.budget
    world.settle(MINUTE_MS if later else HOUR_MS)

    assert world.end() == expected


def test_model_that_is_off_is_not_asked_and_nothing_is_lost(world: World) -> None:
    world.limits = Limits(max_attempts=1)
    world.budget = AMPLE
    world.store.switch_model(on=False)
    world.write("Hi")
    world.write("Hi", customer=BORIS)
    world.settle(9_000, MINUTE_MS)
    assert (world.model.questions, world.store.model_is_on()) == ([], False)
    assert world.alerts() == [("model_off", "model_off")]

    world.store.switch_model(on=True)
    world.settle(MINUTE_MS)

    assert world.counts() == {"accepted": 2, "answered": 2}
    assert (world.store.asked(), world.store.model_is_on()) == (2, True)


def test_reply_that_is_kept_leaves_though_the_model_is_off(world: World) -> None:
    world.budget = AMPLE
    wake_up = world.to_sending()
    world.store.switch_model(on=False)

    world.send(wake_up)

    assert world.counts() == ANSWERED


def test_model_without_a_budget_is_asked_whatever_holds(world: World) -> None:
    """The scripted model costs nothing; the canary of an installation must go on."""
    world.store.switch_model(on=False)
    world.write("Hi")

    world.settle()

    assert world.counts() == ANSWERED
    assert world.store.asked() == 0


def test_run_whose_count_got_no_answer_is_counted_once(world: World, run: Run) -> None:
    budget = replace(AMPLE, conversation_hour=1)

    spend(world.store, run, budget)
    spend(world.store, run, budget)

    assert world.store.asked() == 1


def test_refusal_says_how_long_to_wait(world: World, run: Run) -> None:
    """At most a minute, for a person may raise the budget; less if the window ends before."""
    budget = replace(AMPLE, conversation_hour=1)
    spend(world.store, run, budget)
    waits = []
    for passed_ms in (0, HOUR_MS - 10_000):
        world.wait(passed_ms)
        with pytest.raises(BudgetSpentError) as caught:
            spend(world.store, replace(run, token="next"), budget)
        waits.append((caught.value.code, caught.value.retry_after_ms))

    assert waits == [("budget_conversation", MINUTE_MS), ("budget_conversation", 10_000)]


def test_budget_is_one_for_all_shards(make_world: Callable[[int], World]) -> None:
    sharded = make_world(4)
    sharded.budget = replace(AMPLE, installation_day=7)
    for n in range(20):
        sharded.write("Hi", customer=f"799900000{n:02}")

    sharded.settle()

    assert len(sharded.model.questions) == 7
    assert sharded.alerts() == [("budget_installation", "budget_installation")]


def test_budget_holds_for_many_workers_at_once(world: World, run: Run) -> None:
    budget = replace(AMPLE, conversation_day=37)

    def granted(n: int) -> bool:
        try:
            spend(world.store, replace(run, token=f"t{n}"), budget)
        except BudgetSpentError:
            return False
        return True

    with ThreadPoolExecutor(16) as workers:
        grants = list(workers.map(granted, range(200)))

    assert sum(grants) == 37
    assert world.store.asked() == 37
