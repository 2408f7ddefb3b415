"""Output guard: redact unknown contacts, reject answers that recite the instructions.

A customer can make a model say nearly anything, and no prompt prevents that. So an answer may only
name contacts that the business publishes, or the customer's own.
"""

import base64
import codecs
import html
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from urllib.parse import unquote

import phonenumbers

from batching.errors import UnusableAnswerError
from batching.model import Answer, Exchange
from batching.ports import Model
from llm.contacts import Contact, Found, find, fold, mentioned
from llm.numbers import tails
from llm.prompt import MARK, Prompt

log = logging.getLogger(__name__)

#: Stands in an answer for a contact that was removed; it needs no translation.
REDACTED = "[…]"
#: An answer recites the rules if it has so many of their words in a row. Letters are compared, so
#: that numbers, signs and spaces between them change nothing.
RECITED_WORDS = 10
_RECITED_LETTERS = 4 * RECITED_WORDS

#: Hosts whose pages belong to many: of these only the very pages that are published may be given,
#: and their bare names, as in "Booking.com".
_SHARED_HOSTS = """
    2gis.kz 2gis.ru airbnb.com amazon.com api.whatsapp.com apple.com asp.net avito.ru bit.ly
    booking.com check24.de discord.gg docs.google.com doctolib.de ebay.com expedia.com facebook.com
    fb.com forms.gle fresha.com g.page github.com goo.gl google.com hotels.com instagram.com
    kaspi.kz linkedin.com linktr.ee m.me mail.ru maps.app.goo.gl microsoft.com ok.ru olx.kz olx.ua
    ozon.ru paypal.com paypal.me pinterest.com share.google sites.google.com t.me taplink.cc
    telegram.me telegram.org tiktok.com tinyurl.com treatwell.de tripadvisor.com trustpilot.com
    twitter.com uber.com vk.com wa.me whatsapp.com wildberries.ru wolt.com x.com yandex.kz yandex.ru
    yelp.com youtu.be youtube.com
"""
_SHARED = frozenset(_SHARED_HOSTS.split())


