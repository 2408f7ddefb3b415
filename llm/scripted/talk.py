"""One answer to a burst, out of the facts, the language and what was said before."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from batching.model import Exchange
from llm.scripted.facts import Facts, Service
from llm.scripted.language import NOTE, Language, Languages, fold
from llm.scripted.times import DASH, clock, find_days, find_minute, spans

#: A wish is taken up again after so many exchanges; a question names so many services.
WISH_BACK_MAX, NAMES_MAX = 4, 6


class Line(NamedTuple):
    """A sentence: its topics, days and time, and its words that none of these explains."""

    text: str
    topics: set[str]
    days: Sequence[date] = ()
    minute: int | None = None
    rest: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation at the moment of a burst. What it knows of a wish is what we said last."""

    facts: Facts
    languages: Languages
    language: Language
    history: Sequence[Exchange]
    now: datetime

    def answer(self, turn: str) -> str:
        """Return one answer to the whole burst; it greets in the first of a conversation only."""
        say, lines = self.language.say, self._lines(turn)
        topics = set[str]().union(*(line.topics for line in lines))
        parts = list(dict.fromkeys(part for part in self._parts(turn, lines, topics) if part))
        if not parts:
            name = self.languages.name_in(turn)
            offer = say("still_here" if self.history else "offer")
            polite = topics & {"THANKS", "FAREWELL"} or topics & {"YES", "NO", "QUIET"}
            parts = [say(topic.lower()) for topic in sorted(polite, reverse=True)]
            parts = [say("met", name=name), offer] if name else parts
            is_clear = "GREETING" in topics or not any(line.rest for line in lines)
            parts = parts or [offer if is_clear else say("unclear")]
        if not self.history and topics != {"QUIET"}:
            hello = "hello_from" if self.facts.name else "hello"
            parts[0] = f"{say(hello, name=self.facts.name)} {parts[0]}"
        return "\n".join(parts)

    def _lines(self, text: str) -> list[Line]:
        return [self._line(raw) for raw in re.split(r"\n|(?<=[.!?])\s+", text) if raw.strip()]

    def _line(self, raw: str) -> Line:
        text, today = NOTE.sub("", raw).strip(), self.now.date()
        topics, rest = self.languages.topics(raw)
        if topics & {"COMPLAINT", "QUIET"} or not re.search(r"[\w?]", text):
            return Line("", topics & {"COMPLAINT"} or topics & {"UNSEEN"} or {"QUIET"})
        words, times = self.languages.content_words(rest), self.languages.mark_times(fold(text))
        last = self.history[-1].answer if self.history else ""
        if not words and ("CHANGE" in topics or self.languages.says(last, "ask_time")):
            times = re.sub(r"(?<![\d:.+-])(\d+)", r"AT \1", times, count=1)
        days, minute = find_days(times, today), find_minute(times, self.languages.fillers)
        over = "FAREWELL" in topics or minute is None or any(day < today for day in days)
        if over and topics & {"THANKS", "FAREWELL"} and "QUESTION" not in topics:
            return Line("", topics)
        is_bare = topics <= self.languages.small and minute is None and not words
        if days and is_bare and not self.languages.says(last, "wish", "ask"):
            topics = topics | {"HOURS"}
        if self.facts.mentioned(text):
            names = " ".join(service.name for service in self.facts.services)
            words = [one for one in words if one not in self.languages.shared(words, names)]
        return Line(text, topics - {"UNSEEN"}, days, minute, words)

    def _parts(self, turn: str, lines: list[Line], topics: set[str]) -> Iterator[str]:
        say, small = self.language.say, self.languages.small
        yield from (say(topic.lower()) for topic in self.languages.plain if topic in topics)
        if "MY_NAME" in topics:
            said = [turn, *(exchange.customer for exchange in reversed(self.history))]
            name = next(filter(None, map(self.languages.name_in, said)), "")
            yield say("your_name", name=name) if name else say("no_name")
        wishing = [line for line in lines if line.topics <= small | {"BOOKING", "CHANGE"}]
        wish = self._wish(wishing)
        asking = [line for line in lines if "PRICES" in line.topics]
        named = [line for line in wishing if "QUESTION" in line.topics or not line.rest]
        yield self._prices(asking or named, asked=bool(asking), wish=wish)
        if asking := [line for line in lines if "HOURS" in line.topics]:
            yield self._hours(list(dict.fromkeys(day for line in asking for day in line.days)))
        if "ADDRESS" in topics:
            address = self.language.pick(self.facts.address)
            yield say("found", address=address) if address else say("no_address")
        for line in lines:
            subjects = sorted(topic for topic in line.topics if topic.startswith("ABOUT_"))
            asks = "QUESTION" in line.topics or not line.rest
            is_unknown = line in wishing and line.rest and not (line.days or wish)
            if is_unknown and not self.facts.mentioned(line.text):
                subjects = ["unknown"]
            for subject in subjects if asks else ():
                note = self.facts.note_about(line.text, subject)
                yield say("note", note=self.language.pick(note)) if note else say("unknown")
        yield wish

    def _prices(self, lines: list[Line], *, asked: bool, wish: str) -> str:
        meant = self.facts.mentioned("\n".join(line.text for line in lines))
        services = [one for choice in meant for one in choice if asked or not wish]
        if asked and not self.facts.services:
            return self.language.say("no_prices")
        if not services and (not asked or any(line.rest for line in lines)):
            return self.language.say("no_price") if asked else ""
        pick, told = self.language.pick, list[str]()
        for one in services or self.facts.services:
            told.append(self.language.say("price", name=pick(one.name), price=pick(one.price)))
        told = [self.language.say("price_list"), *told] if len(told) > 1 else told
        offer = [self.language.say("ask_booking")] if services and not wish else []
        return "\n".join([*told, *offer])

    def _hours(self, days: list[date]) -> str:
        week, names = self.facts.hours, self.language.table.get("calendar", {}).get("days", [])
        if week is None:
            return self.language.say("no_hours")
        if days or not names:
            return " ".join(self._fit(day, None)[0] for day in days) or self.language.say("week")
        said = []
        for periods, group in groupby(range(7), key=week.__getitem__):
            run = [names[day] for day in group]
            hours = spans(periods) or self.language.phrases["closed"]
            said.append(f"{DASH.join(dict.fromkeys((run[0], run[-1])))} {hours}")
        return self.language.say("week", hours=", ".join(said))

    def _fit(self, day: date, minute: int | None) -> tuple[str, date | None, int | None]:
        """Return what is to be said of a day or a moment, and what of it may be wished for."""
        say, today, week = self.language.say, self.now.date(), self.facts.hours
        named, now = self.language.day(day, today), self.now.hour * 60 + self.now.minute
        if day < today:
            return say("passed_day", day=named.rstrip(",")), None, None
        periods = week[day.weekday()] if week else ()
        if week and (not periods or (day == today and now >= periods[-1][1])):
            closed = say("closing_over" if periods else "closed_on", day=named)
            days = (day + timedelta(ahead) for ahead in range(1, 8))
            again = next((one for one in days if week[one.weekday()]), day)
            hours, named = spans(week[again.weekday()]), self.language.day(again, today).rstrip(",")
            return f"{closed} {say('next_open', day=named, hours=hours)}", None, None
        if minute is None:
            return say("open_on", day=named, hours=spans(periods)) if week else "", day, None
        passed = day == today and minute <= now
        if not passed and (not week or any(start <= minute < end for start, end in periods)):
            return "", day, minute
        kind = "passed" if passed else "outside"
        times = {"now": clock(now), "time": clock(minute), "hours": spans(periods)}
        return say(kind, day=named, **times), day, None

    def _wish(self, lines: list[Line]) -> str:
        """Return the answer to a wish for an appointment, "" if the lines are not about one."""
        says, mentioned = self.languages.says, self.facts.mentioned
        topics = set[str]().union(*(line.topics for line in lines))
        answers = [said.answer for said in self.history[-WISH_BACK_MAX:]] or [""]
        last = next((one for one in reversed(answers) if says(one, "wish", "ask", "cancel")), "")
        is_open, offered = says(last, "wish", "ask"), says(last, "ask_booking")
        asking = "\n".join(one for one in last.split("\n") if offered or says(one, "ask_service"))
        asked = [one for one in self.facts.services if self._name(one).lower() in asking.lower()]
        named = mentioned("\n".join(line.text for line in lines), among=asked)
        meant = [
            one for one in lines if is_open or not one.rest or one.topics & {"BOOKING", "CHANGE"}
        ]
        timed = [one for one in meant if one.days or one.minute is not None]
        agrees = topics == {"YES"} and says(answers[-1], "ask")
        says_which = (
            named and "QUESTION" not in topics and (asked or not any(one.rest for one in lines))
        )
        goes_on = is_open and (agrees or says_which)
        if not (topics & {"BOOKING", "CHANGE"} or timed or goes_on):
            return ""
        known = [self._line(one) for one in last.split("\n") if says(one, "wish")]
        is_vague = "CHANGE" in topics and not timed and not named
        if not named or (asked and not offered) or "ALSO" in topics:
            before = mentioned("\n".join(line.text for line in known))
            few = [asked] if not named and 0 < len(asked) < len(self.facts.services) else []
            named = before + [choice for choice in few + named if choice not in before]
        timed = timed if is_vague else [*known, *timed]
        days = [day for line in timed for day in line.days]
        minutes = [line.minute for line in timed if line.minute is not None]
        changes = "CHANGE" in topics or says(last, "wish_new")
        return self._reply(named, [None, *days][-1], [None, *minutes][-1], changes=changes)

    def _reply(
        self, named: list[list[Service]], day: date | None, minute: int | None, *, changes: bool
    ) -> str:
        """Return what is wrong with a wish, what is known of it, and what is missing."""
        say, join = self.language.say, self.language.join
        said, day, minute = self._fit(day, minute) if day else ("", None, minute)
        known = [join([self._name(one) for [one, *more] in named if not more], "and")]
        known += [self.language.day(day, self.now.date()).rstrip(",")] if day else []
        known += [say("at", time=clock(minute)).lower()] if minute is not None else []
        wish = ", ".join(filter(None, known))
        choice = next((services for services in named if len(services) > 1), [])
        asks = []
        if choice or not (named or changes or not self.facts.services):
            names = [self._name(one) for one in choice or self.facts.services[:NAMES_MAX]]
            asks.append(say("ask_service", names=join(names, "or")))
        asks += [say("ask_day")] if day is None else []
        asks += [say("ask_time")] if minute is None else []
        stated = say("wish_new" if changes else "wish", wish=wish) if wish else ""
        return "\n".join(filter(None, [said, stated, " ".join(asks) or say("confirm")]))

    def _name(self, service: Service) -> str:
        name = self.language.pick(service.name)
        # "SPA" keeps its capitals within a sentence.
        return name if name[1:2].isupper() else name[:1].lower() + name[1:]
