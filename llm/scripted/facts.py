"""What a prompt file says of the business, found by its headings."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from llm.scripted.language import Languages, fold
from llm.scripted.times import read_hours

#: Shorter words alone name no service: "hair" is neither a haircut nor a colouring.
_NAMING_MIN = 5
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*")
_DECORATION = re.compile(r"\A\s*(?:[-*+•]|\d{1,3}[.)])\s+|\*\*|__|`")
#: A service and what it costs: "Haircut: 45", "Haircut — 45", "| Haircut | 45 |".
_PRICED = re.compile(r"(.{2,80}?)\s*(?::|\s[-\u2013\u2014]|\|)\s*(.*)")


class Service(NamedTuple):
    """A line of the price list; its name may be "one / other" in several languages."""

    name: str
    price: str


class Facts:
    """What is known of the business: "", None or nothing where the file is silent."""

    def __init__(self, text: str, languages: Languages) -> None:
        self._languages = languages
        self.name, topic = "", ""
        lines = defaultdict[str, list[str]](list)
        for line in text.splitlines():
            if heading := _HEADING.fullmatch(line):
                self.name = self.name or heading[2]
                topics = re.findall("[A-Z]+", languages.mark_headings(fold(heading[2])))
                topic = topics[0] if topics else ""
            elif line.strip():
                lines[topic].append(_DECORATION.sub("", line).strip())
        self.hours = read_hours(languages.mark_times(fold("\n".join(lines["HOURS"]))))
        self.services = [service for line in lines["PRICES"] for service in self._services(line)]
        self.address, self.notes = " ".join(lines["ADDRESS"]), lines["NOTES"]

    def _services(self, line: str) -> list[Service]:
        """Return the service of a line, none where there is none."""
        priced = _PRICED.fullmatch(line.strip("| "))
        if not priced or not self._languages.content_words(priced[1]):
            return []
        price = re.sub(r"\s*\|\s*", ", ", priced[2])
        is_price = re.search(r"\d|PRICED", self._languages.mark_headings(fold(price)))
        return [Service(priced[1], price)] if is_price else []

    def mentioned(self, text: str, among: Sequence[Service] = ()) -> list[list[Service]]:
        """Return the services that a text names; those that only more words tell apart together.

        "Haircut" names both the women's and the men's: one list of two. "Men's haircut and
        manicure" names two: two lists of one. Of some of them, ``among`` which was asked to
        choose, any word is enough.
        """
        few = among if len(among) < len(self.services) else ()
        found = {one: self._named(one, text, chosen=one in few) for one in self.services}
        meant = defaultdict[frozenset[str], list[Service]](list)
        for service, named in found.items():
            if named and not any(named < other for other in found.values()):
                meant[named].append(service)
        return list(meant.values())

    def _named(self, service: Service, text: str, *, chosen: bool) -> frozenset[str]:
        """Return the words of a text that name a service, none if they are not enough."""
        words = self._languages.content_words
        for own in map(words, service.name.split("/")):
            said = self._languages.shared(own, text)
            chosen |= bool(said) and (said == own or max(map(len, said)) >= _NAMING_MIN)
        return (
            frozenset(self._languages.shared(words(text), service.name)) if chosen else frozenset()
        )

    def note_about(self, text: str, subject: str) -> str:
        """Return the note on the subject or on most words of a text, "" if none is."""
        words = self._languages.content_words(text)
        for note in self.notes:
            most = 2 * len(self._languages.shared(words, note)) > len(words)
            if most or subject in self._languages.topics(note)[0]:
                return note
        return ""
