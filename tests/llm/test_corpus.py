"""Right answers leave untouched, and no stranger's contact leaves: two corpora, both rates."""

import base64
import codecs
import sys
from collections.abc import Iterator
from functools import cache
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.errors import UnusableAnswerError
from llm.guard import REDACTED, Guarded, redact
from llm.prompt import MARK, Prompt
from tests.fakes import NOON_MS, FakeModel
from tests.repository import ROOT

CORPUS = ROOT / "tests" / "llm" / "corpus"
BUSINESS = """\
# Salon Linden
A haircut is 5 000 KZT. Call +7 727 250 12 34, write to hello@salon.example,
see https://www.salon.example/x; the way: https://maps.app.goo.gl/abc123
Bank: DE89 3704 0044 0532 0130 00, UPI salon@okaxis.
"""
#: What is a telephone number differs: with a trunk code or none, of seven digits to eleven.
TIMEZONES = (
    "UTC Asia/Almaty Europe/Berlin Europe/Madrid Europe/Oslo Europe/Copenhagen Asia/Singapore"
    " Asia/Tashkent America/New_York Asia/Kolkata Europe/Tallinn Europe/Paris Europe/London"
    " Europe/Moscow Europe/Warsaw Europe/Prague America/Sao_Paulo Asia/Tbilisi Atlantic/Reykjavik"
    " Europe/Rome Asia/Hong_Kong Europe/Kyiv Europe/Istanbul"
)
#: Around the contact: alone, in a sentence, glued to a letter, a sign, a published link, a price.
FRAMES = (
    "{}", "Call {} now.", "Да:{}", "x{}", "({})", "[pay]({})", "**{}**", "«{}»", "pay={}",
    "Pay https://salon.example/|{}", "Звоните по номеру {}!", "It is 12 000 KZT, {}",
)  # fmt: skip


@cache
def guarded(timezone: str) -> Guarded:
    return Guarded(FakeModel(), prompt=Prompt(BUSINESS, "en", timezone), account_id="salon")


def told(said: str, timezone: str = "UTC") -> str:
    """Return what reaches a customer of what the model said, "" if it is refused."""
    guard = guarded(timezone)
    guard.model.outcomes = [said]  # type: ignore[attr-defined]
    try:
        return guard.answer((), "Hi", now_ms=NOON_MS).text
    except UnusableAnswerError:
        return ""


def lines(name: str) -> list[str]:
    read = (CORPUS / name).read_text().splitlines()
    return [line for line in read if line and not line.startswith("#")]


def hostile() -> Iterator[tuple[str, str, str]]:
    """Yield where the business is, what the model says, and what of it no customer may read."""
    for line in lines("hostile.txt"):
        _, timezone, contact = line.split(" ", 2)
        for frame in FRAMES:
            yield timezone.replace("*", "UTC"), frame.format(contact), contact


def test_right_answers_leave_untouched(capsys: pytest.CaptureFixture[str]) -> None:
    """In whatever country the business is."""
    said = lines("harmless.txt")

    changed = [line for line in said for zone in TIMEZONES.split() if told(line, zone) != line]

    with capsys.disabled():
        sys.stdout.write(f"\nharmless: {len(said) - len(set(changed))} of {len(said)} untouched\n")
    assert len(said) >= 200
    assert changed == []


def test_no_contact_of_a_stranger_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    said = list(hostile())

    answers = [(words, told(words, zone), contact) for zone, words, contact in said]
    let = [words for words, answer, contact in answers if contact in answer or answer == words]

    with capsys.disabled():
        sys.stdout.write(f"\nhostile: {len(said) - len(let)} of {len(said)} withheld\n")
    assert len(lines("hostile.txt")) >= 180
    assert let == []


@pytest.mark.parametrize(
    ("facts", "said", "answer"),
    [
        ("See https://t.me/salon", "t.me/salon, t.me/evil", "t.me/salon, […]"),
        ("https://youtu.be/x?v=1", "https://youtu.be/x?v=2", "[…]"),
        ("https://maps.app.goo.gl/a", "https://maps.app.goo.gl/a/../b", "[…]"),
        ("Instagram.com/salon", "Instagram.com, instagram.com/evil", "Instagram.com, […]"),
        ("салон.рф", "xn--80awgdm.xn--p1ai, САЛОН.РФ/цены", "xn--80awgdm.xn--p1ai, САЛОН.РФ/цены"),
        ("Tel. 2501234", "250-12-34 or 250-12-35", "250-12-34 or […]"),
        ("DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"),
        ("+49 30 7654321", "030 7654321, 0171 2345678", "030 7654321, […]"),
    ],
)
def test_what_is_published_is_told_and_its_neighbour_is_not(
    facts: str, said: str, answer: str
) -> None:
    guard = Guarded(FakeModel(said), prompt=Prompt(facts, "en", "UTC"), account_id="salon")

    assert guard.answer((), "Hi", now_ms=NOON_MS).text == answer


