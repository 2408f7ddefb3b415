"""Days, times and opening hours in marked text, such as "on FRI AT 3 PM" or "MON TO FRI 10-20"."""

import re
from collections.abc import Collection
from contextlib import suppress
from datetime import date, timedelta

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAY_MINUTES = 24 * 60
#: A date of so many days ago has passed; an earlier one is next year's.
PASSED_DAYS_MAX = 60
#: Up to this hour "at 3" means the afternoon: few businesses open so early.
AFTERNOON_HOUR_MAX = 7

_WEEKDAY, _MONTH, _TO = "|".join(WEEKDAYS), "|".join(MONTHS), r"\s*(?:[-\u2013\u2014]|TO)\s*"
_ISO = re.compile(r"\b\d{4}-(\d\d)-(\d\d)\b")
_MONTH_DAY = re.compile(rf"\b({_MONTH})\W+(\d{{1,2}})\b(?!:)")
_DATE = re.compile(
    rf"\b(\d{{1,2}})\W*(?:TH\W*)?({_MONTH})\b|\b(\d{{1,2}})\W?TH\b"
    r"|(?<!AT )(?<![\d.:/])(\d{1,2})[./](\d{1,2})(?![:\d])"
)
_CLOCK = r"(\d{1,2})(?:[:.](\d{2}))?(?:\s*CLOCK|\s*HOUR)?\s*(AM|PM)?"
_PERIOD = re.compile(_CLOCK + _TO + _CLOCK)
_TIME = re.compile(
    rf"((?:AT|FOR|TO|{_WEEKDAY}|TODAY[+-]\d)\W{{1,2}})?(?<![\d.:/]){_CLOCK}(?![:.]?\d)\s*([^\W\d_A-Z]*)"
)
_DAYS = re.compile(rf"\b({_WEEKDAY})\b(?:\.?{_TO}({_WEEKDAY})\b)?")
#: Where a line goes on with other days: "MON-FRI 10-20, SAT 11-18".
_NEXT_DAYS = re.compile(rf"\n|(?<=[\dMD])\W+(?=\D*\b(?:{_WEEKDAY})\b)")

#: Between the ends of a range, as typographers have it.
DASH = "\N{EN DASH}"
#: From and until, in minutes after midnight; until may lie after the next midnight.
Periods = tuple[tuple[int, int], ...]


def find_days(text: str, today: date) -> list[date]:
    """Return the days that a marked text names: its dates, else its other days."""
    dates, earliest = [], today - timedelta(PASSED_DAYS_MAX)
    for day, name, ordinal, number_day, number in _DATE.findall(
        _ISO.sub(r"\2.\1", _MONTH_DAY.sub(r"\2 \1", text))
    ):
        month = MONTHS.index(name) + 1 if name else int(number or today.month)
        with suppress(ValueError):  # there is no such day
            written = date(today.year, month, int(day or ordinal or number_day))
            if ordinal and written < today:
                written = (written + timedelta(31)).replace(day=written.day)
            dates.append(written if written >= earliest else written.replace(today.year + 1))
    near = [today + timedelta(int(days)) for days in re.findall(r"TODAY([+-]\d)", text)]
    ahead = [WEEKDAYS.index(pair[1] or pair[0]) - today.weekday() for pair in _DAYS.findall(text)]
    return dates or near or [today + timedelta(days % 7) for days in ahead]


def find_minute(text: str, fillers: Collection[str]) -> int | None:
    """Return the last time of day in a marked text, in minutes after midnight; None if none.

    A bare number is a time if "at" or a day stands before it and none but ``fillers`` follows.
    """
    told = None
    text = _PERIOD.sub(" ", _DATE.sub(" ", _MONTH_DAY.sub(" ", text)))
    for found in _TIME.finditer(text):
        lead, hour, rest, half, noun = found.groups()
        minute = _minute(hour, rest, half)
        bare = not half and f"{hour}:" not in found[0] and "CLOCK" not in found[0]
        if minute is None or (bare and (not lead or (noun and noun not in fillers))):
            continue
        early = not half and not hour.startswith("0") and int(hour) <= AFTERNOON_HOUR_MAX
        told = (minute + DAY_MINUTES // 2 * early) % DAY_MINUTES
    return told


def read_hours(text: str) -> list[Periods] | None:
    """Return the opening hours of Monday to Sunday in a marked text, None if it has none."""
    week = dict[int, Periods]()
    for part in _NEXT_DAYS.split(text):
        days = set[int]()
        for first, last in _DAYS.findall(part):
            start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
            days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
        found = [(_minute(*times[:3]), _minute(*times[3:])) for times in _PERIOD.findall(part)]
        periods = [(start, end) for start, end in found if start is not None and end is not None]
        # Without a day it is every day, but "holidays: closed" below the days is not.
        if (days or not week) and (periods or (days and "CLOSED" in part)):
            open_ = tuple((start, end + DAY_MINUTES * (end <= start)) for start, end in periods)
            week |= dict.fromkeys(days or range(7), open_)
    return [week.get(day, ()) for day in range(7)] if week else None


def _minute(hour: str, rest: str | None, half: str | None) -> int | None:
    """Return minutes after midnight, None where it is no time. ``half`` is AM, PM or nothing."""
    hours, minutes = int(hour), int(rest or 0)
    if half:
        hours = hours % 12 + (12 if half == "PM" else 0)
    return hours * 60 + minutes if hours * 60 + minutes <= DAY_MINUTES and minutes < 60 else None  # noqa: PLR2004


def clock(minute: int) -> str:
    """Return minutes after midnight as on a clock: "09:30", and "24:00" for the end of a day."""
    minute = minute if minute == DAY_MINUTES else minute % DAY_MINUTES
    return f"{minute // 60:02}:{minute % 60:02}"


def spans(periods: Periods) -> str:
    """Return the opening times of one day: "10:00-13:00, 14:00-20:00", with longer dashes."""
    return ", ".join(f"{clock(start)}{DASH}{clock(end)}" for start, end in periods)
