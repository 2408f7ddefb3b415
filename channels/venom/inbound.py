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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from batching.model import (
    SILENT_KINDS,
    DeliveryStatus,
    Event,
    ForeignMessage,
    InboundMessage,
    Kind,
    Notice,
)
from channels.dialects import is_noise
from channels.inbound import (
    LISTED_MAX,
    NOTHING,
    OWN_ACTS,
    Content,
    ContentReader,
    Parsed,
    Peer,
    Reader,
    Record,
    Refers,
    at,
    came_from,
    chosen,
    contacts,
    content_of,
    corrected,
    described,
    encoded,
    forwarded,
    has_sha256_form,
    identifier,
    items,
    joined,
    list_reply,
    location,
    made_id,
    media_of,
    message_of,
    moment_ms,
    notice,
    read_items,
    record,
    referring,
    required,
    required_object,
    secret_matches,
    sha256_matches,
    spoken,
    text,
    unknown,
    whole_number,
)
from channels.provider import Request
from channels.venom.ids import Key, chat, customer_of, has_twin, is_ours, key, other_chat, peer
from channels.venom.news import session

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
    if not is_signed(request):
        return None
    timestamp = request.headers.get("x-timestamp", "")
    signed = encoded(f"{request.method.upper()}:{request.path}:{timestamp}:") + request.raw
    return sha256_matches(
        signed, request.headers.get("x-signature", ""), webhook_secrets, prefix=""
    )


def is_signed(request: Request) -> bool:
    """Return whether a request bears a fresh timestamp and what looks like its signature."""
    headers = request.headers
    is_form = has_sha256_form(headers.get("x-signature", ""), prefix="")
    return is_form and is_fresh(headers.get("x-timestamp", ""), request.received_ms)


def delivery_id(request: Request, webhook_secrets: Sequence[str]) -> str:
    """Return what is the same each time a request that ``verify`` knows is posted again.

    That is its signature; "" for one that is known by a shared secret, which any body may bear.
    """
    if verify_headers(request, webhook_secrets) is not None:
        return ""
    return request.headers.get("x-signature", "").lower()


def is_fresh(timestamp: str, now_ms: int) -> bool:
    """Return whether ``timestamp`` is a number of ms within five minutes of ``now_ms``."""
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    return len(timestamp) <= _TIMESTAMP_DIGITS_MAX and abs(int(timestamp) - now_ms) <= SKEW_MS_MAX


# The body


#: The id of a message that bears neither id nor time, until its body has been read.
_UNNAMED = "\0"


def parse(body: object, account_id: str, delivery: str = "") -> Parsed:
    """Return the events of a body posted for ``account_id``; ``delivery`` is its ``delivery_id``.

    Raise MalformedError for a body of none of the forms, or of more than ITEMS_MAX messages.
    """
    parsed = _read(body, account_id)
    return replace(parsed, events=tuple(_named(parsed.events, delivery)))


def _named(events: Iterable[Event], delivery: str) -> Iterator[Event]:
    """Give ``events``, those without a name of their own with one of ``delivery``."""
    for place, event in enumerate(events):
        if not isinstance(event, InboundMessage) or event.message_id != _UNNAMED:
            yield event
        elif delivery:
            # A signed body that is posted again within the minutes of its signature is no news.
            yield replace(event, message_id=made_id(delivery, str(place)))
        else:
            # Without id and time nothing tells a repeated "yes" from a repeated delivery, and only
            # the first is known to happen: these gateways post once.
            yield replace(event, message_id=f"made_{random.token_hex(16)}")


def _read(body: object, account_id: str) -> Parsed:
    item = required_object(body, "body")
    if "event" in item:
        # The library's events change their form with its version: one that cannot be read is
        # counted and not refused, for the library could not correct it.
        read = _EVENTS.get(text(item, "event").lower(), unknown("other_event"))
        return read_items([(account_id, read, item)])
    if is_noise(item):
        return Parsed((Notice(account_id, "other_event"),))
    if "messages" in item:
        return read_items((account_id, _message, found) for found in items(item, "messages"))
    reacted = _did(_reacted("emoji"), "messageId", own="own_reaction", about=True)
    read = reacted if "emoji" in item else _message
    return Parsed((read(account_id, item),))


# Events: one reader for each kind of item

#: Kinds that may bear the id of another message: of the one they are about, or of a call's line.
_BORROWING_KINDS = SILENT_KINDS | {Kind.CALL}

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
        # Says how many pictures follow; each is a message.
        "album",
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
    change = _change(item, found)
    if counted := _counted(item, found, change):
        return Notice(account_id, counted)
    if is_ours(item, found):
        # A phone, another program and our own sends look alike; the id tells which is ours.
        return ForeignMessage(
            account_id=account_id,
            customer=peer(chat(item, "to"), chat(item, "chatId"), found.chat).customer,
            provider_id=required(found.unique, "id"),
            author="unknown",
            text=_words(item),
        )
    who = customer_of(item, "from", "chatId")
    if change:
        refers = Refers(amends=change.target)
        return _inbound(account_id, item, who, change.said, change.unique, refers=refers)
    message = _inbound(account_id, item, who, content(item), found.unique, refers=_reply(item))
    return replace(message, has_twin=True) if has_twin(who, found) else message


