"""Find where a text sends people: links, e-mail addresses, telephone numbers and payment data.

What decides is data of others: the public suffix list for hosts, Google's numbering plans for
numbers, checksums for cards and bank accounts. Patterns only cut out the candidates. Customers
influence what is searched, so each pattern reads a run once: repetitions of one sign are
possessive, and nothing that could fail stands behind a repeated group. (Those are not possessive:
Python before 3.11.5 matches too little of them, https://github.com/python/cpython/issues/106052.)
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Literal

import idna
from publicsuffixlist import PublicSuffixList
from stdnum import iban, luhn

from llm.numbers import RUN, digits_of, find_numbers

Kind = Literal["link", "email", "number", "payment"]
Span = tuple[int, int]

#: Endings that the list does not have, and that documents, tests and other networks use.
_MORE_ENDINGS = frozenset(("example", "test", "invalid", "local", "localhost", "onion", "eth"))
#: Endings that are also words which begin or continue a sentence after a forgotten space.
_AMBIGUOUS = """
    it is in so to no me my at be am pm as do by us es la de se si call tel you now here today how
    new open team
"""
_WORDS = frozenset(_AMBIGUOUS.split())
_SHORT = frozenset(("Co", "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Hr", "Fr", "Sr", "Sra"))
#: In every language one writes a dot in brackets for programs, and people read it.
_DOT = r"(?:\.|\s?[\[({]\s?(?:\.|dot|punkt|punto|point|ponto|точка|нүкте)\s?[\])}]\s?)"
_AT = r"(?:@|\s?[\[({]\s?(?:@|at|собака)\s?[\])}]\s?)"
_SCHEME = r"[a-z][a-z0-9+.-]{0,20}:[/\\]{2}"
#: The rest of a link. It ends where another begins, whatever stands between them.
_REST = rf"(?:(?![\s|<>\"{{}}^`]|[,;](?=\S{{0,80}}\.\w)|(?<![a-z0-9+.-]){_SCHEME}).)"
_NAME = rf"(?<![\w-])[\w-]++(?:{_DOT}[\w-]++)+"
_I = re.IGNORECASE
_EMAIL = re.compile(rf"(?<![\w.+-])[\w.+-]++{_AT}[\w-]++(?:{_DOT}[\w-]++)+", _I)
_LINK = re.compile(rf"(?:(?<![a-z0-9+.-]){_SCHEME}|(?<!\w)www\.){_REST}+", _I)
_HOST = re.compile(
    rf"(?:{_NAME}|localhost(?=[:/]))\.?(?P<more>(?::\d{{1,5}}+)?(?:[/\\?#]{_REST}*)?)",
    _I,
)
_PUNCTUATION = ".,;:!?)]}>'\"*_»”’…"  # sentences end in typographic quotes too

#: An Indian payment address is a name at a bank, without an ending.
_UPI = re.compile(r"(?<![\w.@-])[\w.-]{3,}+@[a-z]{3,}+(?![\w@]|\.\w)", _I)
#: Keys of wallets are long, and of letters and digits; the lengths cover all common chains.
_WALLET = re.compile(r"(?<![\w-])(?=[a-z]*+\d)(?=\d*+[a-z])[a-z0-9]{26,}+(?![\w-])", _I)
_WALLET_TON = re.compile(r"[EUk0][Qf][\w-]{46}(?![\w-])")
_IBAN = re.compile(r"[a-z]{2}[ -]?\d{2}(?:[ -]?[a-z0-9]){11,30}", _I)


@dataclass(frozen=True, slots=True)
class Contact:
    """A link, e-mail address, telephone number or means of payment.

    ``key`` is the same however the contact is written: host, path and query of a link, "" if
    parsers may disagree about it, the address, the last nine digits of a number, the account or
    wallet.
    """

    kind: Kind
    key: str


@dataclass(frozen=True, slots=True)
class Found:
    """A contact and where it stands in the text."""

    contact: Contact
    start: int
    end: int


def find(
    text: str, *, regions: Sequence[str] = (), known_tails: frozenset[str] = frozenset()
) -> Iterator[Found]:
    """Yield every contact in ``text``, kind after kind.

    ``regions``: countries ("DE") whose national numbers are numbers here. ``known_tails``: see
    ``tails``; what ends in one of them is no stranger's number, so nothing is yielded for it.
    """
    folded, origin = fold(text)
    for kind, finder in _FINDERS:
        spans = list(finder(folded))
        for key, (start, end) in spans:
            yield Found(Contact(kind, key), origin[start], origin[end])
        folded = _blank(folded, [span for _, span in spans])
    for digits, (start, end) in find_numbers(folded, tuple(regions), known_tails):
        is_card = len(digits) > 13 and luhn.is_valid(digits)  # E.164 has at most 15
        contact = Contact("payment", digits) if is_card else Contact("number", digits[-9:])
        yield Found(contact, origin[start], origin[end])


def mentioned(text: str, *, regions: Sequence[str] = ()) -> frozenset[Contact]:
    """Return every contact in ``text`` and every run of digits, as what may be repeated."""
    runs = (digits_of(run[0]) for run in RUN.finditer(fold(text)[0]))
    numbers = (Contact("number", digits[-9:]) for digits in runs)
    return frozenset((*(found.contact for found in find(text, regions=regions)), *numbers))


def fold(text: str) -> tuple[str, list[int]]:
    """Return ``text`` in plain signs, and where each of them stands in it, its end included.

    Compatibility forms become plain (full width, mathematical, circled), as programs read them;
    digits of all scripts 0 to 9, dashes "-", and what is invisible goes.
    """
    if text.isascii():
        return text, list(range(len(text) + 1))
    signs, origin = list[str](), list[int]()
    for place, sign in enumerate(text):
        plain = sign if sign.isascii() else _plain(sign)
        signs.append(plain)
        origin += [place] * len(plain)
    return "".join(signs), [*origin, len(text)]


@cache
def _plain(sign: str) -> str:
    if sign in "\ufe0e\ufe0f\u20e3" or unicodedata.category(sign) == "Cf":
        return ""
    plain = unicodedata.normalize("NFKC", sign).replace("\u3002", ".")
    return "".join(
        str(unicodedata.decimal(one))
        if one.isdecimal()
        else "-"
        if unicodedata.category(one) == "Pd" or one == "\u2212"
        else one
        for one in plain
    )


def _blank(text: str, spans: Sequence[Span]) -> str:
    """Return ``text`` with line ends in place of what is known to be something."""
    pieces, done = list[str](), 0
    for start, end in spans:
        pieces += [text[done:start], "\n" * (end - start)]
        done = end
    return "".join([*pieces, text[done:]])


_Finder = Callable[[str], Iterator[tuple[str, Span]]]


def _links(text: str) -> Iterator[tuple[str, Span]]:
    for match in _LINK.finditer(text):
        link = match[0].rstrip(_PUNCTUATION)
        yield page(link), (match.start(), match.start() + len(link))


def _emails(text: str) -> Iterator[tuple[str, Span]]:
    for match in _EMAIL.finditer(text):
        address = re.sub(_DOT, ".", re.sub(_AT, "@", match[0], flags=_I), flags=_I)
        yield address.casefold(), match.span()


def _hosts(text: str) -> Iterator[tuple[str, Span]]:
    for match in _HOST.finditer(text):
        name = match[0].removesuffix(match["more"]).rstrip(".")
        host = _host_in(re.sub(_DOT, ".", name, flags=_I))
        if not host or (not match["more"] and _is_sentence(host, text, match)):
            continue
        whole = (match[0] if match["more"] else name).rstrip(_PUNCTUATION)
        yield (
            page(host + match["more"].rstrip(_PUNCTUATION)),
            (
                match.start(),
                match.start() + len(whole),
            ),
        )


def _host_in(name: str) -> str:
    """Return the host that ``name`` begins with, "" if it is none: "a.ru.Yes" begins with one."""
    labels = name.split(".")
    address = re.search(r"(?:\d{1,3}\.){3}\d{1,3}\Z", name)
    if address:
        try:
            return str(ip_address(address[0]))
        except ValueError:
            return ""
    while labels and not is_ending(labels[-1].casefold()):
        labels.pop()
    return ".".join(labels) if len(labels) > 1 or labels == ["localhost"] else ""


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)


def is_ending(label: str) -> bool:
    """Return whether names that end in ``label`` are hosts."""
    return label in _MORE_ENDINGS or _suffixes().publicsuffix(label) is not None


def _is_sentence(host: str, text: str, match: re.Match[str]) -> bool:
    """Return whether a host is rather two sentences without a space, an abbreviation or a time."""
    *labels, ending = host.split(".")
    word = ending.casefold() in _WORDS
    follows = re.match(r"\.?\s+[^\W\d]", text[match.end() : match.end() + 4])
    capital = ending[0].isupper() and ending[1:].islower()
    if word and capital and follows:  # "tomorrow.It is"
        return True
    if labels[0] in _SHORT and not ending.islower():  # "GmbH & Co.KG", "Mr.Li"
        return True
    if capital and all(len(it) <= 2 for it in labels) and ending not in {"Com", "Net", "Org"}:
        return word or len(ending) > 2  # "г.Москва", "Co.Ltd", "1.Call"
    if word and all(len(it) == 1 or it.isdecimal() for it in labels):  # "a.m.to", "10.am"
        return len(labels) > 1 or labels[0].isdecimal()
    begins = not text[: match.start()].strip() or re.search(
        r"[.!?\n]\s*\Z", text[max(0, match.start() - 4) : match.start()]
    )
    return bool(  # "Now.it is easy"
        word and follows and begins and len(labels) == 1 and labels[0].istitle()
    )


def page(link: str) -> str:
    """Return host, path and query of a link, "" where parsers may disagree about the host."""
    scheme = re.match(r"[^/\\]*:[/\\]{2}", link)
    if scheme and scheme[0].casefold() not in {"http://", "https://"}:
        return ""
    rest = link[scheme.end() :] if scheme else link
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if set("@\\%") & set(authority):
        return ""
    name = authority.partition(":")[0].rstrip(".").casefold()
    try:
        host = name if name.isascii() else idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return ""
    path = rest[len(authority) :].partition("#")[0].removeprefix("/").rstrip("/")
    return host.removeprefix("www.") + (f"/{path}" if path else "")


def _payments(text: str) -> Iterator[tuple[str, Span]]:
    found = [match for pattern in (_UPI, _WALLET, _WALLET_TON) for match in pattern.finditer(text)]
    spans = [(match[0], match.span()) for match in found]
    for match in _IBAN.finditer(text):
        for end in range(len(match[0]), 14, -1):
            account = re.sub("[ -]", "", match[0][:end]).upper()
            if match[0][end - 1] not in " -" and iban.is_valid(account, check_country=False):
                spans.append((account, (match.start(), match.start() + end)))
                break
    done = 0
    for key, span in sorted(spans, key=lambda it: it[1]):
        if span[0] >= done:
            done = span[1]
            yield key, span


#: In this order: what one has found, the next does not see.
_FINDERS: tuple[tuple[Kind, _Finder], ...] = (
    ("link", _links),
    ("email", _emails),
    ("payment", _payments),
    ("link", _hosts),
)
