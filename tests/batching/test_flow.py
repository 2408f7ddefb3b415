"""The story, step by step, on a real ledger with fakes for the ports."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from batching import flow
from batching.alerts import Alerts
from batching.background import backgrounds
from batching.errors import (
    AmbiguousError,
    ChannelStoppedError,
    LedgerUnavailableError,
    PermanentError,
    TransientError,
    UnusableAnswerError,
)
from batching.model import (
    SILENT_KINDS,
    Exchange,
    Kind,
    Limits,
    Line,
    Stage,
    Status,
    Tag,
)
from batching.ports import Account
from tests.batching.world import (
    ANSWERED,
    BORIS,
    DEAD,
    IN_DOUBT,
    WAITS,
    End,
    World,
)
from tests.fakes import FakeAccounts, FakeChannel, FakeModel

# When a batch is answered.


def test_burst_becomes_one_question_and_one_answer(world: World) -> None:
    world.write("Hi", "can I book", "for tomorrow 15:00?")

    world.settle()

    assert world.model.turns == ["Hi\ncan I book\nfor tomorrow 15:00?"]
    assert world.channel.texts == ["Answer to: Hi\ncan I book\nfor tomorrow 15:00?"]
    assert world.counts() == {"accepted": 3, "answered": 3}


def test_nothing_is_due_before_the_idle_period_ends(world: World) -> None:
    world.write("Hi")
    world.wait(5_000)
    world.write("again")
    world.wait(8_999)

    assert world.flush() == []
    world.after(1)


def test_full_batch_is_due_at_once(world: World) -> None:
    receipts = world.write(*"abcdefghij")

    world.settle(0)

    assert receipts[-1].due_ms == world.clock()
    assert world.model.turns == ["\n".join("abcdefghij")]


def test_customer_who_never_pauses_is_answered_at_the_longest_wait(world: World) -> None:
    world.limits = Limits(max_messages=100)
    for _ in range(9):
        world.write("and")
        world.wait(5_000)

    world.settle(0)

    assert world.model.turns == ["\n".join(["and"] * 9)]


def test_answer_goes_to_the_id_exactly_as_it_was_delivered(world: World) -> None:
    world.write("Hi", customer="5215500000001")

    world.settle()

    (sent,) = world.channel.sent
    assert (sent.customer, sent.answers) == ("5215500000001", ("id-1",))
    assert Tag.parse(sent.tag)


@pytest.mark.parametrize("part", ["\u00b2", "", "99999", "-1", "1.0"])
def test_tag_with_an_odd_part_is_not_ours(part: str) -> None:
    assert Tag.parse(f"aa:c_0:b1:{part}") is None


def test_messages_during_a_generation_form_the_next_batch(world: World) -> None:
    """They wait for the batch in flight, then are answered by the time they were due."""
    world.model = FakeModel(before=lambda: world.model.turns[1:] or world.write("one more"))

    send = world.to_sending("Hi")
    again = world.after(60_000)  # enqueued again, nothing collected
    world.send(send)
    world.settle(0)

    assert again == send
    assert world.model.turns == ["Hi", "one more"]
    assert world.counts() == {"accepted": 2, "answered": 2}


def test_history_carries_what_was_said_before(world: World) -> None:
    for text in ("Hi", "thanks", "bye"):
        world.write(text)
        world.settle()

    said = (Exchange("Hi", "Answer to: Hi"), Exchange("thanks", "Answer to: thanks"))
    assert [asked.history for asked in world.model.questions] == [(), said[:1], said]


def test_long_reply_leaves_in_parts_and_each_once(world: World) -> None:
    world.channel, world.model = FakeChannel(length_max=4), FakeModel("aaaabbbbcc")
    world.write("Hi")

    world.settle()

    assert world.channel.texts == ["aaaa", "bbbb", "cc"]


def test_limits_are_those_of_who_opened_the_batch(world: World) -> None:
    """A process on other settings is counted, and changes nothing of a batch in progress."""
    world.write("Hi")
    world.limits = Limits(idle_ms=60_000, max_messages=2)
    (receipt,) = world.write("more")

    assert receipt.due_ms == world.clock() + 9_000
    assert world.client.hget(world.shard.stats, "limits_mismatch") == b"1"


@pytest.mark.parametrize("kind", sorted(SILENT_KINDS))
def test_message_that_asks_for_no_answer_is_accounted_and_silent(world: World, kind: Kind) -> None:
    reaction = world.message("", kind=kind)

    statuses = [world.receive(reaction)[0].status for _ in range(2)]
    world.settle()

    assert statuses == [Status.SUPPRESSED, Status.DUPLICATE]
    assert world.end() == End({"accepted": 1, "suppressed": 1}, asked=0, offered=0)


# Wake-ups.


@pytest.mark.parametrize("stage", Stage)
def test_wake_up_that_comes_twice_does_nothing_the_second_time(world: World, stage: Stage) -> None:
    generate = world.to_generating()
    (send,) = world.generate(generate)

    world.answer([generate] * 3 if stage is Stage.GENERATE else [send, send])
    world.send(send)

    assert world.end() == End(ANSWERED)


def test_lost_wake_up_is_enqueued_again_and_spends_no_attempt(world: World) -> None:
    lost = world.to_generating()

    again = world.after(5_000)
    world.wait(5_000)
    assert world.flush() == []  # the second wait is twice as long
    third = world.after(5_000)
    world.answer([third])

    assert lost == again == third
    assert world.counts() == ANSWERED


def test_broker_that_is_away_is_asked_once_for_each_flush_and_loses_nothing(world: World) -> None:
    """A black hole would else cost a time-out for every batch that is due."""
    world.queue.failures = [TransientError("broker_away")] * 2
    for n in range(3):
        world.write("Hi", customer=f"7999000000{n}")
    world.wait(9_000)

    assert (world.flush(), len(world.queue.failures)) == ([], 1)

    world.settle(10_000, 20_000)
    assert world.counts() == {"accepted": 3, "answered": 3}


def test_wake_up_of_an_attempt_that_is_over_does_nothing(world: World) -> None:
    first = world.to_generating()
    world.begin(first)
    second = world.after(30_000)

    other = replace(second, attempt=3), replace(second, batch_id="999")
    for wake_up in (first, replace(second, stage=Stage.SEND), *other):
        assert world.generate(wake_up) == []
    assert world.model.questions == []


def test_wake_up_of_an_attempt_that_runs_or_is_deferred_does_nothing(world: World) -> None:
    wake_up = world.to_generating()
    run = world.begin(wake_up)

    running = world.store.begin(wake_up)
    world.store.fail(run, "defer", 60_000)

    assert (running, world.store.begin(wake_up)) == (None, None)


# What each failure becomes.


TIMEOUT, STOPPED = TransientError("model_timeout"), ChannelStoppedError("cloud_190")
UNUSABLE = UnusableAnswerError("model_recited")
LOST, REFUSED = AmbiguousError("cloud_timeout"), PermanentError("cloud_131047")


@pytest.mark.parametrize(
    ("model", "channel", "settings", "waits", "expected"),
    [
        pytest.param(
            [TIMEOUT] * 9, [], {"limits": Limits(max_attempts=1)}, [600_000] * 9,
            End(ANSWERED, [], 10),
            id="time-outs spend no attempt",
        ),
        pytest.param(
            [UNUSABLE] * 9, [], {}, [2_000] * 9,
            End(DEAD, [("fatal_model", "model_recited")], 3, 0),
            id="useless answers",
        ),
        pytest.param(
            [UNUSABLE] * 9, [], {"limits": Limits(max_attempts=50)}, [2_000] * 9,
            End(DEAD, [("fatal_model", "model_recited")], 3, 0),
            id="useless answers, fifty attempts",
        ),
        pytest.param(
            [UNUSABLE] * 9, [], {"limits": Limits(max_attempts=3)}, [2_000] * 9,
            End(DEAD, [("fatal_model", "model_recited")], 3, 0),
            id="useless answers, three attempts",
        ),
        pytest.param(
            [UNUSABLE] * 9, [], {"limits": Limits(max_attempts=1)}, [2_000] * 9,
            End(DEAD, [("fatal_model", "model_recited")], 1, 0),
            id="useless answers, one attempt",
        ),
        pytest.param(
            [TIMEOUT, UNUSABLE, TIMEOUT, *[UNUSABLE] * 9], [], {}, [600_000] * 9,
            End(DEAD, [("fatal_model", "model_recited")], 5, 0),
            id="useless answers between failures",
        ),
        pytest.param(
            [UNUSABLE, TIMEOUT], [], {}, [2_000, 10_000], End(ANSWERED, [], 3),
            id="a failure after a useless answer waits no longer for that",
        ),
        pytest.param([UNUSABLE] * 2, [], {}, [2_000] * 2, End(ANSWERED, [], 3), id="two useless"),
        pytest.param(
            [PermanentError("model_auth")], [], {}, [],
            End(DEAD, [("fatal_model", "model_auth")], 1, 0),
            id="refused by the model",
        ),
        pytest.param(
            [], [REFUSED], {}, [],
            End(DEAD, [("fatal_provider", "cloud_131047")]),
            id="refused by the provider",
        ),
        pytest.param([], [LOST], {}, [59_999], End(WAITS), id="answer lost"),
        pytest.param([], [LOST], {}, [60_000], End(DEAD, IN_DOUBT), id="answer lost, no status"),
        pytest.param(
            [], [LOST, LOST], {"ambiguous": "resend"}, [60_000] * 4,
            End(DEAD, IN_DOUBT, 1, 2),
            id="answer lost twice, sent once more",
        ),
        pytest.param(
            [ZeroDivisionError()] * 2, [], {"limits": Limits(max_attempts=2)}, [60_000],
            End(DEAD, [("poison", "ZeroDivisionError")], 2, 0),
            id="fault of ours",
        ),
        pytest.param(
            [], [ZeroDivisionError()], {}, [60_000],
            End(DEAD, IN_DOUBT),
            id="fault of ours while a part is out",
        ),
    ],
)  # fmt: skip
def test_failure_becomes(
    world: World,
    model: Sequence[Exception],
    channel: Sequence[Exception],
    settings: dict[str, Any],
    waits: Sequence[int],
    expected: End,
) -> None:
    world.model, world.channel = FakeModel(*model), FakeChannel(*channel)
    for name, value in settings.items():
        setattr(world, name, value)
    world.write("Hi")

    world.settle(9_000, *waits)

    assert world.end() == expected


def test_batch_past_the_reply_deadline_is_a_dead_letter(world: World) -> None:
    world.write("Hi")

    world.settle(86_400_001)

    assert world.end() == End(DEAD, [("deadline", "reply_deadline")], 0, 0)


def test_model_that_fails_is_asked_again_after_a_growing_wait(world: World) -> None:
    world.model = FakeModel(TransientError("model_429"), TransientError("model_500"))
    world.write("Hi")
    world.settle()
    for wait_ms in (1_000, 4_000):
        world.settle(wait_ms - 1)
        assert world.channel.sent == []
        world.settle(wait_ms // 4 + 1)

    assert world.model.turns == ["Hi"] * 3
    assert world.channel.texts == ["Answer to: Hi"]


def test_model_is_given_the_wait_that_it_asked_for(world: World) -> None:
    world.model = FakeModel(TransientError("model_429", retry_after_ms=30_000))
    world.write("Hi")

    world.settle(9_000, 29_999)
    assert len(world.model.questions) == 1
    world.settle(1)
    assert world.channel.texts == ["Answer to: Hi"]


def test_account_that_cannot_send_waits_spends_no_attempt_and_alerts_once(world: World) -> None:
    """More is in test_circuits.py."""
    world.limits = Limits(max_attempts=1)
    world.channel = FakeChannel(STOPPED, STOPPED)
    world.write("Hi")
    world.write("Hello", customer=BORIS)
    world.settle(9_000, 60_000)

    waiting = world.end()
    world.settle(150_000, 10_000)

    alerts = [("channel_stopped", "cloud_190")]
    assert waiting == End({"accepted": 2, "flight": 2}, alerts, 2, 2)
    assert world.end() == End({"accepted": 2, "answered": 2}, alerts, 2, 4)


def test_account_that_was_removed_keeps_its_batch_waiting(world: World) -> None:
    world.write("Hi", account="gone")

    world.settle()

    assert world.counts() == WAITS


def test_account_that_cannot_be_built_is_named_as_the_cause(world: World) -> None:
    """Not as a worker that died: the batch is set back at once, with the fault's own code."""

    class Broken(FakeAccounts):
        def get(self, account_id: str) -> Account | None:
            raise LookupError(account_id)

    world.limits = Limits(max_attempts=1)
    wake_up = world.to_generating()

    flow.generate(world.store, Broken(), world.queue, wake_up, renew_lease=world.lease_renewer)

    assert world.alerts() == [("poison", "LookupError")]


