"""The parsers themselves, on anything that JSON can say."""

from contextlib import suppress
from dataclasses import astuple

import pytest
from hypothesis import strategies as st

from batching.errors import MalformedError
from batching.model import InboundMessage, NotUnderstood
from tests.fuzz.bodies import ANYTHING, RECORDED, Body, bodies
from tests.fuzz.conftest import Fuzz
from tests.fuzz.judge import parsed_by


def events_of(endpoint: str, value: object) -> object:
    """Return what the parser makes of a value, "malformed" where it says so."""
    try:
        return parsed_by(endpoint, value, "salon")
    except MalformedError:
        return "malformed"


def without_time_and_id(parsed: object) -> object:
    """Return events without what a gateway's message without id and time is given by chance."""
    events = getattr(parsed, "events", ())
    return [
        (event.customer, event.kind, event.text) if isinstance(event, InboundMessage) else event
        for event in events
    ]


@pytest.mark.parametrize("endpoint", sorted(RECORDED))
def test_parser_reads_anything_or_says_that_it_is_malformed(endpoint: str, fuzz: Fuzz) -> None:
    values = ANYTHING | bodies(endpoint).map(lambda body: body.value)

    def check(value: object) -> None:
        first, again = events_of(endpoint, value), events_of(endpoint, value)
        if endpoint == "venom":
            first, again = without_time_and_id(first), without_time_and_id(again)
        assert first == again

    fuzz.run(values, check, share=10)


@pytest.mark.parametrize("endpoint", sorted(RECORDED))
def test_whatever_is_read_can_be_kept_and_answered(endpoint: str, fuzz: Fuzz) -> None:
    def check(body: Body) -> None:
        with suppress(MalformedError):
            for event in parsed_by(endpoint, body.value, "salon").events:
                words = "".join(word for word in astuple(event) if isinstance(word, str))
                assert "\0" not in words
                words.encode()  # raises for what is beyond UTF-8
                if isinstance(event, InboundMessage):
                    assert all(
                        (event.account_id, event.customer, event.message_id, event.text.strip())
                    )

    fuzz.run(bodies(endpoint), check, share=10)


@pytest.mark.parametrize("endpoint", ["whatsapp_cloud", "venom"])
def test_parser_of_many_reads_each_as_if_it_were_alone(endpoint: str, fuzz: Fuzz) -> None:
    """What one odd item is taken for does not depend on another."""

    def whole(items: list[object]) -> object:
        if endpoint == "venom":
            return {"messages": items}
        value = {"metadata": {"phone_number_id": "100000000000001"}, "messages": items}
        return {"entry": [{"changes": [{"value": value}]}]}

    def check(items: list[object]) -> None:
        alone: list[object] = []
        for item in items:
            with suppress(MalformedError):
                alone += without_time_and_id(parsed_by(endpoint, whole([item]), "salon"))  # type: ignore[arg-type]
        together = parsed_by(endpoint, whole(items), "salon")
        # What is not understood stands at the end, each shape once.
        unread = dict.fromkeys(it for it in alone if isinstance(it, NotUnderstood))
        read = [it for it in alone if not isinstance(it, NotUnderstood)]
        assert without_time_and_id(together) == [*read, *unread]

    fuzz.run(st.lists(ANYTHING, max_size=4), check, share=20)