class Guarded:
    """Implements the Model port: the answers of ``model`` after the guard.

    ``alert`` is called with what was removed, in plain words, at every answer it was removed from.
    """

    def __init__(
        self,
        model: Model,
        *,
        prompt: Prompt,
        account_id: str,
        alert: Callable[[str], None] | None = None,
    ) -> None:
        self.model = model
        self._account_id = account_id
        self._alert = alert
        facts = prompt.facts()
        self._regions = regions_of(facts, prompt.timezone, prompt.language)
        self._published = mentioned(facts, regions=self._regions)
        rules = (_readings(prompt.rules(tools=tools)) for tools in (True, False))
        self._rules = frozenset[str]().union(*rules) - _readings(facts)

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
        """Return the model's answer without unknown contacts.

        Raise UnusableAnswerError ``model_recited``, and what the model raises.
        """
        said = self.model.answer(history, turn, now_ms=now_ms)
        answer = said.text
        if any(self._recites(text) for text in (answer, *_decoded(answer))):
            raise UnusableAnswerError("model_recited")
        texts = (turn, *(exchange.customer for exchange in history))
        customers = {it for text in texts for it in mentioned(text, regions=self._regions)}
        redacted, counts = redact(answer, self._published, customers, regions=self._regions)
        if counts:
            log.warning("reply.redacted", extra={"account": self._account_id, **counts})
            if self._alert:
                self._alert(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
        return replace(said, text=redacted)

    def _recites(self, text: str) -> bool:
        """Return whether ``text`` has the mark or a run of the rules, in any order of reading."""
        signs = "".join(filter(str.isalnum, fold(text)[0])).casefold()
        mark = MARK.partition("-")[2]
        if mark in signs or mark in signs[::-1]:
            return True
        return not self._rules.isdisjoint(_readings(text, backwards=True))


def redact(
    answer: str,
    published: Collection[Contact],
    customers: Collection[Contact],
    *,
    regions: Sequence[str] = (),
) -> tuple[str, dict[str, int]]:
    """Return the answer without unknown contacts, and how many of each kind were removed.

    Known are those that the business has ``published``, including every page of its hosts, and
    the ``customers`` own numbers and addresses. A link of the customer's is not known.
    ``regions``: countries whose national numbers are telephone numbers here.
    """
    known = {it for it in (*published, *customers) if it.kind != "link"}
    pages = {it.key for it in published if it.kind == "link"} - {""}
    hosts = {page.partition("/")[0] for page in pages} - _SHARED
    numbers = tails(it.key for it in known if it.kind == "number")
    counts: Counter[str] = Counter()
    pieces, done = list[str](), 0
    for found in sorted(
        find(answer, regions=regions, known_tails=numbers), key=lambda it: it.start
    ):
        if found.contact in known or _is_published(found, answer, pages, hosts):
            continue
        counts[found.contact.kind] += 1
        pieces += [answer[done : found.start], REDACTED]
        done = found.end
    return "".join([*pieces, answer[done:]]), dict(counts)


def _is_published(
    found: Found, answer: str, pages: Collection[str], hosts: Collection[str]
) -> bool:
    """Return whether a link leads to one of ``hosts``, or to a shared one bare or by its page."""
    if found.contact.kind != "link" or not found.contact.key:
        return False
    host, _, path = found.contact.key.partition("/")
    if host in _SHARED:
        bare = not path and set(answer[found.start : found.end]).isdisjoint("/:?#")
        return bare or (bool(path) and found.contact.key in pages)
    return any(host == it or host.endswith(f".{it}") for it in hosts)


def regions_of(facts: str, timezone: str, language: str) -> tuple[str, ...]:
    """Return the countries of a business: of its numbers, its time zone and its language's tag."""
    found = list[str]()
    for number in re.findall(r"\+[\d ()./-]{7,20}\d", fold(facts)[0]):
        try:
            country = phonenumbers.region_code_for_number(phonenumbers.parse(number))
        except phonenumbers.NumberParseException:
            continue
        found += [country] if country else []
    found += [_countries().get(timezone, ""), language.partition("-")[2].upper()]
    return tuple(dict.fromkeys(it for it in found if it in phonenumbers.SUPPORTED_REGIONS))


@cache
def _countries() -> dict[str, str]:
    """Return the country of each time zone that is of one, by the table of IANA."""
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text()
    rows = (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
    return {zone: country for country, _, zone, *_ in rows}


#: Letters of other scripts that look like Latin ones (Unicode's confusables.txt, those of words),
#: and digits that stand for letters.
_PAIRS = """
    аa вb сc ԁd еe ёe ғf ɡg һh іi їi јj ӏl кk мm нh пn оo рp ԛq гr ѕs тt уy ѵv ԝw хx ѡw αa βb γy δd
    εe ηn ιi κk λl μu νv οo ρp σo τt υu χx ωw ϲc ϳj ɑa ɩi ɪi ʏy ʀr ᴀa ʙb ᴄc ᴅd ᴇe ɢg ʜh ᴊj ᴋk ʟl ᴍm
    ɴn ᴏo ᴘp ꜱs ᴛt ᴜu ᴠv ᴡw ᴢz 0o 1l 3e 4a 5s 7t @a $s
"""
_LOOK_ALIKE = {ord(pair[0]): pair[1] for pair in _PAIRS.split()}

#: A sign as programs write it, and what may be base64 or hexadecimal, line ends included.
_ESCAPE = re.compile(r"\\[ux]([0-9A-Fa-f]{4}|[0-9A-Fa-f]{2})")
_CODE = re.compile(r"[A-Za-z0-9+/_-][A-Za-z0-9+/_\s-]{19,}+")


def _words(text: str) -> list[str]:
    """Return the words of ``text`` in small Latin letters, without numbers and accents."""
    plain = unicodedata.normalize("NFKD", fold(text)[0]).casefold()
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    words = re.findall(r"[\w@$]+", plain)
    translated = (it.translate(_LOOK_ALIKE) for it in words if not it.isdecimal())
    return [re.sub(r"[\W\d_]+", "", word) for word in translated]


def _readings(text: str, *, backwards: bool = False) -> frozenset[str]:
    """Return every run of _RECITED_LETTERS letters of ``text``, with and without single letters.

    ``backwards``: also of the words and the letters in reverse order.
    """
    runs = set[str]()
    words = _words(text)
    for read in (words, [word for word in words if len(word) > 1]):
        ways = ["".join(read)]
        if backwards:
            ways += ["".join(reversed(read))]
            ways += [way[::-1] for way in ways]
        for way in ways:
            last = len(way) - _RECITED_LETTERS
            runs.update(way[at : at + _RECITED_LETTERS] for at in range(last + 1))
    return frozenset(runs)


def _decoded(text: str) -> Iterator[str]:
    """Yield what ``text`` may stand for: turned by thirteen letters, escaped, or in a code."""
    yield codecs.decode(text, "rot13")
    yield _ESCAPE.sub(lambda it: chr(int(it[1], 16)), html.unescape(unquote(text)))
    for found in _CODE.finditer(text):
        code = re.sub(r"\s", "", found[0])
        if re.fullmatch("[0-9A-Fa-f]+", code):
            yield bytes.fromhex(code[: len(code) // 2 * 2]).decode("utf-8", "ignore")
        # Words may stand before the code: it is read from each of the four places of a group.
        for skipped in range(4):
            part = code[skipped:].replace("-", "+").replace("_", "/")
            raw = base64.b64decode(part[: len(part) // 4 * 4])
            yield raw.decode("utf-8", "ignore")
