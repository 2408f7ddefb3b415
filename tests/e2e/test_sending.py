"""WhatsApp's refusals decide what becomes of an answer, and no doubt by a second copy."""

from collections.abc import Mapping

import pytest

from tests.http_server import Answer, Reply, hang, reset
from tests.outside import completion, graph_error
from tests.stack.accounts import HASTY, LOCKED, RESENDING
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: Long enough for a test to look at a doubt and to resolve it before the policy does.
ENVIRON = {"BATCH_AMBIGUOUS_MS": "6000"}

PASSING: Mapping[str, Answer] = {
    "131056 as 400": graph_error(131056),
    "131056 as 429": graph_error(131056, status=429),
    "130429": graph_error(130429, status=429),
    "131016": graph_error(131016, status=500),
}
LASTING: Mapping[str, Answer] = {
    "131047": graph_error(131047),
    "131026": graph_error(131026),
}
UNKNOWN: Mapping[str, Answer] = {
    "no answer in time": hang,
    "connection reset": reset,
    "server error without a code": Reply(502, {}),
    "answer without an id": Reply(200, {}),
}

Afflicted = Mapping[str, Customer]


@pytest.fixture(scope="module")
def passing(stack: Stack) -> Afflicted:
    return afflicted(stack, PASSING)


@pytest.fixture(scope="module")
def lasting(stack: Stack) -> Afflicted:
    return afflicted(stack, LASTING)


@pytest.fixture(scope="module")
def unknown(stack: Stack) -> Afflicted:
    return afflicted(stack, UNKNOWN)


def afflicted(stack: Stack, faults: Mapping[str, Answer]) -> Afflicted:
    customers = {name: stack.customer(HASTY) for name in faults}
    for name, customer in customers.items():
        stack.provider.answer(faults[name], to=customer.number)
        customer.writes(customer.line("Hi"))
    return customers


@pytest.mark.parametrize("fault", PASSING)
def test_refusal_that_may_pass_is_sent_again_without_asking_the_model_again(
    stack: Stack, passing: Afflicted, fault: str
) -> None:
    customer = passing[fault]

    assert customer.wait_for_answers(2) == [customer.line("Answer to: Hi")] * 2
    stack.ledger.wait_until_settled(customer)
    assert (len(customer.turns), len(customer.replies)) == (1, 2)
    assert stack.ledger.alerts_of(customer) == []


@pytest.mark.parametrize("fault", LASTING)
def test_refusal_that_will_not_pass_is_a_dead_letter_with_its_code(
    stack: Stack, lasting: Afflicted, fault: str
) -> None:
    customer = lasting[fault]

    assert stack.ledger.wait_for_death(customer) == f"fatal_provider/cloud_{fault}"
    assert stack.ledger.alerts_of(customer) == ["fatal_provider"]
    assert len(customer.replies) == 1


@pytest.mark.parametrize("fault", UNKNOWN)
def test_answer_with_unknown_outcome_is_not_sent_again_and_a_person_is_told(
    stack: Stack, unknown: Afflicted, fault: str
) -> None:
    customer = unknown[fault]

    assert stack.ledger.wait_for_death(customer) == "ambiguous/no_status"
    assert stack.ledger.alerts_of(customer) == ["ambiguous"]
    assert len(customer.replies) == 1


def test_key_that_is_refused_stops_the_account_and_loses_nothing(stack: Stack) -> None:
    """Error 190 concerns every message of the number: one alert, no attempt spent, no noise."""
    anna, boris = stack.customer(LOCKED), stack.customer(LOCKED)
    stack.provider.answer(graph_error(190, status=401), to=anna.number)
    anna.writes(anna.line("Hi"))
    eventually(lambda: stack.ledger.alerts("account", "locked"), what="an alert")

    boris.writes(boris.line("Hi"))
    eventually(lambda: stack.ledger.state(boris) == "waiting", what="the second answer to wait")

    assert (len(anna.replies), len(boris.replies)) == (1, 0)
    assert stack.ledger.alerts("account", "locked") == ["channel_stopped"]
    assert [stack.ledger.dead_letters(customer) for customer in (anna, boris)] == [[], []]


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


def test_account_that_prefers_two_copies_to_none_sends_once_more(stack: Stack) -> None:
    anna = stack.customer(RESENDING)
    stack.provider.answer(hang, to=anna.number)
    anna.writes(anna.line("Hi"))

    first, second = eventually(lambda: anna.offered[1:] and anna.offered, what="a second copy")
    stack.ledger.wait_until_settled(anna)

    assert (first, stack.ledger.dead_letters(anna)) == (second, [])


def test_delivery_that_fails_later_is_told_to_a_person(stack: Stack) -> None:
    """Most errors come as a status, after the message was taken."""
    anna = stack.customer()
    anna.writes(anna.line("Hi"))
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    anna.report(anna.offered[0], "failed", 131047)

    eventually(lambda: stack.ledger.alerts_of(anna), what="an alert")
    assert stack.ledger.alerts_of(anna) == ["undelivered"]


def test_long_answer_leaves_in_parts_in_order_and_whole(stack: Stack) -> None:
    anna = stack.customer()
    answer = " ".join(f"Sentence {n} of the answer." for n in range(400))
    stack.model.answer(completion(answer), to=anna.mark)

    anna.writes(anna.line("Tell me everything"))
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    assert "".join("".join(anna.replies).split()) == "".join(answer.split())
    assert [sent.tag[-2:] for sent in anna.offered] == [":0", ":1", ":2"]
    assert max(len(reply) for reply in anna.replies) <= 4096


def test_part_that_is_refused_is_sent_again_and_the_one_before_it_is_not(stack: Stack) -> None:
    anna = stack.customer()
    stack.model.answer(completion("First part. " * 360 + "Second part."), to=anna.mark)
    taken = Reply(body={"messages": [{"id": "wamid.TAKEN"}]})
    stack.provider.answer(taken, graph_error(131056), to=anna.number)

    anna.writes(anna.line("Tell me everything"))
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    assert [sent.tag[-2:] for sent in anna.offered] == [":0", ":1", ":1"]
