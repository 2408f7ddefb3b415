"""What is read out of a prompt file: the price list, the hours, the address."""

from pathlib import Path

import pytest

import llm.scripted
from llm.scripted.facts import Facts, Service
from llm.scripted.language import fold, load
from llm.scripted.times import Periods, read_hours, spans

LANGUAGES = load(Path(llm.scripted.__file__).parent / "languages")

PROMPT = """
# Salon **Linden**

We cut hair: since 1999.

## What we charge: prices

Prices include VAT.
- **Haircut**: 35 EUR, 40 min
* Beard trim — 15 EUR
3. Consultation: free
| Service | Price | Time |
| --- | --- | --- |
| Perm | 90 EUR | 2 h |
- Wedding style: ask us

## Как нас найти
Lindenstraße 0
Berlin

## Questions
- You can pay by card.

## Tone
Friendly: 100 %.
"""


def hours_of(text: str) -> list[Periods] | None:
    return read_hours(LANGUAGES.mark_times(fold(text)))


def read_facts(text: str) -> Facts:
    return Facts(text, LANGUAGES)


def test_sections_are_found_by_their_headings() -> None:
    facts = read_facts(PROMPT)

    assert (facts.name, facts.hours) == ("Salon **Linden**", None)
    assert facts.services == [
        Service("Haircut", "35 EUR, 40 min"),
        Service("Beard trim", "15 EUR"),
        Service("Consultation", "free"),
        Service("Perm", "90 EUR, 2 h"),
    ]
    assert facts.address == "Lindenstraße 0 Berlin"
    assert facts.notes == ["You can pay by card."]


def test_russian_headings_and_prices_are_read() -> None:
    facts = read_facts(
        "# Салон\n## Цены\n- Стрижка женская — 2000 ₽\n- Спа/SPA - от 3000 ₽\n"
        "## Часы работы\nПн–Пт 10:00–20:00\nСб, Вс: выходной\n"
        "## Адрес\nЛиповая улица, 0\n## Полезно знать\n- Можно оплатить картой."
    )

    assert facts.services == [
        Service("Стрижка женская", "2000 ₽"),
        Service("Спа/SPA", "от 3000 ₽"),
    ]
    assert (facts.name, facts.address) == ("Салон", "Липовая улица, 0")
    assert facts.notes == ["Можно оплатить картой."]
    assert facts.hours == hours_of("mon-fri 10-20")


@pytest.mark.parametrize(
    "text", ["", "# Name", "no headings: 5", "## Prices", "|||", "## Hours\n9"]
)
def test_file_without_facts_has_none(text: str) -> None:
    facts = read_facts(text)

    assert (facts.services, facts.hours, facts.address, facts.notes) == ([], None, "", [])


def days(*runs: tuple[int, str]) -> list[str]:
    """Return the times of Monday to Sunday out of so many days with the same ones."""
    return [times for count, times in runs for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Monday–Friday: 10:00–20:00", days((5, "10:00–20:00"), (2, ""))),
        ("Mon - Sat 9 am to 5:30 pm", days((6, "09:00–17:30"), (1, ""))),
        ("Daily 9.00-21.00", days((7, "09:00–21:00"))),
        ("Open from 9:00 to 18:00", days((7, "09:00–18:00"))),
        (
            "Tue, Thu: 10-13, 14-19",
            ["", "10:00–13:00, 14:00–19:00", "", "10:00–13:00, 14:00–19:00", "", "", ""],
        ),
        (
            "weekdays 10:00-20:00, weekends 11:00-18:00",
            days((5, "10:00–20:00"), (2, "11:00–18:00")),
        ),
        (
            "Every day 10:00–20:00\nSunday: closed\nHolidays: 11:00–15:00",
            days((6, "10:00–20:00"), (1, "")),
        ),
        ("Fri–Mon 18:00–02:00", days((1, "18:00–02:00"), (3, ""), (3, "18:00–02:00"))),
        ("Daily: 24/7", days((7, "00:00–24:00"))),
        ("| Monday | 10:00–20:00 |", days((1, "10:00–20:00"), (6, ""))),
        ("Понедельник — среда с 9 до 18", days((3, "09:00–18:00"), (4, ""))),
        (
            "По будням 10:00–20:00, в субботу 11:00–18:00, воскресенье — выходной",
            days((5, "10:00–20:00"), (1, "11:00–18:00"), (1, "")),
        ),
        ("ежедневно с 10:00 до 22:00", days((7, "10:00–22:00"))),
    ],
)
def test_hours_are_read_as_people_write_them(text: str, said: list[str]) -> None:
    hours = hours_of(text)

    assert hours is not None
    assert [spans(periods) for periods in hours] == said


@pytest.mark.parametrize("text", ["", "by appointment", "Monday", "25:00–99:99", "closed"])
def test_text_without_hours_tells_none(text: str) -> None:
    hours = hours_of(text)

    assert hours is None or not any(hours)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("haircut", [["Women's haircut", "Men's haircut"]]),
        ("MENS HAIRCUTS", [["Men's haircut"]]),
        ("men’s haircut and manicure", [["Men's haircut"], ["Manicure"]]),
        ("women's and men's haircut", [["Women's haircut"], ["Men's haircut"]]),
        ("colouring", [["Hair colouring"]]),
        ("colour my hair", [["Hair colouring"]]),
        ("стрижку", [["Women's haircut"]]),
        ("маникюра", [["Manicure"]]),
        ("coloring", [["Hair colouring"]]),
        ("hair", []),
        ("hairs and men", []),
        ("massage", []),
        ("good manners", []),
        ("how much for you and me", []),
        ("", []),
    ],
)
def test_service_is_known_by_its_words(text: str, names: list[list[str]]) -> None:
    facts = read_facts(
        "## Prices\n- Women's haircut / Стрижка: 45\n- Men's haircut: 30\n"
        "- Hair colouring: 80\n- Manicure / Маникюр: 28"
    )

    assert [
        [one.name.split(" /")[0] for one in choice] for choice in facts.mentioned(text)
    ] == names
