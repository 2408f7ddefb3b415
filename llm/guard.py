"""Output guard: redact unknown contacts, reject answers that recite the instructions.

A customer can make a model say nearly anything, and no prompt prevents that. What an answer says
is the model's; where it sends people is the business's.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from batching.errors import TransientError
from batching.model import Exchange
from batching.ports import Model
from llm.prompt import MARK, Prompt

Kind = Literal["link", "email", "number"]

#: A number is compared by its last digits: country and trunk codes are written in many ways.
_TAIL = 9
#: Digits of a number that begins with a plus, and of any other: 8 are a date.
_PLUS_DIGITS, _BARE_DIGITS = range(8, 16), range(10, 16)

_DOT = "[.\u3002\uff0e\uff61]"
#: Endings after which messengers make a link of a bare name. All small or all capital: "now.It" is
#: a forgotten space.
_TOP = (
    "com|net|org|info|biz|io|me|co|ai|app|dev|page|shop|store|site|online|live|club|link|click|top"
    "|xyz|pro|icu|su|ru|рф|by|kz|ua|uz|am|ge|de|at|ch|eu|uk|fr|it|es|pt|pl|cz|nl|be|tr|cn|in|us|ca"
    "|gg|to|cc|tv|ly"
)
# Every run of signs is entered at its beginning alone, or for a bounded length: whoever writes the
# text must not decide how long it takes to be read.
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
    """One place to turn to. ``key``: the same however it is written, "" for one to distrust."""

    kind: Kind
    key: str


def contacts(text: str) -> Iterator[Contact]:
    """Yield every contact in ``text``, in order."""
    for found in _CONTACT.finditer(text):
        contact, _ = _read(found)
        if contact is not None:
            yield contact


def replaced(text: str, replacement: Callable[[Contact], str | None]) -> str:
    """Return ``text`` with what ``replacement`` gives for each contact; None leaves it."""

    def put(found: re.Match[str]) -> str:
        contact, rest = _read(found)
        word = None if contact is None else replacement(contact)
        return found[0] if word is None else word + rest

    return _CONTACT.sub(put, text)


def _read(found: re.Match[str]) -> tuple[Contact | None, str]:
    """Return the contact of a match, None if it is none after all, and what follows it."""
    if found.lastgroup == "number":
        return _number(found[0]), ""
    said = found[0].rstrip(_PUNCTUATION)
    rest = found[0][len(said) :]
    if found.lastgroup == "email":
        return Contact("email", said.casefold()), rest
    return Contact("link", _host(said)), rest


def _number(said: str) -> Contact | None:
    digits = "".join(str(int(sign)) for sign in said if sign.isdecimal())
    expected = _PLUS_DIGITS if said.startswith("+") else _BARE_DIGITS
    return Contact("number", digits[-_TAIL:]) if len(digits) in expected else None


def _host(link: str) -> str:
    """Return the host that a link leads to, "" where readers of links may disagree about it."""
    if _SCHEME.match(link) and not _WEB.match(link):
        return ""
    authority = re.split(r"[/?#]", _WEB.sub("", link), maxsplit=1)[0]
    if set("@\\%") & set(authority):
        return ""
    name = re.sub(_DOT, ".", authority.partition(":")[0]).casefold()
    return name.rstrip(".").removeprefix("www.")


log = logging.getLogger(__name__)

#: What stands in the place of what is withheld; no language needs another.
WITHHELD = "[…]"
#: So many words of the rules in a row are recited, not said by chance.
RECITED_WORDS = 10

_WORD = re.compile(r"\w+")


class Guarded:
    """Implements the Model port: the answers of ``model``, fit for customers of the business."""

    def __init__(self, model: Model, *, prompt: Prompt, account_id: str) -> None:
        self.model = model
        self._account_id = account_id
        self._published = frozenset(contacts(prompt.facts()))
        self._rules = _runs(prompt.rules())

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the answer without what is withheld.

        Raise TransientError ``model_recited``, and what the model raises.
        """
        answer = self.model.answer(history, turn, now_ms=now_ms)
        if MARK.casefold() in answer.casefold() or not self._rules.isdisjoint(_runs(answer)):
            raise TransientError("model_recited")
        said = {c for text in (turn, *(e.customer for e in history)) for c in contacts(text)}
        fit, withheld = without_strangers(answer, self._published, said)
        if withheld:
            log.warning("reply.redacted", extra={"account": self._account_id, **withheld})
        return fit


def without_strangers(
    answer: str, published: Collection[Contact], said: Collection[Contact]
) -> tuple[str, dict[str, int]]:
    """Return the answer without contacts that are not known, and how many of each kind they were.

    ``published`` are the business's: a link may lead to any page of their hosts. ``said`` are
    the customer's, who may be told their own number or address again; a link of theirs may not.
    """
    hosts = {contact.key for contact in published if contact.kind == "link"}
    withheld: Counter[str] = Counter()

    def judge(contact: Contact) -> str | None:
        if contact.kind == "link":
            known = any(_is_under(contact.key, host) for host in hosts)
        else:
            known = contact in published or contact in said
        if known:
            return None
        withheld[contact.kind] += 1
        return WITHHELD

    return replaced(answer, judge), dict(withheld)


def _is_under(host: str, published: str) -> bool:
    return bool(host and published) and (host == published or host.endswith(f".{published}"))


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    """Return every run of RECITED_WORDS words in ``text``."""
    words: list[str] = _WORD.findall(text.casefold())
    return frozenset(zip(*(words[start:] for start in range(RECITED_WORDS)), strict=False))
