"""Opening hours: reads them from the prompt file, as people write them."""
# ruff: noqa: RUF001 - customers write Cyrillic, and dashes of every length

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from llm.scripted.words import fold

DAYS_IN_WEEK = 7
MINUTES_IN_DAY = 24 * 60

#: Monday first; what a customer or a prompt file may call the day, folded.
DAY_NAMES = (
    r"mondays?|mon|понедельник\w*|пн",
    r"tuesdays?|tues?|вторник\w*|вт",
    r"wednesdays?|weds?|сред[аеуы]|средам|ср",
    r"thursdays?|thurs?|thu|четверг\w*|чт",
    r"fridays?|fri|пятниц\w*|пт",
    r"saturdays?|sat|суббот\w*|сб",
    r"sundays?|sun|воскресень\w*|вс",
)
DAY = re.compile(r"\b(?:" + "|".join(f"({names})" for names in DAY_NAMES) + r")\b")

_TIME = r"(\d{1,2})(?:[:.](\d{2}))?\s*(am|pm|a\.m\.|p\.m\.)?"
_PERIOD = re.compile(rf"{_TIME}\s*(?:[-–—]|to|until|till|до)\s*{_TIME}")
_CLOSED = r"\bclosed\b|\bday off\b|\bвыходной\b|\bзакрыт\w*|\bне работа\w*"
_ALWAYS = r"24/7|\b24 hours|\bкруглосуточно|\bround the clock"
#: What says how long: one or more periods, or a word.
_SPAN = re.compile(
    rf"{_PERIOD.pattern}(?:\s*(?:,|;|&|\band\b|\bи\b)\s*{_PERIOD.pattern})*|{_CLOSED}|{_ALWAYS}"
)
_ALL_DAYS = re.compile(r"\bdaily\b|\bevery ?day\b|\bежедневно\b|\bкаждый день\b|\bбез выходных\b")
_WEEKDAYS = re.compile(r"\bweekdays?\b|\bбудн\w*")
_WEEKEND = re.compile(r"\bweekends?\b|\bвыходные\b|\bвыходным\b")
_THROUGH = re.compile(r"[\s.]*(?:[-–—]|to|through|till|по|до)\s*")

#: From and until, in minutes after midnight; until may lie after the next midnight.
Period = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Hours:
    """The periods of each day, Monday first; a day without any is closed."""

    week: tuple[tuple[Period, ...], ...]

    def on(self, day: date) -> tuple[Period, ...]:
        """Return the periods of a day, none if it is closed."""
        return self.week[day.weekday()]

    def next_open(self, after: date) -> date | None:
        """Return the first open day after this one, None if there is none."""
        days = (after + timedelta(days=ahead) for ahead in range(1, DAYS_IN_WEEK + 1))
        return next((day for day in days if self.on(day)), None)

    def groups(self) -> Iterator[tuple[int, int, tuple[Period, ...]]]:
        """Yield first day, last day and periods of each run of days with the same hours."""
        first = 0
        for day in range(1, DAYS_IN_WEEK + 1):
            if day == DAYS_IN_WEEK or self.week[day] != self.week[first]:
                yield first, day - 1, self.week[first]
                first = day


def read_hours(text: str) -> Hours | None:
    """Return the hours that a text tells, None if it tells none."""
    week: dict[int, tuple[Period, ...]] = {}
    for line in fold(text).splitlines():
        end = 0
        for span in _SPAN.finditer(line):
            days = set(_days(line[end : span.start()]))
            end = span.end()
            # Without a day it is every day, but "holidays: closed" below the days is not.
            if not days and not week and _PERIOD.search(span[0]):
                days = set(range(DAYS_IN_WEEK))
            week.update(dict.fromkeys(days, _periods(span[0])))
    return Hours(tuple(week.get(day, ()) for day in range(DAYS_IN_WEEK))) if week else None


def minute_of_day(hour: str, minutes: str | None, half: str | None) -> int | None:
    """Return minutes after midnight, None where it is no time. ``half`` is am, pm or None."""
    count = int(hour)
    if half and count <= 12:  # noqa: PLR2004 - of the clock
        count = count % 12 + (12 if half.startswith("p") else 0)
    total = count * 60 + int(minutes or 0)
    return total if total <= MINUTES_IN_DAY and int(minutes or 0) < 60 else None  # noqa: PLR2004


def _days(text: str) -> Iterator[int]:
    """Yield the days that a text names, ranges included."""
    if _ALL_DAYS.search(text):
        yield from range(DAYS_IN_WEEK)
    if _WEEKDAYS.search(text):
        yield from range(5)
    if _WEEKEND.search(text):
        yield from (5, 6)
    named = list(DAY.finditer(text))
    yield from (_index(day) for day in named)
    for one, other in pairwise(named):
        if _THROUGH.fullmatch(text[one.end() : other.start()]):
            length = (_index(other) - _index(one)) % DAYS_IN_WEEK
            yield from ((_index(one) + step) % DAYS_IN_WEEK for step in range(length))


def _index(day: re.Match[str]) -> int:
    return (day.lastindex or 1) - 1


def _periods(span: str) -> tuple[Period, ...]:
    if re.search(_ALWAYS, span):
        return ((0, MINUTES_IN_DAY),)
    found = []
    for period in _PERIOD.finditer(span):
        start, end = minute_of_day(*period.group(1, 2, 3)), minute_of_day(*period.group(4, 5, 6))
        if start is not None and end is not None:
            found.append((start, end if end > start else end + MINUTES_IN_DAY))
    return tuple(found)
