"""Webhooks of Meta's WhatsApp Cloud API: who may post them, and what they say.

One address serves all accounts and all apps; a body names the account of each item by its
phone_number_id. One webhook may carry many customers' messages, and is delivered again as a whole
unless it is answered 200: so an item that cannot be read is counted, and never fails its
neighbours. A text message::

    {"object": "whatsapp_business_account", "entry": [{"id": "2000…", "changes": [{
      "field": "messages",
      "value": {"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "79990000000", "phone_number_id": "1000…"},
        "messages": [{"from": "79990000001", "id": "wamid.HBg…", "timestamp": "1768478400",
          "type": "text", "text": {"body": "Can I book for tomorrow?"}}]}}]}]}
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from batching.errors import ChannelStoppedError, MalformedError
from batching.model import (
    DeliveryStatus,
    Event,
    ForeignMessage,
    IdentityChange,
    InboundMessage,
    Kind,
    Notice,
    Tag,
)
from channels.inbound import (
    FIELDS_MAX,
    OWN_ACTS,
    Content,
    ContentReader,
    Parsed,
    Peer,
    Reader,
    Record,
    Refers,
    asks_about,
    at,
    came_from,
    chosen,
    contacts,
    content_of,
    corrected,
    described,
    fields,
    forwarded,
    has_sha256_form,
    identifier,
    items,
    joined,
    list_reply,
    listed,
    location,
    media_of,
    message_of,
    moment_ms,
    notice,
    read_items,
    record,
    referring,
    required,
    secret_matches,
    sha256_matches,
    spoken,
    text,
    unknown,
    whole_number,
)
from channels.provider import Request
from channels.whatsapp_cloud import news
from channels.whatsapp_cloud.codes import BY_NAME, error_name

# Proofs


def verify(request: Request, app_secrets: Sequence[str]) -> int | None:
    """Return the index of the app secret that signed the body, None if there is none."""
    return sha256_matches(request.raw, _signature(request), app_secrets)


def is_signed(request: Request) -> bool:
    """Return whether a request bears what looks like an app's signature."""
    return has_sha256_form(_signature(request))


def _signature(request: Request) -> str:
    return request.headers.get("x-hub-signature-256", "")


def challenge(request: Request, verify_tokens: Sequence[str]) -> str | None:
    """Return what Meta expects of a ``GET`` that knows a verify token, None for any other."""
    known = secret_matches(request.query.get("hub.verify_token", ""), verify_tokens)
    if request.query.get("hub.mode") != "subscribe" or known is None:
        return None
    return request.query.get("hub.challenge", "")


# The walk through a body


def parse(
    body: object,
    account_of: Callable[[str], str | None],
    accounts_of: Callable[[str], Sequence[str]] = lambda _: (),
) -> Parsed:
    """Return the events of a webhook's body, in its order.

    ``account_of`` names the account of a phone_number_id, None for one that is not ours;
    ``accounts_of`` those of a business account, for what Meta reports of that alone. Raise
    MalformedError for a body that is not an object with ``entry``, and for too many items.
    """
    return read_items(_addressed(body, account_of, accounts_of))


def _addressed(
    body: object,
    account_of: Callable[[str], str | None],
    accounts_of: Callable[[str], Sequence[str]],
) -> Iterator[tuple[str | None, Reader, object]]:
    """Give each item with the account that it is for, "" for none, None for one that is not ours.

    What is said of a business account is for each of its accounts.
    """
    for business, number, read, item in _walk(body):
        if number:
            yield account_of(number), read, item
        else:
            yield from ((it, read, item) for it in accounts_of(business) or ("",))


