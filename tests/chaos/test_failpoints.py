"""A process ends, stands still or is not answered at each place where that could cost something.

Every message is answered once, or its batch is a dead letter of which a person is notified; the
counters agree with the content. The processes, the server and the provider are real processes; only
the moment is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from tests.chaos.failing_stack import LEASE_MS, FailingStack
from tests.chaos.failpoints import Action, Point
from tests.chaos.judge import all_delivered
from tests.outside import graph_error
from tests.processes import Guard
from tests.stack.stack import running
from tests.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case ends with: texts that reached the provider, and why the batch is dead, if so."""

    texts: int
    dead: str = ""


ANSWERED = Outcome(texts=1)
#: Nobody knows whether the text is with the customer: a person is notified, and it is not repeated.
IN_DOUBT = Outcome(texts=1, dead="ambiguous/no_status")
IN_DOUBT_UNSENT = Outcome(texts=0, dead="ambiguous/no_status")
REFUSED = Outcome(texts=1, dead="fatal_provider/cloud_131047")

#: Points on the way of a dead letter and its alert.
DROPPING = (Point.DROP_AFTER_DEAD_LETTER_BEFORE_ALERT, Point.ALERT_AFTER_POST_BEFORE_ACK)
#: Where the outcome is another than one answer. A pause is survived by everybody: who stood still
#: while sending says afterwards what became of the text.
OTHERWISE = {
    **dict.fromkeys(product(DROPPING, Action), REFUSED),
    (Point.SEND_AFTER_MARK_SENDING, Action.EXIT): IN_DOUBT_UNSENT,
    (Point.SEND_AFTER_MARK_SENDING, Action.LOST): IN_DOUBT_UNSENT,
    (Point.SEND_AFTER_WRITE, Action.EXIT): IN_DOUBT,
    (Point.SEND_AFTER_WRITE, Action.LOST): IN_DOUBT,
    (Point.SEND_AFTER_RESPONSE, Action.EXIT): IN_DOUBT,
    (Point.SEND_AFTER_RESPONSE, Action.LOST): IN_DOUBT,
}


@pytest.fixture(scope="module")
def stack(valkey_binary: str, guard: Guard) -> Iterator[FailingStack]:
    with running(FailingStack(valkey_binary, guard)) as installation:
        assert isinstance(installation, FailingStack)
        yield installation


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("point", Point)
def test_message_is_answered_once_or_a_person_is_notified(
    stack: FailingStack, point: Point, action: Action
) -> None:
    expected = OTHERWISE.get((point, action), ANSWERED)
    customer, ledger = stack.customer(), stack.ledger
    if expected is REFUSED:
        stack.provider.answer(graph_error(131047), to=customer.number)

    stack.provoke(point, action, customer)

    eventually(lambda: len(customer.replies) >= expected.texts, what="the text")
    ledger.wait_until_settled(customer)
    # A process that stood still may have a second copy of anything in hand.
    ledger.let_pass(LEASE_MS)
    dead = [f"{letter.reason}/{letter.detail}" for letter in ledger.dead_letters(customer)]
    assert customer.replies == [customer.line("Answer to: Hi")] * expected.texts
    assert dead == [expected.dead] * bool(expected.dead)
    assert ledger.alerts_of(customer) == [expected.dead.partition("/")[0]] * bool(expected.dead)
    if expected.dead:
        # However often it was posted: by its id it is one.
        eventually(lambda: stack.events_of(customer), what="an event at Sentry")
    assert len(stack.events_of(customer)) == bool(expected.dead)
    eventually(lambda: all_delivered(stack.ledger), what="the alert to be acknowledged")
    ledger.check_counters()
