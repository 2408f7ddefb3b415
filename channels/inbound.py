"""What every webhook parser needs: proofs, fields that may hold anything, and what it returns.

Nothing here recurses, however deep a body is, and what has the wrong type reads as absent. Where a
function raises MalformedError, it says so; none raises anything else.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from batching.errors import MalformedError
from batching.model import (
    SILENT_KINDS,
    Event,
    InboundMessage,
    Kind,
    Media,
    Notice,
    NotUnderstood,
)
from batching.model import excerpt as excerpt  # noqa: PLC0414 - every channel needs it
from batching.model import spoken as spoken  # noqa: PLC0414
from channels.dialects import is_receipt, looks_like_message, not_understood

#: A JSON object.
Record = dict[str, object]

#: Longest id taken as one, in characters. Meta's are below 150.
ID_LENGTH_MAX = 512
#: Longest address taken as one, in characters; what is longer holds the thing itself.
URL_LENGTH_MAX = 4_096
#: Most entries of a list (contacts, products, options) that are spelled out.
LISTED_MAX = 20
#: Most fields of a form that are spelled out, the longest name and value of one in characters, and
#: how deep they may lie.
FIELDS_MAX, FIELD_NAME_MAX, FIELD_CHARACTERS_MAX, FIELD_DEPTH_MAX = 100, 100, 1_000, 8
#: Most items taken from one body. No provider sends nearly as many.
ITEMS_MAX = 5_000
#: So many kinds of things that were not understood are told of one body.
UNREAD_MAX = 10

#: Longest whole number read as text, in digits: Python refuses to print those of thousands.
_DIGITS_MAX = 18
#: What may be a message's time, ms since the epoch: September 2001 to November 2286.
_EPOCH_MS_MIN, _EPOCH_MS_MAX = 10**12, 10**13
#: From here on a number is ms since the epoch, below it seconds.
_SECONDS_MAX = 10**11

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE_END = re.compile(r"\r\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
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
    Kind.PRODUCT: "The customer sent a product of the catalogue",
    Kind.POLL_VOTE: "The customer voted in a poll",
    Kind.EDITED: "The customer corrected an earlier message",
    Kind.REACTION: "The customer reacted to a message",
    Kind.DELETED: "The customer deleted a message",
    Kind.CALL: "The customer called and was not answered",
    Kind.PAYMENT: "The customer made a payment",
    Kind.UNSUPPORTED: "The customer sent something that cannot be shown here",
}
_KINDS = {sentence: kind for kind, sentence in _SENTENCES.items()}
#: No words of a customer's are in such brackets, see ``spoken``.
_OWN_SENTENCE = re.compile(r"\[([^\[\]]*)\]")


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
    aliases: tuple[str, ...] = ()
    secondary: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says, and where its picture or sound can be had."""

    kind: Kind
    text: str
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class Refers:
    """What a message is about: see ``InboundMessage``."""

    amends: str = ""
    quotes: str = ""
    quoted: str = ""


#: What most messages refer to.
NOTHING = Refers()

#: Turns one item of a body into one event for an account ("" where the body names none). Raises
#: MalformedError for an item that lacks what its event needs.
Reader = Callable[[str, Record], Event]
#: Reads what a message, or a part of one, says. A blank text: it says nothing.
ContentReader = Callable[[Record], Content]


# Proofs: constant time, and no input raises.


def sha256_matches(
    raw: bytes, header: str, secrets: Sequence[str], prefix: str = "sha256="
) -> int | None:
    """Return the index of the secret that signed ``raw``, None if there is none.

    ``header`` is ``prefix`` and the hex HMAC-SHA256 over the bytes as they were received.
    """
    given = encoded(header.lower())

    def signed(secret: str) -> bool:
        mark = prefix + hmac.new(encoded(secret), raw, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given, encoded(mark))

    return _first(secrets, signed)