def _walk(body: object) -> Iterator[tuple[str, str, Reader, object]]:
    """Give each item: its business account and number, "" for none, its reader, and itself."""
    entries = at(body, "entry")
    if not isinstance(entries, dict | list):
        raise MalformedError("no_entry", "body: must be an object with entry, a list of objects")
    for entry in items(entries):
        business = identifier(entry, "id")
        for change in items(entry, "changes") if isinstance(entry, dict) else [None]:
            value = record(change, "value")
            number = identifier(value, "metadata", "phone_number_id")
            number = number or identifier(value, "recipient", "phone_number_id")
            # Some senders leave the field out; what they pass on are messages.
            field = text(change, "field") or "messages"
            counted = notice(field) if field in _COUNTED_FIELDS else unknown("other_field")
            if not value:
                # It has no item, and is counted as a malformed one.
                yield business, number, counted, None
                continue
            yield from ((business, number, *found) for found in _found(value, field, counted))


def _found(value: Record, field: str, counted: Reader) -> Iterator[tuple[Reader, object]]:
    """Give the items of a change and their readers; of one without a list that we know, itself."""
    routes = _ROUTES.get(field, (((), counted),))
    if not any(not path or path[0] in value for path, _ in routes):
        yield unknown("no_known_list"), value
    for path, read in routes:
        for item in items(value, *path):
            yield read, _with_sender(item, value) if read is _message else item


def _with_sender(item: object, value: Record) -> object:
    """Return a message; one that names no sender has that of the one contact beside it alone."""
    (*others, contact), messages = [None, *items(value, "contacts")], items(value, "messages")
    if not isinstance(item, dict) or len(others) != 1 or len(messages) != 1:
        return item
    if identifier(item, "from") or identifier(item, "from_user_id"):
        return item
    beside = {"from": identifier(contact, "wa_id"), "from_user_id": identifier(contact, "user_id")}
    return item | {name: found for name, found in beside.items() if found}


# Events: one reader for each kind of item


#: What may become of a message of ours. "deleted", and what is not documented, is only counted.
_STATES = frozenset({"sent", "delivered", "read", "played", "failed"})

#: System messages that tell of another number or user id of the same person. Meta's changelog of
#: 2026-08-11: both carry the previous ids, and no other webhook tells of it.
_IDENTITY_CHANGES = frozenset({"user_changed_number", "user_changed_user_id"})

#: Types of what is about another message of the customer's.
_AMENDS = frozenset({"edit", "revoke"})

#: A country and an opaque id, as in CO.1047385771169864; in a parent's form US.ENT.10473857.
_BUSINESS_SCOPED = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]+", re.ASCII)


def is_business_scoped(customer: str) -> bool:
    """Return whether an id is a business-scoped one, which is addressed in another field."""
    return _BUSINESS_SCOPED.fullmatch(customer) is not None


def _message(account_id: str, item: Record) -> Event:
    """Return what a customer sent; groups and what no customer wrote are only counted."""
    match text(item, "type"):
        case _ if item.get("group_id"):
            return Notice(account_id, "group_message")
        case "system":
            return _system(account_id, item)
        case "request_welcome":
            return Notice(account_id, "request_welcome")
    found = _inbound(account_id, item, content(item))
    shared = _shared_number(item) if found.secondary else ""
    return replace(found, shared=shared) if shared else found


def _shared_number(item: Record) -> str:
    """Return the number that a customer known by a user id gave when asked for it, "" for none.

    Such a card is the customer's own; any other card may be anybody's.
    """
    (*others, card) = [None, *items(item, "contacts")]
    origins = {text(item, "origin"), text(card, "origin")}
    numbers = {identifier(phone, "wa_id") for phone in items(card, "phones")} - {""}
    of_user = text(card, "user_id") or text(item, "from_user_id")
    is_own = "contact_request" in origins and of_user == text(item, "from_user_id")
    return numbers.pop() if is_own and len(others) == 1 == len(numbers) else ""


