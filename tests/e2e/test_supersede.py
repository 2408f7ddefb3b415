"""An answer is made anew while the model is asked, through real processes, whatever dies."""

import pytest

from batching.inspect import by_reason, counters, total
from tests.http_server import hang
from tests.stack.accounts import EAGER
from tests.stack.customer import Customer
from tests.stack.stack import Stack

pytestmark = pytest.mark.e2e


def discarded(stack: Stack) -> int:
    named = total(counters(stack.ledger.store))
    return by_reason(named, "drafts_discarded").get(EAGER.account_id, 0)


def asks(anna: Customer) -> str:
    """Have the customer write, and return what they wrote once the model is asked about it."""
    line = anna.line("A haircut on Friday?")
    anna.writes(line)
    anna.wait_for_turns()
    return line


def test_running_call_is_cut_off_and_the_answer_made_anew(stack: Stack) -> None:
    anna, before = stack.customer(EAGER), discarded(stack)
    # An answer that never comes: only by being cut off can the run end before its time-out.
    stack.model.answer(hang, to=anna.mark)
    first = asks(anna)

    more = anna.line("for two people")
    anna.writes(more)
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    assert anna.turns == [first, f"{first}\n{more}"]
    assert anna.replies == [f"Answer to: {first}\n{more}"]
    assert discarded(stack) == before + 1
    assert stack.ledger.alerts_of(anna) == []


@pytest.mark.parametrize("dies", ["worker", "scheduler"])
def test_answer_is_made_anew_though_a_process_is_killed_meanwhile(stack: Stack, dies: str) -> None:
    anna = stack.customer(EAGER)
    stack.model.answer(hang, to=anna.mark)
    first = asks(anna)
    more = anna.line("for two people")
    anna.writes(more)

    stack.processes[dies].kill()
    stack.processes[dies].start()
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    assert anna.replies == [f"Answer to: {first}\n{more}"]
    assert anna.turns[-1] == f"{first}\n{more}"