def has_sha256_form(header: str, prefix: str = "sha256=") -> bool:
    """Return whether ``header`` could be a signature for ``sha256_matches``, by its form alone."""
    header = header.lower()
    return header.startswith(prefix) and bool(_SHA256.fullmatch(header, len(prefix)))


def secret_matches(given: str, secrets: Sequence[str]) -> int | None:
    """Return the index of the shared secret that was ``given``, None if it is none of them.

    Digests are compared, so that the time taken does not tell the length either.
    """
    digest = hashlib.sha256(encoded(given)).digest()
    return _first(
        secrets,
        lambda secret: hmac.compare_digest(digest, hashlib.sha256(encoded(secret)).digest()),
    )


def encoded(text: str) -> bytes:
    """Return the bytes of a header's text; it may hold any code point, and none may raise."""
    return text.encode("utf-8", "surrogatepass")


def _first(secrets: Sequence[str], fits: Callable[[str], bool]) -> int | None:
    # Every secret is tried: the time taken must not tell which one fitted. An empty one proves
    # nothing: anybody could use it.
    found = [index for index, secret in enumerate(secrets) if secret and fits(secret)]
    return found[0] if found else None


# Fields


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


def whole_number(value: object, *path: str) -> int | None:
    """Return the whole number, or its decimal digits as text, that ``path`` leads to."""
    found = text(value, *path)
    if found.isascii() and found.isdecimal() and len(found) <= _DIGITS_MAX:
        return int(found)
    return None


def moment_ms(value: object, *path: str) -> int:
    """Return the time that ``path`` leads to, ms since the epoch, 0 where it is none or absurd.

    It may be seconds or ms, which its size tells, as a number or text, with a fraction or without.
    """
    try:
        number = float(text(value, *path))
    except ValueError:
        return 0
    epoch_ms = number * 1000 if number < _SECONDS_MAX else number
    return int(epoch_ms) if _EPOCH_MS_MIN <= epoch_ms < _EPOCH_MS_MAX else 0


def required(found: str, name: str) -> str:
    """Return ``found``. Raise MalformedError, which names the field, where it is ""."""
    if not found:
        raise MalformedError("missing_field", f"{name}: must be there")
    return found


def required_object(value: object, name: str) -> Record:
    """Return ``value``. Raise MalformedError where it is no object."""
    if not isinstance(value, dict):
        raise MalformedError("not_an_object", f"{name}: must be an object")
    return value


# What a parser returns


def read_items(found: Iterable[tuple[str | None, Reader, object]]) -> Parsed:
    """Return the events of items, in their order; what cannot be read is counted.

    At the end stands a NotUnderstood for each shape that could not be read, at most UNREAD_MAX.
    Each item is an account, None for one that is not ours, the reader, and itself. Raise
    MalformedError with the code ``too_many_items`` for more than ITEMS_MAX.
    """
    taken = list(islice(found, ITEMS_MAX + 1))
    if len(taken) > ITEMS_MAX:
        raise MalformedError("too_many_items", f"items in one body: must be at most {ITEMS_MAX}")
    events: list[Event] = []
    unread: dict[NotUnderstood, None] = {}
    unknown_accounts = malformed = 0
    for account_id, read, item in taken:
        if account_id is None:
            unknown_accounts += 1
            continue
        try:
            event = read(account_id, required_object(item, "item"))
        except MalformedError as error:
            malformed += 1
            if is_receipt(item):
                continue
            event = not_understood(account_id, error.code, item)
        if isinstance(event, NotUnderstood):
            unread[event] = None
        else:
            events.append(event)
    return Parsed((*events, *islice(unread, UNREAD_MAX)), unknown_accounts, malformed)


def notice(name: str) -> Reader:
    """Return a reader that only counts an item, under ``name``."""
    return lambda account_id, _item: Notice(account_id, name)