def _system(account_id: str, item: Record) -> Event:
    """Return what WhatsApp itself tells of a customer: other ids, or what is only counted."""
    part = record(item, "system")
    if text(part, "type") not in _IDENTITY_CHANGES:
        # The customer's other telephone or its new key: their ids stay the same.
        is_key = text(part, "type") == "customer_identity_changed"
        return Notice(account_id, "identity_changed" if is_key else "system")
    number, user_id = identifier(part, "wa_id"), identifier(part, "user_id")
    present = dict.fromkeys(filter(None, (number, user_id, identifier(part, "parent_user_id"))))
    names = ("from", "from_user_id", "from_parent_user_id")
    previous = ("previous_wa_id", "previous_user_id", "previous_parent_user_id")
    known = [identifier(item, name) for name in names] + [identifier(part, it) for it in previous]
    former = [it for it in dict.fromkeys(filter(None, known)) if it not in present]
    if not present or not former:
        return Notice(account_id, "identity_changed")
    return IdentityChange(
        account_id=required(account_id, "phone_number_id"),
        former=tuple(former),
        present=tuple(present),
        addresses={
            it: (user_id or number if is_business_scoped(it) else number or user_id)
            for it in former
        },
        at_ms=moment_ms(item, "timestamp"),
    )


def _call(account_id: str, item: Record) -> Event:
    """Return that a customer called; our own calls and one that was picked up are only counted.

    A call rings ("connect") and ends ("terminate") under one id, so that it is one message. We take
    no calls: one that rings here is answered by nobody, unless another program does.
    """
    direction, event = text(item, "direction"), text(item, "event")
    is_theirs = direction == "USER_INITIATED" or (event == "connect" and not direction)
    is_missed = event == "connect" or (event == "terminate" and not whole_number(item, "duration"))
    if not is_theirs or not is_missed:
        return Notice(account_id, "call")
    return _inbound(account_id, item, described(Kind.CALL))


def _status(account_id: str, item: Record) -> Event:
    """Return what became of a message of ours, or the trace of one that another app sent."""
    found = _standby_status(account_id, item)
    if not isinstance(found, DeliveryStatus) or found.state != "sent" or Tag.parse(found.tag):
        return found
    # No app gets an echo of another's messages, but each gets their statuses. Ours bear our tag,
    # and the ledger knows the ids of those that lost it.
    customer = identifier(item, "recipient_id") or identifier(item, "recipient_user_id")
    if not customer:
        return found
    return ForeignMessage(account_id, customer, found.provider_id, author="app")


def _standby_status(account_id: str, item: Record) -> Event:
    """Return what became of a message, be it of ours or of Meta's agent."""
    participants = ("recipient_participant_id", "participant_recipient_id")
    if text(item, "recipient_type") == "group" or any(map(item.get, participants)):
        return Notice(account_id, "group_status")
    state = text(item, "status")
    if text(item, "type") == "payment" or record(item, "payment"):
        return _payment(account_id, item)
    if state not in _STATES:
        return Notice(account_id, "other_status")
    codes = (whole_number(error, "code") for error in items(item, "errors"))
    code = next((found for found in codes if found is not None), None)
    name = "" if code is None else error_name(code)
    return DeliveryStatus(
        account_id=required(account_id, "phone_number_id"),
        provider_id=required(identifier(item, "id"), "id"),
        state=state,
        tag=identifier(item, "biz_opaque_callback_data"),
        code=name,
        stops=name in BY_NAME and issubclass(BY_NAME[name].error, ChannelStoppedError),
    )


#: What became of a customer's payment, by its status. Any other is still on its way.
_PAYMENTS = {"captured": "arrived", "success": "arrived", "failed": "failed"}


def _payment(account_id: str, item: Record) -> Event:
    """Return that a customer's payment arrived or failed; one that is on its way is counted.

    Meta reports it among the statuses, under the id of the order that is paid.
    """
    state, part = text(item, "status"), record(item, "payment")
    if state not in _PAYMENTS:
        return Notice(account_id, "payment_pending")
    customer = identifier(item, "recipient_id") or identifier(item, "from")
    customer = customer or identifier(item, "recipient_user_id")
    reference = identifier(part, "reference_id")
    words = joined("; ", f"it {_PAYMENTS[state]}", reference and f"reference {reference}")
    words = joined("; ", words, _amount(part))
    paid = identifier(item, "id") or reference
    return message_of(
        required(account_id, "phone_number_id"),
        Peer(required(customer, "recipient_id"), secondary=is_business_scoped(customer)),
        described(Kind.PAYMENT, words),
        message_id=f"{Kind.PAYMENT}_{state}_{paid}" if paid else "",
        moment=text(item, "timestamp"),
    )


