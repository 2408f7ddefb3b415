"""Envelopes of gateways that we do not read: which look like a customer's message, their shape."""

from functools import reduce
from typing import Any

import pytest

from batching.model import InboundMessage, Notice, NotUnderstood
from channels.dialects import looks_like_message, shape_of
from tests.channels.payloads import read

ANNA = "79990000001@c.us"
JID = "79990000001@s.whatsapp.net"
GROUP = "120000000000000001@g.us"


def waha(event: str, **payload: object) -> dict[str, object]:
    given = {"id": f"false_{ANNA}_3EB0", "timestamp": 1768478400, "from": ANNA, "fromMe": False}
    return {"event": event, "session": "default", "engine": "NOWEB", "payload": given | payload}


def evolution(event: str, message: object, *, jid: str = JID, ours: bool = False) -> dict[str, Any]:
    key = {"remoteJid": jid, "fromMe": ours, "id": "3EB0"}
    data = {"key": key, "pushName": "Anna", "message": message, "messageTimestamp": 1768478400}
    return {"event": event, "instance": "salon", "data": data, "server_url": "http://gw.test"}


def green(kind: str, **data: object) -> dict[str, object]:
    sender = {"chatId": ANNA, "sender": ANNA, "senderName": "Anna"}
    return {"typeWebhook": kind, "idMessage": "3EB0", "senderData": sender, "messageData": data}


def whapi(kind: str, **item: object) -> dict[str, object]:
    items = [{"id": "3EB0", "from_me": False, "chat_id": JID, "from": "79990000001"} | item]
    return {kind: items, "event": {"type": kind, "event": "post"}, "channel_id": "SALON"}


MESSAGES: dict[str, Any] = {
    "waha text": waha("message", body="Hello?"),
    "waha any": waha("message.any", body="Hello?"),
    "waha picture": waha("message", body="", hasMedia=True, media={"mimetype": "image/jpeg"}),
    "waha place": waha("message", body=None, location={"latitude": 1.5, "longitude": 2.5}),
    "evolution text": evolution("messages.upsert", {"conversation": "Hello?"}),
    "evolution capitals": evolution("MESSAGES_UPSERT", {"conversation": "Hello?"}),
    "evolution reply": evolution("messages.upsert", {"extendedTextMessage": {"text": "Hello?"}}),
    "evolution voice": evolution("messages.upsert", {"audioMessage": {"mimetype": "audio/ogg"}}),
    "evolution lid": evolution("messages.upsert", {"conversation": "Hi"}, jid="1000001@lid"),
    "green text": green("incomingMessageReceived", textMessageData={"textMessage": "Hello?"}),
    "green file": green(
        "incomingMessageReceived", fileMessageData={"downloadUrl": "https://gw.test/f"}
    ),
    "whapi text": whapi("messages", type="text", text={"body": "Hello?"}),
    "baileys": {"type": "notify", "messages": [evolution("", {"conversation": "Hi"})["data"]]},
    "wuzapi": {
        "type": "Message",
        "event": {
            "Info": {"Chat": JID, "Sender": JID, "IsFromMe": False, "IsGroup": False},
            "Message": {"conversation": "Hello?"},
        },
    },
    "z-api": {"type": "ReceivedCallback", "phone": "79990000001", "text": {"message": "Hello?"}},
    "wati": {"eventType": "message", "waId": "79990000001", "text": "Hello?"},
    "maytapi": {
        "type": "message",
        "user": {"phone": "79990000001"},
        "message": {"type": "text", "text": "Hello?", "fromMe": False},
    },
    "ultramsg": {"event_type": "message_received", "data": {"from": ANNA, "body": "Hello?"}},
    "wassenger": {"event": "message:in:new", "data": {"fromNumber": "+79990000001", "body": "?"}},
    "flat": {"phone": 79990000001, "message": "Hello?"},
    "ours and theirs": {
        "event": "batch",
        "list": [
            {"from": ANNA, "fromMe": True, "body": "Hi"},
            {"from": ANNA, "fromMe": False, "body": "Hello?"},
        ],
    },
}

