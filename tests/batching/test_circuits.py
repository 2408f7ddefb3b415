"""What an account lacks is no fault of its batches: they wait, one probes, all are answered."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import redis

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    ModelStoppedError,
    PermanentError,
    TransientError,
    UnusableAnswerError,
)
from batching.inspect import dead_letters, watched_count
from batching.model import Budget, Circuit, DeliveryStatus, Dependency, Exchange, Limits
from batching.store import CLOSED, LATE_MS, PROBE, Store
from tests.batching.world import ANNA, WAITS, End, World
from tests.fakes import FakeChannel, FakeClock, FakeModel

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
REFUSED, LOGGED_OUT = ModelStoppedError("model_auth", free=True), ChannelStoppedError("cloud_190")
CUSTOMERS = [f"7999000{n:04}" for n in range(12)]
AMPLE = Budget(
    conversation_hour=1_000, conversation_day=1_000, account_day=9_000, installation_day=9_000
)


def all_write(world: World) -> None:
    for customer in CUSTOMERS:
        world.write("Hi", customer=customer)


def pass_time(world: World, ms: int, *, tick_ms: int = 30_000) -> None:
    """Let time pass as a scheduler sees it."""
    world.settle(*[tick_ms] * (ms // tick_ms))


def calls(world: World, of: str) -> int:
    """Return how often the model or the channel was called."""
    return len(world.model.questions if of == "model" else world.channel.attempts)


@pytest.fixture(params=[1, 5], ids=["one shard", "five shards"])
def sharded(client: redis.Redis, clock: FakeClock, request: pytest.FixtureRequest) -> World:
    store = Store(client, privacy_key="k", shards=request.param, clock=clock)
    return World(store, clock)


@pytest.mark.parametrize("of", ["model", "channel"])
def test_outage_is_one_alert_one_probe_a_pause_and_everybody_is_answered(
    sharded: World, of: str
) -> None:
    """For an hour; in whatever shard a conversation is."""
    world, kind = sharded, f"{of}_stopped"
    if of == "model":
        world.model = FakeModel(*[REFUSED] * 100)
    else:
        world.channel = FakeChannel(*[LOGGED_OUT] * 100)
    all_write(world)
    world.settle()
    assert calls(world, of) == 1

    called = []
    for _ in range(12):
        pass_time(world, 5 * MINUTE_MS)
        called.append(calls(world, of))
    assert max(later - before for before, later in pairwise(called)) <= 2
    assert world.alerts() == [(kind, "model_auth" if of == "model" else "cloud_190")]
    assert world.counts() == {"accepted": 12, "flight": 12}

    world.model.outcomes, world.channel.outcomes = [], []
    pass_time(world, 7 * MINUTE_MS)
    assert world.counts() == {"accepted": 12, "answered": 12}
    assert len(world.channel.sent) == 12
    assert len(world.alerts()) == 1
    assert world.store.circuits(["salon", "sister"]) == []
    world.check()


def test_probe_is_one_batch_and_the_others_wait_for_what_comes_of_it(world: World) -> None:
    during: list[int] = []
    all_write(world)
    world.model = FakeModel(REFUSED)
    world.settle()

    # While the probe is asked, all the others come.
    def others_come() -> None:
        world.model.before = None
        before = len(world.model.questions)
        world.answer(world.flush())
        during.append(len(world.model.questions) - before)

    world.model.before = others_come
    pass_time(world, 2 * MINUTE_MS)

    assert during == [0]
    assert world.counts() == {"accepted": 12, "answered": 12}


def test_pause_doubles_with_every_probe_that_fails_up_to_its_most(world: World) -> None:
    store, batch = world.store, world.to_generating()
    waits = []
    for _ in range(5):
        store.open_circuit("salon", Dependency.MODEL, "model_auth", batch)
        waits.append(store.try_circuit("salon", Dependency.MODEL, batch))
        world.wait(waits[-1])
        assert store.try_circuit("salon", Dependency.MODEL, batch) == PROBE

    assert waits == [60_000, 120_000, 240_000, 300_000, 300_000]


def test_call_that_began_before_makes_an_outage_neither_longer_nor_shorter(world: World) -> None:
    store, one = world.store, world.to_generating()
    other = replace(one, conversation_id="c_other")
    assert store.open_circuit("salon", Dependency.MODEL, "model_auth", one)
    assert not store.open_circuit("salon", Dependency.MODEL, "model_quota", other)
    assert store.close_circuit("salon", Dependency.MODEL, other) == 0

    assert store.try_circuit("salon", Dependency.MODEL, other) == 60_000
    assert [it.code for it in store.circuits(["salon"])] == ["model_auth"]


def test_probe_whose_process_dies_is_taken_up_by_the_same_batch_and_later_by_another(
    world: World,
) -> None:
    store, one = world.store, world.to_generating()
    other = replace(one, conversation_id="c_other")
    store.open_circuit("salon", Dependency.CHANNEL, "cloud_190", one)
    world.wait(60_000)
    states = [store.try_circuit("salon", Dependency.CHANNEL, it) for it in (one, one, other)]
    world.wait(300_000)

    assert states == [PROBE, PROBE, 5_000]
    assert store.try_circuit("salon", Dependency.CHANNEL, other) == PROBE


def test_circuit_is_the_accounts_and_the_dependencys_own(world: World) -> None:
    store, batch = world.store, world.to_generating()
    store.open_circuit("salon", Dependency.MODEL, "model_auth", batch)

    others = [("sister", Dependency.MODEL), ("salon", Dependency.CHANNEL)]
    others += [("salon", Dependency.FALLBACK_1)]
    assert [store.try_circuit(*other, batch) for other in others] == [CLOSED] * 3


def test_outage_that_comes_back_soon_goes_on_without_another_alert(world: World) -> None:
    store, batch = world.store, world.to_generating()
    of = Dependency.MODEL
    alerted = [store.open_circuit("salon", of, "model_auth", batch)]
    world.wait(60_000)
    store.try_circuit("salon", of, batch)
    lasted_ms = store.close_circuit("salon", of, batch)
    alerted.append(store.open_circuit("salon", of, "model_auth", batch))

    assert (alerted, lasted_ms) == ([True, False], 60_000)
    assert store.try_circuit("salon", of, batch) == 120_000


def test_failure_learnt_late_lets_one_batch_go_and_another_before_all(world: World) -> None:
    """A part that was taken may be refused by a status: the first success proves nothing."""
    store, one = world.store, world.to_generating()
    other, of = replace(one, conversation_id="c_other"), Dependency.CHANNEL
    states: list[int] = []

    def tried(batch: object, ms: int = 0) -> None:
        world.wait(ms)
        states.append(store.try_circuit("salon", of, batch))  # type: ignore[arg-type]

    assert store.open_circuit("salon", of, "cloud_131042")
    tried(one, 60_000)
    assert store.close_circuit("salon", of, one) == 0
    tried(other)
    # The status of the probe says that it failed as well, and others' say it too.
    assert not store.open_circuit("salon", of, "cloud_131042")
    assert not store.open_circuit("salon", of, "cloud_131042")
    tried(other)
    tried(other, 120_000)
    assert store.close_circuit("salon", of, other) == 0
    tried(one, LATE_MS)
    assert store.close_circuit("salon", of, one) > 0
    tried(other)

    assert states == [PROBE, LATE_MS, 120_000, PROBE, PROBE, CLOSED]
    assert world.alerts() == [("channel_stopped", "cloud_131042")]


@pytest.mark.parametrize(
    ("outcome", "closes"),
    [
        ("Yes.", True),
        (UnusableAnswerError("model_empty"), True),
        (PermanentError("model_context"), True),
        (REFUSED, False),
        (TransientError("model_503"), False),
        (KeyError("choices"), False),
    ],
)
def test_circuit_closes_when_the_probe_was_answered_whatever_the_answer(
    world: World, outcome: str | Exception, *, closes: bool
) -> None:
    world.model = FakeModel(REFUSED, outcome)
    world.write("Hi")
    world.settle(9_000, 60_000)

    assert (world.store.circuits(["salon"]) == []) is closes


@pytest.mark.parametrize(
    "outcome", [TransientError("cloud_131016"), AmbiguousError("cloud_timeout")]
)
def test_probe_of_a_channel_without_a_clear_answer_closes_nothing(
    world: World, outcome: Exception
) -> None:
    world.channel = FakeChannel(LOGGED_OUT, outcome)
    world.write("Hi")
    world.settle(9_000, 60_000)

    (circuit,) = world.store.circuits(["salon"])

    assert isinstance(circuit, Circuit)
    assert circuit.next_ms - world.clock() == 120_000


# What passes by itself.


@pytest.mark.parametrize("of", ["model", "channel"])
@pytest.mark.parametrize("code", ["429", "503", "connection"])
def test_provider_that_is_away_for_hours_costs_no_batch(world: World, of: str, code: str) -> None:
    """Attempts are for what the batch itself breaks; its pauses grow, and it waits on."""
    failures = [TransientError(code, free=True)] * 1_000
    world.limits = Limits(max_attempts=1)
    if of == "model":
        world.model = FakeModel(*failures)
    else:
        world.channel = FakeChannel(*failures)
    world.write("Hi")
    world.settle()
    pass_time(world, 20 * HOUR_MS, tick_ms=10 * MINUTE_MS)
    assert world.counts() == WAITS
    assert (world.overdue(), world.alerts()) == (1, [])
    assert calls(world, of) > 100

    world.model.outcomes, world.channel.outcomes = [], []
    pass_time(world, 10 * MINUTE_MS, tick_ms=10 * MINUTE_MS)
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_provider_that_is_away_for_longer_than_the_deadline_is_told(world: World) -> None:
    world.model = FakeModel(*[TransientError("model_503")] * 1_000)
    world.write("Hi")
    world.settle()
    pass_time(world, DAY_MS + HOUR_MS, tick_ms=10 * MINUTE_MS)

    assert world.alerts() == [("deadline", "reply_deadline")]


def test_outage_spends_no_attempt_that_a_worker_that_dies_then_lacks(world: World) -> None:
    world.limits = Limits(max_attempts=2)
    world.model = FakeModel(*[TransientError("model_503")] * 5)
    world.write("Hi")
    world.settle(9_000, *[2 * MINUTE_MS] * 4)
    world.begin(world.after(6 * MINUTE_MS))

    world.settle(world.limits.lease_ms)

    assert world.counts() == {"accepted": 1, "answered": 1}


@pytest.mark.parametrize(
    ("failure", "asked"),
    [
        (TransientError("model_503", free=True), 0),
        (REFUSED, 0),
        (TransientError("model_timeout"), 1),
        (UnusableAnswerError("model_empty"), 1),
        (PermanentError("model_context"), 1),
    ],
)
def test_question_that_cost_nothing_counts_in_no_budget(
    world: World, failure: AdminError, asked: int
) -> None:
    """Else an outage of hours would use a day's budget up, and the customers wait for the next."""
    world.budget = AMPLE
    world.model = FakeModel(failure)
    world.write("Hi")

    world.settle()

    assert world.store.asked() == asked


