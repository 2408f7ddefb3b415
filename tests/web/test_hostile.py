"""What no honest provider sends: documented statuses, nothing stored twice, no 5xx, no trace."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.inspect import Counters, counters
from batching.model import InboundMessage, decode
from runtime.build import Runtime
from tests.webhooks import (
    CUSTOMER,
    VENOM,
    VENOM_SECRET,
    Caller,
    body,
    change,
    code,
    counts,
    text_message,
)


def balance(runtime: Runtime) -> Counters:
    (only,) = counters(runtime.store)
    return only


def kept_of(runtime: Runtime) -> list[InboundMessage]:
    """Return the messages of the customer that wait, as a worker would read them."""
    store = runtime.store
    conversation_id = store.conversation_id("salon", CUSTOMER)
    kept: Any = store.client.lrange(
        store.shard_of(conversation_id).open_messages(conversation_id), 0, -1
    )
    return [decode("salon", raw) for raw in kept]


def test_very_many_messages_in_one_body_are_too_many(caller: Caller, runtime: Runtime) -> None:
    """Small enough to be read, far more than Meta sends: refused as a whole, nothing stored."""
    many = body(change(*({"id": f"w{n}", "from": "7"} for n in range(100_000))))

    result = caller.cloud(json.dumps(many, separators=(",", ":")).encode())

    assert code(result) == (413, "too_many_items")
    assert balance(runtime).accepted == 0


def test_one_message_many_times_in_one_body_is_stored_once(
    caller: Caller, runtime: Runtime
) -> None:
    result = caller.cloud(body(change(*[text_message()] * 1000)))

    assert result.json == counts(accepted=1, duplicate=999)
    assert (balance(runtime).accepted, balance(runtime).open) == (1, 1)


@pytest.mark.parametrize(
    "text",
    ["\x00", "a\x00b", "\ud800", "\udfff and \ud83d", "\u202e\u202d", "\u0000" * 4000, "🙂" * 4096],
)
def test_strange_characters_are_stored_and_can_be_read_again(
    caller: Caller, runtime: Runtime, text: str
) -> None:
    result = caller.cloud(body(change(text_message(text=text))))

    assert result.json == counts(accepted=1)
    assert (balance(runtime).accepted, balance(runtime).open) == (1, 1)
    (kept,) = kept_of(runtime)
    assert kept.text.encode()


def test_message_without_an_id_is_stored_once(caller: Caller) -> None:
    message = text_message()
    del message["id"]

    answers = [caller.cloud(body(change(message))).json for _ in range(2)]

    assert answers == [counts(accepted=1), counts(duplicate=1)]


@pytest.mark.parametrize(
    ("missing", "counted"),
    [
        ("from", counts(accepted=1, malformed=1)),
        ("timestamp", counts(accepted=2)),
        ("type", counts(accepted=2)),
        ("text", counts(accepted=2)),
    ],
)
def test_message_without_a_field_fails_nothing(
    caller: Caller, missing: str, counted: dict[str, object]
) -> None:
    message = text_message()
    del message[missing]

    result = caller.cloud(body(change(message, text_message("wamid.2"))))

    assert result.json == counted


@pytest.mark.parametrize(
    "timestamp",
    ["0", "-1", "99999999999999999999", "soon", "", None, -1e308, 1e400, [], {}, True, "１７"],
)
def test_absurd_timestamp_neither_refuses_nor_ages_a_message(
    caller: Caller, timestamp: object
) -> None:
    result = caller.cloud(body(change(text_message(timestamp=timestamp))))

    assert result.json == counts(accepted=1)


@pytest.mark.parametrize("customer", ["", " ", "\x00", "7" * 100_000, 79990000001, None, [], "é"])
def test_absurd_sender_is_no_failure(caller: Caller, customer: object) -> None:
    result = caller.cloud(body(change(text_message() | {"from": customer})))

    assert result.status_code == 200


def test_refusal_shows_no_trace_and_no_words_of_the_customer(caller: Caller) -> None:
    result = caller.cloud(b'{"text": "my secret wish"')

    assert "secret wish" not in result.text
    assert "Traceback" not in result.text


# Hypothesis draws bodies that look like a webhook, with anything at all in any place.
TEXT = st.text(st.characters(codec=None), max_size=20)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
CLOUD_NAMES = (
    st.sampled_from(
        [
            "entry",
            "changes",
            "value",
            "field",
            "messages",
            "statuses",
            "metadata",
            "phone_number_id",
        ]
    )
    | st.sampled_from(
        [
            "from",
            "id",
            "type",
            "text",
            "body",
            "timestamp",
            "contacts",
            "errors",
            "image",
            "caption",
        ]
    )
    | st.sampled_from(
        ["interactive", "button_reply", "nfm_reply", "response_json", "context", "standby", "calls"]
    )
    | st.sampled_from(
        ["reaction", "message_echoes", "recipient", "from_user_id", "user_id_update", "edit"]
    )
)
CLOUD_WORDS = (
    SCALAR
    | st.sampled_from(
        [
            "100000000000001",
            "text",
            "image",
            "audio",
            "interactive",
            "reaction",
            "system",
            "messages",
        ]
    )
    | st.sampled_from(
        ["statuses", "smb_message_echoes", "messaging_handovers", "sent", "failed", CUSTOMER]
    )
    | st.sampled_from(
        ["order", "location", "contacts", "unsupported", "edit", "revoke", "nfm_reply", "calls"]
    )
)


def like_webhooks(names: st.SearchStrategy[str], words: st.SearchStrategy[Any]) -> Any:
    return st.recursive(
        words,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(names | TEXT, inner, max_size=6)
        ),
        max_leaves=30,
    )


MESSAGES = st.dictionaries(CLOUD_NAMES, like_webhooks(CLOUD_NAMES, CLOUD_WORDS), max_size=8)


@settings(max_examples=300)
@given(message=MESSAGES | ANYTHING)
def test_no_item_whatever_makes_the_server_fail(caller: Caller, message: object) -> None:
    result = caller.cloud(json.dumps(body(change(message))).encode())

    assert result.status_code == 200


@settings(max_examples=300)
@given(anything=like_webhooks(CLOUD_NAMES, CLOUD_WORDS))
def test_no_body_whatever_makes_the_server_fail(caller: Caller, anything: object) -> None:
    result = caller.cloud(json.dumps(anything).encode())

    assert result.status_code in {200, 400, 404}


@settings(max_examples=100)
@given(raw=st.binary(max_size=200))
def test_no_bytes_whatever_make_the_server_fail(caller: Caller, raw: bytes) -> None:
    assert caller.cloud(raw).status_code in {200, 400, 404}


VENOM_NAMES = (
    st.sampled_from(
        [
            "event",
            "session",
            "id",
            "from",
            "to",
            "body",
            "type",
            "t",
            "timestamp",
            "fromMe",
            "sender",
        ]
    )
    | st.sampled_from(
        ["chatId", "isGroupMsg", "_serialized", "server", "user", "ack", "message", "messageId"]
    )
    | st.sampled_from(
        ["messages", "companyId", "emoji", "reactionText", "msgId", "caption", "content", "lat"]
    )
)
VENOM_WORDS = (
    SCALAR
    | st.sampled_from(
        [
            "onmessage",
            "onack",
            "onreactionmessage",
            "onrevokedmessage",
            "incomingcall",
            "chat",
            "ptt",
        ]
    )
    | st.sampled_from(
        ["image", "79990000001@c.us", "1@lid", "1@g.us", "status@broadcast", "onselfmessage"]
    )
)


@settings(max_examples=300)
@given(anything=like_webhooks(VENOM_NAMES, VENOM_WORDS))
def test_no_gateway_whatever_makes_the_server_fail(caller: Caller, anything: object) -> None:
    result = caller.raw(VENOM, json.dumps(anything).encode(), VENOM_SECRET)

    assert result.status_code in {200, 400}


@settings(max_examples=100)
@given(anything=like_webhooks(st.sampled_from(["customer", "message_id", "text"]), SCALAR))
def test_no_page_whatever_makes_the_server_fail(caller: Caller, anything: object) -> None:
    result = caller.raw("/webhooks/simulator/demo", json.dumps(anything).encode())

    assert result.status_code in {200, 400}