def _amount(payment: Record) -> str:
    """Return an amount with its currency, "" where it is not told: ``value`` over ``offset``."""
    value = whole_number(payment, "amount", "value")
    offset = whole_number(payment, "amount", "offset") or 1
    if value is None:
        return ""
    return joined(" ", f"{value / offset:.2f}", text(payment, "currency"))


def _echo(author: str) -> Reader:
    """Return a reader of messages that left our number; ``author`` unless they say otherwise."""

    def read(account_id: str, item: Record) -> Event:
        # Meta's own agent wraps what it sent; a phone does not.
        sent = record(item, "message") or item
        if item.get("group_id") or text(sent, "recipient_type") == "group":
            return Notice(account_id, "group_message")
        if own_act := OWN_ACTS.get(_done(sent)):
            return Notice(account_id, own_act)
        is_agent = text(item, "message_creation_type") == "created_by_1p_bot"
        customer = identifier(sent, "to") or identifier(item, "to_user_id")
        return ForeignMessage(
            account_id=required(account_id, "phone_number_id"),
            customer=required(customer or identifier(sent, "recipient"), "to"),
            provider_id=required(identifier(item, "id"), "id"),
            author="meta_agent" if is_agent else author,
            text=text(sent, "text", "body"),
        )

    return read


def _done(sent: Record) -> str:
    """Return the type of what was sent; of what Meta does not pass on, Meta's name of it if any.

    That may be longer than the type's: ``message_edit``, ``reaction_message``.
    """
    kind = _type(sent)
    if kind != "unsupported":
        return kind
    named = text(sent, "unsupported", "type")
    return next((act for act in OWN_ACTS if act in named), kind)


def _handover(account_id: str, item: Record) -> Event:
    """Return who was given the conversation; it is counted."""
    kind = text(item, "type")
    is_known = kind in {"control_passed", "control_taken"}
    return Notice(account_id, kind if is_known else "control_changed")


def _inbound(account_id: str, item: Record, said: Content) -> InboundMessage:
    return message_of(
        required(account_id, "phone_number_id"),
        _sender(item),
        said,
        message_id=identifier(item, "id"),
        moment=text(item, "timestamp"),
        about=said.media.media_id if said.media else "",
        refers=_refers(item),
    )


def _refers(item: Record) -> Refers:
    """Return what a message edits, deletes or replies to.

    A question about a product names it; the id beside that is of no message.
    """
    kind = _type(item)
    context = record(item, "context") or record(item, "edit", "message", "context")
    is_reply = kind != "reaction" and not context.get("referred_product")
    return Refers(
        amends=identifier(item, kind, "original_message_id") if kind in _AMENDS else "",
        quotes=identifier(context, "id") if is_reply else "",
    )


def _sender(item: Record) -> Peer:
    """Return who sent ``item``: a phone number, a business-scoped user id, or known by both.

    Raise MalformedError where there is neither.
    """
    phone, user_id = identifier(item, "from"), identifier(item, "from_user_id")
    customer = required(phone or user_id, "from")
    further = dict.fromkeys((user_id, identifier(item, "from_parent_user_id")))
    return Peer(
        customer=customer,
        aliases=tuple(it for it in further if it not in {"", customer}),
        secondary=not phone or is_business_scoped(phone),
    )


#: Where the items of a change stand in its value, and what reads them.
_Route = tuple[tuple[str, ...], Reader]

