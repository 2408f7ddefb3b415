"""A model without a network: answers from the prompt file by rules, for demos and tests."""

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from batching.model import Answer, Exchange, Handover
from config import Table, Whole
from llm.prompt import Prompt
from llm.scripted.facts import Facts, find_moment
from llm.scripted.language import NOTE, Language, fold, load, spoken

#: So many earlier exchanges tell the language and hold a wish; so many services are offered.
EARLIER_MAX, NAMES_MAX = 4, 6
WISHES = {"BOOKING", "CHANGE"}
#: Topics that are for a person, and why.
HANDED_OVER = {"COMPLAINT": "upset", "PERSON": "asked"}
#: Stands before the turn of a customer who waits for a person; none of it is for the rules here.
_PROMISED = re.compile(r"\A\[The customer was promised [^\]]*\]\n")


class ScriptedModel(Table):
    """``pause_ms``: how long an answer takes, so that people see it typing."""

    provider: Literal["scripted"]
    pause_ms: Annotated[int, Whole(0, 10_000)] = 0


class Scripted:
    """Implements the Model port. ``languages``: the folder of their files, ours if None."""

    def __init__(
        self,
        *,
        prompt: Prompt,
        config: ScriptedModel | None = None,
        languages: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **_: Any,  # noqa: ANN401 - secrets and http, which it does not need
    ) -> None:
        self._prompt, self._sleep = prompt, sleep
        self._pause_s = config.pause_ms / 1000 if config else 0
        self._languages = load(languages or Path(__file__).parent / "languages")
        self._facts = Facts(prompt.facts(), self._languages[""])

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
        """Return one answer to all lines of ``turn``, and hand over who wants a person."""
        self._sleep(self._pause_s)
        turn = _PROMISED.sub("", turn)
        said = [turn, *(one.customer for one in reversed(history))]
        language = spoken(self._languages, said[: EARLIER_MAX + 1], self._prompt.language[:2])
        answers = [one.answer for one in reversed(history[-EARLIER_MAX:])]
        last = next((one for one in answers if language.says(one, "wish", "ask", "cancel")), "")
        last = "" if language.says(last, "cancel") else last
        name = next(filter(None, map(self._languages[""].name_in, said)), "")
        talk = Talk(self._facts, language, last, name, self._prompt.local(now_ms))
        topics = self._languages[""].topics(turn)[0]
        reason = next((it for topic, it in HANDED_OVER.items() if topic in topics), "")
        handover = Handover(reason, turn) if reason else None
        return Answer(talk.answer(turn, is_first=not history), handover)


class Line(NamedTuple):
    """A sentence: topics, services, days and time, and the words that none of these explains."""

    topics: set[str]
    services: Sequence[str] = ()
    days: Sequence[date] = ()
    time: str = ""
    rest: Sequence[str] = ()


