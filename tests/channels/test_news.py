"""What providers report of an account itself: each event, and whose account it is about."""

from collections.abc import Mapping
from typing import Any

import pytest

from batching.model import Gravity, Notice
from channels import whatsapp_cloud
from channels.venom.news import EVENTS, STATES
from channels.whatsapp_cloud.news import NEWS
from tests.channels.payloads import NUMBERS, read

DEAD, OUT, OFFLINE = Gravity.DEAD, Gravity.LOGGED_OUT, Gravity.OFFLINE
WARNING, WELL, QUIET = Gravity.WARNING, Gravity.WELL, Gravity.QUIET
BUSINESS = "200000000000001"
QR = "iVBORw0KGgoAAAANSUhEUgAA"


def changed(field: str, value: object) -> dict[str, Any]:
    return {"entry": [{"id": BUSINESS, "changes": [{"field": field, "value": value}]}]}


def restricted(*kinds: str) -> dict[str, Any]:
    info = [{"restriction_type": f"RESTRICTED_{kind}", "expiration": 1768478400} for kind in kinds]
    return {"event": "ACCOUNT_RESTRICTION", "restriction_info": info}


def banned(state: str) -> dict[str, Any]:
    return {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state}}


def alerted(severity: str) -> dict[str, Any]:
    info = {"alert_severity": severity, "alert_type": "OBA_REJECTED", "alert_description": "Anna"}
    return {"entity_type": "BUSINESS", "alert_info": info}


CLOUD: dict[Gravity, list[tuple[str, Any]]] = {
    DEAD: [
        ("account_update", {"event": "ACCOUNT_DELETED"}),
        ("account_update", {"event": "DISABLED_UPDATE"}),
        ("account_update", banned("DISABLE")),
        ("account_update", restricted("CUSTOMER_INITIATED_MESSAGING")),
        (
            "account_update",
            restricted("ADD_PHONE_NUMBER_ACTION", "CUSTOMER_INITIATED_MESSAGING"),
        ),
        ("account_review_update", {"decision": "REJECTED"}),
    ],
    OUT: [
        ("account_update", {"event": "ACCOUNT_OFFBOARDED"}),
        ("account_update", {"event": "PARTNER_REMOVED"}),
        ("account_update", {"event": "PARTNER_APP_UNINSTALLED"}),
    ],
    WARNING: [
        ("account_update", {"event": "ACCOUNT_VIOLATION"}),
        ("account_update", banned("SCHEDULE_FOR_DISABLE")),
        ("account_update", restricted("BIZ_INITIATED_MESSAGING", "UTILITY_TEMPLATES")),
        ("account_update", {"event": "SOMETHING_NEW"}),
        ("account_review_update", {"decision": "PENDING"}),
        ("account_alerts", alerted("CRITICAL")),
        ("account_alerts", alerted("WARNING")),
        ("security", {"event": "PIN_CHANGED"}),
        ("security", {"event": "PIN_RESET_REQUEST"}),
        ("security", {"event": "PIN_REQUEST_SUCCESS"}),
        ("phone_number_quality_update", {"event": "FLAGGED"}),
        ("phone_number_quality_update", {"event": "DOWNGRADE"}),
        ("phone_number_name_update", {"decision": "REJECTED"}),
        ("payment_configuration_update", {"status": "Needs_Connecting"}),
        ("template_category_update", {"new_category": "MARKETING"}),
    ],
    WELL: [
        ("account_update", banned("REINSTATE")),
        ("account_update", {"event": "ACCOUNT_RECONNECTED"}),
        ("account_update", {"event": "PARTNER_APP_INSTALLED"}),
        ("account_review_update", {"decision": "APPROVED"}),
    ],
    QUIET: [
        ("account_update", {"event": "VOLUME_BASED_PRICING_TIER_UPDATE"}),
        ("account_alerts", alerted("INFORMATIONAL")),
        ("phone_number_quality_update", {"event": "UNFLAGGED"}),
        ("phone_number_quality_update", {"event": "THROUGHPUT_UPGRADE"}),
        ("phone_number_name_update", {"decision": "APPROVED"}),
        ("business_capability_update", {"max_phone_numbers_per_business": 25}),
        ("message_template_status_update", {"event": "DISABLED"}),
        ("history", {"history": []}),
    ],
}


@pytest.mark.parametrize(
    ("field", "value", "gravity"),
    [(*change, gravity) for gravity, changes in CLOUD.items() for change in changes],
)
def test_change_of_metas_account_means(field: str, value: Any, gravity: Gravity) -> None:
    (notice,) = read("whatsapp_cloud", changed(field, value)).events

    assert isinstance(notice, Notice)
    assert (notice.account_id, notice.gravity) == ("", gravity)
    assert bool(notice.detail) == (gravity is not QUIET)