def unknown(name: str) -> Reader:
    """Return a reader of what has no known name: it counts, but tells what may be a message."""

    def read(account_id: str, item: Record) -> Event:
        if looks_like_message(item):
            return not_understood(account_id, name, item)
        return Notice(account_id, name)

    return read


#: What somebody does to a message that stands already, by the name of its type. Done on our own
#: phone it says nothing new to the customer, so that nobody takes the conversation over by it.
OWN_ACTS = {
    "edit": "own_edit",
    "message_edit": "own_edit",
    "reaction": "own_reaction",
    "revoke": "own_deletion",
    "revoked": "own_deletion",
    "pin": "own_mark",
    "pinned_message": "own_mark",
    "keep_in_chat": "own_mark",
    "poll_update": "own_vote",
    "protocol": "own_edit",
}


def message_of(
    account_id: str,
    who: Peer,
    said: Content,
    *,
    message_id: str,
    moment: str,
    about: str = "",
    refers: Refers = NOTHING,
) -> InboundMessage:
    """Return a customer's message; one without an id gets one, the same each time it is delivered.

    ``moment``: its time, as ``moment_ms`` reads it. ``about``: the id of the message or the media
    that it is about, if any: a made id is of that too.
    """
    return InboundMessage(
        account_id=account_id,
        customer=who.customer,
        message_id=message_id or made_id(who.customer, moment, said.kind, said.text, about),
        kind=said.kind,
        text=said.text,
        sent_at_ms=moment_ms(moment),
        aliases=who.aliases,
        secondary=who.secondary,
        media=said.media,
        amends=refers.amends,
        quotes=refers.quotes,
        quoted=excerpt(refers.quoted),
    )


def made_id(*parts: str) -> str:
    """Return an id for a message that came without one: the same for the same ``parts``."""
    whole = encoded("\0".join(parts))
    return f"made_{hashlib.sha256(whole).hexdigest()[:32]}"


# Content: the text that the model reads


def content_of(read: ContentReader | None, message: Record) -> Content:
    """Return what ``read`` makes of ``message``; Kind.UNSUPPORTED without a reader or a text."""
    said = read(message) if read else None
    return said if said and said.text.strip() else described(Kind.UNSUPPORTED)


def described(kind: Kind, words: str = "", media: Media | None = None) -> Content:
    """Return a sentence in brackets that says what came, then ``words`` (a caption) if any.

    Not for Kind.TEXT, which has only words.
    """
    sentence = f"[{_SENTENCES[kind]}]"
    return Content(kind, f"{sentence} {spoken(words)}" if words else sentence, media)


def kind_of(text: str) -> Kind:
    """Return the kind of a message by its text, as ``described`` wrote it; TEXT for any other."""
    sentences = (it[1] for it in _OWN_SENTENCE.finditer(text))
    return next((_KINDS[it] for it in sentences if it in _KINDS), Kind.TEXT)


def referring(said: Content, *verbs: str) -> Content:
    """Return ``said`` behind a sentence of what the customer refers to; ``verbs``: "" for nothing.

    Two make one sentence. What asks for no answer stays as it is.
    """
    sentence = joined(" and ", *verbs)
    if not sentence or said.kind in SILENT_KINDS:
        return said
    return replace(said, text=f"[The customer {sentence}] {said.text}")


def forwarded(*, once: bool, often: bool = False) -> str:
    """Return the verb for a message that somebody else wrote."""
    if often:
        return "forwarded this, which many have forwarded"
    return "forwarded this" if once else ""


def asks_about(product: str) -> str:
    """Return the verb for a message about a product of the catalogue, by its id or name."""
    return f"asks about the product: {excerpt(product)}" if product.strip() else ""


def came_from(headline: str, body: str, *, place: str = "an advertisement") -> str:
    """Return the verb for a conversation that began at an advertisement, or another ``place``."""
    return joined(": ", f"came from {place}", excerpt(joined(": ", headline, body)))


