"""What models may cost, counted where it is paid: at the model's door."""

from typing import Any

import pytest

from batching.flow import switch_model
from tests.outside import model_error
from tests.stack.accounts import CAPPED, SALON, THRIFTY
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def has_waited(stack: Stack, customer: Customer) -> None:
    """Let the minute of a batch that waits, or is about to, be over at once."""
    eventually(lambda: stack.ledger.state(customer) == "waiting", what="the batch to wait")
    conversation_id = stack.ledger.conversation_id(customer)
    lease = stack.ledger.store.shard_of(conversation_id).lease
    client: Any = stack.ledger.client
    client.zadd(lease, {conversation_id: 0}, xx=True)


def wait_for_refusals(stack: Stack, why: str, times: int) -> None:
    (shard,) = stack.ledger.store.keyring.shards
    client: Any = stack.ledger.client
    eventually(
        lambda: int(client.hget(shard.stats, f"unasked:{why}") or 0) >= times,
        what=f"{times} refusals for {why}",
    )


def test_questions_that_fail_are_asked_as_often_as_the_budget_says(stack: Stack) -> None:
    anna = stack.customer(THRIFTY)
    stack.model.answer(*[model_error(500)] * 10, to=anna.mark)
    anna.writes(anna.line("Hi"))
    wait_for_refusals(stack, "budget_conversation", 1)
    has_waited(stack, anna)
    wait_for_refusals(stack, "budget_conversation", 2)

    assert len(anna.turns) == 2
    assert stack.ledger.alerts_of(anna) == ["budget_conversation"]
    assert stack.ledger.dead_letters(anna) == []


def test_account_asks_no_more_than_its_day_allows_whoever_writes(stack: Stack) -> None:
    customers = [stack.customer(CAPPED) for _ in range(12)]
    for customer in customers:
        customer.writes(customer.line("Hi"))
    wait_for_refusals(stack, "budget_account", 7)

    eventually(lambda: sum(len(c.replies) for c in customers) == 5, what="five replies")
    assert sum(len(customer.turns) for customer in customers) == 5
    assert stack.ledger.alerts("account", "capped") == ["budget_account"]
    assert [letter for c in customers for letter in stack.ledger.dead_letters(c)] == []


def test_model_that_is_switched_off_is_not_asked_until_it_is_on(stack: Stack) -> None:
    boris = stack.customer(SALON)
    switch_model(stack.ledger.store, on=False)
    boris.writes(boris.line("Hi"))
    wait_for_refusals(stack, "model_off", 1)
    assert boris.turns == []

    switch_model(stack.ledger.store, on=True)
    has_waited(stack, boris)

    assert boris.wait_for_answers() == [boris.line("Answer to: Hi")]
