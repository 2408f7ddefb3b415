"""Every failure is reported, and nothing of a customer is in a log, a report or a key."""

import contextlib
import json
from http import HTTPStatus
from typing import Any

import httpx2
import pytest

from batching.keys import Shard
from demo.child import worker
from tests.e2e.faulty import CRASH
from tests.e2e.test_awaited import hands_over
from tests.fake_sentry import oddities
from tests.http_server import Reply
from tests.stack.accounts import BARBER, HASTY, PATIENT
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually
from tests.webhooks import CLOUD, body, change, post, text_message

pytestmark = pytest.mark.e2e

NAME = "Quintessa Quillfeather"
GARBAGE = "no wake-up but somebody's marmalade, +79998887766"
#: What is reported when everything has failed that can.
ERRORS = {
    "batch.crashed",
    "doorbell.undecodable",
    "outage.ended",
    "request.failed",
    "webhook.unknown_account",
}
#: The ledger's own alerts about it.
ALERTS = {"drift", "fatal_model", "fatal_provider", "handover", "poison", "vanished"}


def alerts(stack: Stack) -> set[str]:
    return {str(event.get("tags", {}).get("kind")) for event in stack.sentry.events}


@pytest.fixture(scope="module")
def failed(stack: Stack) -> Stack:
    """Return the installation after everything in it has failed, with customers' words in hand."""
    stack.canaries |= {NAME, NAME.split()[1]}
    stack.processes["worker"].terminate()
    stack.process("worker", *worker("tests.e2e.faulty:worker")).start()
    # Other settings than the others', and an address with a fault in it.
    faulty = stack.other_web("tests.e2e.faulty:application()", BATCH_IDLE_MS="777")
    with faulty as web:
        everything_fails(stack, web)
    return stack


def everything_fails(stack: Stack, web: httpx2.Client) -> None:
    hostile_webhooks(stack)
    anna, boris, clara, dora = (stack.customer(HASTY) for _ in range(4))
    stack.model.answer(quoting(anna, 400), to=anna.mark)
    stack.provider.answer(quoting(boris, 400), to=boris.number)
    named(anna, "Hi")
    named(boris, "Hi")
    for _ in range(2):
        named(clara, CRASH)
    unreadable_message(stack, dora)
    undecodable_wake_up(stack)
    ledger_that_refuses(stack, stack.customer(BARBER))
    request_that_fails(web, stack.customer(BARBER))
    promised_person(stack, stack.customer(PATIENT))
    for customer in (anna, boris, clara):
        stack.ledger.wait_for_death(customer)
    with contextlib.suppress(AssertionError):  # the test says which of them are missing
        eventually(
            lambda: set(stack.sentry.messages) >= ERRORS and alerts(stack) >= ALERTS,
            what="all reports to arrive",
        )


def named(customer: Customer, text: str) -> None:
    """Have Meta deliver a message with the customer's name beside it, as it does."""
    answer = delivered(customer, text_message("", customer.line(text), customer.number))
    assert answer.status_code == HTTPStatus.OK


def delivered(customer: Customer, item: dict[str, Any], *others: dict[str, Any]) -> httpx2.Response:
    contact = {"wa_id": customer.number, "profile": {"name": NAME}}
    return customer.delivers_item(item, contacts=[contact, *others])


def quoting(customer: Customer, status: int) -> Reply:
    """Return the refusal of somebody who repeats what they were given."""
    quoted = f"cannot take '{customer.mark}' of {NAME} at {customer.number}"
    return Reply(status, {"error": {"message": quoted, "code": 100, "type": quoted}})


def promised_person(stack: Stack, customer: Customer) -> None:
    """Have a model tell a person all that it was told, and the customer that they wait for one."""
    summary = f"{NAME}, {customer.number}: {customer.mark}"
    stack.model.answer(hands_over(customer, summary), to=customer.mark)
    named(customer, "A refund for me")
    customer.wait_for_answers(2)


