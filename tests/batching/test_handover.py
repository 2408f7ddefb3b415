"""A person who was promised is alerted, once; until they come nobody talks over them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from batching.errors import AmbiguousError, PermanentError
from batching.inspect import awaited, counters, total
from batching.model import (
    HANDOVER_REASONS,
    SUMMARY_CHARACTERS_MAX,
    Answer,
    ForeignMessage,
    Handover,
    Kind,
    Stage,
    Waiting,
)
from batching.rights import erase
from batching.store import DONE, HANDED_OVER
from tests.batching.world import ANNA, PERSON, World
from tests.fakes import NOON_MS

MINUTE_MS = 60_000
#: The id that WhatsApp made for Anna.
CO = "RU.1000000000000001"
WANTED = Answer("A colleague will answer you.", Handover("asked", "Anna wants a refund", "high"))
SORRY = "You are not forgotten."
WAITING = Waiting(remind_ms=10 * MINUTE_MS, apology_ms=30 * MINUTE_MS, apology=SORRY)


@pytest.fixture
def waiting(world: World) -> World:
    """Return a world in which Anna was promised a person."""
    world.waiting = WAITING
    world.model.outcomes = [WANTED]
    world.write("I want my money back")
    world.settle()
    return world


def test_answer_leaves_once_and_a_person_is_alerted_once(waiting: World) -> None:
    assert waiting.channel.texts == [WANTED.text]
    assert waiting.alerts() == [("handover", "handover_asked")]
    (found,) = awaited(waiting.store, content=True)
    assert (found.conversation_id, found.account_id) == (waiting.anna, "salon")
    assert (found.reason, found.urgency, found.summary) == ("asked", "high", "Anna wants a refund")
    assert found.since_ms == NOON_MS + 9_000
    waiting.check()


def test_summary_is_in_no_alert_and_no_step(waiting: World) -> None:
    shard = waiting.shard
    alerts, steps = waiting.client.xrange(shard.alerts), shard.trail(waiting.anna)

    assert "refund" not in str([alerts, waiting.client.lrange(steps, 0, -1)])
    assert "refund" not in str(awaited(waiting.store))


def test_person_is_alerted_in_the_step_that_keeps_the_answer(world: World) -> None:
    world.model.outcomes = [WANTED]

    world.to_sending("I want my money back")

    assert world.channel.texts == []
    assert world.alerts() == [("handover", "handover_asked")]


def test_checkpoint_that_is_repeated_hands_over_once(world: World) -> None:
    run = world.begin(world.to_generating("Hi"))
    exchange = world.store.exchange(run, "Yes", ["Yes"])

    kept = [world.store.checkpoint(run, ["Yes"], exchange, handover=Handover()) for _ in range(2)]

    assert kept == [HANDED_OVER, 0]
    assert world.alerts() == [("handover", "handover_unknown")]


def test_checkpoint_hands_over_nobody_who_is_awaited_already(waiting: World) -> None:
    run = waiting.begin(waiting.to_generating("Hello?"))
    exchange = waiting.store.exchange(run, "Yes", ["Yes"])

    kept = waiting.store.checkpoint(run, ["Yes"], exchange, handover=Handover("upset"))

    assert kept == DONE
    assert waiting.alerts() == [("handover", "handover_asked")]
    assert awaited(waiting.store)[0].reason == "asked"


def test_nothing_is_answered_while_a_person_is_awaited(waiting: World) -> None:
    waiting.write("Hello?")

    waiting.settle()

    assert waiting.channel.texts == [WANTED.text]
    assert len(waiting.model.questions) == 1
    assert waiting.counts() == {"accepted": 2, "answered": 1, "suppressed": 1}
    assert waiting.store.history(waiting.anna)[-1].customer == "Hello?"
    waiting.check()


def test_account_that_answers_meanwhile_tells_its_model_of_the_promise(waiting: World) -> None:
    waiting.waiting = replace(WAITING, silent=False)
    waiting.model.outcomes = [Answer("Until 20:00.", Handover("asked"))]
    waiting.wait(5 * MINUTE_MS)
    waiting.write("When do you close?")

    waiting.settle()

    assert waiting.channel.texts == [WANTED.text, "Until 20:00."]
    assert waiting.model.turns[-1].startswith("[The customer was promised a person from the ")
    assert waiting.store.history(waiting.anna)[-1].customer == "When do you close?"
    assert waiting.alerts() == [("handover", "handover_asked")]


def test_person_is_reminded_with_growing_pauses(waiting: World) -> None:
    at: list[int] = []
    for minute in range(1, 75):
        waiting.wait(MINUTE_MS)
        waiting.answer(waiting.flush())
        if len(waiting.alerts()) > len(at) + 1:
            at.append(minute)

    assert at == [10, 30, 70]
    assert set(waiting.alerts()[1:]) == {("handover_waits", "handover_asked")}


def test_customer_who_waits_is_told_once(waiting: World) -> None:
    waiting.settle(31 * MINUTE_MS, 31 * MINUTE_MS, 31 * MINUTE_MS)

    assert waiting.channel.texts == [WANTED.text, SORRY]
    assert waiting.channel.sent[-1].customer == ANNA
    assert waiting.store.history(waiting.anna)[-1].answer == SORRY
    assert waiting.counts() == {"accepted": 1, "answered": 1}
    named = total(counters(waiting.store))
    assert (named["handover_apologies"], named["replies_sent:salon"]) == (1, 1)
    assert int(awaited(waiting.store)[0].apology) > NOON_MS
    waiting.check()


def test_what_the_customer_is_told_goes_behind_what_is_in_flight(waiting: World) -> None:
    waiting.waiting = replace(WAITING, silent=False)
    waiting.wait(30 * MINUTE_MS - 9_000)
    send = waiting.to_sending("Hello?")

    waiting.wait(MINUTE_MS)
    assert [it.stage for it in waiting.flush() if it.batch_id != send.batch_id] == []
    waiting.send(send)
    waiting.settle()

    assert waiting.channel.texts == [WANTED.text, "Answer to: " + waiting.model.turns[-1], SORRY]


def test_message_that_comes_while_the_customer_is_told_waits_for_it(waiting: World) -> None:
    waiting.wait(31 * MINUTE_MS)
    (notice,) = waiting.flush()
    waiting.write("Hello?")
    waiting.check()

    assert [it.batch_id for it in waiting.flush()] == []
    waiting.send(notice)
    waiting.settle()

    assert waiting.channel.texts == [WANTED.text, SORRY]
    assert waiting.counts() == {"accepted": 2, "answered": 1, "suppressed": 1}


def test_message_that_came_before_the_customer_is_told_waits_for_it(waiting: World) -> None:
    waiting.wait(30 * MINUTE_MS - 4_000)
    waiting.write("Hello?")
    waiting.wait(4_000)

    (notice,) = waiting.flush()
    waiting.check()
    waiting.send(notice)
    waiting.settle()

    assert waiting.channel.texts == [WANTED.text, SORRY]
    assert waiting.counts() == {"accepted": 2, "answered": 1, "suppressed": 1}


def test_doubt_whether_the_customer_was_told_is_a_persons_and_is_not_sent_again(
    waiting: World,
) -> None:
    waiting.ambiguous = "resend"
    waiting.channel.outcomes = [AmbiguousError("cloud_timeout")]

    waiting.settle(31 * MINUTE_MS, MINUTE_MS, MINUTE_MS, MINUTE_MS)

    assert len(waiting.channel.attempts) == 2
    assert ("ambiguous", "no_status") in waiting.alerts()
    waiting.check()


def test_customer_who_cannot_be_told_is_a_persons(waiting: World) -> None:
    waiting.channel.outcomes = [PermanentError("cloud_131047")]

    waiting.settle(31 * MINUTE_MS)

    assert ("fatal_provider", "cloud_131047") in waiting.alerts()
    waiting.check()


@pytest.mark.parametrize("how", ["answered", "resumed", "declined", "erased"])
def test_end_of_waiting_lets_us_answer_and_nobody_is_reminded(waiting: World, how: str) -> None:
    if how == "answered":
        waiting.receive(PERSON)
        waiting.client.delete(waiting.shard.takeover(waiting.anna))
    elif how == "erased":
        erase(waiting.store, waiting.anna)
    else:
        assert waiting.store.end_handover(waiting.anna, how)
    assert awaited(waiting.store) == []
    alerts = waiting.alerts()

    waiting.settle(90 * MINUTE_MS)
    waiting.write("Are you open?")
    waiting.settle()

    assert waiting.channel.texts == [WANTED.text, "Answer to: Are you open?"]
    assert waiting.alerts() == alerts
    assert not waiting.client.exists(waiting.shard.handover(waiting.anna), waiting.shard.handovers)


def test_what_the_customer_was_to_be_told_is_not_sent_when_the_person_came(waiting: World) -> None:
    waiting.wait(31 * MINUTE_MS)
    (notice,) = waiting.flush()
    waiting.store.end_handover(waiting.anna, "resumed")

    waiting.send(notice)

    assert waiting.channel.texts == [WANTED.text]
    waiting.check()


def test_person_who_writes_while_the_customer_is_told_is_not_talked_over(waiting: World) -> None:
    waiting.wait(31 * MINUTE_MS)
    (notice,) = waiting.flush()
    waiting.receive(PERSON)

    waiting.send(notice)

    assert waiting.channel.texts == [WANTED.text]
    waiting.check()


def test_waiting_ends_by_time_with_an_alert(waiting: World) -> None:
    waiting.settle(WAITING.expires_ms)

    assert waiting.alerts()[-1] == ("handover_expired", "handover_asked")
    assert awaited(waiting.store) == []
    assert total(counters(waiting.store))["handover_ended:expired"] == 1


def test_app_that_greets_ends_no_waiting(waiting: World) -> None:
    waiting.receive(ForeignMessage("salon", ANNA, "app-1", "app"))

    assert len(awaited(waiting.store)) == 1


def test_second_hand_over_is_the_first_ones(waiting: World) -> None:
    waiting.waiting = replace(WAITING, silent=False)
    waiting.model.outcomes = [replace(WANTED, text="They will come.")]
    waiting.write("And?")

    waiting.settle()

    assert waiting.alerts() == [("handover", "handover_asked")]
    assert awaited(waiting.store)[0].since_ms == NOON_MS + 9_000


@pytest.mark.parametrize("promised", [ANNA, CO])
@pytest.mark.parametrize("writes", ["", CO, ANNA])
def test_person_is_awaited_under_every_id_of_the_customer(
    world: World, promised: str, writes: str
) -> None:
    """Until they write, under whichever id; each id had a conversation of its own before."""
    world.waiting = WAITING
    world.model.outcomes = [WANTED]
    ids: dict[str, dict[str, Any]] = {
        ANNA: {"customer": ANNA},
        CO: {"customer": CO, "secondary": True},
    }
    world.receive(world.message("I want my money back", **ids[promised]))
    world.settle()
    world.receive(*(world.message("Hi", **it) for id_, it in ids.items() if id_ != promised))
    world.settle()
    answered = len(world.channel.texts)

    world.receive(world.message("It is me", aliases=(CO,)))
    world.settle()
    assert len(world.channel.texts) == answered
    if writes:
        world.receive(replace(PERSON, customer=writes))
        world.client.delete(*world.client.keys("*takeover:*"))
    world.write("Hello?")
    world.settle()

    assert len(world.channel.texts) == answered + bool(writes)
    assert len(awaited(world.store)) == (not writes)


def test_batch_waits_with_its_customer_who_was_promised_a_person_under_another_id(
    make_world: Callable[[int], World],
) -> None:
    """The ids have shards of their own, which number their batches alike."""
    world = make_world(200)
    world.waiting = WAITING
    world.model.outcomes = [WANTED]
    world.write("I want my money back")
    world.settle()
    world.receive(world.message("Hi", customer=CO, secondary=True))
    first = world.after(9_000)
    world.receive(world.message("It is me", aliases=(CO,)))
    assert [first.batch_id] == [it.batch_id for it in awaited(world.store)]

    world.answer([first])
    world.settle()

    assert world.channel.texts == [WANTED.text]


def test_damaged_hand_over_ends_with_an_alert_and_stops_nobody(waiting: World) -> None:
    waiting.client.delete(waiting.shard.handover(waiting.anna))

    waiting.settle(31 * MINUTE_MS)

    assert waiting.alerts()[-1] == ("handover_expired", "handover_unknown")
    assert not waiting.client.exists(waiting.shard.handovers)


def test_answer_without_words_is_asked_for_again(world: World) -> None:
    world.model.outcomes = [Answer("", Handover("asked"))]
    world.write("Hi")

    world.settle(9_000, 5_000)

    assert world.channel.texts == ["Answer to: Hi"]


@dataclass
class _Desk:
    """Claims who writes "operator", and says so; takes "We will see" for a promise.

    ``before``: what happens when it was asked.
    """

    before: Callable[[], object] = lambda: None

    def claims(self, customers: Sequence[str], turn: str) -> Handover | None:
        self.before()
        is_annas = set(customers) == {ANNA}
        return Handover("words", turn) if is_annas and "operator" in turn else None

    def settled(self, _history: object, answer: Answer) -> Answer:
        if answer.text == "We will see.":
            return replace(answer, handover=Handover("promised"))
        return replace(answer, text=answer.text or "Passed on.")


def test_rule_hands_over_without_a_question(world: World) -> None:
    world.desk = _Desk()
    world.write("operator")

    world.settle()

    assert (world.channel.texts, world.model.questions) == (["Passed on."], [])
    assert world.alerts() == [("handover", "handover_words")]


def test_word_that_is_deleted_meanwhile_hands_over_nothing_and_nobody_reads_it(
    world: World,
) -> None:
    deletion = world.message("[Deleted]", kind=Kind.DELETED, amends="D1")
    world.desk = _Desk(before=lambda: world.receive(deletion))
    world.receive(world.message("operator", message_id="D1"), world.message("Open?"))

    world.settle()

    assert [text.startswith("Answer to: ") for text in world.channel.texts] == [True]
    assert "operator" not in world.channel.texts[0]
    assert (awaited(world.store, content=True), world.alerts()) == ([], [])


def test_promise_without_a_call_hands_over(world: World) -> None:
    world.desk = _Desk()
    world.model.outcomes = ["We will see."]
    world.write("May I?")

    world.settle()

    assert world.alerts() == [("handover", "handover_promised")]


def test_hand_over_keeps_what_cannot_be_read_and_has_bounds() -> None:
    odd = Handover("my own reason \ud800", "x" * 5_000, "now!")

    assert (odd.reason, odd.urgency) == ("unknown", "normal")
    assert odd.summary.startswith("my own reason ?: xx")
    assert len(odd.summary) == SUMMARY_CHARACTERS_MAX
    assert json.dumps(odd.summary)
    assert "xx" not in repr(odd)
    assert {Handover(it).reason for it in HANDOVER_REASONS} == set(HANDOVER_REASONS)


def test_stage_of_what_the_customer_is_told_is_sending(waiting: World) -> None:
    waiting.wait(31 * MINUTE_MS)

    assert [it.stage for it in waiting.flush()] == [Stage.SEND]
