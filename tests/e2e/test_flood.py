"""One customer floods: model calls and memory stay bounded, and others are not delayed."""

import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from batching.model import Limits, Timing
from tests.http_server import Hold, Request
from tests.stack.accounts import SALON
from tests.stack.customer import Customer
from tests.stack.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: The ledger's own bounds are looked at, so those of the budgets are out of the way.
ENVIRON = {
    "BUDGET_CONVERSATION_HOUR": "10000",
    "BUDGET_CONVERSATION_DAY": "10000",
    "BUDGET_ACCOUNT_DAY": "100000",
    "BUDGET_INSTALLATION_DAY": "100000",
}

#: So many at least, and on until the others are answered; documents name what 10,000 came to.
MESSAGES = int(os.environ.get("FLOOD_MESSAGES", "3000"))
SENDERS, ORDINARY = 8, 20
#: How often a busy machine may leave the flooder quiet for so long that a batch ends by that.
PAUSES_MAX = 10
_ids = itertools.count(1)
MESSAGES_MAX, WAITING_MAX = Limits().max_messages, Timing().waiting_max


def write(customer: Customer) -> int:
    response = customer.delivers(customer.line("flood"), f"wamid.flood-{next(_ids)}")
    if response.status_code == 503:
        assert response.json()["error"]["code"] == "conversation_full"
        assert int(response.headers["retry-after"]) > 0
    return response.status_code


def flood(customer: Customer, messages: int, enough: threading.Event) -> Counter[int]:
    """Write as fast as the web takes it, from several connections; return the statuses.

    Goes on after so many ``messages`` until it is ``enough``.
    """
    numbers = itertools.count()

    def write_on() -> Counter[int]:
        statuses: Counter[int] = Counter()
        while next(numbers) < messages or not enough.is_set():
            statuses[write(customer)] += 1
        return statuses

    with ThreadPoolExecutor(SENDERS) as senders:
        counted = [senders.submit(write_on) for _ in range(SENDERS)]
        return sum((one.result() for one in counted), Counter())


def overlapping(requests: list[Request]) -> Iterator[tuple[Request, Request]]:
    """Yield calls of which the second began before the first had ended."""
    for before, after in itertools.pairwise(requests):
        if not before.done_ns or after.came_ns < before.done_ns:
            yield before, after


@pytest.mark.long
def test_flooding_customer_is_bounded_and_delays_nobody(stack: Stack) -> None:
    """The model is slow for the flooder at first: the conversation fills up, and is refused."""
    flooder = stack.customer()
    others = [stack.customer(SALON) for _ in range(ORDINARY)]
    enough = threading.Event()
    enough.set()
    hold = Hold()
    stack.model.answer(hold, to=flooder.mark)
    flooder.writes(*[flooder.line("flood")] * MESSAGES_MAX)
    flooder.wait_for_turns()
    before = stack.ledger.used_bytes()

    # While the first batch is with the model, the conversation takes so much and no more.
    waiting = flood(flooder, 1_000, enough)
    assert waiting == {
        200: WAITING_MAX - MESSAGES_MAX,
        503: 1_000 - WAITING_MAX + MESSAGES_MAX,
    }
    assert len(flooder.turns) == 1
    hold.released.set()

    enough.clear()
    with ThreadPoolExecutor(1) as background:
        flooding = background.submit(flood, flooder, MESSAGES - 1_000, enough)
        try:
            for person in others:
                person.writes(person.line("Hi"))
            for person in others:
                person.wait_for_answers()
            assert not flooding.done()
        finally:
            enough.set()
        statuses = waiting + flooding.result()
    most = stack.ledger.used_bytes()
    stack.ledger.wait_until_settled(flooder)

    accepted = MESSAGES_MAX + statuses[200]
    assert set(statuses) <= {200, 503}
    assert [len(person.turns) for person in others] == [1] * ORDINARY
    batches = [turn.count("\n") + 1 for turn in flooder.turns]
    assert sum(batches) == accepted
    # A batch ends by its size, unless the flood pauses; what waits meanwhile is in the next, whole.
    assert max(batches) <= WAITING_MAX
    assert len(batches) <= accepted // MESSAGES_MAX + PAUSES_MAX
    assert list(overlapping(stack.model.requests_of(flooder.mark))) == []
    # Each accepted message leaves a digest of a few dozen bytes, of which a thousand are kept.
    assert most - before < 4 * 2**20
    figures = f"{len(batches)} calls of the model, {(most - before) // 1024} KiB more"
    print(f"{statuses}, {figures}")  # noqa: T201 - for the documents
