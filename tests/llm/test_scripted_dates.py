"""Which day and which time a customer means."""

from datetime import date

import pytest

from llm.scripted.dates import find_day, find_minute
from llm.scripted.saying import clock

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
        ("14 января", date(2027, 1, 14)),
        ("31.01", date(2026, 1, 31)),
        ("31/1", date(2026, 1, 31)),
        ("30 February", None),
        ("at 10.11", None),
        ("15:00", None),
        ("monthly", None),
        ("", None),
    ],
)
def test_day_is_read_as_customers_write_it(text: str, day: date | None) -> None:
    assert find_day(text, THURSDAY) == day


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
        ("not 15:00, rather 16:00", "16:00"),
        ("10:00-20:00", None),
        ("10:00 – 20:00", None),
        ("for 2 people", None),
        ("на 2 человека", None),
        ("25:00", None),
        ("at 10:75", None),
        ("20.01.", None),
        ("45 EUR", None),
        ("", None),
    ],
)
def test_time_is_read_as_customers_write_it(text: str, time: str | None) -> None:
    minute = find_minute(text)

    assert (None if minute is None else clock(minute)) == time
