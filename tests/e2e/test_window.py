"""An adaptive window by real processes: who is answered before whom, by what they wrote last.

No clock is read. Customers write again when another one was asked about: what then shares an answer
shows whose batch had been collected by that time. A fixed window would have collected them all.
"""

import pytest

from tests.stack.accounts import ATTENTIVE
from tests.stack.stack import Stack

pytestmark = pytest.mark.e2e


def test_question_is_answered_before_words_and_words_before_what_is_unfinished(
    stack: Stack,
) -> None:
    asks, says, goes_on, greets, pauses = (stack.customer(ATTENTIVE) for _ in range(5))
    # The sign must stand at the end, so the mark does not. A greeting is nothing else.
    question, comma = f"{asks.mark} can I book?", f"{pauses.mark} a haircut,"
    words, more, greeting = says.line("a haircut"), goes_on.line("a haircut"), "Hi"
    greets.writes(greeting)
    pauses.writes(comma)
    says.writes(words)
    goes_on.writes(more)
    # Last of all, and answered first.
    asks.writes(question)

    asks.wait_for_turns()
    asks.writes(asks.line("at 15:00"))
    goes_on.writes(goes_on.line("at 15:00"))
    says.wait_for_turns()
    greets.writes(greets.line("at 15:00"))
    pauses.writes(pauses.line("at 15:00"))
    for customer in (asks, says, goes_on, greets, pauses):
        stack.ledger.wait_until_settled(customer)

    assert asks.turns == [question, asks.line("at 15:00")]
    assert says.turns == [words]
    assert goes_on.turns == [f"{more}\n{goes_on.line('at 15:00')}"]
    assert greets.turns == [f"{greeting}\n{greets.line('at 15:00')}"]
    assert pauses.turns == [f"{comma}\n{pauses.line('at 15:00')}"]
    assert asks.replies == [f"Answer to: {turn}" for turn in asks.turns]
