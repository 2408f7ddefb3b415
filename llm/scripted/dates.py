"""Which day and which time a customer means."""
# ruff: noqa: RUF001 - customers write Cyrillic, and dashes of every length

import re
from datetime import date, timedelta

from llm.scripted.hours import DAY, DAYS_IN_WEEK, MINUTES_IN_DAY, minute_of_day
from llm.scripted.words import fold

_MONTHS = (
    "jan|январ", "feb|феврал", "mar|март", "apr|апрел", "may|ма[йя]", "jun|июн",
    "jul|июл", "aug|август", "sep|сентябр", "oct|октябр", "nov|ноябр", "dec|декабр",
)  # fmt: skip
_MONTH = "(?:" + "|".join(f"({names})" for names in _MONTHS) + r")[a-zа-я]*"
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|[nr]d|th)?(?: of)?\s+{_MONTH}\b")
_MONTH_DAY = re.compile(rf"\b{_MONTH}\s+(\d{{1,2}})(?:st|[nr]d|th)?\b(?!:)")
_NUMERIC = re.compile(r"(?<!at )(?<!в )(?<!к )(?<![\d.:/])(\d{1,2})[./](\d{1,2})(?![\d:])")
#: The longer first: each holds the next as a part.
_RELATIVE = (
    (re.compile(r"\bday after tomorrow\b|\bпослезавтра\b"), 2),
    (re.compile(r"\btom+or+ow\b|\btmrw\b|\bзавтра\b"), 1),
    (re.compile(r"\btoday\b|\btonight\b|\bсегодня\b"), 0),
)

_BARE = r"(\d{1,2})(?:[:.](\d{2}))?"
_HALF = r"\s*(am|pm|a\.m\.|p\.m\.)"
#: Each way to name a time; neither end may touch a dash, for "10:00-20:00" is no time.
_EDGE, _END = r"(?<![\d.:/–—-])(?<![–—-]\s)", r"(?![\d:/]|[.]\d|\s?[–—-]\s?\d|\s*[ap]\.?m\b)"
_TIMES = (
    re.compile(rf"{_EDGE}{_BARE}{_HALF}"),
    re.compile(rf"{_EDGE}(\d{{1,2}}):(\d{{2}}){_END}()"),
    re.compile(rf"{_EDGE}\b(?:at|by|around|about|after|@|в|во|к|около|после) ?{_BARE}{_END}()"),
    re.compile(rf"{_EDGE}(\d{{1,2}})()() ?(?:o ?clock|час)"),
    re.compile(rf"\bна (\d{{1,2}})(?:[:.](\d{{2}}))?{_END}()(?=\s*(?:\Z|[?!.,]))"),
)
_OF_DAY = re.compile(r"\s*(?:час\w*)?\s*(утра|дня|вечера)|\s*in the (morning|afternoon|evening)")
_NOON = re.compile(r"\bnoon\b|\bmidday\b|\bполдень\b")
#: Up to this hour "at 3" means the afternoon: few businesses open so early.
_AFTERNOON_HOUR_MAX = 7


def find_day(text: str, today: date) -> date | None:
    """Return the first day that a text names, today or later; None if it names none."""
    text = fold(text)
    for pattern, ahead in _RELATIVE:
        if pattern.search(text):
            return today + timedelta(days=ahead)
    return _calendar_day(text, today) or _weekday(text, today)


def find_minute(text: str) -> int | None:
    """Return the last time of day that a text names, in minutes after midnight; None if none."""
    text = fold(text)
    found = [(time.start(1), _minute(text, time)) for way in _TIMES for time in way.finditer(text)]
    found += [(noon.start(), 12 * 60) for noon in _NOON.finditer(text)]
    times = sorted((start, minute) for start, minute in found if minute is not None)
    return times[-1][1] if times else None


def find_date(text: str, today: date) -> date | None:
    """Return the first date that a text writes out, as in "16 January"; None if none."""
    found = _DAY_MONTH.search(fold(text))
    return _coming(int(found[1]), (found.lastindex or 0) - 1, today) if found else None


def _calendar_day(text: str, today: date) -> date | None:
    if written := find_date(text, today):
        return written
    if found := _MONTH_DAY.search(text):
        month = next(index for index in range(1, len(_MONTHS) + 1) if found[index])
        return _coming(int(found[len(_MONTHS) + 1]), month, today)
    if found := _NUMERIC.search(text):
        return _coming(int(found[1]), int(found[2]), today)
    return None


def _weekday(text: str, today: date) -> date | None:
    found = DAY.search(text)
    if found is None or found.lastindex is None:
        return None
    return today + timedelta(days=(found.lastindex - 1 - today.weekday()) % DAYS_IN_WEEK)


def _coming(day: int, month: int, today: date) -> date | None:
    """Return the next such day, None if there is no such day this year or next."""
    for year in (today.year, today.year + 1):
        try:
            found = date(year, month, day)
        except ValueError:
            continue
        if found >= today:
            return found
    return None


def _minute(text: str, time: re.Match[str]) -> int | None:
    hour, minutes, half = time.group(1, 2, 3)
    of_day = _OF_DAY.match(text, time.end())
    part = next((word for word in of_day.groups() if word), "") if of_day else ""
    early = part in {"утра", "morning"}
    if part and not half:
        half = "am" if early else "pm"
    minute = minute_of_day(hour, minutes, half or None)
    if minute is None or minute >= MINUTES_IN_DAY:
        return None
    guessed = not half and not hour.startswith("0") and 0 < int(hour) <= _AFTERNOON_HOUR_MAX
    return minute + MINUTES_IN_DAY // 2 if guessed else minute
