"""A burst of messages in, one answer out: what the product is for, by real processes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http_server import Hold
from tests.stack.accounts import BARBER, LISTENING, PATIENT, SALON
from tests.stack.stack import IDLE_MS, Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def test_three_rapid_messages_are_one_question_and_one_answer(stack: Stack) -> None:
    anna = stack.customer()
    burst = anna.lines("Hi", "can I book", "for tomorrow 15:00?")

    anna.writes(*burst)

    assert anna.wait_for_answers() == ["Answer to: " + "\n".join(burst)]
    assert anna.turns == ["\n".join(burst)]


def test_answer_goes_to_the_customer_from_the_number_they_wrote_to(stack: Stack) -> None:
    anna = stack.customer(BARBER)

    anna.writes(anna.line("Hi"))
    anna.wait_for_answers()

    assert [(sent.phone_number_id, sent.to) for sent in anna.offered] == [("100002", anna.number)]


def test_ten_messages_are_flushed_without_a_quiet_period(stack: Stack) -> None:
    """The account waits ten minutes for quiet; only a full batch is answered sooner."""
    anna = stack.customer(PATIENT)
    burst = [anna.line(f"line {n}") for n in range(10)]

    anna.writes(*burst)

    assert anna.wait_for_answers() == ["Answer to: " + "\n".join(burst)]


def test_customer_who_never_pauses_is_answered_after_the_longest_wait(stack: Stack) -> None:
    """Messages come faster than the quiet period ends, so that the batch can only be too old."""
    anna = stack.customer(LISTENING)
    written: list[str] = []

    def writes_on() -> list[str]:
        written.append(anna.line(f"line {len(written)}"))
        anna.writes(written[-1])
        return anna.turns

    first_turn = eventually(writes_on, every_s=0.3)[0].split("\n")

    assert first_turn == written[: len(first_turn)]
    assert anna.wait_for_answers(2)[1] == "Answer to: " + "\n".join(written[len(first_turn) :])


def test_message_delivered_twice_is_asked_about_once(stack: Stack) -> None:
    anna = stack.customer()

    statuses = [anna.delivers(anna.line("Hi"), "wamid.one").status_code for _ in range(2)]

    assert statuses == [200, 200]
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


def test_message_delivered_concurrently_is_asked_about_once(stack: Stack) -> None:
    anna = stack.customer()

    with ThreadPoolExecutor(8) as pool:
        deliveries = [pool.submit(anna.delivers, anna.line("Hi"), "wamid.two") for _ in range(16)]
    statuses = {delivery.result().status_code for delivery in deliveries}

    assert statuses == {200}
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


def test_redelivery_after_the_answer_is_acknowledged_and_not_answered(stack: Stack) -> None:
    anna = stack.customer()
    anna.delivers(anna.line("Hi"), "wamid.three")
    anna.wait_for_answers()

    again = anna.delivers(anna.line("Hi"), "wamid.three")
    anna.writes(anna.line("And on Monday?"))

    assert again.status_code == 200
    assert anna.wait_for_answers(2)[1:] == [anna.line("Answer to: And on Monday?")]


def test_messages_during_a_generation_are_the_next_batch_and_wait_for_this_one(
    stack: Stack,
) -> None:
    anna = stack.customer()
    hold = Hold()
    stack.model.answer(hold, to=anna.mark)
    anna.writes(anna.line("Hi"))
    eventually(lambda: anna.turns, what="the generation to begin")

    late = anna.lines("one more thing", "two chairs please")
    anna.writes(*late)
    stack.ledger.let_pass(2 * IDLE_MS)
    hold.released.set()

    assert anna.wait_for_answers(2) == [
        anna.line("Answer to: Hi"),
        "Answer to: " + "\n".join(late),
    ]
    first, second = stack.model.requests_of(anna.mark)
    assert first.done_ns < second.came_ns


def test_next_turn_knows_what_was_said_before(stack: Stack) -> None:
    anna = stack.customer()
    anna.writes(anna.line("Hi"))
    anna.wait_for_answers()
    eventually(lambda: not stack.ledger.state(anna), what="the batch to end")

    anna.writes(anna.line("And on Monday?"))
    anna.wait_for_answers(2)

    spoken = [
        (message["role"], message["content"])
        for message in stack.model.requests_of(anna.mark)[1].json["messages"]
    ]
    assert spoken[-3:] == [
        ("user", anna.line("Hi")),
        ("assistant", anna.line("Answer to: Hi")),
        ("user", anna.line("And on Monday?")),
    ]


def test_two_accounts_with_the_same_customer_never_mix(stack: Stack) -> None:
    at_salon = stack.customer(SALON)
    at_barber = stack.customer(BARBER, number=at_salon.number)

    for text in ("Hi", "tomorrow?"):
        at_salon.writes(at_salon.line(text))
        at_barber.writes(at_barber.line(text))

    assert at_salon.wait_for_answers() == [
        "Answer to: " + "\n".join(at_salon.lines("Hi", "tomorrow?"))
    ]
    assert at_barber.wait_for_answers() == [
        "Answer to: " + "\n".join(at_barber.lines("Hi", "tomorrow?"))
    ]


def test_many_customers_at_once_get_one_answer_each(stack: Stack) -> None:
    crowd = [stack.customer() for _ in range(30)]

    with ThreadPoolExecutor(10) as pool:
        for writing in [pool.submit(c.writes, *c.lines("Hi", "tomorrow?")) for c in crowd]:
            writing.result()

    answers = [c.wait_for_answers() for c in crowd]
    assert answers == [["Answer to: " + "\n".join(c.lines("Hi", "tomorrow?"))] for c in crowd]


def test_one_conversation_that_waits_holds_up_no_other(stack: Stack) -> None:
    slow, quick = stack.customer(), stack.customer()
    hold = Hold()
    stack.model.answer(hold, to=slow.mark)
    slow.writes(slow.line("Hi"))
    eventually(lambda: slow.turns, what="the slow generation to begin")

    quick.writes(quick.line("Hi"))
    answer = quick.wait_for_answers()
    unanswered = slow.replies
    hold.released.set()

    assert (answer, unanswered) == ([quick.line("Answer to: Hi")], [])
    assert slow.wait_for_answers() == [slow.line("Answer to: Hi")]
