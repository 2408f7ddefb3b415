"""Turns what a provider tells into calls at the ledger's door, and says what became of them."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from batching.door import Door, receipt
from batching.limits import Limits
from batching.model import (
    SILENT_KINDS,
    DeliveryStatus,
    Event,
    ForeignMessage,
    InboundMessage,
    Notice,
    Tag,
)
from batching.records import Receipt, Status
from batching.scripts import Call
from batching.store import Store

log = logging.getLogger(__name__)

#: States by which a provider says that it has the message.
_WITH_PROVIDER = frozenset({"sent", "delivered", "read", "played"})
#: Authors that answer the customer in our stead; others are only reported.
_TAKES_OVER = frozenset({"person", "meta_agent"})
_OURS, _BEGAN = 0, 2


def take(
    store: Store, events: Sequence[Event], limits_of: Callable[[str], Limits]
) -> list[Receipt]:
    """Bring events into the ledger in one round trip; return a receipt for each message."""
    door = Door(store)
    personal = [event for event in events if isinstance(event, InboundMessage | ForeignMessage)]
    owners = iter(door.owners(personal))
    tags = iter(door.tags([event for event in events if isinstance(event, DeliveryStatus)]))
    planned: list[tuple[Event, str, Call]] = []
    for event in events:
        match event:
            case InboundMessage():
                owner = next(owners)
                planned += [
                    (event, owner, call) for call in _message(door, event, owner, limits_of)
                ]
            case DeliveryStatus():
                planned += [(event, "", call) for call in _status(door, event, next(tags))]
            case ForeignMessage():
                owner = next(owners)
                planned.append((event, owner, _foreign(door, event, owner)))
            case Notice():
                about = {"account": event.account_id, "notice": event.name}
                log.info("provider.noticed", extra=about)
    answers = door.post([call for _, _, call in planned])
    receipts = []
    for (event, owner, call), answer in zip(planned, answers, strict=True):
        if isinstance(event, InboundMessage) and call.verb in ("append", "suppress"):
            receipts.append(receipt(owner, call, answer))
            _report_message(event, receipts[-1])
        else:
            _report(event, owner, call, answer)
    return receipts


def _message(
    door: Door, message: InboundMessage, owner: str, limits_of: Callable[[str], Limits]
) -> list[Call]:
    links = [door.link(owner, message, alias) for alias in message.aliases]
    if message.kind in SILENT_KINDS:
        return [*links, door.suppress(owner, message)]
    return [*links, door.append(owner, message, limits_of(message.account_id))]


def _status(door: Door, status: DeliveryStatus, tag: Tag | None) -> list[Call]:
    if tag is None:
        return []
    if status.state in _WITH_PROVIDER:
        return [door.left(tag, status.provider_id)]
    if status.state == "failed":
        return [door.undelivered(status.account_id, tag, status.provider_id, status.code)]
    return []


def _foreign(door: Door, event: ForeignMessage, owner: str) -> Call:
    pause = event.author in _TAKES_OVER
    return door.foreign(owner, event.account_id, event.provider_id, event.author, pause=pause)


def _report(event: Event, owner: str, call: Call, answer: Any) -> None:  # noqa: ANN401
    match event:
        case InboundMessage() if not answer:
            # The only other call of a message is that of a second id.
            about = {"account": event.account_id, "conversation": owner}
            log.error("alias.conflicted", extra=about)
        case DeliveryStatus() if call.verb == "undelivered" and answer:
            log.error("reply.undelivered", extra={"account": event.account_id, "code": event.code})
        case ForeignMessage() if answer != _OURS:
            about = {"account": event.account_id, "conversation": owner, "author": event.author}
            log.warning("reply.foreign", extra=about)
            if answer == _BEGAN:
                log.info("takeover.started", extra=about)


def _report_message(message: InboundMessage, got: Receipt) -> None:
    fields = {
        "account": message.account_id,
        "conversation": got.conversation_id,
        "batch": got.batch_id,
        "kind": message.kind,
        "status": got.status,
        "count": got.count,
        "flusher_lag_ms": got.flusher_lag_ms,
    }
    log.log(logging.WARNING if got.status is Status.FULL else logging.INFO,
            "message.appended", extra=fields)  # fmt: skip
