"""Output guard: redact unknown contacts, reject answers that recite the instructions.

A customer can make a model say nearly anything, and no prompt prevents that. So an answer may only
name contacts that the business publishes, or the customer's own.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from batching.errors import UnusableAnswerError
from batching.model import Exchange
from batching.ports import Model
from llm.prompt import MARK, Prompt

log = logging.getLogger(__name__)

#: Stands in an answer for a contact that was removed; it needs no translation.
REDACTED = "[…]"
#: An answer recites the rules if it has this many of their words in a row.
RECITED_WORDS = 10

#: A number is compared by its last digits: country and trunk codes are written in many ways.
_TAIL = 9
#: Lengths in digits of a number that begins with a plus, and of any other: 8 digits are a date.
_PLUS_DIGITS, _BARE_DIGITS = range(8, 16), range(10, 16)

_DOT = "[.\u3002\uff0e\uff61]"
#: Endings after which messengers make a link of a bare name. All small or all capital: "now.It" is
#: a forgotten space.
_TOP = (
    "com|net|org|info|biz|io|me|co|ai|app|dev|page|shop|store|site|online|live|club|link|click|top"
    "|xyz|pro|icu|su|ru|рф|by|kz|ua|uz|am|ge|de|at|ch|eu|uk|fr|it|es|pt|pl|cz|nl|be|tr|cn|in|us|ca"
    "|gg|to|cc|tv|ly"
)
# Each pattern matches a run only from its beginning, or for a bounded length: customers influence
# the text, and must not be able to make the search slow.
_EMAIL = rf"(?<![\w.+-])[\w.+-]{{1,64}}@[\w-]+(?:{_DOT}[\w-]+)+"
_LINK = rf"(?:[A-Za-z0-9+.-]{{0,20}}:[/\\]{{2}}|[Ww]{{3}}{_DOT})\S+"
_HOST = (
    rf"(?<![\w@-])(?<!\w{_DOT})(?:[\w-]+{_DOT})+(?:{_TOP}|{_TOP.upper()})(?![\w-])(?:[/\\:?#]\S*)?"
)
_GAP = r"()\-\u2010-\u2015 \t\u00a0\u2009\u202f"
_NUMBER = (
    rf"(?:(?<![\w+])\+[.{_GAP}]{{0,3}}\d[\d.{_GAP}]{{6,24}}\d"
    rf"|(?<![\w.:+])\(?\d[\d{_GAP}]{{6,24}}\d)(?![\w:])"
)
_CONTACT = re.compile(rf"(?P<email>{_EMAIL})|(?P<link>{_LINK}|{_HOST})|(?P<number>{_NUMBER})")
_SCHEME = re.compile(r"\A[^/\\]*:[/\\]{2}")
_WEB = re.compile(r"\Ahttps?://", re.IGNORECASE)
_PUNCTUATION = ".,;:!?)]}>'\"*_»”’…"  # noqa: RUF001 - sentences end in typographic quotes too


@dataclass(frozen=True, slots=True)
class Contact:
    """A link, e-mail address or telephone number.

    ``key`` is the same however the contact is written: the host of a link, "" if parsers may
    disagree about it, the address, or the last digits of a number.
    """

    kind: Literal["link", "email", "number"]
    key: str


class Guarded:
    """Implements the Model port: the answers of ``model`` after the guard."""

    def __init__(self, model: Model, *, prompt: Prompt, account_id: str) -> None:
        self.model = model
        self._account_id = account_id
        self._published = frozenset(contacts(prompt.facts()))
        self._rules = _runs(prompt.rules())

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the model's answer without unknown contacts.

        Raise UnusableAnswerError ``model_recited``, and what the model raises.
        """
        answer = self.model.answer(history, turn, now_ms=now_ms)
        if MARK.casefold() in answer.casefold() or not self._rules.isdisjoint(_runs(answer)):
            raise UnusableAnswerError("model_recited")
        customers = {c for text in (turn, *(e.customer for e in history)) for c in contacts(text)}
        redacted, counts = redact(answer, self._published, customers)
        if counts:
            log.warning("reply.redacted", extra={"account": self._account_id, **counts})
        return redacted


def redact(
    answer: str, published: Collection[Contact], customers: Collection[Contact]
) -> tuple[str, dict[str, int]]:
    """Return the answer without unknown contacts, and how many of each kind were removed.

    Known are those that the business has ``published``, including every page of its hosts, and
    the ``customers`` own numbers and addresses. A link of the customer's is not known.
    """
    hosts = {contact.key for contact in published if contact.kind == "link"}
    counts: Counter[str] = Counter()

    def replace(found: re.Match[str]) -> str:
        contact, rest = _read(found)
        if contact is None:
            return found[0]
        if contact.kind == "link":
            known = any(_is_under(contact.key, host) for host in hosts)
        else:
            known = contact in published or contact in customers
        if known:
            return found[0]
        counts[contact.kind] += 1
        return REDACTED + rest

    return _CONTACT.sub(replace, answer), dict(counts)


def _is_under(host: str, published: str) -> bool:
    return bool(host and published) and (host == published or host.endswith(f".{published}"))


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    """Return every run of RECITED_WORDS words in ``text``."""
    words = re.findall(r"\w+", text.casefold())
    return frozenset(zip(*(words[start:] for start in range(RECITED_WORDS)), strict=False))


def contacts(text: str) -> Iterator[Contact]:
    """Yield every contact in ``text``, in order."""
    for found in _CONTACT.finditer(text):
        contact, _ = _read(found)
        if contact is not None:
            yield contact


def _read(found: re.Match[str]) -> tuple[Contact | None, str]:
    """Return the contact of a match, None if it is none after all, and punctuation after it."""
    if found.lastgroup == "number":
        return _number(found[0]), ""
    text = found[0].rstrip(_PUNCTUATION)
    rest = found[0][len(text) :]
    if found.lastgroup == "email":
        return Contact("email", text.casefold()), rest
    return Contact("link", _host(text)), rest


def _number(text: str) -> Contact | None:
    digits = "".join(str(int(sign)) for sign in text if sign.isdecimal())
    expected = _PLUS_DIGITS if text.startswith("+") else _BARE_DIGITS
    return Contact("number", digits[-_TAIL:]) if len(digits) in expected else None


def _host(link: str) -> str:
    """Return the host that a link leads to, "" where parsers of links may disagree about it."""
    if _SCHEME.match(link) and not _WEB.match(link):
        return ""
    authority = re.split(r"[/?#]", _WEB.sub("", link), maxsplit=1)[0]
    if set("@\\%") & set(authority):
        return ""
    name = re.sub(_DOT, ".", authority.partition(":")[0]).casefold()
    return name.rstrip(".").removeprefix("www.")