NOISE: dict[str, Any] = {
    "waha ack": waha("message.ack", ack=3, ackName="READ", body="Hello?"),
    "waha presence": waha("presence.update", presences=[{"participant": ANNA, "last": "typing"}]),
    "waha session": {"event": "session.status", "payload": {"name": "x", "status": "WORKING"}},
    "waha ours": waha("message.any", fromMe=True, body="We are open"),
    "evolution ours": evolution("send.message", {"conversation": "Hi"}, ours=True),
    "evolution history": evolution("messages.set", {"conversation": "Old"}),
    "evolution history capitals": evolution("MESSAGES_SET", {"conversation": "Old"}),
    "evolution ack": {
        "event": "messages.update",
        "data": {"keyId": "3EB0", "remoteJid": JID, "fromMe": False, "status": "READ"},
    },
    "evolution typing": {"event": "presence.update", "data": {"id": JID, "presences": {JID: {}}}},
    "evolution contacts": {
        "event": "contacts.update",
        "data": [{"remoteJid": JID, "pushName": "Anna"}],
    },
    "evolution chats": {
        "event": "chats.upsert",
        "data": [{"remoteJid": JID, "lastMessage": {"conversation": "Old"}}],
    },
    "evolution connection": {"event": "connection.update", "data": {"state": "open"}},
    "evolution group": evolution("messages.upsert", {"conversation": "Hi"}, jid=GROUP),
    "evolution channel": evolution("messages.upsert", {"conversation": "Hi"}, jid="1@newsletter"),
    "baileys history": {
        "event": "messaging-history.set",
        "data": {"messages": [{"key": {"remoteJid": JID}, "message": {"conversation": "Old"}}]},
    },
    "green ack": {"typeWebhook": "outgoingMessageStatus", "chatId": ANNA, "status": "read"},
    "green ours": green("outgoingMessageReceived", textMessageData={"textMessage": "We"}),
    "green state": {"typeWebhook": "stateInstanceChanged", "stateInstance": "authorized"},
    "whapi statuses": whapi("statuses", status="read", recipient_id=ANNA),
    "wuzapi typing": {"type": "ChatPresence", "event": {"Sender": JID, "State": "composing"}},
    "wuzapi receipt": {"type": "ReadReceipt", "event": {"Sender": JID, "MessageIDs": ["3EB0"]}},
    "z-api status": {"type": "MessageStatusCallback", "phone": "79990000001", "status": "READ"},
    "wati sent": {"eventType": "sessionMessageSent", "waId": "79990000001", "text": "We are open"},
    "nothing": {},
    "no object": "Hello?",
    "list of nothing": [[], {}],
}


@pytest.mark.parametrize("name", MESSAGES)
def test_foreign_envelope_of_a_message_looks_like_one(name: str) -> None:
    assert looks_like_message(MESSAGES[name])


@pytest.mark.parametrize("name", NOISE)
def test_foreign_envelope_of_noise_does_not_look_like_a_message(name: str) -> None:
    assert not looks_like_message(NOISE[name])


@pytest.mark.parametrize("name", [name for name in MESSAGES if "event" in MESSAGES[name]])
def test_unknown_event_that_looks_like_a_message_is_told(name: str) -> None:
    (event,) = read("venom", MESSAGES[name]).events

    assert event == NotUnderstood("salon", "other_event", shape_of(MESSAGES[name]))


@pytest.mark.parametrize("name", [name for name in NOISE if "event" in NOISE[name]])
def test_unknown_event_that_is_noise_is_only_counted(name: str) -> None:
    assert read("venom", NOISE[name]).events == (Notice("salon", "other_event"),)


@pytest.mark.parametrize("name", ["onmessage", "onMessage", "ONMESSAGE", "OnAnyMessage"])
def test_name_of_an_event_is_read_without_case(name: str) -> None:
    body = {"event": name, "from": ANNA, "type": "chat", "body": "Hello?", "t": 1768478400}

    (event,) = read("venom", body).events

    assert isinstance(event, InboundMessage)
    assert event.text == "Hello?"


def test_shape_has_names_and_no_values() -> None:
    body = MESSAGES["evolution text"]

    assert shape_of(body) == (
        "data, data.key, data.message, data.messageTimestamp, data.pushName, event, instance,"
        " server_url"
    )


@pytest.mark.parametrize(
    "name", ["79990000001", ANNA, "Anna Petrova", "Анна", "a" * 41, "f79990000001", "", "a\nb"]
)
def test_name_that_may_be_a_customers_is_not_shown(name: str) -> None:
    assert shape_of({name: {name: 1}}) == "?, ?.?"


def test_shape_and_look_are_bounded() -> None:
    wide = {"a" * (n % 40 + 1) + "b" * (n // 40): {"c": 1} for n in range(10_000)}
    start: Any = "Hi"
    deep = reduce(lambda inner, _: {"a": [inner]}, range(100_000), start)

    assert len(shape_of(wide)) < 3_000
    assert shape_of(deep) == "a, a.a"
    assert not looks_like_message({"event": deep, "list": [wide] * 100})


def test_receipt_that_cannot_be_read_is_counted_and_not_told() -> None:
    assert read("venom", {"event": "onack", "fromMe": True, "ack": 3}).events == ()
