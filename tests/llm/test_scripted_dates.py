"""Which day and which time a customer means."""

from datetime import date
from pathlib import Path

import pytest

import llm.scripted
from llm.scripted.language import fold, load
from llm.scripted.times import clock, find_days, find_minute

LANGUAGES = load(Path(llm.scripted.__file__).parent / "languages")
THURSDAY = date(2026, 1, 15)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", date(2026, 1, 15)),
        ("Tomorrow at 3", date(2026, 1, 16)),
        ("the day after tomorrow", date(2026, 1, 17)),
        ("сегодня", date(2026, 1, 15)),
        ("на завтра", date(2026, 1, 16)),
        ("послезавтра", date(2026, 1, 17)),
        ("on Thursday", date(2026, 1, 15)),
        ("wed", date(2026, 1, 21)),
        ("в среду", date(2026, 1, 21)),
        ("во вторник", date(2026, 1, 20)),
        ("20 January", date(2026, 1, 20)),
        ("January 20th, at 5", date(2026, 1, 20)),
        ("3rd of May", date(2026, 5, 3)),
        ("14 января", date(2026, 1, 14)),
        ("1 ноября", date(2026, 11, 1)),
        ("yesterday", date(2026, 1, 14)),
        ("from Tuesday to Wednesday", date(2026, 1, 21)),
        ("31.01", date(2026, 1, 31)),
        ("31/1", date(2026, 1, 31)),
        ("the 20th, at 5", date(2026, 1, 20)),
        ("the 3rd", date(2026, 2, 3)),
        ("2026-01-20 at 14:00", date(2026, 1, 20)),
        ("30 February", None),
        ("at 10.11", None),
        ("15:00", None),
        ("monthly", None),
        ("", None),
    ],
)
def test_day_is_read_as_customers_write_it(text: str, day: date | None) -> None:
    days = find_days(LANGUAGES.mark_times(fold(text)), THURSDAY)

    assert days[:1] == ([day] if day else [])


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("15:00", "15:00"),
        ("at 15.30", "15:30"),
        ("3pm", "15:00"),
        ("at 9 pm", "21:00"),
        ("7:30 am", "07:30"),
        ("at 7 am", "07:00"),
        ("12 am", "00:00"),
        ("at 3", "15:00"),
        ("at 10", "10:00"),
        ("5 o'clock", "17:00"),
        ("noon", "12:00"),
        ("в 15", "15:00"),
        ("в 3 часа", "15:00"),
        ("в 7 утра", "07:00"),
        ("к 8 вечера", "20:00"),
        ("можно на 16?", "16:00"),
        ("Wednesday 11", "11:00"),
        ("среда, 11", "11:00"),
        ("to 4 on Friday", "16:00"),
        ("at 5 instead", "17:00"),
        ("not 15:00, rather 16:00", "16:00"),
        ("10:00-20:00", None),
        ("10:00 – 20:00", None),
        ("for 2 people", None),
        ("at 2 weeks' notice", None),
        ("message 17", None),
        ("на 2 человека", None),
        ("25:00", None),
        ("at 10:75", None),
        ("20.01.", None),
        ("45 EUR", None),
        ("", None),
    ],
)
def test_time_is_read_as_customers_write_it(text: str, time: str | None) -> None:
    minute = find_minute(LANGUAGES.mark_times(fold(text)), LANGUAGES.fillers)

    assert (None if minute is None else clock(minute)) == time
