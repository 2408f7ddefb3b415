"""A person who was promised is told, through real processes, whatever dies meanwhile."""

import json
from typing import Any

import pytest

from batching.inspect import awaited
from llm.desk import default
from tests.http_server import Reply
from tests.stack.accounts import PATIENT
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually
from tests.webhooks import body, post

pytestmark = pytest.mark.e2e

PROMISE = "A person from the team will answer here."


def hands_over(customer: Customer, summary: str = "Refund") -> Reply:
    """Return a model's answer that promises a person, and calls for one."""
    summary = f"{summary} for {customer.mark}"
    arguments = json.dumps({"reason": "upset", "summary": summary, "urgency": "high"})
    call = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "hand_over", "arguments": arguments},
    }
    said = {"role": "assistant", "content": customer.line(PROMISE), "tool_calls": [call]}
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
    return Reply(body={"object": "chat.completion", "choices": [choice]})


def test_customer_who_waits_for_long_is_told_once(stack: Stack) -> None:
    anna = stack.customer(PATIENT)
    stack.model.answer(hands_over(anna), to=anna.mark)

    anna.writes(anna.line("What about my second payment?"))
    anna.wait_for_answers(2)
    stack.ledger.wait_until_settled(anna)
    conversation_id = stack.ledger.conversation_id(anna)
    (waiting,) = awaited(stack.ledger.store, [conversation_id], content=True)

    assert anna.replies == [anna.line(PROMISE), default("en", "apology")]
    assert anna.mark in waiting.summary
    assert stack.ledger.alerts_of(anna) == ["handover"]


def person_writes(stack: Stack, customer: Customer, text: str) -> None:
    """Have Meta report what a person wrote to the customer from the phone of the business."""
    echo = {
        "from": "79990000000",
        "to": customer.number,
        "id": f"wamid.person-{customer.mark}",
        "timestamp": str(stack.ledger.store.now_ms() // 1000),
        "type": "text",
        "text": {"body": text},
    }
    metadata = {
        "display_phone_number": "79990000000",
        "phone_number_id": customer.account.phone_number_id,
    }
    value = {"messaging_product": "whatsapp", "metadata": metadata, "message_echoes": [echo]}
    change: dict[str, Any] = {"field": "smb_message_echoes", "value": value}
    assert post(stack.web, body(change)).is_success


@pytest.mark.parametrize("dies", ["nobody", "worker", "scheduler"])
def test_promised_person_is_alerted_once_and_nobody_talks_over_them(
    stack: Stack, dies: str
) -> None:
    anna = stack.customer()
    # A worker that dies before it kept the answer has the question asked again.
    stack.model.answer(hands_over(anna), hands_over(anna), to=anna.mark)

    anna.writes(anna.line("What about my second payment?"))
    anna.wait_for_turns()
    if dies != "nobody":
        stack.processes[dies].kill()
        stack.processes[dies].start()
    replies = anna.wait_for_answers()
    anna.writes(anna.line("Hello?"))
    stack.ledger.wait_until_settled(anna)
    (waiting,) = awaited(stack.ledger.store, [stack.ledger.conversation_id(anna)])

    assert replies == [anna.line(PROMISE)] == anna.replies
    assert stack.ledger.alerts_of(anna).count("handover") == 1
    assert (waiting.reason, waiting.urgency) == ("upset", "high")
    assert len(set(anna.turns)) == 1

    person_writes(stack, anna, anna.line("I am here"))
    eventually(
        lambda: not awaited(stack.ledger.store, [waiting.conversation_id]), what="their person"
    )
