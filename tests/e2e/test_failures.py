"""What becomes of an answer when the model or WhatsApp fails: again, a dead letter, or a doubt.

Which fault is of which kind is tested with the adapters; here one of each crosses the processes.
"""

from collections.abc import Mapping

import pytest

from tests.http_server import Answer, Reply, drip, hang, reset
from tests.outside import completion, graph_error, model_error
from tests.stack.accounts import HASTY
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: Long enough for a test to see a doubt and to resolve it before the policy does.
ENVIRON = {"BATCH_AMBIGUOUS_MS": "6000"}

#: One blank after the other, and never the rest.
DRIPPING = drip(b"HTTP/1.1 200 OK\r\n\r\n", b" ")
#: What a model does that may pass, and the detail of the dead letter if it does not.
MODEL_PASSING: Mapping[str, tuple[Answer, str]] = {
    "too many requests": (model_error(429, "rate_limit_exceeded"), "model_429"),
    "server error": (model_error(500), "model_500"),
    "no answer in time": (hang, "model_timeout"),
    "answer that drips for ever": (DRIPPING, "model_timeout"),
    "connection reset": (reset, "model_connection"),
    "no JSON": (Reply(body=b"<html>busy</html>"), "model_malformed"),
    "empty answer": (completion(""), "model_empty"),
}
#: Answers of WhatsApp's that do not say whether it has the text.
UNKNOWN: Mapping[str, Answer] = {
    "no answer in time": hang,
    "connection reset": reset,
    "server error without a code": Reply(502, {}),
    "answer without an id": Reply(200, {}),
}

Afflicted = Mapping[str, Customer]


@pytest.fixture(scope="module")
def passing(stack: Stack) -> Afflicted:
    """Return customers whose first question meets a fault and whose second does not."""
    return asking(stack, times=1)


@pytest.fixture(scope="module")
def staying(stack: Stack) -> Afflicted:
    """Return customers for whom what may pass does not."""
    return asking(stack, times=2)


@pytest.fixture(scope="module")
def unknown(stack: Stack) -> Afflicted:
    """Return customers whose texts were taken or not: the answers do not say."""
    customers = {name: stack.customer(HASTY) for name in UNKNOWN}
    for name, customer in customers.items():
        stack.provider.answer(UNKNOWN[name], to=customer.number)
        customer.writes(customer.line("Hi"))
    return customers


def asking(stack: Stack, *, times: int) -> Afflicted:
    customers = {name: stack.customer(HASTY) for name in MODEL_PASSING}
    for name, customer in customers.items():
        stack.model.answer(*[MODEL_PASSING[name][0]] * times, to=customer.mark)
        customer.writes(customer.line("Hi"))
    return customers


@pytest.mark.parametrize("fault", MODEL_PASSING)
def test_model_that_failed_is_asked_the_same_again(passing: Afflicted, fault: str) -> None:
    customer = passing[fault]

    assert customer.wait_for_answers() == [customer.line("Answer to: Hi")]
    assert customer.turns == [customer.line("Hi")] * 2


@pytest.mark.parametrize("fault", MODEL_PASSING)
def test_batch_whose_attempts_are_spent_is_a_dead_letter_with_its_reason(
    stack: Stack, staying: Afflicted, fault: str
) -> None:
    customer = staying[fault]

    assert stack.ledger.wait_for_death(customer) == f"fatal_model/{MODEL_PASSING[fault][1]}"
    assert stack.ledger.alerts_of(customer) == ["fatal_model"]
    assert (len(customer.turns), customer.replies) == (2, [])


def test_fault_of_the_model_that_will_not_pass_is_not_tried_twice(stack: Stack) -> None:
    anna = stack.customer(HASTY)
    stack.model.answer(model_error(400), to=anna.mark)

    anna.writes(anna.line("Hi"))

    assert stack.ledger.wait_for_death(anna) == "fatal_model/model_400"
    assert stack.ledger.alerts_of(anna) == ["fatal_model"]
    assert (len(anna.turns), anna.replies) == (1, [])


def test_refusal_that_may_pass_is_sent_again_without_asking_the_model_again(stack: Stack) -> None:
    anna = stack.customer(HASTY)
    stack.provider.answer(graph_error(131056), to=anna.number)

    anna.writes(anna.line("Hi"))

    assert anna.wait_for_answers(2) == [anna.line("Answer to: Hi")] * 2
    stack.ledger.wait_until_settled(anna)
    assert (len(anna.turns), len(anna.replies)) == (1, 2)
    assert stack.ledger.alerts_of(anna) == []


def test_refusal_that_will_not_pass_is_a_dead_letter_with_its_code(stack: Stack) -> None:
    anna = stack.customer(HASTY)
    stack.provider.answer(graph_error(131047), to=anna.number)

    anna.writes(anna.line("Hi"))

    assert stack.ledger.wait_for_death(anna) == "fatal_provider/cloud_131047"
    assert stack.ledger.alerts_of(anna) == ["fatal_provider"]
    assert len(anna.replies) == 1


@pytest.mark.parametrize("fault", UNKNOWN)
def test_answer_with_unknown_outcome_is_not_sent_again_and_a_person_is_notified(
    stack: Stack, unknown: Afflicted, fault: str
) -> None:
    customer = unknown[fault]

    assert stack.ledger.wait_for_death(customer) == "ambiguous/no_status"
    assert stack.ledger.alerts_of(customer) == ["ambiguous"]
    assert len(customer.replies) == 1


def test_late_status_resolves_a_doubt_without_a_second_copy(stack: Stack) -> None:
    anna = stack.customer()
    stack.provider.answer(reset, to=anna.number)
    anna.writes(anna.line("Hi"))
    eventually(lambda: stack.ledger.state(anna) == "ambiguous", what="the doubt")

    anna.report(anna.offered[0], "delivered")
    anna.report(anna.offered[0], "delivered")
    stack.ledger.wait_until_settled(anna)

    assert stack.ledger.dead_letters(anna) == []
    assert len(anna.replies) == 1


def test_status_after_the_dead_letter_settles_it(stack: Stack) -> None:
    anna = stack.customer(HASTY)
    stack.provider.answer(hang, to=anna.number)
    anna.writes(anna.line("Hi"))
    stack.ledger.wait_for_death(anna)

    anna.report(anna.offered[0], "read")

    eventually(lambda: not stack.ledger.dead_letters(anna), what="the dead letter to be settled")
    assert len(anna.replies) == 1


def test_person_is_notified_of_a_delivery_that_fails_later(stack: Stack) -> None:
    """Most errors come as a status, after the message was taken."""
    anna = stack.customer()
    anna.writes(anna.line("Hi"))
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    anna.report(anna.offered[0], "failed", 131047)

    eventually(lambda: stack.ledger.alerts_of(anna), what="an alert")
    assert stack.ledger.alerts_of(anna) == ["undelivered"]


def test_part_that_is_refused_is_sent_again_and_the_one_before_it_is_not(stack: Stack) -> None:
    anna = stack.customer()
    stack.model.answer(completion("First part. " * 360 + "Second part."), to=anna.mark)
    taken = Reply(body={"messages": [{"id": "wamid.TAKEN"}]})
    stack.provider.answer(taken, graph_error(131056), to=anna.number)

    anna.writes(anna.line("Tell me everything"))
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    assert [sent.tag[-2:] for sent in anna.offered] == [":0", ":1", ":1"]
