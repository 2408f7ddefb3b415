"""Webhooks of Venom's kin: WPPConnect-server's events, bare messages, small gateways' formats.

Each account has an address of its own, proved by a shared secret or a signature. A body of
WPPConnect-server is one event::

    {"event": "onmessage", "session": "default", "id": "false_79990000001@c.us_3EB0A1B2C3D4",
     "from": "79990000001@c.us", "type": "chat", "body": "Can I book?", "t": 1768478400}

A gateway posts ``{"from", "message", "messageId", "timestamp"}``, many such under ``messages``, or
a reaction ``{"from", "emoji", "messageId", "timestamp"}``. The fields of a message are one family.
"""

import base64
import re
import secrets as random
from collections.abc import Callable, Sequence

from batching.errors import MalformedError
from batching.model import (
    SILENT_KINDS,
    DeliveryStatus,
    Event,
    ForeignMessage,
    InboundMessage,
    Kind,
    Media,
    Notice,
)
from channels.inbound import (
    ITEMS_MAX,
    LISTED_MAX,
    Content,
    Parsed,
    Peer,
    Reader,
    Record,
    at,
    described,
    encoded,
    epoch_ms,
    identifier,
    items,
    joined,
    made_id,
    message_of,
    notice,
    read_item,
    record,
    required,
    secret_matches,
    sha256_matches,
    spoken,
    text,
    url,
)
from channels.provider import Request
from channels.venom.ids import chat, contact, is_ours, key, other_chat, peer

# Proofs

#: How far a signed timestamp may lie from our clock, either way, ms.
SKEW_MS_MAX = 300_000
#: Digits of the largest timestamp that is read; ms since the epoch have 13 until the year 2286.
_TIMESTAMP_DIGITS_MAX = 16


def verify(request: Request, webhook_secrets: Sequence[str]) -> int | None:
    """Return the index of the secret that the request carries or was signed with, None if none."""
    known = verify_headers(request, webhook_secrets)
    return _signer(request, webhook_secrets) if known is None else known


def verify_headers(request: Request, webhook_secrets: Sequence[str]) -> int | None:
    """Return the index of the secret in ``X-Webhook-Secret`` or ``Authorization``, None if none."""
    given = (request.headers.get("x-webhook-secret", ""), _authorization(request))
    found = [secret_matches(secret, webhook_secrets) for secret in given if secret]
    return next((index for index in found if index is not None), None)