class Talk(NamedTuple):
    """A conversation: ``last`` is our answer that holds a wish under way, ``name`` the customer."""

    facts: Facts
    language: Language
    last: str
    name: str
    now: datetime

    def answer(self, turn: str, *, is_first: bool) -> str:
        """Return one answer to the whole burst; the first of a conversation greets."""
        languages, say = self.facts.languages, self.language.say
        lines = [self._line(raw) for raw in re.split(r"\n|(?<=[.!?])\s+", turn) if raw.strip()]
        topics = {"NAME"} if languages.name_in(turn) else set[str]()
        topics = topics.union(*(line.topics for line in lines))
        wish = self._wish([line for line in lines if line.topics <= languages.small | WISHES])
        told = [say(topic.lower(), name=self.name) for topic in languages.plain if topic in topics]
        named = dict.fromkeys(name for line in lines for name in line.services)
        told += [part for line in lines for part in self._facts(line, named, wish=wish)]
        told = list(dict.fromkeys([*told, wish] if wish else told))
        polite = [topic for topic in dict.fromkeys(languages.polite) if topic in topics]
        polite = polite or ["unclear" if any(line.rest for line in lines) else "greeting"]
        told = told or [say(topic.lower(), name=self.name) for topic in polite]
        if is_first and topics != {"QUIET"}:
            told[0] = f"{say('hello', name=self.facts.name)} {told[0]}"
        return "\n".join(told)

    def _line(self, raw: str) -> Line:
        languages, text, today = self.facts.languages, NOTE.sub("", raw).strip(), self.now.date()
        topics, rest = languages.topics(raw)
        if topics & {"COMPLAINT", "QUIET"} or not re.search(r"[\w?]", text):
            return Line(topics & {"COMPLAINT"} or topics or {"QUIET"})
        times, services = languages.times(fold(text)), self.facts.mentioned(text)
        if not rest and ("CHANGE" in topics or self.language.says(self.last, "ask")):
            times = re.sub(r"(?<![\d:.+-])(\d+)(?![\d./])", r"AT \1", times, count=1)
        days, hour = find_moment(times, today, languages.fillers)
        is_past = min(days, default=today) < today and not topics & WISHES
        if is_past or (topics & {"THANKS", "FAREWELL"} and not hour):
            days, hour = [], ""
        rest = [word for word in rest if word not in languages.shared(rest, " ".join(services))]
        if days and not (rest or hour or services or self.last) and topics <= languages.small:
            topics |= {"HOURS"}
        return Line(topics - {"UNSEEN"}, services, days, hour, rest)

    def _facts(self, line: Line, named: Collection[str], *, wish: str) -> Iterator[str]:
        """Yield what the prompt file answers to a line, or that it does not know it."""
        say, pick, facts = self.language.say, self.language.pick, self.facts
        asks = line.topics & {"QUESTION", "PRICES"} or not line.rest
        subjects = {one for one in line.topics if one == "HOURS" or one.startswith("ABOUT_")}
        is_small = line.topics <= facts.languages.small
        if "PRICES" in line.topics or (line.services and asks and is_small and not wish):
            names = line.services or (() if line.rest else named or facts.prices)
            yield from (
                say("price", name=pick(one), price=pick(facts.prices[one])) for one in names
            )
            if line.services and not self.last:
                yield say("ask_booking")
            subjects |= set() if names else {"UNKNOWN"}
        elif is_small and line.rest and not (line.services or line.days or wish):
            subjects |= {"UNKNOWN"}
        for subject in sorted(subjects) if asks else ():
            note = "\n".join(map(pick, facts.about(subject, line.rest)))
            days = line.days if subject == "HOURS" and facts.hours else ()
            on_days = [self._refusal(day, "24:00") for day in days]
            yield "\n".join(on_days) or say("note", note=note)

    def _refusal(self, day: date, hour: str) -> str:
        """Return why a day, or a time on it, cannot be wished for, "" if it can."""
        periods = self.facts.hours[day.weekday()] if self.facts.hours else [("00:00", "24:00")]
        latest = hour or max((end for _, end in periods), default="24:00")
        kind = "passed" if (day, latest) <= (self.now.date(), f"{self.now:%H:%M}") else "open_on"
        hours = ", ".join(map("\N{EN DASH}".join, periods))
        fits = any(start <= (hour or start) < end for start, end in periods) and kind == "open_on"
        return "" if fits else self.language.say(kind, day=self.language.day(day), hours=hours)

    def _wish(self, lines: Sequence[Line]) -> str:
        """Return the answer to a wish for an appointment, "" if the lines are not about one."""
        say, says, last = self.language.say, self.language.says, self.last
        topics = set[str]().union(*(line.topics for line in lines))
        asked = says(last, "ask")
        lines = [one for one in lines if asked or not one.rest or one.topics & WISHES]
        said = [name for line in lines for name in line.services]
        kept = self._line(next((one for one in last.split("\n") if says(one, "wish")), ""))
        timed = [line for line in lines if line.days or line.time]
        chosen = (said and "QUESTION" not in topics) or (asked and topics == {"YES"})
        if not (topics & WISHES or timed or (last and chosen)):
            return ""
        services = said or kept.services or self.facts.mentioned(last)
        services = [*kept.services, *said] if "ALSO" in topics else services
        # "An hour later" is asked about, not guessed.
        timed = [kept, *timed] if timed or said or "CHANGE" not in topics else []
        day = next((line.days[-1] for line in reversed(timed) if line.days), None)
        hour = next((line.time for line in reversed(timed) if line.time), "")
        refusal = self._refusal(day, hour) if day else ""
        if refusal and day:
            day, hour = (None, hour) if self._refusal(day, "") else (day, "")
        # Who moves an appointment is not asked what it is for.
        offered = [] if last or "CHANGE" in topics else list(self.facts.prices)[:NAMES_MAX]
        names = ", ".join(map(self.language.pick, services or offered))
        is_clear = len(services) == 1 or services == kept.services or "ALSO" in topics
        service = names if services and is_clear else ""
        slots = {"service": service, "day": self.language.day(day), "time": say("at", time=hour)}
        lacking = [say(slot, names=names) for slot, value in slots.items() if not value]
        wish = say("wish", wish=", ".join(filter(None, slots.values())))
        ask = say("ask", lacking=", ".join(filter(None, lacking)))
        return "\n".join(filter(None, [refusal, wish, ask]))
