"""What Meta reports of an account itself: is its number dead, in danger, or well again.

By the field of a change and what happened, each with its meaning in plain words. Meta's own words
stand in its "Webhooks reference", one page a field (developers.facebook.com/documentation/
business-messaging/whatsapp/webhooks/reference/<field>), read in copies of April to June 2026; what
is marked "older" is in no page of today's, and still arrives.
"""

import re
from collections.abc import Mapping

from batching.errors import ChannelStoppedError
from batching.model import Event, Gravity, Notice
from channels.explained import Explained
from channels.inbound import Reader, Record, items, text, whole_number
from channels.news import News, noticed
from channels.whatsapp_cloud.codes import BY_NAME, error_name

_MANAGER = "open the account in Meta Business Manager"
_APPEAL = "open the account quality in Meta Business Manager, and appeal there"
_AGAIN = "connect the number again, as when the account was set up"

_GONE = News(Gravity.DEAD, "the WhatsApp Business account was deleted", _AGAIN)
_DISABLED = News(Gravity.DEAD, "Meta has switched the account off for breaking a policy", _APPEAL)
_REJECTED = News(Gravity.DEAD, "Meta has rejected the account", _APPEAL)
_MUTE = News(Gravity.DEAD, "the account may not answer customers for a while", _APPEAL)
_UNSHARED = News(Gravity.LOGGED_OUT, "our app may not use the number any more", _AGAIN)
_MOVED = News(
    Gravity.LOGGED_OUT,
    "the phone of the business was changed or registered again, which cut the number off",
    "wait some minutes: Meta connects it again unless the owner declined; else connect it by hand",
)
_BACK = News(Gravity.WELL, "the account may be used")
_QUIET = News(Gravity.QUIET)


def _warns(says: str, advice: str) -> News:
    return News(Gravity.WARNING, says, advice)


_PIN = "if it was none of the business, secure the Meta Business account now"

#: Field → what happened, in lower case → what it means. "" is anything else that happens there.
NEWS: dict[str, Mapping[str, News]] = {
    "account_update": {
        "account_deleted": _GONE,
        "disabled_update": _DISABLED,
        "disabled_update_disable": _DISABLED,
        "disabled_update_schedule_for_disable": _warns(
            "Meta is going to switch the account off for breaking a policy", _APPEAL
        ),
        "disabled_update_reinstate": _BACK,
        "account_restriction": _warns("Meta restricts what the account may do", _APPEAL),
        "account_restriction_restricted_customer_initiated_messaging": _MUTE,
        "account_violation": _warns("the account broke a policy of Meta's", _APPEAL),
        "account_offboarded": _MOVED,
        "account_reconnected": _BACK,
        "partner_removed": _UNSHARED,
        "partner_app_uninstalled": _UNSHARED,
        "partner_added": _BACK,
        "partner_app_installed": _BACK,
        "verified_account": _BACK,  # older
        **dict.fromkeys(
            (
                *("ad_account_linked", "auth_intl_price_eligibility_update"),
                *("business_primary_location_country_update", "mm_lite_terms_signed"),
                *("partner_client_certification_status_update", "volume_based_pricing_tier_update"),
            ),
            _QUIET,
        ),
        "": _warns("Meta reports a change of the account that we do not know", _MANAGER),
    },
    "account_review_update": {
        "approved": _BACK,
        "rejected": _REJECTED,
        "": _warns("Meta is reviewing the account, which may not be used meanwhile", _MANAGER),
    },
    "account_alerts": {
        "critical": _warns("Meta denies the account something", _MANAGER),
        "warning": _warns("Meta wants something done about the account", _MANAGER),
        "": _QUIET,
    },
    "security": {
        "pin_changed": _warns("the PIN of the number was changed", _PIN),
        "pin_reset_request": _warns("somebody asked to switch off the number's PIN", _PIN),
        "pin_request_success": _warns("the number's PIN was switched off", _PIN),
        "": _warns("Meta reports something about the number's security", _PIN),
    },
    "phone_number_quality_update": {
        "flagged": _warns("customers complain about this number, and its quality fell", _APPEAL),
        "downgrade": _warns("Meta lowered how many customers the number may write to", _APPEAL),
        "": _QUIET,
    },
    "phone_number_name_update": {
        "rejected": _warns("Meta rejected the display name", "choose another in WhatsApp Manager"),
        "": _QUIET,
    },
    "payment_configuration_update": {
        **dict.fromkeys(("active", "needs_testing"), _QUIET),
        "": _warns("taking payments in the chat does not work any more", _MANAGER),
    },
    "business_status_update": {
        "": _warns("Meta changed the state of the business", _MANAGER),
    },
    "template_category_update": {
        "": _warns(
            "Meta moved a template to another category; several such moves limit the account",
            "see to the templates in WhatsApp Manager",
        ),
    },
    # They limit what no answer of ours needs.
    "business_capability_update": {"": _QUIET},
    "message_template_components_update": {"": _QUIET},
    "message_template_quality_update": {"": _QUIET},
    "message_template_status_update": {"": _QUIET},
}

#: What the codes of notices mean. Where two fields have one name, the account's own counts; the
#: alert has the words of the one that came.
CODES: Mapping[str, Explained] = {
    f"cloud_{name or field}": news.explained
    for field, known in reversed(NEWS.items())
    for name, news in known.items()
    if news.says
}

#: Where a change says what happened.
_HAPPENED = (
    ("event",),
    ("decision",),
    ("alert_info", "alert_severity"),
    ("status",),
)
_NAME = re.compile(r"[a-z_]{1,60}")


def reader(field: str) -> Reader:
    """Return the reader of a change as a whole, of a field that ``NEWS`` has."""

    def read(account_id: str, value: Record) -> Event:
        known = NEWS[field]
        names = [f"{_happened(value)}{detail}" for detail in _details(value)]
        name = next((name for name in names if name in known), "")
        if known[name] is _QUIET:
            return Notice(account_id, field)
        return noticed(account_id, f"cloud_{name or field}", known[name])

    return read


def _happened(value: Record) -> str:
    """Return what happened, in lower case; "" for what is no name of Meta's."""
    found = next(filter(None, (text(value, *path).lower() for path in _HAPPENED)), "")
    return found if _NAME.fullmatch(found) else ""


def _details(value: Record) -> list[str]:
    """Return what the name of an event may go on with, the gravest first, and "" for nothing."""
    kinds = [text(it, "restriction_type") for it in items(value, "restriction_info")]
    mute = [kind for kind in kinds if "CUSTOMER_INITIATED_MESSAGING" in kind]
    found = filter(None, [*mute, text(value, "ban_info", "waba_ban_state")])
    return [*(f"_{name.lower()}" for name in found), ""]


def error(account_id: str, item: Record) -> Event:
    """Return an error that Meta reports beside messages: a warning if it stops the account."""
    code = whole_number(item, "code")
    if code is None:
        return Notice(account_id, "provider_error")
    name = error_name(code)
    meaning = BY_NAME.get(name)
    if meaning is None or not issubclass(meaning.error, ChannelStoppedError):
        return Notice(account_id, name)
    return noticed(account_id, name, News(Gravity.WARNING, meaning.says, meaning.advice))
