"""Read what Venom's kin post: WPPConnect-server's events, bare messages, the gateway's formats.

A body of WPPConnect-server is one event, ``{"event", "session", …}``. A gateway posts
``{"from", "message", "messageId", "timestamp"}``, many such under ``messages``, or a reaction
``{"from", "emoji", "messageId", "timestamp"}``. The fields of a message are one family.
"""

from batching.errors import MalformedError
from batching.model import Event
from channels.fields import Record, items, text
from channels.inbound import Parsed
from channels.venom.events import (
    Reader,
    call,
    gateway_reaction,
    message,
    notice,
    poll_vote,
    reaction,
    revocation,
    self_message,
    status,
)

#: Most messages taken from one body.
ITEMS_MAX = 5_000

#: By ``event``; the others are the library's own affairs.
_EVENTS: dict[str, Reader] = {
    "onmessage": message,
    "onanymessage": message,
    "onselfmessage": self_message,
    "onack": status,
    "onreactionmessage": reaction,
    "onrevokedmessage": revocation,
    "onpollresponse": poll_vote,
    "incomingcall": call,
    # What was unread when the library started may be weeks old: answering it all at once would
    # surprise customers. It is counted, for a person to look at the phone.
    "unreadmessages": notice("unread_message"),
    "location": notice("live_location"),
    **dict.fromkeys(("qrcode", "phoneCode"), notice("needs_login")),
    **dict.fromkeys(("status-find", "session-logged"), notice("channel_state")),
    **dict.fromkeys(("onpresencechanged", "onparticipantschanged"), notice("presence")),
    "onupdatelabel": notice("label"),
}


def parse(body: object, account_id: str) -> Parsed:
    """Return the events of a body posted for ``account_id``.

    Raise MalformedError for a body of none of the forms, or of more than ITEMS_MAX messages.
    """
    if not isinstance(body, dict):
        raise MalformedError("not_an_object", "body: must be an object")
    if "event" in body:
        # The library's events change their form with its version: one that cannot be read is
        # counted, for there is nobody to correct it.
        return _each([body], account_id, _EVENTS.get(text(body, "event"), notice("other_event")))
    if "messages" in body:
        found = items(body, "messages")
        if len(found) > ITEMS_MAX:
            raise MalformedError("too_many_items", f"messages: must be at most {ITEMS_MAX}")
        return _each(found, account_id, message)
    read = gateway_reaction if "emoji" in body else message
    return Parsed((read(account_id, body),))


def _each(found: list[object], account_id: str, read: Reader) -> Parsed:
    events: list[Event] = []
    malformed = 0
    for item in found:
        try:
            events.append(read(account_id, _object(item)))
        except MalformedError:
            malformed += 1
    return Parsed(tuple(events), malformed=malformed)


def _object(item: object) -> Record:
    if not isinstance(item, dict):
        raise MalformedError("not_an_object", "message: must be an object")
    return item
