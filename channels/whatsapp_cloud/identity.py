"""Who wrote. A customer is a phone number, a business-scoped user id, or known by both."""

import re

from channels.fields import Record, identifier, required
from channels.inbound import Peer

#: A country and an opaque id, as in CO.1047385771169864; in a parent's form US.ENT.10473857.
_BUSINESS_SCOPED = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]+", re.ASCII)


def is_business_scoped(customer: str) -> bool:
    """Return whether an id is a business-scoped one, which is addressed in another field."""
    return _BUSINESS_SCOPED.fullmatch(customer) is not None


def sender(item: Record) -> Peer:
    """Return who sent ``item``. Raise MalformedError where it names nobody."""
    phone, user_id = identifier(item, "from"), identifier(item, "from_user_id")
    customer = required(phone or user_id, "from")
    return Peer(
        customer=customer,
        aliases=(user_id,) if user_id not in {"", customer} else (),
        secondary=not phone or is_business_scoped(phone),
    )
