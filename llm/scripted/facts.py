"""What the prompt file says, found by its headings: hours, prices, address, things to know."""
# ruff: noqa: RUF001 - customers write Cyrillic, and dashes of every length

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm.scripted.hours import Hours, read_hours
from llm.scripted.words import CYRILLIC, content_words, fold, same_word

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*")
_BULLET = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_EMPHASIS = re.compile(r"\*\*|__|`")
#: A service and what it costs: "Haircut: 45", "Haircut — 45", "| Haircut | 45 |".
_PRICED = re.compile(r"(.{2,80}?)\s*(?::|\s[-–—]|\|)\s*(.*)")
_PRICE = re.compile(r"\d|\bfree\b|\bбесплатно\b|\bon request\b|\bпо запросу\b", re.IGNORECASE)
#: The first that a heading fits decides what stands under it.
_TOPICS = {
    "hours": re.compile(r"hours|opening|when we|часы|время|режим|график|расписание"),
    "prices": re.compile(r"price|services|menu|цен|прайс|услуг|стоимост"),
    "address": re.compile(
        r"address|where|location|find us|contact|адрес|где|контакт|добраться|найти"
    ),
    "notes": re.compile(r"good to know|questions|faq|полезно|вопросы|важно знать"),
}


@dataclass(frozen=True, slots=True)
class Service:
    """One line of the price list. ``names``: in several languages, if the file gives them."""

    names: tuple[str, ...]
    price: str

    def name(self, *, russian: bool) -> str:
        """Return the name in the language, the first where there is none in it."""
        fitting = (name for name in self.names if bool(CYRILLIC.search(name)) == russian)
        return next(fitting, self.names[0])

    def words_in(self, words: Sequence[str]) -> frozenset[str]:
        """Return those of a customer's words that name this service."""
        own = [word for name in self.names for word in content_words(name)]
        return frozenset(word for word in words if any(same_word(word, name) for name in own))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the business; "" , None or nothing where the file is silent.

    ``notes``: sentences that answer whoever asks with the same words.
    """

    name: str
    hours: Hours | None
    services: tuple[Service, ...]
    address: str
    notes: tuple[str, ...]

    def mentioned(self, text: str) -> list[list[Service]]:
        """Return the services that a text names; those that only more words tell apart together.

        "Haircut" names both the women's and the men's: one list of two. "Men's haircut and
        manicure" names two: two lists of one.
        """
        words = content_words(text)
        found = [(service, service.words_in(words)) for service in self.services]
        meant: dict[frozenset[str], list[Service]] = {}
        for service, named in found:
            if named and not any(named < other for _, other in found):
                meant.setdefault(named, []).append(service)
        return list(meant.values())

    def note_about(self, text: str) -> str:
        """Return the note that shares most words with a question, "" if none shares any."""
        words = content_words(text)
        best, most = "", 0
        for note in self.notes:
            own = content_words(note)
            shared = sum(1 for word in words if any(same_word(word, other) for other in own))
            if shared > most:
                best, most = note, shared
        return best


def read_facts(text: str) -> Facts:
    """Return the facts of a prompt file, in Markdown without comments."""
    name, sections = "", dict[str, list[str]]()
    topic = ""
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading and heading[1] == "#" and not name:
            name = heading[2]
        if heading:
            topic = _topic(heading[2])
        elif line.strip():
            sections.setdefault(topic, []).append(_plain(line))
    lines = {topic: found for topic, found in sections.items() if topic}
    return Facts(
        name=name,
        hours=read_hours("\n".join(lines.get("hours", ()))),
        services=tuple(
            service for line in lines.get("prices", ()) if (service := _service(line)) is not None
        ),
        address=" ".join(lines.get("address", ())),
        notes=tuple(lines.get("notes", ())),
    )


def _topic(heading: str) -> str:
    folded = fold(heading)
    return next((topic for topic, words in _TOPICS.items() if words.search(folded)), "")


def _plain(line: str) -> str:
    return _EMPHASIS.sub("", _BULLET.sub("", line, count=1)).strip()


def _service(line: str) -> Service | None:
    """Return the service of a line, None where it holds none."""
    priced = _PRICED.fullmatch(line.strip("| "))
    if priced is None:
        return None
    names, price = priced[1], re.sub(r"\s*\|\s*", ", ", priced[2])
    if not _PRICE.search(price) or not content_words(names):
        return None
    return Service(tuple(name.strip() for name in names.split("/") if name.strip()), price)
