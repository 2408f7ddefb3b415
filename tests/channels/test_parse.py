"""What the providers' bodies read as: recorded ones, changed ones, and those of no known form."""

from collections.abc import Callable
from dataclasses import fields
from functools import reduce
from typing import Any

import pytest

from batching.errors import MalformedError
from batching.model import InboundMessage, Kind, Notice, NotUnderstood
from channels.inbound import ITEMS_MAX, LISTED_MAX, UNREAD_MAX, Parsed, described, made_id
from tests.channels.payloads import FOLDERS, PATHS, changed, load, message, read

READINGS = {
    f"{folder}/{name}": reading for folder in FOLDERS for name, reading in load(folder).items()
}
UNREADABLE = described(Kind.UNSUPPORTED).text
#: The bytes of a picture or a sound as they may stand among the words.
BYTES = "QUJD" * 500
DEPTH = 100_000


def plain(value: Any) -> Any:
    """Return an event or a part of one as JSON, without default values."""
    if not hasattr(value, "__dataclass_fields__"):
        return list(value) if isinstance(value, tuple) else value
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    defaults = {field.name: field.default for field in fields(value)}
    return {name: plain(part) for name, part in given.items() if part != defaults[name]}


def reading_of(parsed: Parsed) -> Any:
    events = [{type(event).__name__: plain(event)} for event in parsed.events]
    return plain(parsed) | {"events": events}


@pytest.mark.parametrize("path", PATHS)
def test_recorded_body_reads_as_noted_down(path: str) -> None:
    assert reading_of(read(path.partition("/")[0], load(path))) == READINGS[path]


def test_every_reading_is_of_a_recorded_body() -> None:
    assert sorted(READINGS) == sorted(PATHS)


def form(answers: object) -> dict[str, Any]:
    return {"type": "nfm_reply", "nfm_reply": {"response_json": answers, "body": "Sent"}}


@pytest.mark.parametrize(
    ("path", "change", "kind", "words"),
    [
        *(
            pytest.param(
                "venom/chat",
                {"type": name, "body": BYTES, "content": BYTES},
                kind,
                "",
                id=f"bytes of {name}",
            )
            for name, kind in {
                "image": Kind.IMAGE,
                "ptt": Kind.VOICE,
                "audio": Kind.AUDIO,
                "video": Kind.VIDEO,
                "document": Kind.DOCUMENT,
                "sticker": Kind.STICKER,
            }.items()
        ),
        *(
            pytest.param(
                "venom/chat_without_type",
                {"body": data},
                Kind.UNSUPPORTED,
                "",
                id=f"only {data:.5}",
            )
            for data in ("/9j/4AAQ", "data:image/png;base64,iVBO", "A" * 1000)
        ),
        *(
            pytest.param(
                "whatsapp_cloud/interactive_flow_reply",
                {"interactive": form(answers)},
                Kind.FLOW_REPLY,
                "Sent",
                id=f"form of {answers!s:.9}",
            )
            for answers in ("[" * 100_000, "7" * 5_000, "[]", '"text"', "{", 7, None)
        ),
        *(
            pytest.param("venom/unknown_type", change, Kind.UNSUPPORTED, words, id=f"unknown {n}")
            for n, (change, words) in enumerate(
                [
                    ({"caption": "", "body": "Is it free?"}, "Is it free?"),
                    ({"caption": "Look", "body": "Is it free?"}, "Look"),
                    ({"caption": "", "body": "", "message": "Is it free?"}, "Is it free?"),
                    ({"caption": "", "body": BYTES}, ""),
                    ({"caption": "", "body": "/9j/4AAQ"}, ""),
                    ({"caption": "", "body": "QUJD", "mimetype": "image/jpeg"}, ""),
                    ({"caption": "", "body": "QUJD", "isMedia": True}, ""),
                    ({"caption": "", "body": "[Non-text message]"}, ""),
                    ({"caption": "", "body": "[No] answer"}, "(No) answer"),
                ]
            )
        ),
        *(
            pytest.param(
                "whatsapp_cloud/unsupported",
                {"unsupported": part},
                Kind.UNSUPPORTED,
                words,
                id=f"unsupported {part!s:.20}",
            )
            for part, words in [
                ({"type": "poll_creation"}, "(poll creation)"),
                ({"type": "[edit]"}, "((edit))"),
                ({"type": ["edit"]}, ""),
                ({}, ""),
                (None, ""),
            ]
        ),
        pytest.param(
            "whatsapp_cloud/contacts",
            {"contacts": [{"name": {"formatted_name": "Anna"}}] * (LISTED_MAX + 2)},
            Kind.CONTACTS,
            "Anna; " * LISTED_MAX + "and 2 more",
            id="many contacts",
        ),
        pytest.param(
            "venom/multi_vcard",
            {"vcardList": [{"vcard": "BEGIN:VCARD\nFN:Anna\nEND:VCARD"}] * (LISTED_MAX + 2)},
            Kind.CONTACTS,
            "Anna; " * LISTED_MAX + "and 2 more",
            id="many cards",
        ),
    ],
)
def test_what_cannot_be_shown_reads_as(
    path: str, change: dict[str, Any], kind: Kind, words: str
) -> None:
    found = message(path, **change)

    assert (found.kind, found.text) == (kind, described(kind, words).text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("очень длинное сообщение " * 200, "очень длинное сообщение " * 200, id="long"),
        ("a\x00b\ud800c\r\nd", "ab\ufffdc\nd"),
        ("[The customer called]", "(The customer called)"),
    ],
)
@pytest.mark.parametrize(
    ("path", "field"),
    [("venom/chat_without_type", "body"), ("whatsapp_cloud/text", "text")],
)
def test_words_stay_words(path: str, field: str, words: str, said: str) -> None:
    found = message(path, **{field: {"body": words} if field == "text" else words})

    assert (found.kind, found.text) == (Kind.TEXT, said)