def _authorization(request: Request) -> str:
    """Return the bearer token, or the password: a server sends the one in its webhook's URL."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return token.strip()
        case "basic":
            try:
                pair = base64.b64decode(token, validate=True)
            except ValueError:
                return ""
            return pair.decode("utf-8", "replace").partition(":")[2]
    return ""


def _signer(request: Request, webhook_secrets: Sequence[str]) -> int | None:
    """Return the index of the secret that signed the whole request, None if there is none.

    ``X-Signature`` is the hex HMAC-SHA256 of ``METHOD:path:timestamp:body``, ``X-Timestamp`` the
    ms, refused when more than five minutes from our clock.
    """
    timestamp = request.headers.get("x-timestamp", "")
    if not is_fresh(timestamp, request.received_ms):
        return None
    signed = encoded(f"{request.method.upper()}:{request.path}:{timestamp}:") + request.raw
    return sha256_matches(
        signed, request.headers.get("x-signature", ""), webhook_secrets, prefix=""
    )


def is_fresh(timestamp: str, now_ms: int) -> bool:
    """Return whether ``timestamp`` is a number of ms within five minutes of ``now_ms``."""
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    return len(timestamp) <= _TIMESTAMP_DIGITS_MAX and abs(int(timestamp) - now_ms) <= SKEW_MS_MAX


# The body


def parse(body: object, account_id: str) -> Parsed:
    """Return the events of a body posted for ``account_id``.

    Raise MalformedError for a body of none of the forms, or of more than ITEMS_MAX messages.
    """
    if not isinstance(body, dict):
        raise MalformedError("not_an_object", "body: must be an object")
    if "event" in body:
        # The library's events change their form with its version: one that cannot be read is
        # counted and not refused, for the library could not correct it.
        return _each([body], account_id, _EVENTS.get(text(body, "event"), notice("other_event")))
    if "messages" in body:
        found = items(body, "messages")
        if len(found) > ITEMS_MAX:
            raise MalformedError("too_many_items", f"messages: must be at most {ITEMS_MAX}")
        return _each(found, account_id, _message)
    read = _gateway_reaction if "emoji" in body else _message
    return Parsed((read(account_id, body),))


def _each(found: list[object], account_id: str, read: Reader) -> Parsed:
    events: list[Event] = []
    malformed = 0
    for item in found:
        try:
            events.append(read_item(read, account_id, item))
        except MalformedError:
            malformed += 1
    return Parsed(tuple(events), malformed=malformed)


# Events: one reader for each kind of item

#: What became of a message of ours, by ``ack``; a negative one says that it failed.
_STATES = {
    **dict.fromkeys(range(-7, 0), "failed"),
    0: "queued",
    1: "sent",
    2: "delivered",
    3: "read",
    4: "played",
}

#: Types of messages of the protocol, not of a customer. A message that cannot be decrypted yet
#: ("ciphertext") comes again when it can.
_NOISE = frozenset(
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


def _message(account_id: str, item: Record) -> Event:
    """Return a message a customer wrote, or the trace of one that left our number."""
    found = key(item, "id", "messageId")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if text(item, "type") in _NOISE:
        return Notice(account_id, "noise")
    if at(item, "isMdHistoryMsg") is True:
        return Notice(account_id, "history")
    if is_ours(item, found):
        # A phone, another program and our own sends look alike; the id tells which is ours.
        return ForeignMessage(
            account_id=account_id,
            customer=peer(chat(item, "to"), chat(item, "chatId"), found.chat).customer,
            provider_id=required(found.unique, "id"),
            author="unknown",
        )
    who = peer(chat(item, "from"), chat(item, "chatId"), contact(item, "sender"))
    return _inbound(account_id, item, who, content(item, found.whole), found.unique)


def _self_message(account_id: str, item: Record) -> Event:
    """Return the trace of a message that left our number."""
    return _message(account_id, {**item, "fromMe": True})


def _status(account_id: str, item: Record) -> Event:
    """Return what became of a message of ours."""
    found = key(item, "id")
    if other_chat(item, found):
        return Notice(account_id, "group_status")
    ack = at(item, "ack")
    state = _STATES.get(ack) if isinstance(ack, int) else None
    if state is None or not is_ours(item, found):
        return Notice(account_id, "other_status")
    return DeliveryStatus(
        account_id=account_id,
        provider_id=required(found.unique, "id"),
        state=state,
        code=f"venom_ack_{ack}" if state == "failed" else "",
    )


def _reaction(account_id: str, item: Record) -> Event:
    """Return how a customer reacted to a message."""
    found = key(item, "id")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if is_ours(item, found):
        return Notice(account_id, "own_reaction")
    who = peer(contact(item, "sender"), found.chat)
    return _inbound(account_id, item, who, _reacted(item, "reactionText"), found.unique)


def _gateway_reaction(account_id: str, item: Record) -> Event:
    """Return how a customer reacted to a message, in a gateway's form."""
    if elsewhere := other_chat(item, key(item)):
        return Notice(account_id, elsewhere)
    said, who = _reacted(item, "emoji"), peer(chat(item, "from"))
    # The id is that of the message reacted to, and no id of this one.
    return _inbound(account_id, item, who, said, about=identifier(item, "messageId"))


def _revocation(account_id: str, item: Record) -> Event:
    """Return that a customer deleted a message."""
    found = key(item, "id", "refId")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if is_ours(item, found):
        return Notice(account_id, "own_deletion")
    who = peer(chat(item, "from"), chat(item, "author"), found.chat)
    return _inbound(account_id, item, who, described(Kind.DELETED), found.unique)


def _poll_vote(account_id: str, item: Record) -> Event:
    """Return what a customer chose in a poll."""
    poll = key(item, "msgId")
    if elsewhere := other_chat(item, poll):
        return Notice(account_id, elsewhere)
    options = items(item, "selectedOptions")[:LISTED_MAX]
    chosen = joined(", ", *(text(option, "name") or text(option) for option in options))
    said = described(Kind.POLL_VOTE, chosen or "(taken back)")
    who = peer(contact(item, "sender"), chat(item, "chatId"))
    return _inbound(account_id, item, who, said, about=poll.unique)


def _call(account_id: str, item: Record) -> Event:
    """Return that a customer called."""
    found = key(item, "id")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if at(item, "outgoing") is True:
        return Notice(account_id, "own_call")
    who = peer(chat(item, "peerJid"), chat(item, "from"))
    return _inbound(account_id, item, who, described(Kind.CALL), found.unique)


def _inbound(
    account_id: str,
    item: Record,
    who: Peer,
    said: Content,
    unique: str = "",
    *,
    about: str = "",
) -> InboundMessage:
    """Return the message; ``about`` is the id of the message that it is about, if any."""
    moment = text(item, "t") or text(item, "timestamp") or text(item, "offerTime")
    if unique and said.kind in SILENT_KINDS:
        # It may bear the id of the message it is about, and must not be taken for that one.
        unique = f"{said.kind}_{unique}"
    # Without id and time nothing tells a repeated "yes" from a repeated delivery, and only the
    # first is known to happen: these gateways post once.
    made = made_id(who.customer, moment or random.token_hex(8), said.kind, said.text, about)
    return message_of(account_id, who, said, message_id=unique or made, sent_at_ms=epoch_ms(moment))


