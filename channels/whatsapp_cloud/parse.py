"""Walk a webhook's body: every item of every change of every entry, each on its own.

One webhook may carry many customers' messages, and is delivered again as a whole unless it is
answered 200: so an item that cannot be read is counted and never fails its neighbours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from batching.errors import MalformedError
from batching.model import Event
from channels.fields import identifier, items, record, text
from channels.inbound import Parsed
from channels.whatsapp_cloud.events import (
    Reader,
    call,
    echo,
    handover,
    message,
    notice,
    standby_status,
    status,
)

#: Most items taken from one body. Meta sends far fewer; a body of more is not Meta's.
ITEMS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing to read: the number it is addressed to ("" for none), the reader, the thing."""

    number: str
    read: Reader
    value: object


#: Where the items of a change stand in its value, and what reads them.
_Route = tuple[tuple[str, ...], Reader]

#: By the change's field. An empty path: the value as a whole is the item.
_ROUTES: dict[str, tuple[_Route, ...]] = {
    "messages": (
        (("messages",), message),
        (("message_echoes",), echo("unknown")),
        (("statuses",), status),
        (("errors",), notice("provider_error")),
    ),
    "smb_message_echoes": ((("message_echoes",), echo("person")),),
    # Meta's agent holds the conversation and answers it: what the customer writes is not ours.
    "standby": (
        (("standby", "messages"), notice("standby_message")),
        (("standby", "message_echoes"), echo("meta_agent")),
        (("standby", "statuses"), standby_status),
    ),
    "messaging_handovers": (((), handover),),
    "user_id_update": ((("user_id_update",), notice("identity_changed")),),
    "calls": ((("calls",), call), (("statuses",), notice("call"))),
}

#: Fields that are counted under their own name. A conversation's past among them is not live.
_COUNTED_FIELDS = frozenset(
    {
        "account_alerts",
        "account_review_update",
        "account_update",
        "business_capability_update",
        "history",
        "message_template_components_update",
        "message_template_quality_update",
        "message_template_status_update",
        "phone_number_name_update",
        "phone_number_quality_update",
        "security",
        "smb_app_state_sync",
        "template_category_update",
        "user_preferences",
    }
)


def parse(body: object, account_of: Callable[[str], str | None]) -> Parsed:
    """Return the events of a webhook's body, in its order.

    ``account_of`` names the account of a phone_number_id, None for one that is not ours. Raise
    MalformedError for a body that is not an object with ``entry``, with the code
    ``too_many_items`` for one of more than ITEMS_MAX items.
    """
    found = list(islice(_walk(body), ITEMS_MAX + 1))
    if len(found) > ITEMS_MAX:
        raise MalformedError("too_many_items", f"items in one body: must be at most {ITEMS_MAX}")
    events: list[Event] = []
    unknown_accounts = malformed = 0
    for item in found:
        account_id = account_of(item.number) if item.number else ""
        if account_id is None:
            unknown_accounts += 1
            continue
        try:
            events.append(_read(item, account_id))
        except MalformedError:
            malformed += 1
    return Parsed(tuple(events), unknown_accounts=unknown_accounts, malformed=malformed)


def _read(item: _Item, account_id: str) -> Event:
    if not isinstance(item.value, dict):
        raise MalformedError("not_an_object", "item: must be an object")
    return item.read(account_id, item.value)


def _walk(body: object) -> Iterator[_Item]:
    entries = body.get("entry") if isinstance(body, dict) else None
    if not isinstance(entries, dict | list):
        raise MalformedError("no_entry", "body: must be an object with entry, a list of objects")
    for entry in items(entries):
        for change in items(entry, "changes") if isinstance(entry, dict) else [None]:
            yield from _items_of(change)


def _items_of(change: object) -> Iterator[_Item]:
    value = record(change, "value")
    number = identifier(value, "metadata", "phone_number_id")
    number = number or identifier(value, "recipient", "phone_number_id")
    # Some senders leave the field out; what they pass on are messages.
    field = text(change, "field") or "messages"
    if not value:
        yield _Item(number, notice(field), None)
        return
    for path, read in _ROUTES.get(field, (((), _counted(field)),)):
        yield from (_Item(number, read, found) for found in items(value, *path))


def _counted(field: str) -> Reader:
    return notice(field if field in _COUNTED_FIELDS else "other_field")