@pytest.mark.parametrize(
    ("path", "change", "other"),
    [
        pytest.param(
            "whatsapp_cloud/without_id",
            {"image": {"id": "300000000000009"}},
            {"image": {"id": "300000000000010"}},
            id="pictures without id",
        ),
        pytest.param("gateway/reaction", {}, {"messageId": "gw-2"}, id="reactions in one second"),
        # A customer may say "yes" twice; these gateways never deliver twice.
        pytest.param(
            "gateway/single_without_id", {"timestamp": None}, {"timestamp": None}, id="yes and yes"
        ),
        # The ledger would drop whichever of the two comes second.
        pytest.param(
            "venom/chat",
            {"id": "false_79990000001@c.us_3AAA01"},
            {"id": "false_79990000001@c.us_3AAA01", "type": "revoked"},
            id="message and its deletion",
        ),
    ],
)
def test_two_messages_have_two_ids(
    path: str, change: dict[str, Any], other: dict[str, Any]
) -> None:
    assert message(path, **change).message_id != message(path, **other).message_id


def test_twins_under_a_phone_and_a_lid_share_their_id() -> None:
    phone = "79990000001@c.us"
    twin = {"id": f"false_{phone}_3AAA10", "from": phone, "chatId": phone}

    assert [message("venom/chat_from_lid", **fields).message_id for fields in ({}, twin)] == [
        "3AAA10",
        "3AAA10",
    ]


def test_id_longer_than_any_is_replaced_by_a_made_one() -> None:
    found = message("whatsapp_cloud/text", id="w" * 513)

    assert found.message_id == made_id(found.customer, "1768478400", found.kind, found.text, "")


NO_FORM: dict[tuple[str, str], list[object]] = {
    ("whatsapp_cloud", "no_entry"): [
        *(None, [], "entry", 7, {}, [{"entry": []}]),
        *({"entry": None}, {"entry": "text"}, {"entry": 7}),
    ],
    ("venom", "not_an_object"): [None, 1, "text", [], [{"from": "1"}], True],
    ("venom", "missing_field"): [{}, {"foo": 1}, {"message": "x"}, {"emoji": "x"}, {"from": " "}],
}


