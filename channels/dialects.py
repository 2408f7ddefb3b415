"""What a body of no form that we know may be: does it bring a customer's message, and its shape.

Gateways pack the same few things into envelopes of their own. This reads none of them: it says
whether a person should look, because a gateway posts once and the customer waits.
"""

import re
from collections.abc import Iterator

from batching.model import NotUnderstood

#: So many fields of a body are looked at, those near its root first.
_FIELDS_MAX = 2_000
#: So many names make a shape, each no longer than that.
_NAMES_MAX, _NAME_LENGTH_MAX = 30, 40

#: A name that a programmer gave. What holds a number, a space or a letter of another script may be
#: a customer's, for some gateways use ids as names.
_FIELD_NAME = re.compile(r"(?!.*\d{3})[A-Za-z_]\w*", re.ASCII)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# Names are compared without case, "_" and "-": from_me, fromMe and FROM-ME are one.

#: Where a gateway names the event.
_EVENT_NAMES = frozenset({"action", "event", "eventtype", "hook", "type", "typewebhook"})
#: Words in the name of an event that is no new message, although it may quote one.
_NOISE_WORDS = frozenset(
    {
        *("ack", "acks", "delivered", "delivery", "read", "receipt", "receipts"),
        *("status", "statuses", "out", "outgoing", "send", "sent"),
        *("chats", "history", "set", "sync"),
        *("chatstate", "presence", "presences", "typing"),
    }
)
#: Who may have sent something: Venom's kin and Cloud, WAHA, Evolution and Baileys, green-api,
#: Z-API, Whapi, WATI, Maytapi, wuzapi.
_SENDERS = frozenset(
    {
        *("author", "chat", "chatid", "contact", "customer", "from", "fromnumber", "jid"),
        *("msisdn", "number", "participant", "peer", "phone", "remotejid", "sender"),
        *("senderdata", "senderid", "user", "userid", "waid"),
    }
)
_WORDS = frozenset(
    {
        *("body", "caption", "content", "conversation", "message", "messagetext", "msg"),
        *("text", "textbody", "textmessage"),
    }
)
#: There is one of these in a picture, a voice message, a place or a card.
_THINGS = frozenset(
    {
        *("degreeslatitude", "directpath", "downloadurl", "fileurl", "latitude", "mediakey"),
        *("mediaurl", "mimetype", "vcard"),
    }
)
_OURS = frozenset({"fromme", "isfromme", "outgoing"})
_GROUP = frozenset({"isgroup", "isgroupmsg"})
_CHATS = frozenset({"chat", "chatid", "from", "jid", "remotejid"})
_NO_CUSTOMER = ("@g.us", "@broadcast", "@newsletter")


def not_understood(account_id: str, reason: str, value: object) -> NotUnderstood:
    """Return the event for ``value``, which could not be read. ``reason``: a constant code."""
    return NotUnderstood(account_id, reason, shape_of(value))


def shape_of(value: object) -> str:
    """Return the names of the fields of ``value`` and of what these hold, sorted; no values.

    "" for what has none. In a list its first object counts. A name that is no programmer's is "?".
    """
    names: set[str] = set()
    for name, inner in _object(value).items():
        names.add(_shown(name))
        names.update(f"{_shown(name)}.{_shown(below)}" for below in _object(inner))
    shown = sorted(names)
    more = ["…"] if len(shown) > _NAMES_MAX else []
    return ", ".join(shown[:_NAMES_MAX] + more)


def looks_like_message(body: object) -> bool:
    """Return whether a body may bring what a customer wrote or sent to us.

    That is: it names somebody and holds words or a thing. Not what names itself a receipt, history
    or a presence, nor what is ours or a group's alone.
    """
    somebody = content = False
    ours: set[bool] = set()
    elsewhere: set[bool] = set()
    for name, value in _fields(body):
        if name in _SENDERS:
            somebody = somebody or _is_said(value) or bool(_object(value))
        if name in _WORDS or name in _THINGS:
            content = content or _is_said(value)
        if name == "hasmedia" and value is True:
            content = True
        if name in _OURS and isinstance(value, bool):
            ours.add(value)
        if name in _GROUP and value is True:
            elsewhere.add(value)
        if name in _CHATS and isinstance(value, str) and "@" in value:
            elsewhere.add(value.endswith(_NO_CUSTOMER))
    alone = {True} in (ours, elsewhere)
    return somebody and content and not alone and not is_noise(body)


def is_receipt(item: object) -> bool:
    """Return whether an item tells only what became of a message."""
    names = dict(_fields(item))
    holds = (_is_said(value) for name, value in names.items() if name in _WORDS | _THINGS)
    return bool({"ack", "status"} & names.keys()) and not any(holds)


def is_noise(body: object) -> bool:
    """Return whether the name of the event says that it is no new message."""
    named = [v for name, v in _object(body).items() if _plain(name) in _EVENT_NAMES]
    named += [inner for value in named for inner in _object(value).values()]
    words = (word for text in named if isinstance(text, str) for word in _WORD.findall(text[:200]))
    return any(word.lower() in _NOISE_WORDS for word in words)


def _fields(body: object) -> Iterator[tuple[str, object]]:
    """Yield names and values of all fields, as ``_plain`` names, those near the root first."""
    level, left = [body], _FIELDS_MAX
    while level and left > 0:
        below: list[object] = []
        for holder in level:
            found = list(holder.items()) if isinstance(holder, dict) else []
            yield from ((_plain(name), value) for name, value in found[:left])
            values = [value for _, value in found] if found else holder
            left -= len(found) or 1
            if left <= 0:
                return
            if isinstance(values, list):
                below += [it for it in values[:left] if isinstance(it, dict | list)]
        level = below


def _object(value: object) -> dict[str, object]:
    """Return an object, or the first object of a list; {} where there is none."""
    if isinstance(value, list):
        value = next((it for it in value[:_NAMES_MAX] if isinstance(it, dict)), None)
    return value if isinstance(value, dict) else {}


def _plain(name: str) -> str:
    return name[:_NAME_LENGTH_MAX].replace("_", "").replace("-", "").lower()


def _shown(name: str) -> str:
    fits = len(name) <= _NAME_LENGTH_MAX and _FIELD_NAME.fullmatch(name)
    return name if fits else "?"


def _is_said(value: object) -> bool:
    """Return whether a field holds a text or a number."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool)
