"""Which ids a webhook gives for one person: changes, numbers that are shared, spellings, twins."""

from typing import Any

import pytest

from batching.model import IdentityChange, InboundMessage, Notice
from tests.channels.payloads import changed, load, message, read

ANNA, NEW, CO, CO_NEW = "79990000001", "79990000009", "RU.1", "RU.2"
AT_MS = 1_768_478_400_000


def system(**fields: Any) -> Any:
    ids = {name: fields.pop(name) for name in list(fields) if name.startswith("from")}
    body = changed("whatsapp_cloud/system_changed_number", system=fields, **ids)
    if ids.get("from", ANNA) is None:
        del body["entry"][0]["changes"][0]["value"]["messages"][0]["from"]
    (event,) = read("whatsapp_cloud", body).events
    return event


@pytest.mark.parametrize(
    ("fields", "former", "present", "addresses"),
    [
        ({"wa_id": NEW}, (ANNA,), (NEW,), {ANNA: NEW}),
        (
            {"wa_id": NEW, "user_id": CO_NEW, "previous_user_id": CO},
            (ANNA, CO),
            (NEW, CO_NEW),
            {ANNA: NEW, CO: CO_NEW},
        ),
        (
            {"wa_id": ANNA, "user_id": CO_NEW, "previous_user_id": CO},
            (CO,),
            (ANNA, CO_NEW),
            {CO: CO_NEW},
        ),
        (
            {"from": None, "user_id": CO_NEW, "previous_user_id": CO},
            (CO,),
            (CO_NEW,),
            {CO: CO_NEW},
        ),
        (
            {
                "from_user_id": CO,
                "user_id": CO_NEW,
                "parent_user_id": "RU.ENT.2",
                "previous_parent_user_id": "RU.ENT.1",
            },
            (ANNA, CO, "RU.ENT.1"),
            (CO_NEW, "RU.ENT.2"),
            {ANNA: CO_NEW, CO: CO_NEW, "RU.ENT.1": CO_NEW},
        ),
        # The message itself may bear the new id already.
        (
            {"from": NEW, "wa_id": NEW, "from_user_id": CO_NEW, "user_id": CO_NEW,
             "previous_user_id": CO},
            (CO,),
            (NEW, CO_NEW),
            {CO: CO_NEW},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["user_changed_number", "user_changed_user_id"])
def test_change_names_former_and_present_ids(
    kind: str, fields: dict[str, Any], former: Any, present: Any, addresses: dict[str, str]
) -> None:
    expected = IdentityChange("salon", former, present, addresses, AT_MS)

    assert system(type=kind, **fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "user_changed_number"},
        {"type": "user_changed_number", "wa_id": ANNA},
        {"type": "user_changed_number", "wa_id": [NEW]},
        {"type": "customer_identity_changed", "wa_id": NEW},
    ],
)
def test_change_without_other_ids_is_counted(fields: dict[str, Any]) -> None:
    assert system(**fields) == Notice("salon", "identity_changed")


def card(**fields: Any) -> dict[str, Any]:
    return {"name": {"formatted_name": "Anna"}, "phones": [{"phone": "+7", "wa_id": ANNA}]} | fields


ASKED = {"origin": "contact_request"}


@pytest.mark.parametrize(
    ("fields", "shared"),
    [
        ({"contacts": [card(**ASKED)]}, ANNA),
        ({"contacts": [card()], **ASKED}, ANNA),
        ({"contacts": [card(**ASKED, user_id=CO)]}, ANNA),
        # Somebody else's, or not to be told whose.
        ({"contacts": [card()]}, ""),
        ({"contacts": [card(origin="other")]}, ""),
        ({"contacts": [card(**ASKED, user_id="RU.7")]}, ""),
        ({"contacts": [card(**ASKED), card(**ASKED)]}, ""),
        ({"contacts": [card(**ASKED, phones=[{"wa_id": ANNA}, {"wa_id": NEW}])]}, ""),
        ({"contacts": [card(**ASKED, phones=[{"phone": "+7 999 000-00-01"}])]}, ""),
        ({"contacts": [], **ASKED}, ""),
        ({"contacts": [card(**ASKED)], "from": NEW}, ""),
    ],
)
def test_shared_number_is_the_customers_own_where_it_was_asked_for(
    fields: dict[str, Any], shared: str
) -> None:
    body = changed("whatsapp_cloud/contacts", from_user_id=CO, **fields)
    if "from" not in fields:
        del body["entry"][0]["changes"][0]["value"]["messages"][0]["from"]
    (found,) = read("whatsapp_cloud", body).events

    assert isinstance(found, InboundMessage)
    assert found.shared == shared


def test_parent_id_is_a_further_id() -> None:
    found = message("whatsapp_cloud/text", from_user_id=CO, from_parent_user_id="RU.ENT.1")

    assert found.aliases == (CO, "RU.ENT.1")


PHONE, LID = f"{ANNA}@c.us", "100000000000001@lid"


@pytest.mark.parametrize(
    ("ids", "customer", "aliases", "has_twin"),
    [
        ({"from": PHONE}, PHONE, (), True),
        ({"from": f"{ANNA}@s.whatsapp.net"}, f"{ANNA}@s.whatsapp.net", (PHONE,), True),
        ({"from": f"{ANNA}:12@s.whatsapp.net"}, f"{ANNA}:12@s.whatsapp.net", (PHONE,), True),
        ({"from": LID}, LID, (), True),
        ({"from": "100000000000001:3@lid"}, "100000000000001:3@lid", (LID,), True),
        ({"from": LID, "sender": {"id": PHONE}}, PHONE, (LID,), False),
    ],
)
def test_spellings_of_an_id_are_one_person(
    ids: dict[str, Any], customer: str, aliases: tuple[str, ...], *, has_twin: bool
) -> None:
    known = {"id": f"false_{ids['from']}_3EB0", "chatId": ids["from"], "sender": None} | ids

    found = message("venom/chat", **known)

    assert (found.customer, found.aliases, found.has_twin) == (customer, aliases, has_twin)


def test_ids_of_a_small_gateway_have_no_twins() -> None:
    """They may be unique in one chat alone."""
    (found,) = read("gateway", load("gateway/single_with_server")).events

    assert isinstance(found, InboundMessage)
    assert (found.has_twin, found.aliases) == (False, (PHONE,))
