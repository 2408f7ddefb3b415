"""A worker is killed in the middle of everything: each batch goes on from where it was for sure."""

from dataclasses import dataclass

import pytest

from tests.http_server import hang
from tests.stack.accounts import RESENDING, SALON
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: Long enough for the doubt to be seen and resolved before the policy resolves it.
ENVIRON = {"BATCH_AMBIGUOUS_MS": "8000"}


@dataclass(frozen=True, slots=True)
class Victims:
    """Customers whose batches the killed worker had in hand, each at another step."""

    generating: Customer
    waiting: Customer
    departing: Customer
    departing_unresolved: Customer
    departing_resent: Customer


@pytest.fixture(scope="module")
def victims(stack: Stack) -> Victims:
    """Kill a worker while the model thinks and Graph has texts that it does not answer.

    Once the lease of the first text has run out, Graph tells that it has it.
    """
    people = Victims(*(stack.customer(account) for account in [SALON] * 4 + [RESENDING]))
    departing = (people.departing, people.departing_unresolved, people.departing_resent)
    stack.model.answer(hang, to=people.generating.mark)
    for customer in departing:
        stack.provider.answer(hang, to=customer.number)
    for customer in (people.generating, *departing):
        customer.writes(customer.line("Hi"))
    people.generating.wait_for_turns()
    for customer in departing:
        customer.wait_for_answers()

    states = [stack.ledger.state(customer) for customer in (people.generating, *departing)]
    assert states == ["running", "sending", "sending", "sending"]

    stack.processes["worker"].kill()
    # Both while nobody works: a message in the middle of its attempt, and one before any.
    people.generating.writes(people.generating.line("Hello?"))
    people.waiting.writes(people.waiting.line("Hi"))
    stack.processes["worker"].start()

    eventually(lambda: stack.ledger.state(people.departing) == "ambiguous", what="the doubt")
    people.departing.report(people.departing.offered[0], "sent")
    return people


def test_batch_in_generation_gets_another_attempt(stack: Stack, victims: Victims) -> None:
    customer = victims.generating

    answers = customer.wait_for_answers(2)

    assert customer.turns == customer.lines("Hi", "Hi", "Hello?")
    assert answers == customer.lines("Answer to: Hi", "Answer to: Hello?")
    assert stack.ledger.alerts_of(customer) == []


def test_message_that_came_while_no_worker_ran_is_answered(victims: Victims) -> None:
    assert victims.waiting.wait_for_answers() == [victims.waiting.line("Answer to: Hi")]


def test_text_that_was_leaving_is_resolved_by_a_late_status(stack: Stack, victims: Victims) -> None:
    customer = victims.departing

    stack.ledger.wait_until_settled(customer)

    assert customer.replies == [customer.line("Answer to: Hi")]
    assert (stack.ledger.dead_letters(customer), stack.ledger.alerts_of(customer)) == ([], [])


def test_text_that_was_leaving_and_is_never_heard_of_goes_to_a_person(
    stack: Stack, victims: Victims
) -> None:
    customer = victims.departing_unresolved

    assert stack.ledger.wait_for_death(customer) == "ambiguous/no_status"
    assert customer.replies == [customer.line("Answer to: Hi")]
    assert stack.ledger.alerts_of(customer) == ["ambiguous"]


def test_text_that_was_leaving_is_sent_once_more_where_the_account_prefers_it(
    stack: Stack, victims: Victims
) -> None:
    customer = victims.departing_resent

    customer.wait_for_answers(2)
    stack.ledger.wait_until_settled(customer)

    assert customer.replies == [customer.line("Answer to: Hi")] * 2
    assert len(customer.turns) == 1


@pytest.mark.usefixtures("victims")
def test_worker_that_is_told_to_stop_finishes_what_it_began(stack: Stack) -> None:
    """SIGTERM in the middle of a burst: everyone is answered once, and nothing is in doubt."""
    crowd = [stack.customer() for _ in range(10)]
    for customer in crowd:
        customer.writes(customer.line("Hi"))
    crowd[0].wait_for_turns()

    exit_code = stack.processes["worker"].terminate()
    stack.processes["worker"].start()

    assert exit_code == 0
    assert [c.wait_for_answers() for c in crowd] == [[c.line("Answer to: Hi")] for c in crowd]
    assert [c.turns for c in crowd] == [[c.line("Hi")] for c in crowd]
