"""Answers a wish for an appointment: what is known of it, does it fit, what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import dropwhile

from batching.model import Exchange
from llm.scripted.burst import Burst, Topic, understand
from llm.scripted.dates import find_date
from llm.scripted.facts import Facts, Service
from llm.scripted.phrases import ENGLISH, RUSSIAN, Phrases
from llm.scripted.saying import clock, closed, in_prose, period_list, sentence

#: How far back a booking is picked up again after other questions.
EXCHANGES_BACK_MAX = 4
#: How many services a question names.
NAMES_MAX = 6

_MARKS = (*ENGLISH.booking_marks, *RUSSIAN.booking_marks)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer wants, as far as it is known. ``services``: see ``Facts.mentioned``."""

    services: Sequence[Sequence[Service]]
    day: date | None
    minute: int | None


def open_booking(history: Sequence[Exchange]) -> list[Exchange]:
    """Return the exchanges of a booking under way, oldest first; none if there is none."""
    recent = history[-EXCHANGES_BACK_MAX:]
    return list(dropwhile(lambda exchange: not _belongs(exchange), recent))


def wish_of(burst: Burst, booking: Sequence[Exchange], facts: Facts, today: date) -> Wish:
    """Return what the burst wants, completed by what was said in the booking before.

    Days come from our own answers, which name the date: the customer's "tomorrow" may be days
    old.
    """
    before = [
        line for exchange in booking for line in understand(exchange.customer, facts, today).lines
    ]
    last = next((exchange.answer for exchange in reversed(booking) if _belongs(exchange)), "")
    # A day that opening hours were asked for is the wish only where no other is named.
    lines = sorted(burst.lines, key=lambda line: Topic.HOURS not in line.topics)
    days = [line.day for line in lines if line.day]
    if not days and not _holds(last, "ask_other_day") and (stated := find_date(last, today)):
        days = [stated]
    timed = lines if _holds(last, "ask_other_time") else [*before, *lines]
    minutes = [line.minute for line in timed if line.minute is not None]
    said = [*before, *burst.lines]
    # Whoever wants one service may ask what another costs.
    wanted = [line.text for line in said if Topic.PRICES not in line.topics]
    priced = [line.text for line in said]
    return Wish(
        services=facts.mentioned("\n".join(wanted)) or facts.mentioned("\n".join(priced)),
        day=days[-1] if days else None,
        minute=minutes[-1] if minutes else None,
    )


def answer_wish(wish: Wish, facts: Facts, phrases: Phrases, now: datetime) -> str:
    """Return what to say to a wish: whether it fits the opening hours, and what is missing."""
    misfit = _misfit(wish, facts, phrases, now)
    if misfit:
        return misfit
    missing = _missing(wish, facts, phrases)
    if wish.day is None:
        return missing
    day = phrases.day(wish.day, now.date())
    if not missing and wish.minute is not None:
        names = in_prose([choice[0] for choice in wish.services], phrases)
        services = phrases.joined(names) if names else phrases.visit
        time = clock(wish.minute)
        return phrases.noted.format(services=services, day=day.rstrip(","), time=time)
    if facts.hours is None:
        return missing
    hours = period_list(facts.hours.on(wish.day))
    if wish.minute is None:
        return f"{sentence(phrases.open_on, day=day, hours=hours)} {missing}"
    return f"{sentence(phrases.fits, day=day, hours=hours, time=clock(wish.minute))} {missing}"


def _misfit(wish: Wish, facts: Facts, phrases: Phrases, now: datetime) -> str:
    """Return why the wished day or time is impossible and ask for another; "" if it is not."""
    if facts.hours is None or wish.day is None:
        return ""
    open_then, today = facts.hours.on(wish.day), now.date()
    minute_now = now.hour * 60 + now.minute if wish.day == today else -1
    if not open_then or minute_now >= open_then[-1][1]:
        return f"{closed(facts.hours, wish.day, phrases, today)} {phrases.ask_other_day}"
    if wish.minute is None:
        return ""
    time = clock(wish.minute)
    if wish.minute <= minute_now:
        day = phrases.day(wish.day, today)
        passed = sentence(phrases.passed, now=clock(minute_now), time=time, day=day)
        return f"{passed} {phrases.ask_other_time}"
    if any(start <= wish.minute < end for start, end in open_then):
        return ""
    day, hours = phrases.day(wish.day, today), period_list(open_then)
    outside = sentence(phrases.outside, day=day, hours=hours, time=time)
    return f"{outside} {phrases.ask_other_time}"


def _missing(wish: Wish, facts: Facts, phrases: Phrases) -> str:
    """Return the question for what is not known yet, "" if all is."""
    choice = next((services for services in wish.services if len(services) > 1), None)
    known = wish.services or not facts.services
    if not known and wish.day is None and wish.minute is None:
        return phrases.ask_all
    asked = []
    if choice or not known:
        ask = phrases.ask_which if choice else phrases.ask_service
        names = in_prose(choice or facts.services, phrases)
        asked.append(ask.format(names=phrases.joined(names[:NAMES_MAX], either=True)))
    if wish.day is None and wish.minute is None:
        asked.append(phrases.ask_day_and_time)
    elif wish.day is None:
        asked.append(phrases.ask_day)
    elif wish.minute is None:
        asked.append(phrases.ask_time)
    return " ".join(asked)


def _belongs(exchange: Exchange) -> bool:
    return any(mark in exchange.answer for mark in _MARKS)


def _holds(answer: str, name: str) -> bool:
    return any(getattr(phrases, name) in answer for phrases in (ENGLISH, RUSSIAN))
