"""Meta's error codes: what each means for a send, in plain words, and what a person should do.

One table for the answer to a send, for a ``failed`` status, and for whatever shows a code to a
person. Meta's own words, in copies of June 2026, stand in "WhatsApp error codes"
(developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes) and, for
what every Graph API has, in "Handling Errors" (…/docs/graph-api/guides/error-handling) and "Rate
Limits" (…/docs/graph-api/overview/rate-limiting).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from channels.explained import Explained

#: Meta's codes have seven digits at most; a longer number may be anything, a phone number too.
_CODE_MAX = 9_999_999


@dataclass(frozen=True, slots=True)
class Meaning(Explained):
    """What some codes mean. ``error``: what becomes of a send that met one of them."""

    error: type[AdminError]
    codes: tuple[int, ...]
    #: Set where the codes have this meaning with one subcode alone.
    subcode: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the codes, as logs, alerts and dead letters show them."""
        return tuple(error_name(code, self.subcode) for code in self.codes)


def _means(
    error: type[AdminError], says: str, advice: str, *codes: Iterable[int] | int, subcode: int = 0
) -> Meaning:
    flat = tuple(n for code in codes for n in ([code] if isinstance(code, int) else code))
    return Meaning(says, advice, error, flat, subcode)


def error_name(code: int, subcode: int = 0) -> str:
    """Return our name of one of Meta's error codes, fit for logs and alerts.

    A subcode is named where it changes what the code means.
    """
    if code > _CODE_MAX:
        return "cloud_other"
    return f"cloud_{code}_{subcode}" if (code, subcode) in _SUBCODES else f"cloud_{code}"


#: Codes that mean something else with a subcode than without.
_SUBCODES = frozenset({(100, 33)})

_WAIT = "nothing: it is tried again by itself"
_NEW_KEY = (
    "make a system user's token with whatsapp_business_messaging, put it into the variable that "
    "access_token_env names, and start fresh processes"
)
_SETUP = "compare phone_number_id and api_url with Meta's page API Setup"
_QUALITY = "open the account quality of this number in Meta Business Manager, and appeal there"
_REACH = "reach the customer another way, then discard the dead letter"
_REPORT = "report this as a fault of ours, with the code; answer the customer by hand meanwhile"

MEANINGS = (
    # The message was certainly not taken, and will be after a while.
    _means(TransientError, "Meta's service is down or overloaded", _WAIT, 2, 131016, 133004),
    _means(TransientError, "the account is in maintenance", _WAIT, 131057, 133015),
    _means(
        TransientError,
        "the app, the business or the number sends faster than Meta lets it",
        "if it lasts: see which other program uses this app or this number",
        *(4, 17, 32, 341, 613, range(80_000, 80_015), 130429, 133016),
    ),
    _means(TransientError, "this one customer is written to too fast", _WAIT, 131056),
    # Meta says of code 1 "invalid request or possible server error", and of 131000 "unknown error":
    # neither says that the message was not taken.
    _means(
        AmbiguousError,
        "Meta failed and does not say whether it took the message",
        "look at the chat on the phone, then replay or discard the dead letter",
        *(1, 131000),
    ),
    # True of every message of the account.
    _means(
        ChannelStoppedError,
        "the access token has expired, was revoked, or its session has ended",
        _NEW_KEY,
        *(0, 101, 102, 104, 190, 458, 459, 460, 463, 464, 467, 492, 2500),
    ),
    _means(
        ChannelStoppedError,
        "the token lacks a permission",
        _NEW_KEY,
        3,
        10,
        range(200, 300),
        131005,
    ),
    _means(
        ChannelStoppedError,
        "the number does not exist at this address, or the token may not use it",
        _SETUP,
        100,
        subcode=33,
    ),
    _means(ChannelStoppedError, "the number is deleted or unknown to Meta", _SETUP, 33, 803),
    _means(
        ChannelStoppedError,
        "the number is not registered with the Cloud API",
        "register the number in the WhatsApp Manager",
        *(131045, 133000, 133005, 133006, 133008, 133009, 133010),
    ),
    _means(
        ChannelStoppedError,
        "the display name of the number is not approved",
        "have the name approved in the WhatsApp Manager",
        131037,
    ),
    _means(
        ChannelStoppedError,
        "the account is not paid for",
        "see to the payment method in Meta Business Manager",
        *(131042, 131044),
    ),
    _means(
        ChannelStoppedError, "the account is locked for breaking a policy", _QUALITY, 368, 131031
    ),
    _means(
        ChannelStoppedError,
        "too many customers blocked this number or reported it as spam",
        _QUALITY,
        131048,
    ),
    _means(
        ChannelStoppedError,
        "the account may send nothing for a while, because templates were in the wrong category",
        "put the templates into the right category; the limit ends by itself",
        131064,
    ),
    _means(
        ChannelStoppedError,
        "this version of the Graph API is switched off",
        "name a newer version in api_url",
        *(12, 2635),
    ),
    # True of this message, or of this customer.
    _means(
        PermanentError,
        "the customer last wrote more than 24 hours ago",
        "answer with a template by hand, then discard the dead letter",
        131047,
    ),
    _means(
        PermanentError,
        "this customer cannot get the message: no WhatsApp, an old version, or we are blocked",
        _REACH,
        131026,
    ),
    _means(
        PermanentError,
        "Meta does not let this customer get it: an experiment, a limit, an opt-out or a country",
        _REACH,
        *(130472, 130497, 131049, 131050),
    ),
    _means(PermanentError, "the customer's WhatsApp is a new installation", _REACH, 137000),
    _means(
        PermanentError,
        "the customer is the business's own number, or is not on a test number's list",
        "add the customer to the list in Meta's App Dashboard, or use a real number",
        *(131021, 131030),
    ),
    _means(
        PermanentError,
        "Meta does not take what we sent, or not in this way",
        _REPORT,
        *(100, 131008, 131009, 131051, 131052, 131053, 131055, 131062, 131063, 135000),
    ),
    _means(
        PermanentError, "Meta refuses the template", "see to the template", range(132_000, 133_000)
    ),
)

#: The meaning of a code by its name.
BY_NAME = {name: meaning for meaning in MEANINGS for name in meaning.names}
