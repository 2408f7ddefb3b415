"""Turn one item of a webhook into one event.

Every reader takes the account, "" where the webhook names none, and the item; it raises
MalformedError for an item that lacks what its event needs.
"""

from collections.abc import Callable

from batching.model import DeliveryStatus, Event, ForeignMessage, InboundMessage, Kind, Notice, Tag
from channels.fields import (
    Record,
    identifier,
    items,
    moment_ms,
    record,
    required,
    text,
    whole_number,
)
from channels.inbound import describe, made_id
from channels.whatsapp_cloud.errors import named
from channels.whatsapp_cloud.identity import sender
from channels.whatsapp_cloud.kinds import Content, content

Reader = Callable[[str, Record], Event]

#: What may become of a message that left. "deleted", and what nobody knows, is only counted.
_STATES = frozenset({"sent", "delivered", "read", "played", "failed"})

#: System messages that tell of another number or user id of the same person.
_IDENTITY_CHANGES = frozenset(
    {"user_changed_number", "user_changed_user_id", "customer_identity_changed"}
)

#: Only these are a person calling; the rest is the progress of a call.
_CALLED = Content(Kind.CALL, describe(Kind.CALL))


def notice(name: str) -> Reader:
    """Return a reader that counts an item under ``name`` and looks no further."""
    return lambda account_id, _item: Notice(account_id, name)


def message(account_id: str, item: Record) -> Event:
    """Return what a customer sent; groups and what no customer wrote are only counted."""
    match text(item, "type"):
        case _ if item.get("group_id"):
            return Notice(account_id, "group_message")
        case "system":
            is_change = text(item, "system", "type") in _IDENTITY_CHANGES
            return Notice(account_id, "identity_changed" if is_change else "system")
        case "request_welcome":
            return Notice(account_id, "request_welcome")
    return _inbound(account_id, item, content(item))


def call(account_id: str, item: Record) -> Event:
    """Return that a customer called; our own calls and a call's progress are only counted."""
    is_ours = text(item, "direction") == "BUSINESS_INITIATED"
    if is_ours or text(item, "event") != "connect":
        return Notice(account_id, "call")
    return _inbound(account_id, item, _CALLED)


def status(account_id: str, item: Record) -> Event:
    """Return what became of a message that left, or the trace of one that another app sent."""
    told = standby_status(account_id, item)
    if not isinstance(told, DeliveryStatus) or told.state != "sent" or Tag.parse(told.tag):
        return told
    # No app gets an echo of another's messages, but each gets their statuses. Ours bear our tag,
    # and the ledger knows the ids of those that lost it.
    customer = identifier(item, "recipient_id") or identifier(item, "recipient_user_id")
    if not customer:
        return told
    return ForeignMessage(account_id, customer, told.provider_id, author="app")


def standby_status(account_id: str, item: Record) -> Event:
    """Return what became of a message, be it of ours or of Meta's agent."""
    participants = ("recipient_participant_id", "participant_recipient_id")
    if text(item, "recipient_type") == "group" or any(map(item.get, participants)):
        return Notice(account_id, "group_status")
    state = text(item, "status")
    if state not in _STATES:
        return Notice(account_id, "other_status")
    codes = (whole_number(error, "code") for error in items(item, "errors"))
    code = next((found for found in codes if found is not None), None)
    return DeliveryStatus(
        account_id=required(account_id, "phone_number_id"),
        provider_id=required(identifier(item, "id"), "id"),
        state=state,
        tag=identifier(item, "biz_opaque_callback_data"),
        code="" if code is None else named(code),
    )


def echo(author: str) -> Reader:
    """Return a reader of messages that left our number; ``author`` unless they say otherwise."""

    def read(account_id: str, item: Record) -> Event:
        # Meta's own agent wraps what it sent; a phone does not.
        sent = record(item, "message") or item
        if item.get("group_id") or text(sent, "recipient_type") == "group":
            return Notice(account_id, "group_message")
        is_agent = text(item, "message_creation_type") == "created_by_1p_bot"
        customer = identifier(sent, "to") or identifier(item, "to_user_id")
        return ForeignMessage(
            account_id=required(account_id, "phone_number_id"),
            customer=required(customer or identifier(sent, "recipient"), "to"),
            provider_id=required(identifier(item, "id"), "id"),
            author="meta_agent" if is_agent else author,
        )

    return read


def handover(account_id: str, item: Record) -> Event:
    """Return who was given the conversation; it is counted."""
    kind = text(item, "type")
    is_known = kind in {"control_passed", "control_taken"}
    return Notice(account_id, kind if is_known else "control_changed")


def _inbound(account_id: str, item: Record, said: Content) -> InboundMessage:
    who = sender(item)
    return InboundMessage(
        account_id=required(account_id, "phone_number_id"),
        customer=who.customer,
        message_id=identifier(item, "id") or _made_id(who.customer, item, said),
        kind=said.kind,
        text=said.text,
        sent_at_ms=moment_ms(item, "timestamp"),
        aliases=who.aliases,
        secondary=who.secondary,
        media=said.media,
    )


def _made_id(customer: str, item: Record, said: Content) -> str:
    """Return an id for a message without one, the same when it is delivered again."""
    media_id = said.media.media_id if said.media else ""
    return made_id(customer, text(item, "timestamp"), said.kind, said.text, media_id)