def test_full_redis_takes_nothing_new_and_answers_what_it_has(world: World) -> None:
    world.write("Hi")
    world.write("late", customer=BORIS)
    world.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(LedgerUnavailableError, match="ledger_refused"):
            world.write("more")
        world.settle()
    finally:
        world.client.config_set("maxmemory", "0")

    assert world.counts() == {"accepted": 2, "answered": 2}


# What waits too long.


def test_person_is_alerted_once_to_a_batch_that_waits_too_long(world: World) -> None:
    """Before anything is dropped; the customer is still answered."""
    world.model = FakeModel(*[TransientError("model_503")] * 4)
    world.write("Hi")
    world.settle(*[29_000] * 4)
    assert (world.overdue(), world.alerts()) == (0, [])

    world.settle(*[300_000] * 4)

    assert world.channel.texts == ["Answer to: Hi"]
    assert (world.overdue(), world.alerts()) == (1, [])


def test_batch_without_a_worker_is_overdue_and_one_that_was_answered_never(world: World) -> None:
    world.write("Hi", customer=BORIS)
    world.settle()
    world.write("Hi")

    waits = []
    for ms in (119_999, 1, 1_000_000):
        world.wait(ms)
        world.flush()
        waits.append(world.overdue())

    assert waits == [0, 1, 1]


