"""What a prompt file says of the business, and the days and times that a text names."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import date, timedelta

from llm.scripted.language import Language, fold

#: A date of so many days ago has passed, an earlier one is next year's; "at 3" is the afternoon.
PASSED_DAYS_MAX, AFTERNOON_HOUR_MAX = 60, 7

_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAY, _MONTH, _TO = "|".join(_WEEKDAYS), "|".join(_MONTHS), r"\s*(?:[-\u2013\u2014]|TO)\s*"
_MONTH_FIRST = re.compile(rf"\b({_MONTH})\W+(\d{{1,2}})\b(?!:)")
#: "20th of JAN", "20.01", but not "AT 10.11".
_NUMERIC = r"(?<!AT \d)(?<!AT \d\d)[./](\d{1,2})(?![:\d])"
_DATE = re.compile(rf"(?<![\d.:/])(\d{{1,2}})(?:\W*(?:TH\W*)?({_MONTH})\b|{_NUMERIC})")
_CLOCK = r"(\d{1,2})(?:[:.](\d{2}))?(?:\s*CLOCK|\s*HOUR)?\s*(AM|PM)?"
_PERIOD = re.compile(_CLOCK + _TO + _CLOCK)
_LEAD = rf"((?:AT|FOR|TO|{_WEEKDAY}|TODAY[+-]\d)\W{{1,3}})?(?<![\d.:/])"
_TIME = re.compile(rf"{_LEAD}{_CLOCK}(?![:.]?\d)\s*([^\W\d_A-Z]*)")
_DAYS = re.compile(rf"\b({_WEEKDAY})\b(?:\.?{_TO}({_WEEKDAY})\b)?")
#: Where a line goes on with other days: "MON-FRI 10-20, SAT 11-18".
_NEXT_DAYS = re.compile(rf"\n|(?<=[\dMD])\W+(?=\D*\b(?:{_WEEKDAY})\b)")
_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*\s*")
_DECORATION = re.compile(r"\A\s*(?:[-*+•]|\d{1,3}[.)])\s+|\*\*|__|`")
#: A service and what it costs: "Haircut: 45", "Haircut — 45".
_PRICED = re.compile(r"^(.{2,80}?)\s*(?::|\s[-\u2013\u2014])[^\S\n]+(.*)$", re.MULTILINE)


class Facts:
    """What is known of the business; "", nothing and None where the file is silent."""

    def __init__(self, text: str, languages: Language) -> None:
        self.languages, self.name, topics = languages, "", {"NOTES"}
        self._sections = defaultdict[str, list[str]](list)
        for line in text.splitlines():
            if heading := _HEADING.fullmatch(line):
                topics = languages.topics(heading[1])[0] | (set() if self.name else {"NOTES"})
                self.name = self.name or heading[1]
            elif line.strip():
                for topic in topics:
                    self._sections[topic].append(_DECORATION.sub("", line).strip())
        self.hours = read_hours(languages.times(fold("\n".join(self.about("HOURS")))))
        priced = _PRICED.findall("\n".join(self._sections["PRICES"]))
        marked = [(name, price, languages.mark(fold(price))) for name, price in priced]
        self.prices = {one: price for one, price, text in marked if re.search(r"\d|PRICED", text)}

    def about(self, topic: str, words: Sequence[str] = ()) -> list[str]:
        """Return the lines on a topic: its section, else the first note with it or the words."""
        for note in () if topic in self._sections else self._sections["NOTES"]:
            shared = self.languages.shared(words, note)
            if topic in self.languages.topics(note)[0] or 2 * len(shared) > len(words):
                return [note]
        return self._sections.get(topic, [])

    def mentioned(self, text: str) -> list[str]:
        """Return the services that a text names: "haircut" the women's and the men's."""
        words, shared, said = self.languages.words, self.languages.shared, dict[str, set[str]]()
        for name in self.prices:
            # A name that is said as a whole is meant rather than a longer one.
            whole = any(own and shared(own, text) == own for own in map(words, name.split("/")))
            said[name] = {*shared(words(text), name), *(["whole name"] if whole else [])}
        return [one for one in said if said[one] and not any(map(said[one].__lt__, said.values()))]


def find_moment(text: str, today: date, fillers: Collection[str]) -> tuple[list[date], str]:
    """Return the days that a marked text names, and its last time of day, "15:00", or ""."""
    dates, time, text = list[date](), "", _MONTH_FIRST.sub(r"\2 \1", text)
    for day, name, number in _DATE.findall(text):
        with suppress(ValueError):  # there is no such day
            written = date(today.year, _MONTHS.index(name) + 1 if name else int(number), int(day))
            is_next = written < today - timedelta(PASSED_DAYS_MAX)
            dates.append(written.replace(today.year + is_next))
    dates += [today + timedelta(int(days)) for days in re.findall(r"TODAY([+-]\d)", text)]
    ahead = [_WEEKDAYS.index(name) - today.weekday() for name, _ in _DAYS.findall(text)]
    for found in _TIME.finditer(_PERIOD.sub(" ", _DATE.sub(" ", text))):
        lead, hour, rest, half, noun = found.groups()
        early = not half and not hour.startswith("0") and int(hour) <= AFTERNOON_HOUR_MAX
        # A bare number is a time after "at" or a day, unless a word follows that it counts.
        if rest or half or "CLOCK" in found[0] or (lead and (not noun or noun in fillers)):
            time = _clock(hour, rest, "PM" if early else half) or time
    return dates or [today + timedelta(days % 7) for days in ahead], time


def read_hours(text: str) -> list[list[tuple[str, str]]] | None:
    """Return the opening times of Monday to Sunday in a marked text, None if it has none."""
    week = dict[int, list[tuple[str, str]]]()
    for part in _NEXT_DAYS.split(text):
        days = set[int]()
        for first, last in _DAYS.findall(part):
            start, end = _WEEKDAYS.index(first), _WEEKDAYS.index(last or first)
            days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
        found = [(_clock(*times[:3]), _clock(*times[3:])) for times in _PERIOD.findall(part)]
        # What lasts until the next day is told as until midnight.
        periods = [(one, end if one < end else "24:00") for one, end in found if one and end]
        # Without a day it is every day, but "holidays: closed" below the days is not.
        if (days or not week) and (periods or (days and "CLOSED" in part)):
            week |= dict.fromkeys(days or range(7), periods)
    return [week.get(day, []) for day in range(7)] if week else None


def _clock(hour: str, rest: str, half: str) -> str:
    """Return a time as on a clock, "09:30", "" if it is none. ``half`` is AM, PM or nothing."""
    hours = int(hour) % 12 + 12 * (half == "PM") if half else int(hour)
    time = f"{hours:02}:{rest or '00'}"
    return time if time <= "24:00" and time[3] < "6" else ""
