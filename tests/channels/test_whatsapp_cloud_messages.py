"""Every kind of message a customer can send through the Cloud API, and who sent it."""

from dataclasses import replace
from typing import Any

import pytest

from batching.model import InboundMessage, Kind, Media
from channels.inbound import LISTED_MAX, Parsed, made_id
from tests.channels.whatsapp_cloud_payloads import CUSTOMER, SENT_AT_MS, USER_ID, load, read

UNREADABLE = "[The customer sent something that cannot be shown here]"
PICTURE = "[The customer sent a picture that cannot be shown here]"
VIDEO = "[The customer sent a video that cannot be shown here]"
VOICE = "[The customer sent a voice message that cannot be played here]"
AUDIO = "[The customer sent an audio file that cannot be played here]"
DOCUMENT = "[The customer sent a document that cannot be opened here]"
CORRECTED = "[The customer corrected an earlier message]"
CONTACT_CARD = "[The customer sent a contact card]"
ORDER = "[The customer sent an order from the catalogue]"
FORM = "[The customer filled in a form]"

#: Fixture -> kind and text of its one message, whose id is the fixture's name.
WORDS = {
    "text": (Kind.TEXT, "Hello, can I book for tomorrow?"),
    "text_with_context": (Kind.TEXT, "Yes, that one"),
    "text_with_referral": (Kind.TEXT, "I saw your offer"),
    "location": (
        Kind.LOCATION,
        "[The customer sent a location] Invented Salon, 1 Nowhere Street (55.75, 37.61)",
    ),
    "contacts": (
        Kind.CONTACTS,
        f"{CONTACT_CARD} Anna Inventedova +7 999 000-00-02, 79990000003; Boris",
    ),
    "button": (Kind.BUTTON_REPLY, "Confirm"),
    "interactive_button_reply": (Kind.BUTTON_REPLY, "15:00"),
    "interactive_list_reply": (Kind.LIST_REPLY, "Haircut: 45 minutes"),
    "interactive_flow_reply": (
        Kind.FLOW_REPLY,
        f"{FORM} service: Haircut; guests: 2; days: Mon, Tue; consent: yes",
    ),
    "interactive_flow_reply_broken": (Kind.FLOW_REPLY, f"{FORM} Sent"),
    "interactive_call_permission": (Kind.CALL, "[The customer allowed calls from the business]"),
    "interactive_with_error": (Kind.UNSUPPORTED, UNREADABLE),
    "interactive_without_part": (Kind.UNSUPPORTED, UNREADABLE),
    "order": (
        Kind.ORDER,
        f"{ORDER} 2 x shampoo-250 at 450.5 RUB; 1 x brush. For Friday",
    ),
    "reaction": (Kind.REACTION, "[The customer reacted to a message] 👍"),
    "reaction_removed": (Kind.REACTION, "[The customer reacted to a message] (taken back)"),
    "edit": (Kind.EDITED, f"{CORRECTED} For 16:00, not 15:00"),
    "edit_unreadable": (Kind.UNSUPPORTED, UNREADABLE),
    "revoke": (Kind.DELETED, "[The customer deleted a message]"),
    "unsupported": (Kind.UNSUPPORTED, UNREADABLE),
    "unknown_kind": (Kind.UNSUPPORTED, UNREADABLE),
}

#: Fixture -> kind, text, number at the end of the media's id, type and address.
MEDIA = {
    "image": (Kind.IMAGE, f"{PICTURE} Like this, please", 1, "image/jpeg", "https://media.example/1"),
    "image_with_download_error": (Kind.IMAGE, PICTURE, 2, "image/jpeg", ""),
    "video": (Kind.VIDEO, VIDEO, 3, "video/mp4", ""),
    "voice": (Kind.VOICE, VOICE, 4, "audio/ogg; codecs=opus", ""),
    "audio": (Kind.AUDIO, AUDIO, 5, "audio/mpeg", ""),
    "document": (Kind.DOCUMENT, f"{DOCUMENT} wishes.pdf Page two", 6, "application/pdf", ""),
    "sticker": (Kind.STICKER, "[The customer sent a sticker]", 7, "image/webp", ""),
    "edit_of_caption": (
        Kind.EDITED, f"{CORRECTED} {PICTURE} A little shorter", 8, "image/jpeg", ""
    ),
}  # fmt: skip