def test_alert_of_an_overdue_batch_is_told_since_when_it_waits_and_for_what(world: World) -> None:
    world.write("Hi")
    world.wait(9_000)
    world.flush()
    world.wait(111_000)
    world.flush()

    (alert,) = [it for it in Alerts(world.store).newest(9) if it.kind == "overdue"]
    found = backgrounds(world.store, [alert])[alert.name]

    assert (found.waited_ms, found.stage) == (120_000, "generate")


def test_trail_of_a_batch_that_waits_for_a_day_stays_short(world: World) -> None:
    world.channel = FakeChannel(*[STOPPED] * 200)
    world.write("Hi")

    world.settle(*[60_000] * 200)

    assert world.client.llen(world.shard.trail(world.anna)) <= 102


def test_history_knows_which_batch_messages_and_parts_an_exchange_is_of(world: World) -> None:
    world.channel.length_max = 12
    digest = partial(world.store.keyring.digest, "salon")

    world.write("Привет", "open today?")
    world.settle()

    (exchange,) = world.store.history(world.anna)
    answer = "Answer to: Привет\nopen today?"
    assert exchange == Exchange("Привет\nopen today?", answer)
    assert exchange.batch_id == world.tag().batch_id
    assert exchange.lines == (Line(digest("id-1"), 12), Line(digest("id-2"), 11))
    assert exchange.lengths == (12, 12, 5)
    assert exchange.sent == {n: digest(f"out-{n + 1}") for n in range(3)}