def test_batches_that_wait_for_a_circuit_spend_no_budget(world: World) -> None:
    world.budget = replace(AMPLE, conversation_hour=2)
    world.model = FakeModel(*[REFUSED] * 100)
    all_write(world)
    world.settle()
    pass_time(world, 30 * MINUTE_MS)

    assert (world.store.asked(), world.alerts()) == (0, [("model_stopped", "model_auth")])


# A second model.


def test_fallback_answers_at_once_while_the_first_models_circuit_is_open(world: World) -> None:
    world.budget, world.fallbacks = AMPLE, (FakeModel(), FakeModel())
    world.model = FakeModel(*[REFUSED] * 100)
    all_write(world)

    world.settle()

    assert world.counts() == {"accepted": 12, "answered": 12}
    assert [len(it.questions) for it in (world.model, *world.fallbacks)] == [1, 12, 0]
    assert (world.store.asked(), world.alerts()) == (12, [("model_stopped", "model_auth")])


def test_first_model_is_asked_again_when_it_is_good_again(world: World) -> None:
    world.fallbacks = (FakeModel(),)
    world.model = FakeModel(REFUSED)
    for _ in range(4):
        world.write("Hi")
        world.settle(9_000, 30_000)

    assert (len(world.model.questions), len(world.fallbacks[0].questions)) == (3, 2)