#: By ``event``; the others are the library's own affairs.
_EVENTS: dict[str, Reader] = {
    "onmessage": _message,
    "onanymessage": _message,
    "onselfmessage": _self_message,
    "onack": _status,
    "onreactionmessage": _reaction,
    "onrevokedmessage": _revocation,
    "onpollresponse": _poll_vote,
    "incomingcall": _call,
    # What was unread when the library started may be weeks old: answering it all at once would
    # surprise customers. It is counted, for a person to look at the phone.
    "unreadmessages": notice("unread_message"),
    "location": notice("live_location"),
    **dict.fromkeys(("qrcode", "phoneCode"), notice("needs_login")),
    **dict.fromkeys(("status-find", "session-logged"), notice("channel_state")),
    **dict.fromkeys(("onpresencechanged", "onparticipantschanged"), notice("presence")),
    "onupdatelabel": notice("label"),
}


# Content: the text that the model reads, by the type of message. The bytes of a picture or a voice
# message may stand in ``body``, in base64: of those types only the caption is read.

#: What a gateway puts where it could not read a message.
_PLACEHOLDERS = frozenset({"[Non-text message]"})

_CARD_NAME = re.compile(r"^FN[^:\n]*:(.+)$", re.MULTILINE)
_CARD_PHONE = re.compile(r"^(?:\w+\.)?TEL[^:\n]*:(.+)$", re.MULTILINE)
#: Words have a space somewhere; so long a run without any is data.
_ENCODED = re.compile(r"data:[^,\s]*;base64,|/9j/|\S{1000}")

_UNSUPPORTED = described(Kind.UNSUPPORTED)
_ContentReader = Callable[[Record, str], Content]


def content(message: Record, message_id: str) -> Content:
    """Return what ``message`` says; a kind unknown, broken or empty is Kind.UNSUPPORTED.

    ``message_id``: the whole id, by which the library can be asked for the bytes.
    """
    read = _CONTENTS.get(text(message, "type") or _guessed_type(message), _other)
    said = read(message, message_id)
    return said if said.text.strip() else _UNSUPPORTED


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


def _own_words(kind: Kind) -> _ContentReader:
    def read(message: Record, _message_id: str) -> Content:
        words = _words(message)
        return Content(kind, "" if words.strip() in _PLACEHOLDERS else spoken(words))

    return read


def _media(kind: Kind) -> _ContentReader:
    def read(message: Record, message_id: str) -> Content:
        media = Media(message_id, identifier(message, "mimetype"), url(message, "fileUrl"))
        words = joined(" ", text(message, "filename"), text(message, "caption"))
        return described(kind, words, media if media.media_id or media.url else None)

    return read


def _reacted(item: Record, name: str) -> Content:
    """Return the reaction that the field ``name`` holds; an empty one takes it back."""
    return described(Kind.REACTION, text(item, name) or "(taken back)")


def _location(message: Record, _message_id: str) -> Content:
    latitude = text(message, "lat") or text(message, "latitude")
    longitude = text(message, "lng") or text(message, "longitude")
    point = f"({latitude}, {longitude})" if latitude and longitude else ""
    return described(Kind.LOCATION, joined(" ", text(message, "loc").replace("\n", ", "), point))


def _contacts(message: Record, _message_id: str) -> Content:
    several = [text(card, "vcard") for card in items(message, "vcardList")[:LISTED_MAX]]
    named = joined("; ", *(_card(card) for card in several or [_words(message)]))
    return described(Kind.CONTACTS, named or text(message, "vcardFormattedName"))


def _card(card: str) -> str:
    """Return the name and the numbers of a vCard."""
    found: list[str] = [*_CARD_NAME.findall(card)[:1], *_CARD_PHONE.findall(card)[:LISTED_MAX]]
    return joined(" ", *(line.strip() for line in found))


def _list_reply(message: Record, _message_id: str) -> Content:
    chosen = record(message, "listResponse")
    listed = joined(": ", text(chosen, "title"), text(chosen, "description"))
    return Content(Kind.LIST_REPLY, spoken(listed or _words(message)))


def _order(message: Record, _message_id: str) -> Content:
    names = ("orderTitle", "title", "message")
    return described(Kind.ORDER, joined(" ", *(text(message, name) for name in names)))


def _poll(message: Record, _message_id: str) -> Content:
    return described(Kind.UNSUPPORTED, text(message, "pollName"))


def _other(message: Record, _message_id: str) -> Content:
    return described(Kind.UNSUPPORTED, text(message, "caption"))


#: By ``type``. Any other cannot be shown.
_CONTENTS: dict[str, _ContentReader] = {
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
    "revoked": lambda _message, _message_id: described(Kind.DELETED),
}
