"""What a customer's message says, by its ``type``.

The bytes of a picture or a voice message may stand in ``body``, in base64: of those kinds only the
caption is read.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from batching.model import Kind, Media
from channels.fields import Record, at, identifier, items, record, text, url
from channels.inbound import describe, spoken

#: Most names of contacts or options of a poll that are spelled out.
LISTED_MAX = 20

#: What the library tells of the protocol, not of a customer. A message that cannot be decrypted
#: yet ("ciphertext") comes again when it can.
NOISE = frozenset(
    {
        "broadcast_notification",
        "call_log",
        "ciphertext",
        "debug",
        "e2e_notification",
        "gp2",
        "group_notification",
        "keep_in_chat",
        "notification",
        "notification_template",
        "pinned_message",
        "poll_update",
        "protocol",
    }
)

#: What a gateway puts where it could not read a message.
_PLACEHOLDERS = frozenset({"[Non-text message]"})

_CARD_NAME = re.compile(r"^FN[^:\n]*:(.+)$", re.MULTILINE)
_CARD_PHONE = re.compile(r"^(?:\w+\.)?TEL[^:\n]*:(.+)$", re.MULTILINE)
#: Words have a space somewhere; so long a run without any is data.
_ENCODED = re.compile(r"data:[^,\s]*;base64,|/9j/|\S{1000}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says, and where its picture or sound can be had."""

    kind: Kind
    text: str
    media: Media | None = None


Reader = Callable[[Record, str], Content]

CALL = Content(Kind.CALL, describe(Kind.CALL))
DELETED = Content(Kind.DELETED, describe(Kind.DELETED))
_UNSUPPORTED = Content(Kind.UNSUPPORTED, describe(Kind.UNSUPPORTED))


def content(message: Record, message_id: str) -> Content:
    """Return what ``message`` says; a kind unknown, broken or empty is Kind.UNSUPPORTED.

    ``message_id``: the whole id, by which the library can be asked for the bytes.
    """
    read = _READERS.get(text(message, "type") or _guessed_type(message), _other)
    said = read(message, message_id)
    return said if said.text.strip() else _UNSUPPORTED


def poll_vote(item: Record) -> Content:
    """Return which options of a poll a customer chose."""
    options = items(item, "selectedOptions")[:LISTED_MAX]
    chosen = ", ".join(filter(None, (text(option, "name") or text(option) for option in options)))
    return Content(Kind.POLL_VOTE, describe(Kind.POLL_VOTE, chosen or "(taken back)"))


def reaction(item: Record, name: str) -> Content:
    """Return the reaction that the field ``name`` holds; an empty one takes it back."""
    return Content(Kind.REACTION, describe(Kind.REACTION, text(item, name) or "(taken back)"))


def _guessed_type(message: Record) -> str:
    """Return a type for a message that states none."""
    if mime_type := text(message, "mimetype"):
        major = mime_type.partition("/")[0]
        return major if major in {"image", "audio", "video"} else "document"
    is_data = at(message, "isMedia") is True or at(message, "isMMS") is True
    return "" if is_data or _ENCODED.match(_words(message)) else "chat"


def _words(message: Record) -> str:
    """Return the customer's own words, wherever this library puts them."""
    names = ("body", "message", "content", "caption", "text")
    return next(filter(None, (text(message, name) for name in names)), "")


def _own_words(kind: Kind) -> Reader:
    def read(message: Record, _message_id: str) -> Content:
        words = _words(message)
        return Content(kind, "" if words.strip() in _PLACEHOLDERS else spoken(words))

    return read


def _media(kind: Kind) -> Reader:
    def read(message: Record, message_id: str) -> Content:
        media = Media(message_id, identifier(message, "mimetype"), url(message, "fileUrl"))
        words = _joined(text(message, "filename"), text(message, "caption"))
        return Content(kind, describe(kind, words), media if media.media_id or media.url else None)

    return read


def _location(message: Record, _message_id: str) -> Content:
    latitude = text(message, "lat") or text(message, "latitude")
    longitude = text(message, "lng") or text(message, "longitude")
    point = f"({latitude}, {longitude})" if latitude and longitude else ""
    place = text(message, "loc").replace("\n", ", ")
    return Content(Kind.LOCATION, describe(Kind.LOCATION, _joined(place, point)))


def _contacts(message: Record, _message_id: str) -> Content:
    several = [text(card, "vcard") for card in items(message, "vcardList")[:LISTED_MAX]]
    named = filter(None, (_card(card) for card in several or [_words(message)]))
    told = "; ".join(named) or text(message, "vcardFormattedName")
    return Content(Kind.CONTACTS, describe(Kind.CONTACTS, told))


def _card(card: str) -> str:
    names: Sequence[str] = _CARD_NAME.findall(card)[:1]
    return _joined(*(found.strip() for found in (*names, *_CARD_PHONE.findall(card)[:LISTED_MAX])))


def _list_reply(message: Record, _message_id: str) -> Content:
    chosen = record(message, "listResponse")
    title, description = text(chosen, "title"), text(chosen, "description")
    listed = f"{title}: {description}" if description else title
    return Content(Kind.LIST_REPLY, spoken(listed or _words(message)))


def _order(message: Record, _message_id: str) -> Content:
    told = _joined(text(message, "orderTitle"), text(message, "title"), text(message, "message"))
    return Content(Kind.ORDER, describe(Kind.ORDER, told))


def _poll(message: Record, _message_id: str) -> Content:
    return Content(Kind.UNSUPPORTED, describe(Kind.UNSUPPORTED, text(message, "pollName")))


def _other(message: Record, _message_id: str) -> Content:
    return Content(Kind.UNSUPPORTED, describe(Kind.UNSUPPORTED, text(message, "caption")))


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


#: By ``type``. What is in none of them cannot be shown.
_READERS: dict[str, Reader] = {
    "chat": _own_words(Kind.TEXT),
    "text": _own_words(Kind.TEXT),
    "image": _media(Kind.IMAGE),
    "video": _media(Kind.VIDEO),
    "ptv": _media(Kind.VIDEO),
    "ptt": _media(Kind.VOICE),
    "voice": _media(Kind.VOICE),
    "audio": _media(Kind.AUDIO),
    "document": _media(Kind.DOCUMENT),
    "sticker": _media(Kind.STICKER),
    "location": _location,
    "vcard": _contacts,
    "multi_vcard": _contacts,
    "list_response": _list_reply,
    "buttons_response": _own_words(Kind.BUTTON_REPLY),
    "template_button_reply": _own_words(Kind.BUTTON_REPLY),
    "order": _order,
    "product": _order,
    "poll_creation": _poll,
    "revoked": lambda _message, _message_id: DELETED,
}