@dataclass(frozen=True, slots=True)
class _Change:
    """An edit or a deletion of the message ``target``, with an id of its own, "" for none."""

    unique: str
    target: str
    said: Content


def _counted(item: Record, found: Key, change: _Change | None) -> str:
    """Return how to count what no customer writes to us, "" for anything else."""
    if elsewhere := other_chat(item, found):
        return elsewhere
    if is_ours(item, found) and (own_act := _own_act(item)):
        return own_act
    if not change and text(item, "type") in _NOISE:
        return "noise"
    return "history" if at(item, "isMdHistoryMsg") is True else ""


#: What a message of the protocol does to the one that its ``protocolMessageKey`` names.
_REVOKES = frozenset({"admin_revoke", "revoke", "sender_revoke"})


def _change(item: Record, found: Key) -> _Change | None:
    """Return what an item edits or deletes, None where it is a message by itself.

    The library tells of it by a message of the protocol, or once more by the message, changed.
    """
    target = key(item, "protocolMessageKey").unique
    kind, subtype = text(item, "type"), text(item, "subtype")
    if kind == "revoked" or (kind == "protocol" and subtype in _REVOKES):
        said, target = described(Kind.DELETED), target or found.unique
        return _Change(found.unique, target, said)
    if kind == "protocol" and subtype == "message_edit" and target:
        # Of a picture it brings the caption alone.
        words: Record = {"type": "chat", "body": text(item, "caption") or _words(item)}
        return _Change(found.unique, target, corrected(content(words)))
    if last := key(item, "latestEditMsgKey").unique:
        # The id of the protocol's message, which may have come too.
        when = text(item, "latestEditSenderTimestampMs")
        unique = last if last != found.unique else joined("_", "edited", last, when)
        return _Change(unique, found.unique, corrected(content(item)))
    return None


def _reply(item: Record) -> Refers:
    """Return what a message replies to; the words of that come along."""
    quoted = record(item, "quotedMsg") or record(item, "quotedMsgObj")
    words = text(quoted, "caption") or text(quoted, "title")
    if not words and _guessed_type(quoted) == "chat":
        words = _words(quoted)
    ids = (
        key(item, "quotedMsgId").unique,
        identifier(item, "quotedStanzaID"),
        key(quoted, "id").unique,
    )
    return Refers(quotes=next(filter(None, ids), ""), quoted=words)


def _own_act(item: Record) -> str:
    """Return how to count what our phone did to a message that stands already, "" for a new one.

    An edited message comes again under its own id, with the key of the edit.
    """
    if record(item, "latestEditMsgKey") or text(item, "latestEditMsgKey"):
        return OWN_ACTS["edit"]
    return OWN_ACTS.get(text(item, "subtype"), "") or OWN_ACTS.get(text(item, "type"), "")


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


def _did(
    said: ContentReader, *ids: str, own: str = "", about: bool = False, amends: Sequence[str] = ()
) -> Reader:
    """Return a reader of what a customer did; the same by us is counted under the name ``own``.

    ``ids``: the fields that may hold its id, with ``about`` the id of the message it is about;
    ``amends``: those that may hold the id of the message that it deletes.
    """

    def read(account_id: str, item: Record) -> Event:
        found = key(item, *ids)
        if elsewhere := other_chat(item, found):
            return Notice(account_id, elsewhere)
        if own and is_ours(item, found):
            return Notice(account_id, own)
        names = ("peerJid", "from", "chatId", "author")
        who = customer_of(item, *names, chat_id=found.chat)
        own_id, other_id = ("", found.unique) if about else (found.unique, "")
        refers = Refers(amends=key(item, *amends).unique)
        return _inbound(account_id, item, who, said(item), own_id, about=other_id, refers=refers)

    return read


def _inbound(
    account_id: str,
    item: Record,
    who: Peer,
    said: Content,
    unique: str,
    *,
    about: str = "",
    refers: Refers = NOTHING,
) -> InboundMessage:
    moments = [text(item, name) for name in ("t", "timestamp", "offerTime")]
    moment = next((it for it in moments if moment_ms(it)), next(filter(None, moments), ""))
    if unique and said.kind in _BORROWING_KINDS:
        # It may bear the id of the message it is about, and must not be taken for that one.
        unique = f"{said.kind}_{unique}"
    message_id = unique or ("" if moment else _UNNAMED)
    return message_of(
        account_id, who, said, message_id=message_id, moment=moment, about=about, refers=refers
    )


def _reacted(name: str) -> ContentReader:
    """Return a reader of the reaction in the field ``name``."""
    return lambda item: chosen(Kind.REACTION, text(item, name))


def _voted(item: Record) -> Content:
    options = items(item, "selectedOptions")[:LISTED_MAX]
    names = (text(option, "name") or text(option) for option in options)
    return chosen(Kind.POLL_VOTE, joined(", ", *names))


def _only(kind: Kind) -> ContentReader:
    """Return a reader of what has no words."""
    return lambda _item: described(kind)