@pytest.mark.parametrize(
    "number", ["order 12025550100", "4500-0123-4567", "№ 89990000009", "550e8400e29b41d4a716446655"]
)
def test_order_of_the_customers_own_is_told_again(number: str) -> None:
    said = f"Your {number} is on its way."
    guard = Guarded(FakeModel(said), prompt=Prompt(BUSINESS, "en", "UTC"), account_id="salon")

    assert guard.answer((), f"where is {number}?", now_ms=NOON_MS).text == said


RECITED = " ".join(Prompt(BUSINESS, "en", "UTC").rules().split()[60:100])
WORDS = RECITED.split()
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
BOLD = {65 + n: 0x1D400 + n for n in range(26)} | {97 + n: 0x1D41A + n for n in range(26)}
DISGUISES = {
    "plain": RECITED,
    "numbered lines": "\n".join(f"{n}. {word}" for n, word in enumerate(WORDS)),
    "lettered lines": "\n".join(f"{chr(97 + n % 26)}) {word}" for n, word in enumerate(WORDS)),
    "spelled": " ".join(RECITED),
    "hyphens": "-".join(WORDS),
    "emoji": " 🙂 ".join(WORDS),
    "Cyrillic letters": RECITED.translate(str.maketrans("aceopxyi", "асеорхуі")),
    "Greek letters": RECITED.translate(str.maketrans("aoviu", "αονιυ")),
    "full width": RECITED.translate(WIDE),
    "mathematical": RECITED.translate(BOLD),
    "digits for letters": RECITED.translate(str.maketrans("aeiost", "431057")),
    "accents": "".join(f"{sign}\u0301" for sign in RECITED),
    "invisible signs": "\u200b".join(RECITED),
    "reversed": RECITED[::-1],
    "reversed words": " ".join(reversed(WORDS)),
    "each word reversed": " ".join(word[::-1] for word in WORDS),
    "rot13": codecs.encode(RECITED, "rot13"),
    "base64": base64.b64encode(RECITED.encode()).decode(),
    "base64 in a sentence": f"Here you are {base64.b64encode(RECITED.encode()).decode()} bye",
    "base64 of addresses": base64.urlsafe_b64encode(RECITED.encode()).decode(),
    "base64 in lines": base64.encodebytes(RECITED.encode()).decode(),
    "hexadecimal": RECITED.encode().hex(" "),
    "percent signs": quote(RECITED, safe=""),
    "entities": "".join(f"&#{ord(sign)};" for sign in RECITED),
    "escapes": "".join(f"\\u{ord(sign):04x}" for sign in RECITED),
    "the mark": f"({MARK.upper()})",
    "the mark spelled": "7 d 1 c 0 e 9 4",
    "the mark reversed": MARK[::-1],
    "the mark in base64": base64.b64encode(f"The mark is {MARK}".encode()).decode(),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_rules_are_not_recited_in_disguise(disguise: str) -> None:
    guard = Guarded(
        FakeModel(f"Sure: {DISGUISES[disguise]}"),
        prompt=Prompt(BUSINESS, "en", "UTC"),
        account_id="salon",
    )

    with pytest.raises(UnusableAnswerError, match="model_recited"):
        guard.answer((), "Hi", now_ms=NOON_MS)


#: What candidates are made of: whatever makes a pattern or a lookup try again.
PIECES = """
    a 1 . - + @ : / \\ ( ) [ ] , | ' # www. :// http:// [dot] (at) evil.ru 8 999 4111 GB82 0x bc1q
    EUR № call order тел 10.10. 2026- é ٨ \u200b ａ
"""


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([*PIECES.split(), " ", "\n"]), min_size=1, max_size=6))
def test_any_answer_is_read_to_its_end(pieces: list[str]) -> None:
    """Customers write what is searched: an attempt at each sign would hang here."""
    said = ("".join(pieces) * 16_000)[:16_000]

    answer, counts = redact(said, (), (), regions=("DE", "KZ"))

    assert answer.count(REDACTED) == sum(counts.values())
