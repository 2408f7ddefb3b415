"""A model that fails is asked again, and if it goes on failing a person is told why."""

from collections.abc import Mapping

import pytest

from tests.http_server import Answer, Reply, drip, hang, reset
from tests.outside import completion, model_error
from tests.stack.accounts import HASTY
from tests.stack.customer import Customer
from tests.stack.stack import Stack

pytestmark = pytest.mark.e2e

#: One blank after the other, and never the rest.
DRIPPING = drip(b"HTTP/1.1 200 OK\r\n\r\n", b" ")

#: What may pass, and what a dead letter says of it if it does not.
PASSING: Mapping[str, tuple[Answer, str]] = {
    "too many requests": (model_error(429, "rate_limit_exceeded"), "model_429"),
    "server error": (model_error(500), "model_500"),
    "overloaded": (model_error(529), "model_529"),
    "no answer in time": (hang, "model_timeout"),
    "answer that drips for ever": (DRIPPING, "model_timeout"),
    "connection reset": (reset, "model_connection"),
    "no JSON": (Reply(body=b"<html>busy</html>"), "model_malformed"),
    "other JSON": (Reply(body={"choices": []}), "model_malformed"),
    "empty answer": (completion(""), "model_empty"),
    "null answer": (completion(None), "model_empty"),
}

#: What will not pass, however often it is tried.
LASTING: Mapping[str, tuple[Answer, str]] = {
    "bad request": (model_error(400), "model_400"),
    "key refused": (model_error(401, "invalid_api_key"), "model_auth"),
    "no money": (model_error(429, "insufficient_quota"), "model_quota"),
}

Afflicted = Mapping[str, Customer]


@pytest.fixture(scope="module")
def passing(stack: Stack) -> Afflicted:
    """Return customers whose first question meets a fault and whose second does not."""
    return afflicted(stack, PASSING, times=1)


@pytest.fixture(scope="module")
def staying(stack: Stack) -> Afflicted:
    """Return customers for whom what may pass does not."""
    return afflicted(stack, PASSING, times=2)


@pytest.fixture(scope="module")
def lasting(stack: Stack) -> Afflicted:
    """Return customers for whom nothing is worth a second try."""
    return afflicted(stack, LASTING, times=1)


def afflicted(stack: Stack, faults: Mapping[str, tuple[Answer, str]], *, times: int) -> Afflicted:
    customers = {name: stack.customer(HASTY) for name in faults}
    for name, customer in customers.items():
        stack.model.answer(*[faults[name][0]] * times, to=customer.mark)
        customer.writes(customer.line("Hi"))
    return customers


@pytest.mark.parametrize("fault", PASSING)
def test_model_that_failed_is_asked_the_same_again(passing: Afflicted, fault: str) -> None:
    customer = passing[fault]

    assert customer.wait_for_answers() == [customer.line("Answer to: Hi")]
    assert customer.turns == [customer.line("Hi")] * 2


@pytest.mark.parametrize("fault", PASSING)
def test_batch_whose_attempts_are_spent_is_a_dead_letter_with_its_reason(
    stack: Stack, staying: Afflicted, fault: str
) -> None:
    customer = staying[fault]

    assert stack.ledger.wait_for_death(customer) == f"fatal_model/{PASSING[fault][1]}"
    assert stack.ledger.alerts_of(customer) == ["fatal_model"]
    assert (len(customer.turns), customer.replies) == (2, [])


@pytest.mark.parametrize("fault", LASTING)
def test_fault_that_will_not_pass_is_not_tried_twice(
    stack: Stack, lasting: Afflicted, fault: str
) -> None:
    customer = lasting[fault]

    assert stack.ledger.wait_for_death(customer) == f"fatal_model/{LASTING[fault][1]}"
    assert stack.ledger.alerts_of(customer) == ["fatal_model"]
    assert (len(customer.turns), customer.replies) == (1, [])


def test_customer_who_writes_on_after_a_dead_letter_is_answered(stack: Stack) -> None:
    anna = stack.customer(HASTY)
    stack.model.answer(model_error(400), to=anna.mark)
    anna.writes(anna.line("Hi"))
    stack.ledger.wait_for_death(anna)

    anna.writes(anna.line("Hello?"))

    assert anna.wait_for_answers() == [anna.line("Answer to: Hello?")]


def test_message_that_came_while_the_model_failed_is_answered_after_the_dead_letter(
    stack: Stack,
) -> None:
    anna = stack.customer(HASTY)
    stack.model.answer(hang, hang, to=anna.mark)
    anna.writes(anna.line("Hi"))
    anna.wait_for_turns()

    anna.writes(anna.line("Hello?"))

    assert stack.ledger.wait_for_death(anna).startswith("fatal_model/")
    assert anna.wait_for_answers() == [anna.line("Answer to: Hello?")]