#: By the change's field. An empty path: the value as a whole is the item.
_ROUTES: dict[str, tuple[_Route, ...]] = {
    "messages": (
        (("messages",), _message),
        (("message_echoes",), _echo("unknown")),
        (("statuses",), _status),
        (("errors",), news.error),
    ),
    "smb_message_echoes": ((("message_echoes",), _echo("person")),),
    # Meta's agent holds the conversation and answers it: what the customer writes is not ours.
    "standby": (
        (("standby", "messages"), notice("standby_message")),
        (("standby", "message_echoes"), _echo("meta_agent")),
        (("standby", "statuses"), _standby_status),
    ),
    "messaging_handovers": (((), _handover),),
    "calls": ((("calls",), _call), (("statuses",), notice("call"))),
    **{field: (((), news.reader(field)),) for field in news.NEWS},
}

#: Fields that are counted under their own name. Among them "history": old messages, not new ones.
_COUNTED_FIELDS = frozenset({"history", "smb_app_state_sync", "user_preferences"})


# Content: the text that the model reads, by the kind of message

#: Fields of which a customer knows nothing.
_TECHNICAL = ("type", "id", "flow_token", "catalog_id", "payload", "sha256", "mime_type")

#: A name and a whole value in JSON, even where what surrounds them is broken.
_PAIR = re.compile(
    r'"([^"\\]{1,100})"\s{0,9}:\s{0,9}("(?:[^"\\]|\\["\\/bfnrt]){0,1000}"|-?[1-9][0-9]{0,17}|true|false)'
    r"(?=\s{0,9}[,}\]])"
)


def content(message: Record) -> Content:
    """Return what ``message`` says; a kind unknown, broken or empty is Kind.UNSUPPORTED.

    The text is the customer's own words, or a sentence in brackets that says what came, with the
    words that came along, such as a caption, behind it.
    """
    if _type(message) != "edit":
        return _said(message)
    return corrected(_said(record(message, "edit", "message")))


def _said(message: Record) -> Content:
    context, referral = record(message, "context"), record(message, "referral")
    often = at(context, "frequently_forwarded") is True
    place = "a post" if text(referral, "source_type") == "post" else "an advertisement"
    return referring(
        _bare(message),
        forwarded(once=at(context, "forwarded") is True, often=often),
        asks_about(text(context, "referred_product", "product_retailer_id")),
        came_from(text(referral, "headline"), text(referral, "body"), place=place)
        if referral
        else "",
    )


def _bare(message: Record) -> Content:
    name = _type(message)
    if name in _MESSAGES:
        return content_of(_MESSAGES[name], message)
    return _readable(record(message, name))


def _type(message: Record) -> str:
    """Return the declared type; without one, that of the first part named after a type."""
    return text(message, "type") or next((name for name in _MESSAGES if name in message), "")


def _words(kind: Kind, *path: str) -> ContentReader:
    """Return a reader of the customer's own words."""
    return lambda message: Content(kind, spoken(text(message, *path)))


def _media(kind: Kind) -> ContentReader:
    def read(message: Record) -> Content:
        part = record(message, _type(message))
        return media_of(kind, part, identifier(part, "id"), "mime_type", "url")

    return read


def _audio(message: Record) -> Content:
    is_voice = at(message, "audio", "voice") is True
    return _media(Kind.VOICE if is_voice else Kind.AUDIO)(message)


def _interactive(message: Record) -> Content:
    part = record(message, "interactive")
    name = text(part, "type") or next((name for name in _REPLIES if name in part), "")
    reply = record(part, name)
    said = content_of(_REPLIES.get(name) if reply else None, reply)
    return said if said.kind is not Kind.UNSUPPORTED else _readable(part)


def _readable(part: Record) -> Content:
    """Return the readable fields of what has no reader of its own."""
    return described(Kind.UNSUPPORTED, fields(part, *_TECHNICAL))


def _button(message: Record) -> Content:
    reply = record(message, "button")
    return Content(Kind.BUTTON_REPLY, spoken(text(reply, "text") or text(reply, "payload")))


def _button_reply(reply: Record) -> Content:
    return Content(Kind.BUTTON_REPLY, spoken(text(reply, "title") or text(reply, "id")))