def message(message_id: str, kind: Kind = Kind.TEXT, text: str = "Hello", **more: Any):
    ordinary = InboundMessage("salon", CUSTOMER, message_id, kind, text, SENT_AT_MS)
    return replace(ordinary, **more)


def media(number: int, mime_type: str, url: str = "") -> Media:
    return Media(f"30000000000000{number}", mime_type, url)


#: Fixture -> its one message: who sent it, and what is missing or odd about it.
ODDITIES = {
    "sender_both_ids": message("wamid.both", aliases=(USER_ID,)),
    "sender_user_id_only": message("wamid.user-id", customer=USER_ID, secondary=True),
    "sender_from_is_user_id": message("wamid.from-user-id", customer=USER_ID, secondary=True),
    "minimal": message("wamid.minimal", sent_at_ms=0),
    "timestamp_is_number": message("wamid.number"),
    "entry_is_object": message("wamid.object"),
    "without_id": message(
        made_id(CUSTOMER, SENT_AT_MS // 1000, Kind.IMAGE, PICTURE, "300000000000009"),
        Kind.IMAGE,
        PICTURE,
        media=media(9, "image/jpeg"),
    ),
}

EXPECTED = {
    **{name: message(f"wamid.{name}", *said) for name, said in WORDS.items()},
    **{
        name: message(f"wamid.{name}", kind, text, media=media(number, mime_type, url))
        for name, (kind, text, number, mime_type, url) in MEDIA.items()
    },
    **ODDITIES,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_message_of_a_customer_reads_as(name):
    assert read(load(name)) == Parsed((EXPECTED[name],))


def test_absurd_timestamps_read_as_none():
    expected = tuple(message(f"wamid.absurd-{number}", sent_at_ms=0) for number in range(8))

    assert read(load("timestamp_is_absurd")) == Parsed(expected)


def test_text_is_cleaned_and_a_text_of_nothing_is_unreadable():
    clean = message("wamid.control", text="NUL and half \ufffd of a face")
    blank = message("wamid.blank", Kind.UNSUPPORTED, UNREADABLE)

    assert read(load("control_characters")) == Parsed((clean, blank))


def test_messages_without_id_differ_by_what_they_say():
    body = load("without_id")
    (first,) = read(body).events
    body["entry"][0]["changes"][0]["value"]["messages"][0]["image"]["id"] = "300000000000010"

    (second,) = read(body).events

    assert isinstance(first, InboundMessage)
    assert isinstance(second, InboundMessage)
    assert first.message_id != second.message_id


def test_id_longer_than_any_is_replaced_by_a_made_one():
    body = load("text")
    body["entry"][0]["changes"][0]["value"]["messages"][0]["id"] = "w" * 513

    (event,) = read(body).events

    said = "Hello, can I book for tomorrow?"
    made = made_id(CUSTOMER, SENT_AT_MS // 1000, Kind.TEXT, said, "")
    assert event == message(made, text=said)


def test_long_list_is_spelled_out_up_to_a_limit():
    body = load("contacts")
    cards = [{"name": {"formatted_name": "Anna"}}] * (LISTED_MAX + 2)
    body["entry"][0]["changes"][0]["value"]["messages"][0]["contacts"] = cards

    (event,) = read(body).events

    names = "Anna; " * LISTED_MAX
    assert event == message("wamid.contacts", Kind.CONTACTS, f"{CONTACT_CARD} {names}and 2 more")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("7" * 5_000, id="endless"),
        *("[]", '"text"', "{", 7, None),
    ],
)
def test_form_with_unreadable_answers_says_what_it_showed_the_customer(broken):
    body = load("interactive_flow_reply")
    reply = body["entry"][0]["changes"][0]["value"]["messages"][0]["interactive"]["nfm_reply"]
    reply["response_json"] = broken

    (event,) = read(body).events

    assert event == message("wamid.interactive_flow_reply", Kind.FLOW_REPLY, f"{FORM} Sent")
