"""Puts one reply together out of all that a burst asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from batching.model import Exchange
from llm.scripted.booking import answer_wish, open_booking, wish_of
from llm.scripted.burst import Burst, Line, Topic, understand
from llm.scripted.facts import Facts
from llm.scripted.phrases import Phrases
from llm.scripted.saying import one_day, prices, week

#: Lines of these say a day without wishing for it: "thanks, see you on Friday".
_NO_WISH = frozenset({Topic.HOURS, Topic.THANKS, Topic.FAREWELL})


@dataclass(frozen=True, slots=True)
class Desk:
    """The receptionist at work: the business's facts, the language to speak, the local time."""

    facts: Facts
    phrases: Phrases
    now: datetime

    def answer(self, burst: Burst, history: Sequence[Exchange]) -> str:
        """Return one reply to the whole burst; it greets in the first of a conversation only."""
        parts = [part for part in self._parts(burst, history) if part]
        if not parts:
            parts = [self._small_talk(burst, first=not history)]
        if not history:
            hello = self.phrases.hello_from if self.facts.name else self.phrases.hello
            parts[0] = f"{hello.format(name=self.facts.name)} {parts[0]}"
        return "\n".join(parts)

    def _parts(self, burst: Burst, history: Sequence[Exchange]) -> Iterator[str]:
        booking = open_booking(history)
        wishes = self._wishes(burst, history, booking)
        if burst.unseen:
            yield self.phrases.unseen
        yield self._prices(burst, wishes=wishes)
        yield self._hours(burst, history, wishes=wishes)
        if Topic.ADDRESS in burst.topics:
            address = self.phrases.address.format(address=self.facts.address)
            yield address if self.facts.address else self.phrases.no_address
        yield from self._unknown(burst)
        if Topic.CHANGE in burst.topics:
            yield self.phrases.change
        elif Topic.PERSON in burst.topics:
            yield self.phrases.handover
        elif wishes:
            wish = wish_of(burst, booking, self.facts, self.now.date())
            yield answer_wish(wish, self.facts, self.phrases, self.now)

    def _wishes(
        self, burst: Burst, history: Sequence[Exchange], booking: Sequence[Exchange]
    ) -> bool:
        """Return whether the burst begins or continues a booking."""
        if Topic.BOOKING in burst.topics:
            return True
        timed = [line for line in burst.of(Topic.WHEN) if not line.topics & _NO_WISH]
        if any(line.minute is not None for line in timed):
            return True
        if timed and not self._goes_on_about_hours(burst, history):
            return True
        named = Topic.SERVICE in burst.topics and Topic.PRICES not in burst.topics
        # "Yes" to one of our questions leaves it open: it is asked again.
        agreed = burst.topics == {Topic.AGREEMENT} and _asked(booking, history)
        return bool(booking) and (named or agreed)

    def _goes_on_about_hours(self, burst: Burst, history: Sequence[Exchange]) -> bool:
        """Return whether a mere day continues a question about hours: "And on Sunday?"."""
        if burst.topics != {Topic.WHEN} or not history or open_booking(history[-1:]):
            return False
        before = understand(history[-1].customer, self.facts, self.now.date())
        return Topic.HOURS in before.topics

    def _prices(self, burst: Burst, *, wishes: bool) -> str:
        asked = Topic.PRICES in burst.topics
        if not asked and (wishes or Topic.SERVICE not in burst.topics):
            return ""
        if not self.facts.services:
            return self.phrases.no_prices
        meant = self.facts.mentioned("\n".join(line.text for line in burst.lines))
        services = [service for choice in meant for service in choice]
        told = prices(services or self.facts.services, self.phrases)
        return told if wishes or not services else f"{told}\n{self.phrases.ask_booking}"

    def _hours(self, burst: Burst, history: Sequence[Exchange], *, wishes: bool) -> str:
        lines = burst.of(Topic.HOURS)
        if not lines and not wishes and self._goes_on_about_hours(burst, history):
            lines = burst.of(Topic.WHEN)
        if not lines:
            return ""
        hours, today = self.facts.hours, self.now.date()
        if hours is None:
            return self.phrases.no_hours
        days = dict.fromkeys(line.day for line in lines if line.day)
        if not days:
            return self.phrases.hours.format(hours=week(hours, self.phrases))
        return " ".join(one_day(hours, day, self.phrases, today) for day in days)

    def _unknown(self, burst: Burst) -> Iterator[str]:
        """Yield what the file says to questions of no known topic, and once who may know."""
        notes = {line: self._note(line) for line in burst.unknown()}
        yield from dict.fromkeys(note for note in notes.values() if note)
        if not all(notes.values()):
            yield self.phrases.person

    def _note(self, line: Line) -> str:
        return self.facts.note_about(line.text)

    def _small_talk(self, burst: Burst, *, first: bool) -> str:
        """Return the answer to a burst that asks for nothing."""
        phrases, said = self.phrases, burst.topics
        closing = [phrases.welcome] if Topic.THANKS in said else []
        closing += [phrases.farewell] if Topic.FAREWELL in said else []
        if closing:
            return " ".join(closing)
        if not first and said & {Topic.AGREEMENT, Topic.REFUSAL}:
            return phrases.agreed
        return phrases.offer if first else phrases.still_here


def _asked(booking: Sequence[Exchange], history: Sequence[Exchange]) -> bool:
    """Return whether our last answer ended with a question of a booking."""
    return bool(booking) and history[-1].answer.endswith("?") and bool(open_booking(history[-1:]))
