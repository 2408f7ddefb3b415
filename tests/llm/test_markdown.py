"""Markdown becomes the marks of the channel; what is none stays byte for byte."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.outbound import split, units
from llm.guard import Guarded
from llm.markdown import Formatted, Formatting, formatted
from llm.prompt import Prompt
from tests.fakes import NOON_MS, FakeModel
from tests.repository import ROOT

HARMLESS = ROOT / "tests" / "llm" / "corpus" / "harmless.txt"
BOTH: tuple[Formatting, ...] = ("whatsapp", "plain")


@pytest.mark.parametrize(
    ("said", "whatsapp", "plain"),
    [
        ("**Price:** 5000 KZT", "*Price:* 5000 KZT", "Price: 5000 KZT"),
        ("__Price:__ ~~5000~~ 4000", "*Price:* ~5000~ 4000", "Price: 5000 4000"),
        ("**Cut**, *new* and ***best***", "*Cut*, _new_ and _*best*_", "Cut, new and best"),
        ("**a *b* c**", "*a _b_ c*", "a b c"),
        ("# Menu\n\nHair\n## **Nails** ##", "*Menu*\n\nHair\n*Nails*", "Menu\n\nHair\nNails"),
        ("- **Cut** 5000\n  until 9\n- Color", "- *Cut* 5000\n  until 9\n- Color",
         "- Cut 5000\n  until 9\n- Color"),
        ("1. **May** 2\n2. June", "1. *May* 2\n2. June", "1. May 2\n2. June"),
        ("* **Cut:** 5\n  * **Kids:** 3", "* *Cut:* 5\n  * *Kids:* 3", "* Cut: 5\n  * Kids: 3"),
        ("> **Quote**\n> of it", "> *Quote*\n> of it", "> Quote\n> of it"),
        ("| Service | Price |\n|---|---:|\n| **Cut** | 5000 |\n| Color | |\n\nBye",
         "*Service | Price*\n*Cut* | 5000\nColor | -\n\nBye",
         "Service | Price\nCut | 5000\nColor | -\n\nBye"),
        ("[Book](https://x.example/a_b_c)!", "Book: https://x.example/a_b_c!", None),
        ("[x.example](https://x.example/) <https://y.co>", "x.example https://y.co", None),
        ("**[Book](https://x.example)**", "Book: https://x.example", None),
        ("**https://x.example/a_b**", "https://x.example/a_b", None),
        ("[Write](mailto:a@x.example)", "Write: a@x.example", None),
        ("[+7 727 1](tel:+77271) [call](tel:+77271)", "+7 727 1 call: +77271", None),
        ("![Map](https://x.example/m.png)", "Map: https://x.example/m.png", None),
        ("```python\nprint(1)\n```", "```\nprint(1)\n```", "print(1)"),
        ("~~~\na\n~~~", "```\na\n```", "a"),
        ("``a`` **b**", "`a` *b*", "a b"),
        ("un**frigg**able **b**", "unfriggable *b*", "unfriggable b"),
        ("这是**重点**内容", "这是重点内容", None),
        ("**السعر:** 5000", "*السعر:* 5000", "السعر: 5000"),
        ("**Цена:** 5 000 ₸\n**Время**", "*Цена:* 5 000 ₸\n*Время*", "Цена: 5 000 ₸\nВремя"),
        ("**two\nlines**", "*two*\n*lines*", "two\nlines"),
        ("**x** 5\\*6 &amp; 5*6*7", "*x* 5*6 & 5*6*7", "x 5*6 & 5*6*7"),
        ("<b>free</b><br>for <i>all</i>", "*free*\nfor _all_", "free\nfor all"),
        ("**a** <b>not closed", "*a* <b>not closed", "a <b>not closed"),
        ("*bold* `code`", "*bold* `code`", "bold code"),
    ],
)  # fmt: skip
def test_markdown_becomes_marks(said: str, whatsapp: str, plain: str | None) -> None:
    """``plain`` None: it is the same."""
    assert formatted(said, "whatsapp") == whatsapp
    assert formatted(said, "plain") == (whatsapp if plain is None else plain)


#: Texts without Markdown, or with WhatsApp's own marks.
UNTOUCHED = (
    "5*6", "5*6*7 = 210", "snake_case_name", "#1 of all, #2", "1. May", "1) a\n2) b", "---",
    "a\n---\nb", "a\n===\nb", "10 000*\n* plus materials", "* a\n* b\n\n- c",
    "+ 500 for long hair\n+7 727 250 12 34", "https://x.example/_next_/a_b?c=d_e", "¯\\_(ツ)_/¯",
    "   indented\n      more", "two spaces  \nat the end", "R&D &amp; AT&T", "1 < 2 <3 <Anna>",
    "> a quote", "2 * 3 * 4", "a | b | c", "[ok] (x) [1]: note", "~5 min, ~10 min", "**", "* *",
    "@salon_linden_kz", "Tel. (727) 250-12-34", "Цена: 5*6 м\nЗавтра", "السعر * 5000\n- لا",
    "C:\\temp\\new", "$5 _ $6", "a  b\tc", "👍 *", "- [ ] x", "**Price: **5000", "\n\n a \n", "#",
    "# ", "12:00-13:00", "=3=", "`", "1.5.2026", "x^2_3", "__", "a__b__c", "~~", "![x]", "[x]",
)  # fmt: skip
OF_WHATSAPP = (
    "*bold* and _italic_ and ~struck~", "*Price:* 5000\n_Time:_ 5", "```code```", "`code`",
    "```\ncode\n```", "_*both*_", "*a _b_ c*",
)  # fmt: skip


@pytest.mark.parametrize("formatting", BOTH)
def test_text_without_markdown_is_the_same_byte_for_byte(formatting: Formatting) -> None:
    lines = [it for it in HARMLESS.read_text().splitlines() if it and not it.startswith("#")]
    said = [*UNTOUCHED, *lines, "\n".join(lines)]

    assert [it for it in said if formatted(it, formatting) != it] == []


def test_whatsapps_own_marks_stay() -> None:
    assert [it for it in OF_WHATSAPP if formatted(it, "whatsapp") != it] == []


PIECES = (
    "**b**", "*i*", "_u_", "~~s~~", "# H\n", "- ", "1. ", "> ", "`c`", "[l](https://x.example/a_b)",
    "word", " ", "\n", "\n\n", "5*6", "|a|b|\n|-|-|\n|1|2|\n", ".", "😀",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join))
def test_what_was_converted_is_not_converted_again(said: str) -> None:
    once = formatted(said, "whatsapp")

    assert formatted(once, "whatsapp") == once


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"[]()*_~`#>|<!\\&: \na1", "**", "```", "](", "- "]),
        min_size=1,
        max_size=4,
    )
)
def test_any_answer_is_converted_to_its_end(pieces: list[str]) -> None:
    """Customers influence what is read: an attempt at each sign would hang here."""
    said = ("".join(pieces) * 16_000)[:16_000]

    assert isinstance(formatted(said, "whatsapp"), str)


def test_guard_reads_what_leaves() -> None:
    """An address behind a link's words is as much an address, and so is one that marks split."""
    said = "[Pay here](https://evil.ru/pay), ev**il**.ru, **+7 727 250 12 35**"
    guarded = Guarded(
        Formatted(FakeModel(said), "whatsapp"),
        prompt=Prompt("# Salon", "en", "Asia/Almaty"),
        account_id="salon",
    )

    answer = guarded.answer((), "Hi", now_ms=NOON_MS)

    assert answer.text == "Pay here: […], […], *[…]*"


def _sent(said: str) -> Sequence[str]:
    return split(formatted(said, "whatsapp"), 4_096)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("a" * 4_096, 1),
        ("😀" * 2_048, 1),
        ("**" + "a" * 4_092 + "** b", 1),
        ("**Hi** " * 585, 1),
        ("a" * 4_096 + " **b**", 2),
        ("😀" * 2_049, 2),
    ],
)
def test_answer_that_fits_is_one_message(said: str, parts: int) -> None:
    """Each message is billed. What is measured is the text that leaves, in UTF-16 units."""
    sent = _sent(said)

    assert len(sent) == parts
    assert all(units(part) <= 4_096 for part in sent)
