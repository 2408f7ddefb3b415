"""Puts times, days and prices into words."""

from collections.abc import Sequence
from datetime import date

from llm.scripted.facts import Service
from llm.scripted.hours import MINUTES_IN_DAY, Hours, Period
from llm.scripted.phrases import Phrases


def clock(minute: int) -> str:
    """Return minutes after midnight as on a clock: "09:30", and "24:00" for the end of a day."""
    minute = minute if minute == MINUTES_IN_DAY else minute % MINUTES_IN_DAY
    return f"{minute // 60:02}:{minute % 60:02}"


def period_list(periods: Sequence[Period]) -> str:
    """Return the opening times of one day: "10:00-13:00, 14:00-20:00", with longer dashes."""
    return ", ".join(f"{clock(start)}\N{EN DASH}{clock(end)}" for start, end in periods)


def sentence(template: str, **values: str) -> str:
    """Return the filled template with a capital letter at its beginning."""
    text = template.format(**values)
    return text[:1].upper() + text[1:]


def week(hours: Hours, phrases: Phrases) -> str:
    """Return the opening times of the week: "Monday-Friday 10:00-20:00, Sunday closed"."""
    said = []
    for first, last, periods in hours.groups():
        days = [phrases.week[first], phrases.week[last]][: 1 + (last > first)]
        times = period_list(periods) or phrases.closed_mark
        said.append(f"{chr(0x2013).join(days)} {times}")
    return ", ".join(said)


def one_day(hours: Hours, day: date, phrases: Phrases, today: date) -> str:
    """Return when a day is open, or that it is closed and when the next is open."""
    if not hours.on(day):
        return closed(hours, day, phrases, today)
    times = period_list(hours.on(day))
    return sentence(phrases.open_on, day=phrases.day(day, today), hours=times)


def closed(hours: Hours, day: date, phrases: Phrases, today: date) -> str:
    """Return that a day is closed, or its hours are over, and when the next is open."""
    template = phrases.closing_over if hours.on(day) else phrases.closed_on
    said = sentence(template, day=phrases.day(day, today))
    following = hours.next_open(day)
    if following is None:
        return said
    times = period_list(hours.on(following))
    again = phrases.next_open.format(day=phrases.day(following, today).rstrip(","), hours=times)
    return f"{said} {again}"


def in_prose(services: Sequence[Service], phrases: Phrases) -> list[str]:
    """Return the names of services as they stand within a sentence."""
    names = (service.name(russian=phrases.russian) for service in services)
    # "SPA" keeps its capital.
    return [name if name[1:2].isupper() else name[:1].lower() + name[1:] for name in names]


def prices(services: Sequence[Service], phrases: Phrases) -> str:
    """Return what services cost, one on a line; "" for none."""
    lines = [f"{service.name(russian=phrases.russian)}: {service.price}" for service in services]
    return "\n".join(lines if len(lines) == 1 else [phrases.prices, *lines])
