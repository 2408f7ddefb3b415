"""What the ledger cannot take is not acknowledged; a killed ledger: ``tests/chaos``."""

from collections.abc import Callable
from http import HTTPStatus

import httpx2
import pytest

from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: What the ledger suffers, and how that ends. While it hangs the command may still be carried out
#: later: its redelivery is a duplicate. A failover leaves the old primary read-only.
TROUBLES: dict[str, tuple[Callable[[Stack], object], Callable[[Stack], object]]] = {
    "stopped": (lambda s: s.valkey.kill(), lambda s: s.valkey.start()),
    "hanging": (lambda s: s.valkey.pause(), lambda s: s.valkey.resume()),
    "full": (
        lambda s: s.ledger.client.config_set("maxmemory", "1mb"),
        lambda s: s.ledger.client.config_set("maxmemory", "0"),
    ),
    "replica": (
        lambda s: s.ledger.client.replicaof("127.0.0.1", "1"),
        lambda s: s.ledger.client.replicaof("NO", "ONE"),
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_message_is_refused_while_the_ledger_cannot_take_it_and_counted_once_later(
    stack: Stack, trouble: str
) -> None:
    anna = stack.customer()
    begin, end = TROUBLES[trouble]

    def delivered() -> bool:
        return anna.delivers(anna.line("Hi"), f"wamid.{trouble}").status_code == HTTPStatus.OK

    begin(stack)
    refused = anna.delivers(anna.line("Hi"), f"wamid.{trouble}")
    end(stack)

    assert is_told_to_come_again(refused)
    eventually(delivered, what="200", every_s=0.3)
    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]
    assert anna.turns == [anna.line("Hi")]


def test_readiness_follows_the_ledger(stack: Stack) -> None:
    """Within the second for which an answer is kept."""
    before = stack.web.get("/readyz").status_code
    stack.valkey.kill()
    eventually(lambda: misses_the_ledger(stack), what="/readyz to be red")
    alive = stack.web.get("/livez").status_code
    stack.valkey.start()

    assert (before, alive) == (200, 200)
    stack.wait_until_ready()


def misses_the_ledger(stack: Stack) -> bool:
    answer = stack.web.get("/readyz")
    unready = answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return unready and answer.json()["checks"]["ledger"]["ok"] is False


def is_told_to_come_again(response: httpx2.Response) -> bool:
    unavailable = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return unavailable and int(response.headers["Retry-After"]) > 0