@pytest.mark.parametrize("event", ["", "+79990000001", "79990000001", "Anna Smith", 7, None, []])
def test_odd_name_of_an_event_goes_nowhere(event: object) -> None:
    (notice,) = read("whatsapp_cloud", changed("account_update", {"event": event})).events

    assert isinstance(notice, Notice)
    assert notice.name == "cloud_account_update"


@pytest.mark.parametrize(
    ("code", "name", "gravity"),
    [
        (131031, "cloud_131031", WARNING),
        (130429, "cloud_130429", QUIET),
        ("131042", "cloud_131042", WARNING),
        (999_999, "cloud_999999", QUIET),
        (79990000001, "cloud_other", QUIET),
        (None, "provider_error", QUIET),
    ],
)
def test_error_beside_messages_keeps_its_code(code: object, name: str, gravity: Gravity) -> None:
    metadata = {"phone_number_id": "100000000000001"}
    value = {"metadata": metadata, "errors": [{"code": code, "title": "Anna"}]}

    (notice,) = read("whatsapp_cloud", changed("messages", value)).events

    assert isinstance(notice, Notice)
    assert (notice.account_id, notice.name, notice.gravity) == ("salon", name, gravity)


def test_news_of_a_business_account_is_for_each_of_its_accounts() -> None:
    body = changed("account_update", {"event": "ACCOUNT_DELETED"})
    groups = {BUSINESS: ["salon", "barber"]}

    events = whatsapp_cloud.parse(body, NUMBERS.get, lambda it: groups.get(it, [])).events

    assert [event.account_id for event in events] == ["salon", "barber"]


VENOM: dict[Gravity, list[str]] = {
    OUT: [
        *("notLogged", "qrReadFail", "qrReadError", "desconnectedMobile", "disconnectedMobile"),
        *("deleteToken", "UNPAIRED"),
    ],
    OFFLINE: [
        *("browserClose", "serverClose", "autocloseCalled", "phoneNotConnected", "noOpenBrowser"),
        *("deviceNotConnected", "CONFLICT", "WITHOUT INTERNET"),
    ],
    DEAD: ["TOS_BLOCK", "SMB_TOS_BLOCK"],
    WELL: ["isLogged", "inChat", "INCHAT", "qrReadSuccess", "successChat", "CONNECTED"],
    QUIET: ["initBrowser", "waitForLogin", "OPENING", "", "?"],
}


@pytest.mark.parametrize("event", ["status-find", "onstatechange"])
@pytest.mark.parametrize(
    ("state", "gravity"),
    [(state, gravity) for gravity, states in VENOM.items() for state in states],
)
def test_state_of_a_gateways_session_means(event: str, state: str, gravity: Gravity) -> None:
    (notice,) = read("venom", {"event": event, "session": "salon", "status": state}).events

    assert isinstance(notice, Notice)
    assert notice.gravity is gravity


@pytest.mark.parametrize(
    ("body", "gravity"),
    [
        ({"event": "qrcode", "qrcode": QR, "urlcode": "2@AbC"}, OUT),
        ({"event": "phoneCode", "phoneCode": "ABCD1234", "phone": "79990000001"}, OUT),
        ({"event": "logoutsession", "message": "Session: salon logged out"}, OUT),
        ({"event": "closesession", "connected": False}, OFFLINE),
        ({"event": "session-logged", "status": True}, WELL),
        ({"event": "session-logged", "status": "CONNECTED"}, WELL),
        ({"event": "session-logged", "status": False}, QUIET),
    ],
)
def test_event_of_a_gateways_session_means(body: dict[str, Any], gravity: Gravity) -> None:
    """The code to log in by is a secret: it stands nowhere."""
    (notice,) = read("venom", body).events

    assert isinstance(notice, Notice)
    assert notice.gravity is gravity
    assert not any(secret in str(notice) for secret in (QR, "2@AbC", "ABCD1234", "79990000001"))


def told(rows: Mapping[Any, object]) -> list[Any]:
    return [news for news in rows if news.gravity is not QUIET]


def test_news_has_plain_words_and_says_what_to_do() -> None:
    """A check shows words and advice apart, which it finds by the colon."""
    found = [news for events in NEWS.values() for news in told(dict.fromkeys(events.values()))]
    found += [*STATES, *EVENTS]

    assert [it for it in found if not it.says or ": " in it.says] == []
    assert [it for it in found if not it.advice and it.gravity is not WELL] == []
