"""Turn one item of a body into one event.

Every reader takes the account and the item; it raises MalformedError for an item that lacks what
its event needs.
"""

import secrets
from collections.abc import Callable

from batching.model import (
    SILENT_KINDS,
    DeliveryStatus,
    Event,
    ForeignMessage,
    InboundMessage,
    Notice,
)
from channels.fields import Record, at, identifier, required, text
from channels.inbound import Peer, epoch_ms, made_id
from channels.venom import kinds
from channels.venom.ids import Key, chat, contact, is_ours, key, other_chat, peer

Reader = Callable[[str, Record], Event]

#: What became of a message that left, by ``ack``; a negative one says that it failed.
_STATES = {
    **dict.fromkeys(range(-7, 0), "failed"),
    0: "queued",
    1: "sent",
    2: "delivered",
    3: "read",
    4: "played",
}


def notice(name: str) -> Reader:
    """Return a reader that counts an item under ``name`` and looks no further."""
    return lambda account_id, _item: Notice(account_id, name)


def message(account_id: str, item: Record) -> Event:
    """Return a message a customer wrote, or the trace of one that left our number."""
    found = key(item, "id", "messageId")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if text(item, "type") in kinds.NOISE:
        return Notice(account_id, "noise")
    if at(item, "isMdHistoryMsg") is True:
        return Notice(account_id, "history")
    if is_ours(item, found):
        return _foreign(account_id, item, found)
    who = peer(chat(item, "from"), chat(item, "chatId"), contact(item, "sender"))
    return _inbound(account_id, item, who, kinds.content(item, found.whole), found.unique)


def _foreign(account_id: str, item: Record, found: Key) -> ForeignMessage:
    # A phone, another program and our own sends look alike; the id tells which of them is ours.
    return ForeignMessage(
        account_id=account_id,
        customer=peer(chat(item, "to"), chat(item, "chatId"), found.chat).customer,
        provider_id=required(found.unique, "id"),
        author="unknown",
    )


def self_message(account_id: str, item: Record) -> Event:
    """Return the trace of a message that left our number."""
    return message(account_id, {**item, "fromMe": True})


def status(account_id: str, item: Record) -> Event:
    """Return what became of a message that left."""
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


def reaction(account_id: str, item: Record) -> Event:
    """Return how a customer reacted to a message."""
    found = key(item, "id")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if is_ours(item, found):
        return Notice(account_id, "own_reaction")
    who = peer(contact(item, "sender"), found.chat)
    return _inbound(account_id, item, who, kinds.reaction(item, "reactionText"), found.unique)


def gateway_reaction(account_id: str, item: Record) -> Event:
    """Return how a customer reacted to a message, as a gateway tells it."""
    if elsewhere := other_chat(item, key(item)):
        return Notice(account_id, elsewhere)
    said, who = kinds.reaction(item, "emoji"), peer(chat(item, "from"))
    # The id is that of the message reacted to, and no id of this one.
    return _inbound(account_id, item, who, said, about=identifier(item, "messageId"))


def revocation(account_id: str, item: Record) -> Event:
    """Return that a customer deleted a message."""
    found = key(item, "id", "refId")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if is_ours(item, found):
        return Notice(account_id, "own_deletion")
    who = peer(chat(item, "from"), chat(item, "author"), found.chat)
    return _inbound(account_id, item, who, kinds.DELETED, found.unique)


def poll_vote(account_id: str, item: Record) -> Event:
    """Return what a customer chose in a poll."""
    poll = key(item, "msgId")
    if elsewhere := other_chat(item, poll):
        return Notice(account_id, elsewhere)
    who = peer(contact(item, "sender"), chat(item, "chatId"))
    return _inbound(account_id, item, who, kinds.poll_vote(item), about=poll.unique)


def call(account_id: str, item: Record) -> Event:
    """Return that a customer called."""
    found = key(item, "id")
    if elsewhere := other_chat(item, found):
        return Notice(account_id, elsewhere)
    if at(item, "outgoing") is True:
        return Notice(account_id, "own_call")
    who = peer(chat(item, "peerJid"), chat(item, "from"))
    return _inbound(account_id, item, who, kinds.CALL, found.unique)


def _inbound(
    account_id: str,
    item: Record,
    who: Peer,
    said: kinds.Content,
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
    made = made_id(who.customer, moment or secrets.token_hex(8), said.kind, said.text, about)
    return InboundMessage(
        account_id=account_id,
        customer=who.customer,
        message_id=unique or made,
        kind=said.kind,
        text=said.text,
        sent_at_ms=epoch_ms(moment),
        aliases=who.aliases,
        secondary=who.secondary,
        media=said.media,
    )
