"""What every webhook parser needs: proofs, fields that may hold anything, and what it returns.

Nothing here raises, and nothing recurses, however odd or deep a body is; ``required`` alone raises
MalformedError.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from batching.errors import MalformedError
from batching.model import Event, InboundMessage, Kind, Media, Notice

#: A JSON object.
Record = dict[str, object]

#: Longest id taken as one, in characters. Meta's are below 150.
ID_LENGTH_MAX = 512
#: Longest address taken as one, in characters; what is longer holds the thing itself.
URL_LENGTH_MAX = 4_096
#: Most entries of a list (contacts, products, options) that are spelled out.
LISTED_MAX = 20
#: Most items taken from one body. No provider sends nearly as many.
ITEMS_MAX = 5_000

#: Longest whole number read as text, in digits: Python refuses to print those of thousands.
_DIGITS_MAX = 18
#: Seconds since the epoch that may be a message's time: September 2001 to November 2286.
_SECONDS = range(1_000_000_000, 10_000_000_000)
#: Above this a number is milliseconds since the epoch, below it seconds (until the year 5138).
_SECONDS_MAX = 100_000_000_000
#: The last instant that is read: the end of the year 9999, ms.
_EPOCH_MS_MAX = 253_402_300_799_999

_LINE_END = re.compile(r"\r\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ROUND = str.maketrans("[]", "()")

#: What came, in words that a model can answer.
_SENTENCES = {
    Kind.IMAGE: "The customer sent a picture that cannot be shown here",
    Kind.AUDIO: "The customer sent an audio file that cannot be played here",
    Kind.VOICE: "The customer sent a voice message that cannot be played here",
    Kind.VIDEO: "The customer sent a video that cannot be shown here",
    Kind.DOCUMENT: "The customer sent a document that cannot be opened here",
    Kind.STICKER: "The customer sent a sticker",
    Kind.LOCATION: "The customer sent a location",
    Kind.CONTACTS: "The customer sent a contact card",
    Kind.BUTTON_REPLY: "The customer pressed a button",
    Kind.LIST_REPLY: "The customer chose from a list",
    Kind.FLOW_REPLY: "The customer filled in a form",
    Kind.ORDER: "The customer sent an order from the catalogue",
    Kind.POLL_VOTE: "The customer voted in a poll",
    Kind.EDITED: "The customer corrected an earlier message",
    Kind.REACTION: "The customer reacted to a message",
    Kind.DELETED: "The customer deleted a message",
    Kind.CALL: "The customer called",
}
_UNKNOWN_SENTENCE = "The customer sent something that cannot be shown here"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The events of a webhook's body.

    ``unknown_accounts``: items addressed to a number that is not ours. ``malformed``: items that
    were skipped because they lack what is needed. Neither fails its neighbours.
    """

    events: tuple[Event, ...]
    unknown_accounts: int = 0
    malformed: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """The customer's id to answer, exactly as delivered, and the person's other ids.

    ``secondary``: the id may belong to a conversation that began under a phone number.
    """

    customer: str
    aliases: tuple[str, ...]
    secondary: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says, and where its picture or sound can be had."""

    kind: Kind
    text: str
    media: Media | None = None


#: Turns one item of a body into one event for an account ("" where the body names none). Raises
#: MalformedError for an item that lacks what its event needs.
Reader = Callable[[str, Record], Event]


# Proofs: constant time, and no input raises.


def sha256_matches(
    raw: bytes, header: str, secrets: Sequence[str], prefix: str = "sha256="
) -> int | None:
    """Return the index of the secret that signed ``raw``, None if there is none.

    ``header`` is ``prefix`` and the hex HMAC-SHA256 over the bytes as they were received.
    An empty secret signs nothing: anybody could use it.
    """
    given = encoded(header.lower())
    return _first(
        bool(secret) and hmac.compare_digest(given, encoded(prefix + _hmac_hex(raw, secret)))
        for secret in secrets
    )


def secret_matches(given: str, secrets: Sequence[str]) -> int | None:
    """Return the index of the shared secret that was ``given``, None if it is none of them.

    Digests are compared, so that the time taken does not tell the length either.
    """
    digest = hashlib.sha256(encoded(given)).digest()
    return _first(
        bool(secret) and hmac.compare_digest(digest, hashlib.sha256(encoded(secret)).digest())
        for secret in secrets
    )


def encoded(text: str) -> bytes:
    """Return the bytes of a header's text; it may hold any code point, and none may raise."""
    return text.encode("utf-8", "surrogatepass")


def _hmac_hex(raw: bytes, secret: str) -> str:
    return hmac.new(encoded(secret), raw, hashlib.sha256).hexdigest()


def _first(matches: Iterable[bool]) -> int | None:
    # Every secret is tried: the time taken must not tell which one fitted.
    found = [index for index, match in enumerate(list(matches)) if match]
    return found[0] if found else None


