"""The walk through a webhook's body: neighbours, limits, and bodies of any shape at all."""

import json
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import astuple
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.errors import MalformedError
from batching.model import DeliveryStatus, InboundMessage, Kind
from channels.inbound import ITEMS_MAX, Parsed
from tests.channels.mutations import mutated
from tests.channels.whatsapp_cloud_payloads import CUSTOMER, NAMES, SENT_AT_MS, load, read

FIXTURES = [load(name) for name in NAMES]
GOOD = InboundMessage(
    "salon", CUSTOMER, "wamid.text", Kind.TEXT, "Hello, can I book for tomorrow?", SENT_AT_MS
)
DEPTH = 100_000

#: Words that mean something to the parser, so that invented bodies come near to real ones.
WORDS = sorted(
    {word for body in FIXTURES for word in json.dumps(body).split('"') if word.isidentifier()}
)
ANY_TEXT = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=()), max_size=20)
ANY_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
ANY_JSON = st.recursive(
    ANY_SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


MUTATED = mutated(FIXTURES, ANY_JSON)


def body_of(*messages: object) -> Any:
    body = load("text")
    body["entry"][0]["changes"][0]["value"]["messages"] = list(messages)
    return body


def good_message() -> Any:
    return load("text")["entry"][0]["changes"][0]["value"]["messages"][0]


def nested(wrap: Callable[[Any], Any]) -> Any:
    """Return things within things, made without recursion."""
    return reduce(lambda inner, _: wrap(inner), range(DEPTH), "Hello")


def text(account_id: str, customer: str, number: int, words: str) -> InboundMessage:
    message_id = f"wamid.many-{number}"
    return InboundMessage(account_id, customer, message_id, Kind.TEXT, words, SENT_AT_MS)


def test_every_item_of_every_entry_and_change_is_read():
    expected = (
        text("salon", CUSTOMER, 1, "first"),
        text("salon", "79990000002", 2, "second"),
        DeliveryStatus("salon", "wamid.out", "read"),
        text("barber", CUSTOMER, 3, "third"),
        text("salon", CUSTOMER, 6, "fourth"),
    )

    assert read(load("many")) == Parsed(expected, unknown_accounts=2, malformed=6)


@pytest.mark.parametrize(
    "body", [None, [], "entry", 7, {}, {"entry": None}, {"entry": "text"}, [{"entry": []}]]
)
def test_body_that_is_not_an_object_with_entry_is_refused(body):
    with pytest.raises(MalformedError) as caught:
        read(body)

    assert caught.value.code == "no_entry"


@pytest.mark.parametrize("body", [{"entry": []}, {"entry": {}}, {"entry": [{"changes": []}]}])
def test_body_without_items_reads_as_nothing(body):
    assert read(body) == Parsed(())


def test_body_of_the_most_items_is_read():
    assert len(read(body_of(*[good_message()] * ITEMS_MAX)).events) == ITEMS_MAX


@pytest.mark.parametrize("item", [good_message(), "not an object", None])
def test_body_of_more_items_is_refused_whatever_they_are(item):
    with pytest.raises(MalformedError) as caught:
        read(body_of(*[item] * (ITEMS_MAX + 1)))

    assert caught.value.code == "too_many_items"


def test_change_without_field_holds_messages():
    body = load("text")
    del body["entry"][0]["changes"][0]["field"]

    assert read(body) == Parsed((GOOD,))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: [inner],
        lambda inner: {"type": "edit", "message": inner},
    ],
    ids=["lists", "objects"],
)
@pytest.mark.parametrize("field", ["edit", "text", "interactive", "contacts", "from", "timestamp"])
def test_nothing_is_too_deep_to_be_skipped(field, wrap):
    odd = {**good_message(), "id": "wamid.deep", "type": field, field: nested(wrap)}

    assert GOOD in read(body_of(odd, good_message())).events


@given(MUTATED)
def test_what_came_of_a_mutated_webhook_can_be_kept(body):
    with suppress(MalformedError):
        for event in read(body).events:
            words = [word for word in astuple(event) if isinstance(word, str)]
            assert "\0" not in "".join(words)
            assert "".join(words).encode()


@given(MUTATED)
def test_message_of_a_mutated_webhook_has_what_the_flow_needs(body):
    with suppress(MalformedError):
        for event in read(body).events:
            if isinstance(event, InboundMessage):
                assert all((event.account_id, event.customer, event.message_id, event.text.strip()))


@given(ANY_JSON)
def test_any_json_reads_or_is_malformed(body):
    has_entry = isinstance(body, dict) and isinstance(body.get("entry"), dict | list)

    with nullcontext() if has_entry else pytest.raises(MalformedError):
        read(body)


@given(MUTATED)
def test_bad_entry_never_fails_its_neighbour(bad):
    entries = bad["entry"] if isinstance(bad.get("entry"), list) else [bad.get("entry")]

    parsed = read({"entry": [*entries, *load("text")["entry"]]})

    assert parsed.events[-1] == GOOD