def test_model_that_fails_in_passing_is_asked_twice_before_its_fallback(world: World) -> None:
    world.model = FakeModel(*[TransientError("model_503")] * 100)
    world.fallbacks = (FakeModel(TransientError("model_503")),)
    world.write("Hi")

    world.settle(9_000, *[MINUTE_MS] * 10)

    assert (len(world.model.questions), len(world.fallbacks[0].questions)) == (3, 2)
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_all_models_are_refused_and_the_batch_waits(world: World) -> None:
    world.fallbacks = (FakeModel(*[ModelStoppedError("model_quota")] * 50),)
    world.model = FakeModel(*[REFUSED] * 50)
    world.write("Hi")
    world.settle()
    pass_time(world, HOUR_MS)

    assert world.counts() == WAITS
    assert world.alerts() == [("model_stopped", "model_auth"), ("model_stopped", "model_quota")]


# A last word to the customer.

SORRY = "We cannot answer right now; a colleague will write to you."


def until_deadline(world: World) -> None:
    world.settle()
    pass_time(world, DAY_MS, tick_ms=6 * MINUTE_MS)


@pytest.mark.parametrize(
    ("fault", "act", "reason", "asked"),
    [
        ([PermanentError("model_context")], World.settle, "fatal_model: model_context", 1),
        ([UnusableAnswerError("model_empty")] * 3, until_deadline, "fatal_model: model_empty", 3),
        ([TransientError("model_503")] * 999, until_deadline, "deadline: model_503", 0),
        ([REFUSED] * 999, until_deadline, "deadline: model_", 0),
        ([KeyError("x")] * 8, until_deadline, "poison: KeyError", 8),
    ],
)  # fmt: skip
def test_customer_without_an_answer_gets_the_accounts_sentence_once_and_a_person_the_batch(
    world: World, fault: list[Exception], act: Callable[[World], None], reason: str, asked: int
) -> None:
    world.apology, world.model = SORRY, FakeModel(*fault)
    world.write("Hi")

    act(world)

    (alert,) = [it for it in world.alerts() if it[0] != "model_stopped"]
    assert ": ".join(alert).startswith(reason)
    assert alert[1].endswith("; apology sent")
    assert world.channel.texts == [SORRY]
    assert world.counts() == {"accepted": 1, "dead": 1}
    assert not asked or len(world.model.questions) == asked
    assert world.store.history(world.anna) == []
    world.check()


