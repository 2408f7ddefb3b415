"""What a customer's message says: one small reader per kind, found by the message's type.

The text is what the model reads: the customer's own words, or a sentence in brackets that says
what came, with the words that came along, such as a caption, behind it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from batching.model import Kind, Media
from channels.fields import Record, at, identifier, items, record, text, url
from channels.inbound import describe, spoken
from channels.whatsapp_cloud import details


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says, and where its picture or sound can be had."""

    kind: Kind
    text: str
    media: Media | None = None


#: Reads a whole message, or a reply within one. A blank text: it says nothing.
Reader = Callable[[Record], Content]

_UNSUPPORTED = Content(Kind.UNSUPPORTED, describe(Kind.UNSUPPORTED))


def content(message: Record) -> Content:
    """Return what ``message`` says; a kind unknown, broken or empty is Kind.UNSUPPORTED."""
    if _type(message) != "edit":
        return _said(message)
    edited = _said(record(message, "edit", "message"))
    if edited.kind is Kind.UNSUPPORTED:
        return edited
    return Content(Kind.EDITED, f"{describe(Kind.EDITED)} {edited.text}", edited.media)


def _said(message: Record) -> Content:
    read = _MESSAGES.get(_type(message))
    said = read(message) if read else _UNSUPPORTED
    return said if said.text.strip() else _UNSUPPORTED


def _type(message: Record) -> str:
    """Return the declared type; without one the part named after a kind tells it."""
    return text(message, "type") or next((name for name in _MESSAGES if name in message), "")


def _words(kind: Kind, *path: str) -> Reader:
    """Read the customer's own words."""
    return lambda message: Content(kind, spoken(text(message, *path)))


def _media(kind: Kind) -> Reader:
    """Read a reference to bytes, and the name and caption that came with them."""

    def read(message: Record) -> Content:
        part = record(message, _type(message))
        media = Media(identifier(part, "id"), identifier(part, "mime_type"), url(part, "url"))
        words = " ".join(filter(None, (text(part, "filename"), text(part, "caption"))))
        return Content(kind, describe(kind, words), media if media.media_id or media.url else None)

    return read


def _audio(message: Record) -> Content:
    is_voice = at(message, "audio", "voice") is True
    return _media(Kind.VOICE if is_voice else Kind.AUDIO)(message)


def _told(kind: Kind, name: str, tell: Callable[[Record], str]) -> Reader:
    """Read the part ``name`` by putting it into words."""
    return lambda message: Content(kind, describe(kind, tell(record(message, name))))


def _contacts(message: Record) -> Content:
    cards = details.contacts(items(message, "contacts"))
    return Content(Kind.CONTACTS, describe(Kind.CONTACTS, cards))


def _interactive(message: Record) -> Content:
    part = record(message, "interactive")
    name = text(part, "type") or next((name for name in _REPLIES if name in part), "")
    read, reply = _REPLIES.get(name), record(part, name)
    return read(reply) if read and reply else _UNSUPPORTED


def _list_reply(reply: Record) -> Content:
    title, description = text(reply, "title"), text(reply, "description")
    chosen = f"{title}: {description}" if description else title
    return Content(Kind.LIST_REPLY, spoken(chosen))


def _flow_reply(reply: Record) -> Content:
    return Content(Kind.FLOW_REPLY, describe(Kind.FLOW_REPLY, details.form(reply)))


def _call_permission(reply: Record) -> Content:
    verb = "allowed" if text(reply, "response") == "accept" else "declined"
    return Content(Kind.CALL, f"[The customer {verb} calls from the business]")


def _reaction(reaction: Record) -> str:
    return text(reaction, "emoji") or "(taken back)"


#: What the customer pressed or filled in, by ``interactive.type``.
_REPLIES: dict[str, Reader] = {
    "button_reply": _words(Kind.BUTTON_REPLY, "title"),
    "list_reply": _list_reply,
    "nfm_reply": _flow_reply,
    "call_permission_reply": _call_permission,
}

#: By ``type``. An edit holds one of these; what is in none of them cannot be shown.
_MESSAGES: dict[str, Reader] = {
    "text": _words(Kind.TEXT, "text", "body"),
    "image": _media(Kind.IMAGE),
    "video": _media(Kind.VIDEO),
    "audio": _audio,
    "voice": _media(Kind.VOICE),
    "document": _media(Kind.DOCUMENT),
    "sticker": _media(Kind.STICKER),
    "location": _told(Kind.LOCATION, "location", details.location),
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _words(Kind.BUTTON_REPLY, "button", "text"),
    "order": _told(Kind.ORDER, "order", details.order),
    "reaction": _told(Kind.REACTION, "reaction", _reaction),
    "revoke": lambda _message: Content(Kind.DELETED, describe(Kind.DELETED)),
}
