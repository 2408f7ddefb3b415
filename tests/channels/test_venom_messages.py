"""Every form of a customer's message that Venom's kin are known to post, and what it says."""

import pytest

from batching.model import InboundMessage, Kind
from channels.inbound import Parsed
from channels.venom import parse
from tests.channels.venom_payloads import ACCOUNT, CUSTOMER, LID, inbound, media, payload

PICTURE = "[The customer sent a picture that cannot be shown here]"
OTHER = "[The customer sent something that cannot be shown here]"
REACTION = "[The customer reacted to a message]"
VOTE = "[The customer voted in a poll]"

EXPECTED = {
    "chat": inbound("3AAA01", "Можно записаться на завтра?"),
    "chat_id_taken_apart": inbound("3AAA02", "На 15:00"),
    "chat_ids_as_objects": inbound("3AAA03", "К Анне"),
    "chat_in_content": inbound("3AAA04", "Только content"),
    "chat_without_type": inbound("3AAA05", "Без типа"),
    "chat_with_t_only": inbound("3AAA06", "Только t"),
    "chat_with_timestamp_only": inbound("3AAA07", "Только timestamp"),
    "chat_without_from_me": inbound("3AAA08", "Без fromMe"),
    "chat_empty": inbound("3AAA09", OTHER, Kind.UNSUPPORTED),
    "chat_from_lid": inbound("3AAA10", "С LID", customer=LID, secondary=True),
    "chat_from_lid_with_phone": inbound("3AAA11", "LID и телефон", aliases=(LID,)),
    "chat_without_from": inbound("3AAA12", "По chatId"),
    "venom_bare": inbound("3AAA13", "Привет из Venom"),
    "image": inbound(
        "3ABB01",
        f"{PICTURE} Хочу такую стрижку",
        Kind.IMAGE,
        media=media("3ABB01", "image/jpeg"),
    ),
    "image_without_caption": inbound(
        "3ABB02", PICTURE, Kind.IMAGE, media=media("3ABB02", "image/jpeg")
    ),
    "image_without_type": inbound(
        "3ABB03", PICTURE, Kind.IMAGE, media=media("3ABB03", "image/jpeg")
    ),
    "image_on_s3": inbound(
        "3ABB04",
        PICTURE,
        Kind.IMAGE,
        media=media("3ABB04", "image/jpeg", "https://files.example/one.jpg"),
    ),
    "data_without_type": inbound("3ABB05", OTHER, Kind.UNSUPPORTED),
    "media_without_type": inbound("3ABB06", OTHER, Kind.UNSUPPORTED),
    "ptt": inbound(
        "3ABB07",
        "[The customer sent a voice message that cannot be played here]",
        Kind.VOICE,
        media=media("3ABB07", "audio/ogg; codecs=opus"),
    ),
    "audio": inbound(
        "3ABB08",
        "[The customer sent an audio file that cannot be played here]",
        Kind.AUDIO,
        media=media("3ABB08", "audio/mpeg"),
    ),
    "video": inbound(
        "3ABB09",
        "[The customer sent a video that cannot be shown here] Смотрите",
        Kind.VIDEO,
        media=media("3ABB09", "video/mp4"),
    ),
    "document": inbound(
        "3ABB10",
        "[The customer sent a document that cannot be opened here] справка.pdf Вот",
        Kind.DOCUMENT,
        media=media("3ABB10", "application/pdf"),
    ),
    "sticker": inbound(
        "3ABB11",
        "[The customer sent a sticker]",
        Kind.STICKER,
        media=media("3ABB11", "image/webp"),
    ),
    "location": inbound(
        "3ABB12",
        "[The customer sent a location] Салон, ул. Ленина, 1 (55.751, 37.618)",
        Kind.LOCATION,
    ),
    "vcard": inbound(
        "3ABB13", "[The customer sent a contact card] Подруга +7 999 000-00-02", Kind.CONTACTS
    ),
    "multi_vcard": inbound(
        "3ABB14", "[The customer sent a contact card] Один +7 999 000-00-03; Два", Kind.CONTACTS
    ),
    "list_response": inbound("3ABB15", "Стрижка: 60 минут", Kind.LIST_REPLY),
    "list_response_in_body": inbound("3ABB16", "Маникюр", Kind.LIST_REPLY),
    "buttons_response": inbound("3ABB17", "Да, подтверждаю", Kind.BUTTON_REPLY),
    "template_button_reply": inbound("3ABB18", "Перенести", Kind.BUTTON_REPLY),
    "order": inbound(
        "3ABB19",
        "[The customer sent an order from the catalogue] Шампунь Два, пожалуйста",
        Kind.ORDER,
    ),
    "poll_creation": inbound("3ABB20", f"{OTHER} Когда удобно?", Kind.UNSUPPORTED),
    "revoked": inbound("deleted_3ABB21", "[The customer deleted a message]", Kind.DELETED),
    "unknown_type": inbound("3ABB22", f"{OTHER} Что это", Kind.UNSUPPORTED),
    "reaction": inbound("reaction_3AEE01", f"{REACTION} 🙂", Kind.REACTION),
    "reaction_taken_back": inbound("reaction_3AEE01", f"{REACTION} (taken back)", Kind.REACTION),
    "reaction_sender_as_object": inbound("reaction_3AEE01", f"{REACTION} 🙂", Kind.REACTION),
    "deleted": inbound(
        "deleted_3AFF01", "[The customer deleted a message]", Kind.DELETED, sent_at_ms=0
    ),
    "call": inbound("call_CALL01", "[The customer called]", Kind.CALL),
}