def test_apology_goes_before_the_reply_deadline_not_after_it(world: World) -> None:
    world.apology, world.model = SORRY, FakeModel(*[TransientError("model_503")] * 999)
    world.write("Hi")
    began_ms = world.clock()
    world.settle()
    while not world.channel.sent:
        pass_time(world, 6 * MINUTE_MS, tick_ms=6 * MINUTE_MS)

    assert DAY_MS - 20 * MINUTE_MS < world.clock() - began_ms < DAY_MS


def test_apology_whose_channel_is_stopped_is_sent_when_it_is_good_again(world: World) -> None:
    world.apology, world.model = SORRY, FakeModel(PermanentError("model_context"))
    world.channel = FakeChannel(LOGGED_OUT)
    world.write("Hi")
    world.settle()
    pass_time(world, 2 * MINUTE_MS)

    assert world.channel.texts == [SORRY]
    assert world.counts() == {"accepted": 1, "dead": 1}


@pytest.mark.parametrize("fault", ["refused", "doubt"])
def test_apology_that_does_not_leave_makes_the_dead_letter_all_the_same(
    world: World, fault: str
) -> None:
    errors = {"refused": PermanentError("cloud_131047"), "doubt": AmbiguousError("cloud_timeout")}
    world.apology, world.model = SORRY, FakeModel(PermanentError("model_context"))
    world.channel, world.ambiguous = FakeChannel(errors[fault]), "resend"
    world.write("Hi")
    world.settle()
    pass_time(world, 5 * MINUTE_MS)
    world.receive(DeliveryStatus("salon", "wamid.1", "sent", str(world.tag())))

    assert world.counts() == {"accepted": 1, "dead": 1}
    assert len(world.channel.attempts) == 1


