"""What the ledger cannot take is not acknowledged; what it took outlives its end."""

from http import HTTPStatus

import httpx2
import pytest

from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def test_message_is_refused_while_the_ledger_is_stopped_and_accepted_later(stack: Stack) -> None:
    anna = stack.customer()
    stack.valkey.kill()

    refused = anna.delivers(anna.line("Hi"), "wamid.stopped")
    stack.valkey.start()

    assert is_told_to_come_again(refused)
    redeliver(anna, "wamid.stopped")
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


def test_message_is_refused_while_the_ledger_hangs_and_counted_once_later(stack: Stack) -> None:
    """The command may still be carried out when the server wakes up: its redelivery is a
    duplicate."""
    anna = stack.customer()
    stack.valkey.pause()

    refused = anna.delivers(anna.line("Hi"), "wamid.hanging")
    stack.valkey.resume()

    assert is_told_to_come_again(refused)
    redeliver(anna, "wamid.hanging")
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]
    assert anna.turns == [anna.line("Hi")]


def test_message_is_refused_while_the_ledger_is_full_and_accepted_later(stack: Stack) -> None:
    anna = stack.customer()
    stack.ledger.client.config_set("maxmemory", "1mb")

    refused = anna.delivers(anna.line("Hi"), "wamid.full")
    stack.ledger.client.config_set("maxmemory", "0")

    assert is_told_to_come_again(refused)
    redeliver(anna, "wamid.full")
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


def test_message_is_refused_while_the_ledger_is_a_replica(stack: Stack) -> None:
    """A failover leaves the old primary read-only."""
    anna = stack.customer()
    stack.ledger.client.replicaof("127.0.0.1", "1")

    refused = anna.delivers(anna.line("Hi"), "wamid.replica")
    stack.ledger.client.replicaof("NO", "ONE")

    assert is_told_to_come_again(refused)
    redeliver(anna, "wamid.replica")
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


def test_readiness_follows_the_ledger(stack: Stack) -> None:
    before = stack.web.get("/readyz").status_code
    stack.valkey.kill()
    down, alive = stack.web.get("/readyz"), stack.web.get("/livez")
    stack.valkey.start()

    assert (before, down.status_code, alive.status_code) == (200, 503, 200)
    assert down.json()["checks"]["ledger"]["ok"] is False
    stack.wait_until_ready()


def test_acknowledged_message_outlives_a_killed_ledger(stack: Stack) -> None:
    anna = stack.customer()
    anna.writes(*anna.lines("Hi", "tomorrow?"))

    stack.valkey.kill()
    stack.valkey.start()

    assert anna.wait_for_answers() == ["Answer to: " + "\n".join(anna.lines("Hi", "tomorrow?"))]


def is_told_to_come_again(response: httpx2.Response) -> bool:
    unavailable = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return unavailable and int(response.headers["Retry-After"]) > 0


def redeliver(customer: Customer, message_id: str) -> None:
    """Deliver the message again and again, as Meta does, until it is acknowledged."""

    def acknowledged() -> bool:
        response = customer.delivers(customer.line("Hi"), message_id)
        return response.status_code == HTTPStatus.OK

    eventually(acknowledged, what="200", every_s=0.3)
