"""What is read out of a prompt file: the price list, the hours, the address."""

import pytest

from llm.scripted.facts import Facts, Service, read_facts
from llm.scripted.hours import read_hours
from llm.scripted.phrases import ENGLISH
from llm.scripted.saying import week

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


def test_sections_are_found_by_their_headings() -> None:
    assert read_facts(PROMPT) == Facts(
        name="Salon **Linden**",
        hours=None,
        services=(
            Service(("Haircut",), "35 EUR, 40 min"),
            Service(("Beard trim",), "15 EUR"),
            Service(("Consultation",), "free"),
            Service(("Perm",), "90 EUR, 2 h"),
        ),
        address="Lindenstraße 0 Berlin",
        notes=("You can pay by card.",),
    )


def test_russian_headings_and_prices_are_read() -> None:
    facts = read_facts(
        "# Салон\n## Цены\n- Стрижка женская — 2000 ₽\n- Спа/SPA - от 3000 ₽\n"
        "## Часы работы\nПн–Пт 10:00–20:00\nСб, Вс: выходной\n"
        "## Адрес\nЛиповая улица, 0\n## Полезно знать\n- Можно оплатить картой."
    )

    assert facts.services == (
        Service(("Стрижка женская",), "2000 ₽"),
        Service(("Спа", "SPA"), "от 3000 ₽"),
    )
    assert (facts.name, facts.address) == ("Салон", "Липовая улица, 0")
    assert facts.notes == ("Можно оплатить картой.",)
    assert facts.hours == read_hours("mon-fri 10-20")


@pytest.mark.parametrize(
    "text", ["", "# Name", "no headings: 5", "## Prices", "|||", "## Hours\n9"]
)
def test_file_without_facts_has_none(text: str) -> None:
    facts = read_facts(text)

    assert (facts.services, facts.hours, facts.address, facts.notes) == ((), None, "", ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Monday–Friday: 10:00–20:00", "Monday–Friday 10:00–20:00, Saturday–Sunday closed"),
        ("Mon - Sat 9 am to 5:30 pm", "Monday–Saturday 09:00–17:30, Sunday closed"),
        ("Daily 9.00-21.00", "Monday–Sunday 09:00–21:00"),
        ("Open from 9:00 to 18:00", "Monday–Sunday 09:00–18:00"),
        (
            "Tue, Thu: 10-13, 14-19",
            (
                "Monday closed, Tuesday 10:00–13:00, 14:00–19:00, Wednesday closed, "
                "Thursday 10:00–13:00, 14:00–19:00, Friday–Sunday closed"
            ),
        ),
        (
            "weekdays 10:00-20:00, weekends 11:00-18:00",
            "Monday–Friday 10:00–20:00, Saturday–Sunday 11:00–18:00",
        ),
        (
            "Every day 10:00–20:00\nSunday: closed\nHolidays: 11:00–15:00",
            "Monday–Saturday 10:00–20:00, Sunday closed",
        ),
        (
            "Fri–Mon 18:00–02:00",
            ("Monday 18:00–02:00, Tuesday–Thursday closed, Friday–Sunday 18:00–02:00"),
        ),
        ("Daily: 24/7", "Monday–Sunday 00:00–24:00"),
        ("| Monday | 10:00–20:00 |", "Monday 10:00–20:00, Tuesday–Sunday closed"),
        ("Понедельник — среда с 9 до 18", "Monday–Wednesday 09:00–18:00, Thursday–Sunday closed"),
        (
            "По будням 10:00–20:00, в субботу 11:00–18:00, воскресенье — выходной",
            "Monday–Friday 10:00–20:00, Saturday 11:00–18:00, Sunday closed",
        ),
        ("ежедневно с 10:00 до 22:00", "Monday–Sunday 10:00–22:00"),
    ],
)
def test_hours_are_read_as_people_write_them(text: str, said: str) -> None:
    hours = read_hours(text)

    assert hours is not None
    assert week(hours, ENGLISH) == said


@pytest.mark.parametrize("text", ["", "by appointment", "Monday", "25:00–99:99", "closed"])
def test_text_without_hours_tells_none(text: str) -> None:
    hours = read_hours(text)

    assert hours is None or not any(hours.week)


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

    assert [[service.names[0] for service in choice] for choice in facts.mentioned(text)] == names
