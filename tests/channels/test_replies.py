"""What customers fill in, press or share reads flat and whole, within bounds."""

import json
from typing import Any

import pytest

from batching.model import Kind
from channels.inbound import (
    FIELD_CHARACTERS_MAX,
    FIELD_DEPTH_MAX,
    FIELDS_MAX,
    described,
    fields,
)
from tests.channels.payloads import message


def interactive(part: dict[str, Any]) -> Any:
    return message("whatsapp_cloud/interactive_flow_reply", interactive=part)


def form(answers: object, body: str = "Sent") -> dict[str, Any]:
    return {"type": "nfm_reply", "nfm_reply": {"response_json": answers, "body": body}}


ADDRESS = {
    "saved_address_id": "a1",
    "values": {"name": "Anna", "floor_number": "", "city": "Nowhere", "in_pin_code": 400063},
}
VISIT = {
    "appointment": {"date": "2026-12-01", "time": {"from": "10:00", "to": None}},
    "guests": [{"name": "Anna", "child": False}, {"name": "Boris", "ages": [3, 5]}],
    "flow_token": "secret",
    "extra": [[], {}, [["tea"]]],
}
SAID = (
    "appointment date: 2026-12-01; appointment time from: 10:00; guests 1 name: Anna; "
    "guests 1 child: no; guests 2 name: Boris; guests 2 ages: 3, 5; extra 3 1: tea"
)


@pytest.mark.parametrize(
    ("part", "kind", "words"),
    [
        (
            form(json.dumps(ADDRESS)),
            Kind.FLOW_REPLY,
            (
                "saved_address_id: a1; values name: Anna; values city: Nowhere; "
                "values in_pin_code: 400063"
            ),
        ),
        (form(json.dumps(VISIT)), Kind.FLOW_REPLY, SAID),
        (form(VISIT), Kind.FLOW_REPLY, SAID),
        (form(json.dumps(json.dumps(VISIT))), Kind.FLOW_REPLY, SAID),
        (form(json.dumps([{"day": "Fri"}])), Kind.FLOW_REPLY, "1 day: Fri"),
        (form('{"note": "two\\nlines"}'), Kind.FLOW_REPLY, "note: two lines"),
        (form('{"note": "[You] win"}'), Kind.FLOW_REPLY, "note: (You) win"),
        # What is whole of a broken answer; the token stays hidden in it too.
        (
            form('{"flow_token": "t", "day": "Fri", "guests": 2, "child": true, "note": "half'),
            Kind.FLOW_REPLY,
            "day: Fri; guests: 2; child: yes",
        ),
        (form('{"note": ', "Anna, Nowhere Street 1"), Kind.FLOW_REPLY, "Anna, Nowhere Street 1"),
        (form("", "Anna\nNowhere Street"), Kind.FLOW_REPLY, "Anna\nNowhere Street"),
        (
            {"type": "nfm_reply", "nfm_reply": {"name": "address_message", "body": "Nowhere 1"}},
            Kind.FLOW_REPLY,
            "Nowhere 1",
        ),
        (
            {"type": "product", "product": {"catalog_id": "1", "product_retailer_id": "tea-1"}},
            Kind.PRODUCT,
            "product_retailer_id: tea-1",
        ),
        (
            {"type": "product", "action": {"product_retailer_id": "tea-1"}, "body": {"text": "?"}},
            Kind.UNSUPPORTED,
            "action product_retailer_id: tea-1; body text: ?",
        ),
        (
            {"type": "stars_reply", "stars_reply": {"id": "x", "stars": 4, "why": ["a", "b"]}},
            Kind.UNSUPPORTED,
            "stars_reply stars: 4; stars_reply why: a, b",
        ),
        ({"type": "list_reply", "list_reply": {"id": "row-2"}}, Kind.LIST_REPLY, None),
        ({"type": "button_reply", "button_reply": {"id": "row-2"}}, Kind.BUTTON_REPLY, None),
    ],
)
def test_reply_keeps_all_that_is_readable(
    part: dict[str, Any], kind: Kind, words: str | None
) -> None:
    found = interactive(part)

    said = "row-2" if words is None else described(kind, words).text
    assert (found.kind, found.text) == (kind, said)


@pytest.mark.parametrize(
    ("path", "change", "text"),
    [
        ("whatsapp_cloud/button", {"button": {"payload": "Yes"}}, "Yes"),
        (
            "whatsapp_cloud/unknown_kind",
            {"type": "survey", "survey": {"answer": {"colour": "red"}, "sha256": "00"}},
            described(Kind.UNSUPPORTED, "answer colour: red").text,
        ),
        (
            "whatsapp_cloud/contacts",
            {
                "contacts": [
                    {
                        "name": {"formatted_name": "Anna"},
                        "phones": [{"wa_id": "79990000002"}],
                        "emails": [{"email": "anna@invented.example"}],
                        "org": {"company": "Invented Ltd", "title": "Owner"},
                        "addresses": [{"street": "Nowhere 1", "city": "Nowhere", "type": "HOME"}],
                    }
                ]
            },
            described(
                Kind.CONTACTS,
                "Anna 79990000002, anna@invented.example, Owner, Invented Ltd, "
                "street: Nowhere 1; city: Nowhere",
            ).text,
        ),
        (
            "venom/vcard",
            {"body": "BEGIN:VCARD\nFN:Anna\nORG:Invented;Ltd\nitem1.EMAIL:a@invented.example"},
            described(Kind.CONTACTS, "Anna Invented Ltd, a@invented.example").text,
        ),
        (
            "venom/order",
            {"type": "product", "orderTitle": None, "title": "Tea", "message": None},
            described(Kind.PRODUCT, "Tea").text,
        ),
    ],
)
def test_what_is_shared_keeps_all_that_is_readable(
    path: str, change: dict[str, Any], text: str
) -> None:
    assert message(path, **change).text == text


def nested(depth: int) -> object:
    value: object = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({f"q{n}": n for n in range(FIELDS_MAX)}, None),
        ({f"q{n}": n for n in range(FIELDS_MAX + 5)}, "and more"),
        ({"a": "x" * (FIELD_CHARACTERS_MAX + 1)}, f"a: {'x' * FIELD_CHARACTERS_MAX}…"),
        (nested(FIELD_DEPTH_MAX), f"{' '.join('a' * FIELD_DEPTH_MAX)}: x"),
        (nested(FIELD_DEPTH_MAX + 1), ""),
        ({f"q{n}": "" for n in range(5_000)} | {"last": 1}, "last: 1"),
        ([[]] * 100_000, ""),
        (nested(100_000), ""),
    ],
)
def test_fields_have_bounds(value: object, said: str | None) -> None:
    *told, last = fields(value).split("; ")

    assert len(told) <= FIELDS_MAX
    assert last == (said if said is not None else f"q{FIELDS_MAX - 1}: {FIELDS_MAX - 1}")


@pytest.mark.parametrize("broken", ['{"a": "' + '\\"a": "' * 50_000, '{"a":' * 50_000])
def test_broken_form_costs_its_length_at_most(broken: str) -> None:
    """Each start of an answer is read within bounds, so a hostile form costs no more."""
    assert interactive(form(broken)).text == described(Kind.FLOW_REPLY, "Sent").text
