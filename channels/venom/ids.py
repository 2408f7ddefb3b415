"""The ids of WhatsApp Web, in every shape that its libraries give them: text, or taken apart.

A chat is ``<user>@<server>``; a message is ``<true|false>_<chat>_<unique>``, where the word tells
whether we wrote it.
"""

import re
from dataclasses import dataclass

from channels.inbound import Peer, Record, at, identifier, record, required

#: The unique part may be followed by the author, or by "out" or "in".
_MESSAGE_ID = re.compile(r"(true|false)_([^_@]*@[^_@]+)_([^_]+)")
_LID = "@lid"
#: A person's id: digits, the device that wrote (left out or not), a server.
_PERSON = re.compile(r"([0-9]{5,20})(?::[0-9]{1,4})?(@c\.us|@s\.whatsapp\.net|@lid)")
_SERVERS = {"@c.us": "@c.us", "@s.whatsapp.net": "@c.us", "@lid": "@lid"}

#: Chats that are no conversation with a customer, by the end of their id, and how they are counted.
_OTHER_CHATS = {
    "@g.us": "group_message",
    "@broadcast": "broadcast",
    "@newsletter": "newsletter",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A message's id: ``unique`` is the part that all twins of a message share, "" for none."""

    unique: str
    whole: str
    from_me: bool | None
    chat: str


def key(item: Record, *names: str) -> Key:
    """Return the first message id that one of the fields ``names`` holds."""
    for name in names:
        taken_apart = record(item, name)
        whole = identifier(taken_apart, "_serialized") or identifier(item, name)
        unique = identifier(taken_apart, "id")
        if not whole and not unique:
            continue
        match = _MESSAGE_ID.match(whole)
        said = at(taken_apart, "fromMe")
        if not isinstance(said, bool):
            said = match.group(1) == "true" if match else None
        return Key(
            unique=unique or (match.group(3) if match else whole),
            whole=whole or unique,
            from_me=said,
            chat=chat(taken_apart, "remote") or (match.group(2) if match else ""),
        )
    return Key("", "", None, "")


def is_lid(customer: str) -> bool:
    """Return whether an id hides the phone number."""
    return customer.endswith(_LID)


def chat(value: object, *path: str) -> str:
    """Return the id of a chat or a contact that ``path`` leads to, "" for none."""
    found = at(value, *path)
    if not isinstance(found, dict):
        return identifier(value, *path)
    user, server = identifier(found, "user"), identifier(found, "server")
    return identifier(found, "_serialized") or (f"{user}@{server}" if user and server else "")


def is_ours(item: Record, message: Key) -> bool:
    """Return whether our number wrote or called; where nothing tells, a customer did."""
    told = (at(item, "fromMe"), at(item, "outgoing"), message.from_me)
    return next((said for said in told if isinstance(said, bool)), False)


def other_chat(item: Record, message: Key) -> str:
    """Return how to count an item that is not between us and one customer, "" if it is."""
    if at(item, "isGroupMsg") is True or at(item, "isGroup") is True:
        return _OTHER_CHATS["@g.us"]
    chats = [chat(item, name) for name in ("from", "to", "chatId", "peerJid")]
    for found in (*chats, message.chat):
        for end, name in _OTHER_CHATS.items():
            if found.endswith(end):
                return name
    return ""


def customer_of(item: Record, *names: str, chat_id: str = "") -> Peer:
    """Return the customer whom the fields ``names`` or ``sender`` name, or the chat ``chat_id``.

    ``sender`` is the id itself, or an object that describes a contact. Raise MalformedError.
    """
    named = (chat(item, name) for name in names)
    return peer(*named, chat(item, "sender", "id") or chat(item, "sender"), chat_id)


def peer(*ids: str) -> Peer:
    """Return the customer known by ``ids``, a phone number before a LID.

    Raise MalformedError where no id is left.
    """
    known = sorted(dict.fromkeys(filter(None, ids)), key=is_lid)
    customer = required(known[0] if known else "", "from")
    # One person in another spelling: what was written under either is one conversation.
    spellings = () if canonical(customer) == customer else (canonical(customer),)
    aliases = (*spellings, *dict.fromkeys(map(canonical, filter(is_lid, known[1:]))))
    return Peer(customer, aliases, secondary=is_lid(customer))


def canonical(customer: str) -> str:
    """Return an id in the one spelling that all libraries know: without a device, phones @c.us."""
    match = _PERSON.fullmatch(customer)
    if not match:
        return customer
    user, server = match.groups()
    return f"{user}{_SERVERS[server]}"


def has_twin(who: Peer, message: Key) -> bool:
    """Return whether a message may come again by an id of the other kind: a number, or a LID.

    Only ids that WhatsApp gave are unique for all chats; and where both ids came, they are linked.
    """
    if not message.chat or not message.unique:
        return False
    return is_lid(who.customer) or not any(map(is_lid, who.aliases))