@pytest.mark.parametrize(
    ("folder", "body", "code"),
    [(folder, body, code) for (folder, code), bodies in NO_FORM.items() for body in bodies],
)
def test_body_of_no_known_form_is_malformed(folder: str, body: object, code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read(folder, body)

    assert caught.value.code == code


@pytest.mark.parametrize("body", [{"entry": []}, {"entry": {}}, {"entry": [{"changes": []}]}])
def test_body_without_items_reads_as_nothing(body: object) -> None:
    assert read("whatsapp_cloud", body) == Parsed(())


def test_header_of_an_album_adds_no_line() -> None:
    """Its pictures are messages of their own."""
    assert read("venom", changed("venom/chat", type="album")).events == (Notice("salon", "noise"),)


def test_event_that_names_no_customer_is_counted() -> None:
    body = {"event": "onmessage", "session": "salon", "body": "x", "type": "chat"}

    told = NotUnderstood("salon", "missing_field", "body, event, session, type")
    assert read("venom", body) == Parsed((told,), malformed=1)


def test_what_cannot_be_read_is_told_once_for_each_shape_and_so_many_at_most() -> None:
    odd: list[object] = [{f"{'a' * n}": 1} for n in range(1, UNREAD_MAX + 5)]

    found = read("venom", {"messages": [*odd, *odd]})

    assert found.events == tuple(
        NotUnderstood("salon", "missing_field", "a" * n) for n in range(1, UNREAD_MAX + 1)
    )
    assert found.malformed == 2 * len(odd)


def cloud_body(items: list[Any]) -> Any:
    body = load("whatsapp_cloud/text")
    body["entry"][0]["changes"][0]["value"]["messages"] = items
    return body


GOOD: Any = load("whatsapp_cloud/text")["entry"][0]["changes"][0]["value"]["messages"][0]


@pytest.mark.parametrize(
    ("folder", "body_of", "item"),
    [
        ("whatsapp_cloud", cloud_body, GOOD),
        ("whatsapp_cloud", cloud_body, "not an object"),
        ("whatsapp_cloud", cloud_body, None),
        ("venom", lambda items: {"messages": items}, {"from": "79990000001", "body": "x"}),
    ],
)
def test_body_of_too_many_items_is_refused(
    folder: str, body_of: Callable[[list[Any]], Any], item: Any
) -> None:
    most = read(folder, body_of([item] * ITEMS_MAX))

    read_well = [event for event in most.events if not isinstance(event, NotUnderstood)]
    assert len(read_well) + most.malformed == ITEMS_MAX
    with pytest.raises(MalformedError, match=f"must be at most {ITEMS_MAX}"):
        read(folder, body_of([item] * (ITEMS_MAX + 1)))


def cloud_value(**value: object) -> Any:
    body = load("whatsapp_cloud/text")
    metadata = body["entry"][0]["changes"][0]["value"]["metadata"]
    body["entry"][0]["changes"][0]["value"] = {"metadata": metadata} | value
    return body


NAMELESS = {name: value for name, value in GOOD.items() if name != "from"}
CONTACT = {"profile": {"name": "Anna"}, "wa_id": "79990000001", "user_id": "RU.1000000000000001"}


@pytest.mark.parametrize(
    ("contact", "customer", "aliases"),
    [
        (CONTACT, "79990000001", ("RU.1000000000000001",)),
        ({"wa_id": "79990000001"}, "79990000001", ()),
        ({"user_id": "RU.1000000000000001"}, "RU.1000000000000001", ()),
    ],
)
def test_one_message_without_a_sender_is_of_the_one_contact_beside_it(
    contact: object, customer: str, aliases: tuple[str, ...]
) -> None:
    (event,) = read("whatsapp_cloud", cloud_value(contacts=[contact], messages=[NAMELESS])).events

    assert isinstance(event, InboundMessage)
    assert (event.customer, event.aliases) == (customer, aliases)


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [NAMELESS]},
        {"contacts": [], "messages": [NAMELESS]},
        {"contacts": [{}], "messages": [NAMELESS]},
        {"contacts": ["79990000001"], "messages": [NAMELESS]},
        {"contacts": [CONTACT, CONTACT], "messages": [NAMELESS]},
        {"contacts": [CONTACT], "messages": [NAMELESS, NAMELESS]},
    ],
)
def test_message_whose_sender_is_not_certain_is_told(value: dict[str, object]) -> None:
    found = read("whatsapp_cloud", cloud_value(**value))

    shape = "id, text, text.body, timestamp, type"
    assert found.events == (NotUnderstood("salon", "missing_field", shape),)
    assert found.malformed


def test_contact_beside_a_message_does_not_replace_its_sender() -> None:
    other = CONTACT | {"wa_id": "79990000002"}

    (event,) = read("whatsapp_cloud", cloud_value(contacts=[other], messages=[GOOD])).events

    assert isinstance(event, InboundMessage)
    assert (event.customer, event.aliases) == ("79990000001", ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"messages": []}, []),
        ({"contacts": [CONTACT]}, [Notice("salon", "no_known_list")]),
        ({"receipts": [{"id": "w"}]}, [Notice("salon", "no_known_list")]),
        (
            {"user_messages": [GOOD]},
            [
                NotUnderstood(
                    "salon",
                    "no_known_list",
                    "metadata, metadata.display_phone_number, metadata.phone_number_id,"
                    " user_messages, user_messages.from, user_messages.id, user_messages.text,"
                    " user_messages.timestamp, user_messages.type",
                )
            ],
        ),
    ],
)
def test_change_without_a_known_list_leaves_a_trace(
    value: dict[str, object], expected: list[object]
) -> None:
    assert list(read("whatsapp_cloud", cloud_value(**value)).events) == expected


@pytest.mark.parametrize(
    ("value", "is_told"),
    [({"messages": [GOOD]}, True), ({"event": "PENDING", "message": "Approved"}, False)],
)
def test_change_of_an_unknown_field_is_told_if_it_looks_like_a_message(
    value: dict[str, object], *, is_told: bool
) -> None:
    body = cloud_value(**value)
    body["entry"][0]["changes"][0]["field"] = "messages_v2"

    (event,) = read("whatsapp_cloud", body).events

    assert isinstance(event, NotUnderstood) == is_told


def test_change_without_field_holds_messages() -> None:
    body = load("whatsapp_cloud/text")
    del body["entry"][0]["changes"][0]["field"]

    assert reading_of(read("whatsapp_cloud", body)) == READINGS["whatsapp_cloud/text"]


@pytest.mark.parametrize(
    "wrap",
    [lambda inner: [inner], lambda inner: {"type": "edit", "message": inner}],
    ids=["lists", "objects"],
)
@pytest.mark.parametrize("field", ["edit", "text", "interactive", "contacts", "from", "timestamp"])
def test_nothing_is_too_deep_to_be_skipped(field: str, wrap: Callable[[Any], Any]) -> None:
    nested = reduce(lambda inner, _: wrap(inner), range(DEPTH), "Hello")
    odd = GOOD | {"id": "wamid.deep", "type": field, field: nested}

    events = read("whatsapp_cloud", cloud_body([odd, GOOD])).events

    assert message("whatsapp_cloud/text") in events
