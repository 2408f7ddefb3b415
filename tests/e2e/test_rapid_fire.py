"""A burst of messages in, one answer out: what the product is for, by real processes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http_server import Hold
from tests.stack.accounts import GATEWAY
from tests.stack.stack import IDLE_MS, Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def test_three_rapid_messages_are_one_question_and_one_answer(stack: Stack) -> None:
    anna = stack.customer()
    burst = anna.lines("Hi", "can I book", "for tomorrow 15:00?")

    anna.writes(*burst)

    assert anna.wait_for_answers() == ["Answer to: " + "\n".join(burst)]
    assert anna.turns == ["\n".join(burst)]


def test_burst_through_a_gateway_is_answered_through_it(stack: Stack) -> None:
    anna = stack.customer(GATEWAY)
    burst = anna.lines("Hi", "can I book")

    anna.writes(*burst)

    assert anna.wait_for_answers() == ["Answer to: " + "\n".join(burst)]


def test_message_delivered_concurrently_is_asked_about_once(stack: Stack) -> None:
    anna = stack.customer()

    with ThreadPoolExecutor(8) as pool:
        deliveries = [pool.submit(anna.delivers, anna.line("Hi"), "wamid.two") for _ in range(16)]
    statuses = {delivery.result().status_code for delivery in deliveries}

    assert statuses == {200}
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


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


def test_many_customers_at_once_get_one_answer_each(stack: Stack) -> None:
    crowd = [stack.customer() for _ in range(30)]

    with ThreadPoolExecutor(10) as pool:
        for writing in [pool.submit(c.writes, *c.lines("Hi", "tomorrow?")) for c in crowd]:
            writing.result()

    answers = [c.wait_for_answers() for c in crowd]
    assert answers == [["Answer to: " + "\n".join(c.lines("Hi", "tomorrow?"))] for c in crowd]