# Fields: what has the wrong type reads as absent.


def at(value: object, *path: str) -> object:
    """Return what ``path`` leads to in ``value``, None where there is no such thing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def record(value: object, *path: str) -> Record:
    """Return the object that ``path`` leads to, {} where there is none."""
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def items(value: object, *path: str) -> list[object]:
    """Return the list that ``path`` leads to, [] where there is nothing; one thing is a list."""
    found = at(value, *path)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def text(value: object, *path: str) -> str:
    """Return the cleaned text, or the number as text, that ``path`` leads to; "" for neither."""
    match at(value, *path):
        case str(words):
            return clean(words)
        case bool():
            return ""
        case int(number) if abs(number) < 10**_DIGITS_MAX:
            return str(number)
        case float(number) if math.isfinite(number):
            return str(number)
    return ""


def clean(words: str) -> str:
    """Return ``words`` without what cannot be stored or shown. Safe to run twice.

    Lone surrogates become U+FFFD, every line end a newline; other controls but the tab go.
    """
    # On the path of every webhook, for every field; most texts are one printable line.
    if words.isprintable():
        return words
    words = _CONTROL.sub("", _LINE_END.sub("\n", words))
    return _LONE_SURROGATE.sub("\ufffd", words)


def identifier(value: object, *path: str) -> str:
    """Return the id that ``path`` leads to; "" for none, a blank one and one absurdly long."""
    found = text(value, *path)
    return found if found.strip() and len(found) <= ID_LENGTH_MAX else ""


def url(value: object, *path: str) -> str:
    """Return the address that ``path`` leads to; "" for none and one absurdly long."""
    found = text(value, *path)
    return found if len(found) <= URL_LENGTH_MAX else ""


def whole_number(value: object, *path: str) -> int | None:
    """Return the whole number, or its decimal digits as text, that ``path`` leads to."""
    found = text(value, *path)
    if found.isascii() and found.isdecimal() and len(found) <= _DIGITS_MAX:
        return int(found)
    return None


def moment_ms(value: object, *path: str) -> int:
    """Return the seconds since the epoch that ``path`` leads to in ms, 0 if absurd or absent."""
    seconds = whole_number(value, *path)
    return seconds * 1000 if seconds is not None and seconds in _SECONDS else 0


def epoch_ms(value: object) -> int:
    """Return a timestamp in seconds or ms as ms since the epoch, 0 where it is none or absurd.

    The size tells seconds from milliseconds; numbers may come as text or with a fraction.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0
    if not math.isfinite(number) or number <= 0:
        return 0
    epoch = number * 1000 if number < _SECONDS_MAX else number
    return int(epoch) if epoch <= _EPOCH_MS_MAX else 0


def required(found: str, name: str) -> str:
    """Return ``found``. Raise MalformedError, which names the field, where it is ""."""
    if not found:
        raise MalformedError("missing_field", f"{name}: must be there")
    return found


# What a parser returns.


def notice(name: str) -> Reader:
    """Return a reader that only counts an item, under ``name``."""
    return lambda account_id, _item: Notice(account_id, name)


def read_item(read: Reader, account_id: str, item: object) -> Event:
    """Return the event of one item. Raise MalformedError, also for what is no object."""
    if not isinstance(item, dict):
        raise MalformedError("not_an_object", "item: must be an object")
    return read(account_id, item)


def message_of(
    account_id: str, who: Peer, said: Content, *, message_id: str, sent_at_ms: int
) -> InboundMessage:
    """Return a customer's message."""
    return InboundMessage(
        account_id=account_id,
        customer=who.customer,
        message_id=message_id,
        kind=said.kind,
        text=said.text,
        sent_at_ms=sent_at_ms,
        aliases=who.aliases,
        secondary=who.secondary,
        media=said.media,
    )


def described(kind: Kind, words: str = "", media: Media | None = None) -> Content:
    """Return a content of ``kind`` whose text is ``describe(kind, words)``."""
    return Content(kind, describe(kind, words), media)


def describe(kind: Kind, words: str = "") -> str:
    """Return a sentence in brackets that says what came, then ``words`` (a caption) if any."""
    sentence = f"[{_SENTENCES.get(kind, _UNKNOWN_SENTENCE)}]"
    return f"{sentence} {spoken(words)}" if words else sentence


def spoken(words: str) -> str:
    """Return a customer's own words with round brackets for square ones.

    The prompt says that square brackets hold our own description of a message; customers must not
    be able to forge one.
    """
    return words.translate(_ROUND)


def joined(separator: str, *words: str) -> str:
    """Return the words that are not "" with ``separator`` between them."""
    return separator.join(word for word in words if word)


def made_id(*parts: object) -> str:
    """Return an id for a message that came without one: the same for the same ``parts``."""
    whole = "\0".join(str(part) for part in parts)
    return f"made_{hashlib.sha256(encoded(whole)).hexdigest()[:32]}"
