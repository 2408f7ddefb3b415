"""What a prompt file says of the business, found by its headings."""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
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
        words = self._languages.content_words(text)
        found = {
            service: self._named(service, words, chosen=service in few) for service in self.services
        }
        meant = defaultdict[frozenset[str], list[Service]](list)
        for service, named in found.items():
            if named and not any(named < other for other in found.values()):
                meant[named].append(service)
        return list(meant.values())

    def _named(self, service: Service, words: list[str], *, chosen: bool) -> frozenset[str]:
        """Return the words that name a service, none if they are not enough to name it."""
        names = [self._languages.content_words(name) for name in service.name.split("/")]
        alike = {(w, n) for w in words for n in chain(*names) if self._languages.alike(w, n)}
        named, said = frozenset(w for w, _ in alike), {n for _, n in alike}
        whole = chosen or any(name and said.issuperset(name) for name in names)
        return named if whole or max(map(len, said), default=0) >= _NAMING_MIN else frozenset()

    def is_named(self, word: str) -> bool:
        """Return whether a word stands in the name of some service."""
        names = (self._languages.content_words(one.name) for one in self.services)
        return any(self._languages.alike(word, name) for name in chain(*names))

    def note_about(self, text: str, subject: str) -> str:
        """Return the note on the subject or on most words of a text, "" if none is."""
        words = self._languages.content_words(text)
        for note in self.notes:
            own = self._languages.content_words(note)
            shared = [word for word in words if any(self._languages.alike(word, o) for o in own)]
            if subject in self._languages.topics(note)[0] or 2 * len(shared) > len(words):
                return note
        return ""