#: By ``event`` in lower case; the others are the library's own affairs, or another library's.
_EVENTS: dict[str, Reader] = {
    "onmessage": _message,
    "onanymessage": _message,
    "onselfmessage": lambda account_id, item: _message(account_id, {**item, "fromMe": True}),
    "onack": _status,
    "onreactionmessage": _did(_reacted("reactionText"), "id", own="own_reaction"),
    "onrevokedmessage": _did(
        _only(Kind.DELETED), "id", "refId", own="own_deletion", amends=("refId", "id")
    ),
    "onpollresponse": _did(_voted, "msgId", about=True),
    "incomingcall": _did(_only(Kind.CALL), "id", own="own_call"),
    # What was unread when the library started may be weeks old: answering it all at once would
    # surprise customers. It is counted, for a person to look at the phone.
    "unreadmessages": notice("unread_message"),
    "location": notice("live_location"),
    **dict.fromkeys(
        (
            *("qrcode", "phonecode", "status-find", "session-logged", "closesession"),
            *("logoutsession", "onstatechange", "onstatechanged"),
        ),
        session,
    ),
    **dict.fromkeys(("onpresencechanged", "onparticipantschanged"), notice("presence")),
    "onupdatelabel": notice("label"),
}


# Content: the text that the model reads, by the type of message. The bytes of a picture or a voice
# message may stand in ``body``, in base64: of those types only the caption is read.

#: What a gateway puts where it could not read a message.
_PLACEHOLDERS = frozenset({"[Non-text message]"})

#: WhatsApp marks a message with two arrows from so many forwards on.
_OFTEN_FORWARDED = 5

_CARD_NAME = re.compile(r"^FN[^:\n]*:(.+)$", re.MULTILINE)
_CARD_FIELD = re.compile(r"^(?:\w+\.)?(?:TEL|EMAIL|ORG|ADR|URL)[^:\n]*:(.+)$", re.MULTILINE)
#: Words have a space somewhere; so long a run without any is data.
_ENCODED = re.compile(r"data:[^,\s]*;base64,|/9j/|\S{1000}")


def content(message: Record) -> Content:
    """Return what ``message`` says; a kind unknown, broken or empty is Kind.UNSUPPORTED."""
    found = text(message, "type") or _guessed_type(message)
    often = (whole_number(message, "forwardingScore") or 0) >= _OFTEN_FORWARDED
    advertisement = record(message, "ctwaContext")
    return referring(
        content_of(_CONTENTS.get(found, _unknown), message),
        forwarded(once=at(message, "isForwarded") is True, often=often),
        came_from(text(advertisement, "title"), text(advertisement, "description"))
        if advertisement
        else "",
    )


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


def _own_words(kind: Kind) -> ContentReader:
    def read(message: Record) -> Content:
        words = _words(message)
        return Content(kind, "" if words.strip() in _PLACEHOLDERS else spoken(words))

    return read


def _media(kind: Kind) -> ContentReader:
    def read(message: Record) -> Content:
        # The library gives the bytes to who names the whole id.
        media_id = key(message, "id", "messageId").whole
        return media_of(kind, message, media_id, "mimetype", "fileUrl")

    return read


def _location(message: Record) -> Content:
    latitude = text(message, "lat") or text(message, "latitude")
    longitude = text(message, "lng") or text(message, "longitude")
    return location(text(message, "loc").replace("\n", ", "), latitude, longitude)


def _contacts(message: Record) -> Content:
    cards = [text(card, "vcard") for card in items(message, "vcardList")] or [_words(message)]
    return contacts(map(_card, cards), text(message, "vcardFormattedName"))


def _card(card: str) -> tuple[str, list[str]]:
    """Return the name and the numbers of a vCard."""
    name = _CARD_NAME.search(card)
    rest = (parts.replace(";", " ").strip() for parts in _CARD_FIELD.findall(card))
    return name.group(1).strip() if name else "", list(rest)


def _list_reply(message: Record) -> Content:
    return list_reply(record(message, "listResponse"), _words(message))


def _ordered(kind: Kind) -> ContentReader:
    names = ("orderTitle", "title", "description", "message")
    return lambda message: described(kind, joined(" ", *(text(message, name) for name in names)))


def _unknown(message: Record) -> Content:
    """Return what cannot be shown, with the words that came along; the body may be bytes."""
    words = text(message, "caption")
    if not words and _guessed_type(message) == "chat":
        words = _words(message)
    return described(Kind.UNSUPPORTED, "" if words.strip() in _PLACEHOLDERS else words)


def _unreadable(name: str) -> ContentReader:
    """Return a reader of what cannot be shown, but for the words in the field ``name``."""
    return lambda message: described(Kind.UNSUPPORTED, text(message, name))


#: By ``type``. Any other cannot be shown.
_CONTENTS: dict[str, ContentReader] = {
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
    "order": _ordered(Kind.ORDER),
    "product": _ordered(Kind.PRODUCT),
    "payment": _only(Kind.PAYMENT),
    "poll_creation": _unreadable("pollName"),
    "revoked": _only(Kind.DELETED),
}