def corrected(said: Content) -> Content:
    """Return the edit of a message; ``said`` is what it says now."""
    if said.kind is Kind.UNSUPPORTED:
        return said
    return replace(said, kind=Kind.EDITED, text=f"{described(Kind.EDITED).text} {said.text}")


def chosen(kind: Kind, words: str) -> Content:
    """Return a vote or a reaction; without ``words`` the customer took it back."""
    return described(kind, words or "(taken back)")


def media_of(kind: Kind, part: Record, media_id: str, mime_type: str, address: str) -> Content:
    """Return a picture, a sound or a file, with its name and caption.

    ``mime_type`` and ``address`` are the fields of ``part`` that hold them.
    """
    url = text(part, address)
    kept = url if len(url) <= URL_LENGTH_MAX else ""
    media = Media(media_id, identifier(part, mime_type), kept)
    words = joined(" ", text(part, "filename"), text(part, "caption"))
    return described(kind, words, media if media.media_id or media.url else None)


def location(named: str, latitude: str, longitude: str) -> Content:
    """Return a place: its name and address, and the point where both coordinates are known."""
    point = f"({latitude}, {longitude})" if latitude and longitude else ""
    return described(Kind.LOCATION, joined(" ", named, point))


def contacts(cards: Iterable[tuple[str, list[str]]], otherwise: str = "") -> Content:
    """Return contact cards, each a name and numbers; ``otherwise`` where none says anything."""
    lines = (joined(" ", name, joined(", ", *numbers[:LISTED_MAX])) for name, numbers in cards)
    return described(Kind.CONTACTS, listed(lines) or otherwise)


def list_reply(reply: Record, otherwise: str = "") -> Content:
    """Return what the customer chose from a list of ours."""
    row = joined(": ", text(reply, "title"), text(reply, "description"))
    return Content(Kind.LIST_REPLY, spoken(row or otherwise))


def fields(value: object, *hidden: str) -> str:
    """Return everything readable in ``value``, flat: "name: words; appointment date: words".

    Fields named in ``hidden`` are left out wherever they are. What lies deeper than FIELD_DEPTH_MAX
    is not looked at, and beyond FIELDS_MAX only the fact is told; neither is asked of a customer.
    """
    said: list[str] = []
    waiting: list[tuple[str, object, int]] = [("", value, 0)]
    while waiting and len(said) < FIELDS_MAX:
        name, found, depth = waiting.pop()
        if isinstance(found, dict | list) and depth >= FIELD_DEPTH_MAX:
            continue
        if isinstance(found, dict):
            inner = [(joined(" ", name, clean(key)[:FIELD_NAME_MAX]), each)
                     for key, each in found.items() if key not in hidden]  # fmt: skip
        elif isinstance(found, list) and any(isinstance(each, dict | list) for each in found):
            inner = [(joined(" ", name, str(n)), each) for n, each in enumerate(found, 1)]
        else:
            words = joined(", ", *map(_choice, items(found)[:LISTED_MAX]))
            words = " ".join(words.split())
            said += [joined(": ", name, _shortened(words))] if words else []
            continue
        waiting += [(*pair, depth + 1) for pair in inner][::-1]
    return "; ".join(said + (["and more"] if waiting else []))


def _choice(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text(value)


def _shortened(words: str) -> str:
    return words if len(words) <= FIELD_CHARACTERS_MAX else f"{words[:FIELD_CHARACTERS_MAX]}…"


def joined(separator: str, *words: str) -> str:
    """Return the words that are not "" with ``separator`` between them."""
    return separator.join(filter(None, words))


def listed(lines: Iterable[str]) -> str:
    """Return the lines that are not "" as one, and how many there are beyond LISTED_MAX."""
    said = [line for line in lines if line]
    rest = len(said) - LISTED_MAX
    return "; ".join(said[:LISTED_MAX] + ([f"and {rest} more"] if rest > 0 else []))
