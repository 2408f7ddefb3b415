"""What a burst of messages asks for, line by line."""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from llm.scripted.dates import find_day, find_minute
from llm.scripted.facts import Facts
from llm.scripted.words import (
    ADDRESS,
    AGREEMENT,
    BOOKING,
    CHANGE,
    FAREWELL,
    GREETING,
    HOURS,
    PERSON,
    PRICES,
    QUESTION,
    REFUSAL,
    THANKS,
    UNSEEN,
    fold,
    without_note,
)


class Topic(StrEnum):
    """What a line is about; it may be about several things, or about nothing known."""

    GREETING = "greeting"
    THANKS = "thanks"
    FAREWELL = "farewell"
    AGREEMENT = "agreement"
    REFUSAL = "refusal"
    PRICES = "prices"
    HOURS = "hours"
    ADDRESS = "address"
    BOOKING = "booking"
    CHANGE = "change"
    PERSON = "person"
    SERVICE = "service"
    WHEN = "when"


_WORDS: dict[Topic, re.Pattern[str]] = {
    Topic.GREETING: GREETING,
    Topic.THANKS: THANKS,
    Topic.FAREWELL: FAREWELL,
    Topic.PRICES: PRICES,
    Topic.HOURS: HOURS,
    Topic.ADDRESS: ADDRESS,
    Topic.BOOKING: BOOKING,
    Topic.CHANGE: CHANGE,
    Topic.PERSON: PERSON,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a burst, without a channel's note. ``unseen``: the note told of a picture etc."""

    text: str
    topics: frozenset[Topic]
    day: date | None = None
    minute: int | None = None
    unseen: bool = False

    @property
    def asks(self) -> bool:
        """Return whether it is a question."""
        return bool(QUESTION.search(fold(self.text)))


@dataclass(frozen=True, slots=True)
class Burst:
    """All lines of a turn, those without a word left out."""

    lines: tuple[Line, ...]

    @property
    def topics(self) -> frozenset[Topic]:
        """Return what the whole burst is about."""
        return frozenset().union(*(line.topics for line in self.lines))

    @property
    def unseen(self) -> bool:
        """Return whether something came that has to be put in words."""
        return any(line.unseen for line in self.lines)

    def of(self, topic: Topic) -> list[Line]:
        """Return the lines about a topic."""
        return [line for line in self.lines if topic in line.topics]

    def unknown(self) -> list[Line]:
        """Return the lines about nothing known: the questions only, if the rest says something."""
        strange = [line for line in self.lines if not line.topics and line.text]
        return [line for line in strange if line.asks] if self.topics else strange


def understand(turn: str, facts: Facts, today: date) -> Burst:
    """Return what a turn asks for, seen from ``today``."""
    return Burst(tuple(_line(raw, facts, today) for raw in turn.splitlines() if raw.strip()))


def _line(raw: str, facts: Facts, today: date) -> Line:
    text = without_note(raw).strip()
    if not any(letter.isalnum() for letter in text):
        # A picture or a lone "?" says nothing in words; a thumb or a smile agrees.
        agrees = bool(text) and "?" not in text
        topics = frozenset({Topic.AGREEMENT} if agrees else ())
        return Line("", topics, unseen=bool(UNSEEN.match(raw)))
    folded = fold(text)
    known = {topic for topic, words in _WORDS.items() if words.search(folded)}
    day, minute = find_day(text, today), find_minute(text)
    if AGREEMENT.fullmatch(folded):
        known.add(Topic.AGREEMENT)
    if REFUSAL.fullmatch(folded):
        known.add(Topic.REFUSAL)
    if facts.mentioned(text):
        known.add(Topic.SERVICE)
    if day is not None or minute is not None:
        known.add(Topic.WHEN)
    return Line(text, frozenset(known), day, minute)