def hostile_webhooks(stack: Stack) -> None:
    eve = stack.customer(BARBER)
    words = eve.line(f"Hi, {NAME} here, {eve.number}")
    broken: dict[str, Any] = {"type": "text", "text": {"body": words}}
    # It may be of either of the two.
    assert delivered(eve, broken, {"wa_id": "10000000009"}).status_code == HTTPStatus.OK
    unknown = body(change(text_message("w", words, eve.number), number="999"))
    assert post(stack.web, unknown).status_code == HTTPStatus.NOT_FOUND
    for forged in ("", words):
        content, headers = json.dumps({"text": words}), {"X-Hub-Signature-256": forged}
        refused = stack.web.post(f"{CLOUD}?text={eve.mark}", content=content, headers=headers)
        assert refused.status_code == HTTPStatus.UNAUTHORIZED


def unreadable_message(stack: Stack, customer: Customer) -> None:
    """Spoil a message in the ledger, and let a worker stumble over it."""
    named(customer, "Hi")
    shard, conversation_id = shard_of(stack, customer)
    client: Any = stack.ledger.client
    kept: bytes = client.lindex(shard.open_messages(conversation_id), 0)
    client.lset(shard.open_messages(conversation_id), 0, b"{" + kept)
    assert stack.ledger.wait_for_death(customer).startswith("vanished")


def undecodable_wake_up(stack: Stack) -> None:
    with stack.valkey.client(1) as broker:
        broker.hset("dramatiq:generate.msgs", "x1", GARBAGE)
        broker.rpush("dramatiq:generate", "x1")


def ledger_that_refuses(stack: Stack, customer: Customer) -> None:
    shard, conversation_id = shard_of(stack, customer)
    stack.ledger.client.set(shard.seen(conversation_id), "of another type")
    item = text_message("", customer.line("Hi"), customer.number)
    assert delivered(customer, item).status_code == HTTPStatus.SERVICE_UNAVAILABLE
    stack.ledger.client.delete(shard.seen(conversation_id))


def request_that_fails(web: httpx2.Client, customer: Customer) -> None:
    content = customer.line(f"Hi, {NAME}, {customer.number}")
    failed = web.post(f"/broken?q={customer.mark}", content=content)
    assert failed.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert customer.mark not in failed.text


def shard_of(stack: Stack, customer: Customer) -> tuple[Shard, str]:
    conversation_id = stack.ledger.conversation_id(customer)
    return stack.ledger.store.shard_of(conversation_id), conversation_id


def test_every_failure_is_reported(failed: Stack) -> None:
    assert set(failed.sentry.messages) >= ERRORS
    assert alerts(failed) >= ALERTS
    crashes = [
        error["type"]
        for event in failed.sentry.events
        if (event.get("logentry") or {}).get("message") == "batch.crashed"
        for error in event["exception"]["values"]
    ]
    assert set(crashes) == {"KeyError", "ValueError"}


def test_reports_have_the_form_that_sentry_takes(failed: Stack) -> None:
    """Each says where it comes from; faults of a request and of a task are issues of their own."""
    events = failed.sentry.events
    issues = {
        tuple(event["fingerprint"][:1] + event["fingerprint"][2:3])
        for event in events
        if "exception" in event
    }

    assert [(odd, event) for event in events for odd in oddities(event)] == []
    assert {event["tags"]["role"] for event in events} >= {"web", "worker", "scheduler"}
    assert issues >= {("KeyError", "_Broken.on_post"), ("ValueError", "_crashing")}


def test_no_report_and_no_log_repeats_what_broke_it(failed: Stack) -> None:
    """Customers' own words are looked for after every test; these are of no customer."""
    places = failed.logs() | {"Sentry": failed.sentry.text}

    found = [
        f"{word} in {name}"
        for name, text in places.items()
        for word in ("marmalade", "79998887766", CRASH)
        if word in text
    ]
    assert found == []


def test_canary_would_be_found(failed: Stack) -> None:
    """What is searched is really there: constant names in Sentry, digests in the names of keys."""
    traces, anna = failed.traces(), failed.customers[1]

    conversation_id = failed.ledger.conversation_id(anna)
    assert "batch.crashed" in traces["Sentry"]
    assert conversation_id in traces["Sentry"]
    assert conversation_id in traces["names of keys"]
    assert conversation_id in traces["worker"] or conversation_id in traces["web"]
    assert "ai_admin_messages_accepted_total" in traces["metrics"]
