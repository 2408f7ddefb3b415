"""What is read out of a prompt file, and which day and time a customer means."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

import llm.scripted
from llm.scripted.facts import Facts, find_moment, read_hours
from llm.scripted.language import fold, load

LANGUAGES = load(Path(llm.scripted.__file__).parent / "languages")[""]
THURSDAY = date(2026, 1, 15)

PROMPT = """
# Salon **Linden**

We cut hair: since 1999.

## What we charge: prices

Prices include VAT.
- **Haircut**: 35 EUR, 40 min
* Beard trim — 15 EUR
3. Consultation: free
- Wedding style: ask us

## Как нас найти
Lindenstraße 0
Berlin

## Questions
- You can pay by card.

## Tone
Friendly: 100 %.
"""


def each_text(table: Mapping[str, str]) -> pytest.MarkDecorator:
    """Run a test with every text of a table: texts, a bar between them, by what is read in them."""
    rows = [(text, read) for read, texts in table.items() for text in texts.split(" | ")]
    return pytest.mark.parametrize(("text", "read"), rows)


def hours_of(text: str) -> list[str] | None:
    week = read_hours(LANGUAGES.times(fold(text)))
    return None if week is None else [", ".join(map("-".join, periods)) for periods in week]


def read_facts(text: str) -> Facts:
    return Facts(text, LANGUAGES)


def test_sections_are_found_by_their_headings() -> None:
    facts = read_facts(PROMPT)

    assert (facts.name, facts.hours) == ("Salon **Linden**", None)
    assert facts.prices == {
        "Haircut": "35 EUR, 40 min",
        "Beard trim": "15 EUR",
        "Consultation": "free",
    }
    assert facts.about("ABOUT_ADDRESS") == ["Lindenstraße 0", "Berlin"]
    assert facts.about("ABOUT_PAYMENT") == ["You can pay by card."]
    assert facts.about("ABOUT_PARKING") == []


def test_russian_headings_and_prices_are_read() -> None:
    facts = read_facts(
        "# Салон\n## Цены\n- Стрижка женская — 2000 ₽\n- Спа/SPA - от 3000 ₽\n"
        "## Часы работы\nПн–Пт 10:00–20:00\nСб, Вс: выходной\n"
        "## Адрес\nЛиповая улица, 0\n## Полезно знать\n- Можно оплатить картой."
    )

    assert facts.prices == {"Стрижка женская": "2000 ₽", "Спа/SPA": "от 3000 ₽"}
    assert (facts.name, facts.about("ABOUT_ADDRESS")) == ("Салон", ["Липовая улица, 0"])
    assert facts.about("ABOUT_PAYMENT") == ["Можно оплатить картой."]
    assert facts.hours == [[("10:00", "20:00")]] * 5 + [[]] * 2


@pytest.mark.parametrize(
    ("text", "topic", "lines"),
    [
        (
            "# Salon\nOpen every day from 0:00 to 24:00.",
            "HOURS",
            ["Open every day from 0:00 to 24:00."],
        ),
        ("# Salon\n## Parking\nBehind the house.", "ABOUT_PARKING", ["Behind the house."]),
        ("# Salon\n## Tone\nNever speak of parking.", "ABOUT_PARKING", []),
    ],
)
def test_fact_is_found_by_its_heading_or_its_words(text: str, topic: str, lines: list[str]) -> None:
    assert read_facts(text).about(topic) == lines


@pytest.mark.parametrize(
    "text", ["", "# Name", "no headings: 5", "## Prices", "|||", "## Hours\n9"]
)
def test_file_without_facts_has_none(text: str) -> None:
    facts = read_facts(text)

    assert (facts.prices, facts.hours, facts.about("ABOUT_ADDRESS")) == ({}, None, [])


def days(*runs: tuple[int, str]) -> list[str]:
    """Return the times of Monday to Sunday out of so many days with the same ones."""
    return [times for count, times in runs for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Monday–Friday: 10:00–20:00", days((5, "10:00-20:00"), (2, ""))),
        ("Mon - Sat 9 am to 5:30 pm", days((6, "09:00-17:30"), (1, ""))),
        ("Daily 9.00-21.00", days((7, "09:00-21:00"))),
        ("Open from 9:00 to 18:00", days((7, "09:00-18:00"))),
        (
            "Tue, Thu: 10-13, 14-19",
            ["", "10:00-13:00, 14:00-19:00", "", "10:00-13:00, 14:00-19:00", "", "", ""],
        ),
        (
            "weekdays 10:00-20:00, weekends 11:00-18:00",
            days((5, "10:00-20:00"), (2, "11:00-18:00")),
        ),
        (
            "Every day 10:00–20:00\nSunday: closed\nHolidays: 11:00–15:00",
            days((6, "10:00-20:00"), (1, "")),
        ),
        ("Fri–Mon 18:00–02:00", days((1, "18:00-24:00"), (3, ""), (3, "18:00-24:00"))),
        ("Daily: 24/7", days((7, "00:00-24:00"))),
        ("| Monday | 10:00–20:00 |", days((1, "10:00-20:00"), (6, ""))),
        ("Понедельник — среда с 9 до 18", days((3, "09:00-18:00"), (4, ""))),
        (
            "По будням 10:00–20:00, в субботу 11:00–18:00, воскресенье — выходной",
            days((5, "10:00-20:00"), (1, "11:00-18:00"), (1, "")),
        ),
        ("ежедневно с 10:00 до 22:00", days((7, "10:00-22:00"))),
    ],
)
def test_hours_are_read_as_people_write_them(text: str, said: list[str]) -> None:
    assert hours_of(text) == said


@pytest.mark.parametrize("text", ["", "by appointment", "Monday", "25:00–99:99", "closed"])
def test_text_without_hours_tells_none(text: str) -> None:
    hours = hours_of(text)

    assert hours is None or not any(hours)


@each_text(
    {
        "Women's haircut, Men's haircut": "haircut | women's and men's",
        "Men's haircut": "MENS HAIRCUTS",
        "Men's haircut, Manicure": "men’s haircut and manicure",
        "Hair colouring": "colouring | colour my hair",
        "Women's haircut": "стрижку",
        "Manicure": "маникюра",
        "Trim": "trim",
        "Beard trim": "a beard trim",
        "": "hair | massage | good manners | how much for you and me",
    }
)
def test_service_is_known_by_its_words(text: str, read: str) -> None:
    facts = read_facts(
        "## Prices\n- Women's haircut / Стрижка: 45\n- Men's haircut: 30\n"
        "- Hair colouring: 80\n- Manicure / Маникюр: 28\n- Trim: 10\n- Beard trim: 15"
    )

    assert ", ".join(name.split(" /")[0] for name in facts.mentioned(text)) == read


def moment(text: str) -> tuple[date | None, str]:
    days, time = find_moment(LANGUAGES.times(fold(text)), THURSDAY, LANGUAGES.fillers)
    return days[0] if days else None, time


@each_text(
    {
        "2026-01-14": "yesterday | 14 января",
        "2026-01-15": "today | сегодня | on Thursday",
        "2026-01-16": "Tomorrow at 3 | на завтра",
        "2026-01-17": "the day after tomorrow | послезавтра",
        "2026-01-20": "20 January | January 20th, at 5 | во вторник | from Tuesday to Wednesday",
        "2026-01-21": "wed | в среду",
        "2026-01-31": "31.01 | 31/1",
        "2026-05-03": "3rd of May",
        "2026-11-01": "1 ноября",
        "": "30 February | at 10.11 | 15:00 | monthly",
    }
)
def test_day_is_read_as_customers_write_it(text: str, read: str) -> None:
    assert moment(text)[0] == (date.fromisoformat(read) if read else None)


@each_text(
    {
        "00:00": "12 am",
        "07:00": "at 7 am | в 7 утра",
        "07:30": "7:30 am",
        "10:00": "at 10",
        "11:00": "Wednesday 11 | среда, 11",
        "12:00": "noon",
        "15:00": "15:00 | 3pm | at 3 | в 15 | в 3 часа",
        "15:30": "at 15.30",
        "16:00": "можно на 16? | to 4 on Friday | not 15:00, rather 16:00",
        "17:00": "5 o'clock | at 5 instead",
        "20:00": "к 8 вечера",
        "21:00": "at 9 pm",
        "": (
            "10:00-20:00 | 10:00 – 20:00 | 25:00 | at 10:75 | 20.01. | 45 EUR | for 2 people | "
            "at 2 weeks' notice | message 17 | на 2 человека"
        ),
    }
)
def test_time_is_read_as_customers_write_it(text: str, read: str) -> None:
    assert moment(text)[1] == read