def test_apology_is_not_finished_as_an_answer_by_any_release(world: World) -> None:
    """A release that knows no apologies finds one part more than there is to send."""
    world.apology, world.model = SORRY, FakeModel(PermanentError("model_context"))
    (send,) = world.generate(world.to_generating())
    run = world.begin_sending(send)
    world.store.mark_sent("salon", world.tag(run), "wamid.1")

    assert not world.store.finish(run)
    assert run.apology == ("fatal_model", "model_context")


def test_answer_after_an_apology_was_prepared_is_not_said_by_a_worker_that_stood_still(
    world: World,
) -> None:
    world.apology, world.model = SORRY, FakeModel()
    wake_up = world.to_generating()
    slow = world.begin(wake_up)
    world.limits = replace(world.limits, max_attempts=1)
    world.wait(slow.limits.lease_ms)
    (again,) = world.flush()
    world.model = FakeModel(PermanentError("model_context"))
    world.answer([again])

    assert not world.store.checkpoint(slow, ["late"], Exchange("Hi", "late"))
    assert world.channel.texts == [SORRY]


def test_account_without_an_apology_says_nothing(world: World) -> None:
    world.model = FakeModel(PermanentError("model_context"))
    world.write("Hi")

    world.settle()

    assert world.end() == End({"accepted": 1, "dead": 1}, [("fatal_model", "model_context")], 1, 0)
    assert ANNA not in [it.customer for it in world.channel.attempts]


def test_question_is_taken_back_once(world: World) -> None:
    """Neither twice, nor one that another run asked."""
    run = world.begin(world.to_generating())
    world.store.spend(run, AMPLE)
    other = replace(run, token="0")

    taken_back = [world.store.refund(it) for it in (other, run, run)]
    world.store.spend(run, AMPLE)

    assert (taken_back, world.store.asked()) == ([False, True, False], 1)


REPORTS = {
    "failed": ["failed"],
    "failed twice": ["failed", "failed"],
    "sent, then failed": ["sent", "failed"],
    "delivered": ["sent", "delivered"],
    "read": ["read"],
    "failed, and arrived all the same": ["failed", "delivered"],
    "arrived, and failed all the same": ["delivered", "failed"],
}


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("name", REPORTS)
def test_report_about_an_apology_neither_ends_its_letter_nor_alerts_again(
    world: World, name: str, when: str
) -> None:
    """The customer has no answer, whatever became of the apology. There is no second one."""

    def report() -> None:
        for state in REPORTS[name]:
            tag = world.channel.attempts[0].tag
            world.receive(DeliveryStatus("salon", "out-1", state, tag, "cloud_131026"))

    world.apology, world.model = SORRY, FakeModel(PermanentError("model_context"))
    if when == "at once":
        world.channel = FakeChannel(before=report)
    world.write("hello")
    world.settle()
    if when == "later":
        report()
    world.settle(60_000, 60_000)

    (letter,) = dead_letters(world.store)
    assert [it.text for it in letter.messages] == ["hello"]
    assert (letter.reason, letter.detail.split(";")[0]) == ("fatal_model", "model_context")
    assert [kind for kind, _ in world.alerts()] == ["fatal_model"]
    assert world.channel.texts in ([SORRY], [])
    assert (len(world.channel.attempts), world.counts()) == (1, {"accepted": 1, "dead": 1})
    assert watched_count(world.store, ["salon"]) == {"salon": 0}
    world.store.replay(letter.conversation_id, letter.batch_id, "salon", world.limits)
    world.model = FakeModel("Yes")
    world.settle(0)
    assert world.channel.texts[-1] == "Yes"
    assert world.counts() == {"accepted": 1, "answered": 1}