#: These come without an id of their own: (body, kind, text).
WITHOUT_ID = [
    ("venom/chat_without_id", Kind.TEXT, "Без идентификатора"),
    ("venom/poll_vote", Kind.POLL_VOTE, f"{VOTE} Утро, Вечер"),
    ("venom/poll_vote_taken_back", Kind.POLL_VOTE, f"{VOTE} (taken back)"),
    ("gateway/single_without_id", Kind.TEXT, "Без идентификатора"),
    ("gateway/reaction", Kind.REACTION, f"{REACTION} ❤️"),
    ("gateway/reaction_taken_back", Kind.REACTION, f"{REACTION} (taken back)"),
]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_form_of_a_message_is_read(name: str) -> None:
    assert parse(payload(f"venom/{name}"), ACCOUNT) == Parsed((EXPECTED[name],))


@pytest.mark.parametrize(("path", "kind", "text"), WITHOUT_ID, ids=lambda value: str(value)[:30])
def test_message_without_id_gets_the_same_one_each_time(path: str, kind: Kind, text: str) -> None:
    first, second = parse(payload(path), ACCOUNT), parse(payload(path), ACCOUNT)

    assert first == second
    (event,) = first.events
    assert isinstance(event, InboundMessage)
    assert (event.kind, event.text, event.message_id[:5]) == (kind, text, "made_")
    assert event.customer in {CUSTOMER, "79990000001"}


def test_message_that_repeats_another_without_id_or_time_is_no_duplicate() -> None:
    """A customer may say "yes" twice; these gateways never deliver twice."""
    body = {"from": "79990000001", "message": "да"}
    ids = {event.message_id for _ in range(2) for event in _messages(body)}

    assert len(ids) == 2


def test_reactions_to_two_messages_in_one_second_are_two() -> None:
    body = payload("gateway/reaction")
    other = body | {"messageId": "gw-2"}

    assert len({event.message_id for each in (body, other) for event in _messages(each)}) == 2


def test_deletion_is_not_taken_for_the_message_it_deletes() -> None:
    """The ledger would drop whichever of the two comes second."""
    body = payload("venom/deleted")
    (event,) = _messages(body | {"id": body["refId"]})

    assert event.message_id not in {"3AAA01", ""}


def test_twins_under_a_phone_and_a_lid_share_their_id() -> None:
    body = payload("venom/chat_from_lid")
    twin = body | {"id": f"false_{CUSTOMER}_3AAA10", "from": CUSTOMER, "chatId": CUSTOMER}

    assert [event.message_id for event in _messages(body) + _messages(twin)] == ["3AAA10"] * 2


@pytest.mark.parametrize("kind", ["image", "ptt", "audio", "video", "document", "sticker"])
def test_bytes_of_media_never_become_text(kind: str) -> None:
    body = payload("venom/chat") | {"type": kind, "body": "QUJD" * 500, "content": "QUJD" * 500}
    (event,) = _messages(body)

    assert "QUJD" not in event.text


@pytest.mark.parametrize("encoded", ["/9j/4AAQ", "data:image/png;base64,iVBO", "A" * 1000])
def test_bytes_without_a_type_never_become_text(encoded: str) -> None:
    body = payload("venom/chat_without_type") | {"body": encoded}
    (event,) = _messages(body)

    assert (event.kind, event.text) == (Kind.UNSUPPORTED, OTHER)


def test_long_words_without_a_type_stay_words() -> None:
    words = "очень длинное сообщение " * 200
    (event,) = _messages(payload("venom/chat_without_type") | {"body": words})

    assert (event.kind, event.text) == (Kind.TEXT, words)


def test_text_is_cleaned() -> None:
    (event,) = _messages(payload("venom/chat") | {"body": "a\x00b\ud800c\r\nd"})

    assert event.text == "ab\ufffdc\nd"


def test_long_lists_are_cut_short() -> None:
    cards = [{"vcard": f"BEGIN:VCARD\nFN:n{number}\nEND:VCARD"} for number in range(50)]
    (event,) = _messages(payload("venom/multi_vcard") | {"vcardList": cards})

    assert event.text.endswith("n18; n19")


def _messages(body: object) -> list[InboundMessage]:
    events = parse(body, ACCOUNT).events
    assert all(isinstance(event, InboundMessage) for event in events)
    return [event for event in events if isinstance(event, InboundMessage)]
