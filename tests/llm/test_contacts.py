"""Where a text sends people, however it is written."""

import pytest

from llm.guard import Contact, contacts, replace_contacts


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("https://salon.example/prices?a=1#b", "salon.example"),
        ("HTTP://WWW.Salon.Example:8080", "salon.example"),
        ("www.salon.example", "salon.example"),
        ("salon.ru", "salon.ru"),
        ("SALON.RU/x", "salon.ru"),
        ("салон.рф", "салон.рф"),
        ("..salon.ru", "salon.ru"),
        ("salon\u3002com", "salon.com"),
        ("[prices](https://salon.example/x)", "salon.example"),
        ("<a href='https://salon.example'>", "salon.example"),
        ("https://salon.example.evil.ru", "salon.example.evil.ru"),
        ("http://192.0.2.1/x", "192.0.2.1"),
        ("https://salon.example@evil.ru", ""),
        ("https://salon.example\\@evil.ru", ""),
        ("https://evil.ru\\.salon.example", ""),
        ("https://evil.ru%2f.salon.example", ""),
        ("javascript://salon.example/%0aalert(1)", ""),
        ("tg://resolve?domain=x", ""),
        ("x:\\\\salon.example", ""),
    ],
)
def test_link_is_known_by_the_host_that_it_leads_to(text: str, key: str) -> None:
    """None is trusted about whose host programs may disagree."""
    assert list(contacts(text)) == [Contact("link", key)]


@pytest.mark.parametrize(
    "text",
    [
        "+7 (999) 000-00-01",
        "8 999 000 00 01",
        "89990000001",
        "+7.999.000.00.01",
        "(999) 000\u201100\u201101",
        "tel:+79990000001",
        "+٧٩٩٩٠٠٠٠٠٠١",
    ],
)
def test_number_is_the_same_however_it_is_written(text: str) -> None:
    assert list(contacts(text)) == [Contact("number", "990000001")]


@pytest.mark.parametrize("text", ["anna.b+c@mail.example", "mailto:Anna.B+C@Mail.example."])
def test_address_is_the_same_however_it_is_written(text: str) -> None:
    assert list(contacts(text)) == [Contact("email", "anna.b+c@mail.example")]


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
        "4111 1111 1111 1111 11",
        "3-4 people, 2+2, 50%",
        "@salon",
        "and/or",
    ],
)
def test_dates_hours_and_prices_are_no_contacts(text: str) -> None:
    assert list(contacts(text)) == []


def test_sentence_keeps_its_punctuation() -> None:
    text = (
        "See https://a.example/x). Or (www.b.example), write to c@d.example! Call +49 30 1234567."
    )

    assert replace_contacts(text, lambda _: "…") == "See …). Or (…), write to …! Call …."


def test_contact_that_is_to_stay_stays() -> None:
    assert (
        replace_contacts("a@b.example, +49 30 1234567", lambda _: None)
        == "a@b.example, +49 30 1234567"
    )


@pytest.mark.parametrize("said", ["a", "a.", "a@", "+", "1 ", "www.", "://", "a-", "(", "a:"])
def test_long_text_of_one_sign_is_read_to_its_end(said: str) -> None:
    """Customers write what is searched: a pattern that tries again at each sign would hang here."""
    assert len(list(contacts(said * 200_000))) < 200_000