def _list_reply(reply: Record) -> Content:
    return list_reply(reply, text(reply, "id"))


def _shared_product(product: Record) -> Content:
    return described(Kind.PRODUCT, fields(product, *_TECHNICAL))


def _call_permission(reply: Record) -> Content:
    verb = "allowed" if text(reply, "response") == "accept" else "declined"
    return Content(Kind.CALL, f"[The customer {verb} calls from the business]")


def _location(message: Record) -> Content:
    place = record(message, "location")
    named = joined(", ", text(place, "name"), text(place, "address"))
    return location(named, text(place, "latitude"), text(place, "longitude"))


def _contacts(message: Record) -> Content:
    return contacts(map(_contact, items(message, "contacts")))


def _contact(card: object) -> tuple[str, list[str]]:
    name = text(card, "name", "formatted_name") or text(card, "name", "first_name")
    phones = [text(phone, "phone") or text(phone, "wa_id") for phone in items(card, "phones")]
    emails = [text(email, "email") for email in items(card, "emails")]
    work = joined(", ", text(card, "org", "title"), text(card, "org", "company"))
    urls = [text(url, "url") for url in items(card, "urls")]
    streets = [fields(place, "type", "country_code") for place in items(card, "addresses")]
    return name, [*phones, *emails, work, *streets, *urls]


def _order(message: Record) -> Content:
    cart = record(message, "order")
    products = listed(map(_product, items(cart, "product_items")))
    return described(Kind.ORDER, joined(". ", products, text(cart, "text")))


def _product(product: object) -> str:
    name = text(product, "product_retailer_id")
    count = text(product, "quantity") or "1"
    price = joined(" ", text(product, "item_price"), text(product, "currency"))
    return joined(" at ", f"{count} x {name}", price) if name else ""


def _form(reply: Record) -> Content:
    """Return a form's answers; they come as JSON in a string, and sometimes as broken JSON."""
    kept: object = at(reply, "response_json")
    broken = ""
    # A form's server may have made JSON of JSON.
    for _ in range(2):
        if isinstance(kept, str):
            broken = text(kept)
            try:
                kept = json.loads(kept)
            except (ValueError, RecursionError):
                break
    answers = kept if isinstance(kept, dict | list) else dict(_salvaged(broken))
    # The token is for the form's server alone.
    return described(Kind.FLOW_REPLY, fields(answers, "flow_token") or text(reply, "body"))


def _salvaged(broken: str) -> Iterator[tuple[str, object]]:
    """Give the whole answers of a form whose JSON is cut off or otherwise broken."""
    for found in islice(_PAIR.finditer(broken), FIELDS_MAX):
        yield found.group(1), json.loads(found.group(2), strict=False)


def _unsupported(message: Record) -> Content:
    """Return that something came which Meta does not pass on, with Meta's name of it if any."""
    name = text(message, "unsupported", "type").replace("_", " ")
    return described(Kind.UNSUPPORTED, f"({name})" if name.strip() else "")


#: What the customer pressed or filled in, by ``interactive.type``.
_REPLIES: dict[str, ContentReader] = {
    "button_reply": _button_reply,
    "list_reply": _list_reply,
    "product": _shared_product,
    "nfm_reply": _form,
    "call_permission_reply": _call_permission,
}

#: By ``type``. An edit holds one of these; any other type is unsupported.
_MESSAGES: dict[str, ContentReader] = {
    "text": _words(Kind.TEXT, "text", "body"),
    "image": _media(Kind.IMAGE),
    "video": _media(Kind.VIDEO),
    "audio": _audio,
    "voice": _media(Kind.VOICE),
    "document": _media(Kind.DOCUMENT),
    "sticker": _media(Kind.STICKER),
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _button,
    "order": _order,
    "reaction": lambda message: chosen(Kind.REACTION, text(message, "reaction", "emoji")),
    "revoke": lambda _message: described(Kind.DELETED),
    "unsupported": _unsupported,
}
