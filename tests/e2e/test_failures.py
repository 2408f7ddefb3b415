"""What becomes of an answer when the model or WhatsApp fails: again, a dead letter, or a doubt.

Which fault is of which kind is tested with the adapters; here one of each crosses the processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
#: What a model does that may pass.
MODEL_PASSING: Mapping[str, Answer] = {
    "too many requests": model_error(429, "rate_limit_exceeded"),
    "server error": model_error(500),
    "no answer in time": hang,
    "answer that drips for ever": DRIPPING,
    "connection reset": reset,
    "no JSON": Reply(body=b"<html>busy</html>"),
}
#: Answers of WhatsApp's that do not say whether it has the text.
UNKNOWN: Mapping[str, Answer] = {
    "no answer in time": hang,
    "connection reset": reset,
    "server error without a code": Reply(502, {}),
    "answer without an id": Reply(200, {}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """Faults, and what comes of them: calls of the model, texts offered, why the batch is dead."""

    model: tuple[Answer, ...] = ()
    provider: tuple[Answer, ...] = ()
    turns: int = 1
    replies: int = 1
    dead: str = ""


CASES: Mapping[str, Case] = {
    **{
        f"model, once: {name}": Case(model=(fault,), turns=2)
        for name, fault in MODEL_PASSING.items()
    },
    # What the model lacks spends no attempt; an answer of no use does.
    **{
        f"model, twice: {name}": Case((fault,) * 2, turns=3)
        for name, fault in MODEL_PASSING.items()
    },
    "model, twice: empty answer": Case(
        (completion(""),) * 2, turns=2, replies=0, dead="fatal_model/model_empty"
    ),
    "model, once: empty answer": Case(model=(completion(""),), turns=2),
    "model, will not pass": Case((model_error(400),), replies=0, dead="fatal_model/model_400"),
    "provider, may pass": Case(provider=(graph_error(131056),), replies=2),
    "provider, will not pass": Case(
        provider=(graph_error(131047),), dead="fatal_provider/cloud_131047"
    ),
    **{
        f"provider, not known: {name}": Case(provider=(fault,), dead="ambiguous/no_status")
        for name, fault in UNKNOWN.items()
    },
}


@pytest.fixture(scope="module")
def afflicted(stack: Stack) -> Mapping[str, Customer]:
    """Return a customer for each case, who has written: they wait side by side."""
    customers = {name: stack.customer(HASTY) for name in CASES}
    for name, customer in customers.items():
        stack.model.answer(*CASES[name].model, to=customer.mark)
        stack.provider.answer(*CASES[name].provider, to=customer.number)
        customer.writes(customer.line("Hi"))
    return customers


@pytest.mark.parametrize("name", CASES)
def test_fault_ends_in_an_answer_or_in_a_dead_letter_of_which_a_person_is_notified(
    stack: Stack, afflicted: Mapping[str, Customer], name: str
) -> None:
    """The model is asked the same again; it is not asked again because a text was refused."""
    case, customer, ledger = CASES[name], afflicted[name], stack.ledger

    ledger.wait_until_settled(customer)

    assert customer.turns == [customer.line("Hi")] * case.turns
    assert customer.replies == [customer.line("Answer to: Hi")] * case.replies
    dead = [f"{letter.reason}/{letter.detail}" for letter in ledger.dead_letters(customer)]
    assert dead == [case.dead] * bool(case.dead)
    assert ledger.alerts_of(customer) == [case.dead.partition("/")[0]] * bool(case.dead)


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
