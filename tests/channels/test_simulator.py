"""The messenger without a provider: what the page may post, and what it reads back."""

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from batching.errors import (
    AmbiguousError,
    LedgerUnavailableError,
    MalformedError,
    TransientError,
)
from batching.model import InboundMessage, Kind, Outbound
from channels.inbound import Parsed
from channels.simulator import KEPT_MAX, KEPT_MS, Simulator, parse, transcript

BODY = {"customer": "anna", "message_id": "m1", "text": "Привет 🙂"}


def conversation_id(account_id: str, customer: str) -> str:
    return f"c_{account_id}_{customer}"


@pytest.fixture
def simulator(client: redis.Redis) -> Simulator:
    return Simulator(account_id="demo", client=client, conversation_id=conversation_id)


@pytest.fixture
def nowhere() -> Iterator[redis.Redis]:
    with redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as client:
        yield client


def test_message_of_the_page_is_read() -> None:
    message = InboundMessage("demo", "anna", "m1", Kind.TEXT, "Привет 🙂")

    assert parse(BODY, "demo") == Parsed((message,))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "body: must be an object"),
        (None, "body: must be an object"),
        ({}, "customer: must be a text"),
        (BODY | {"customer": 7}, "customer: must be a text"),
        (BODY | {"customer": ""}, "customer: has 0 characters, must have 1..128"),
        (BODY | {"message_id": "m" * 129}, "message_id: has 129 characters, must have 1..128"),
        (BODY | {"text": " \n"}, "text: has 2 characters, must have 1..4096"),
        (BODY | {"text": "\x00"}, "text: has 0 characters, must have 1..4096"),
        (BODY | {"text": "x" * 4097}, "text: has 4097 characters, must have 1..4096"),
    ],
)
def test_body_of_another_form_is_named(body: object, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        parse(body, "demo")


def test_longest_text_is_taken_and_cleaned() -> None:
    (message,) = parse(BODY | {"text": "x" * 4095 + "\ud800\x00"}, "demo").events

    assert isinstance(message, InboundMessage)
    assert message.text == "x" * 4095 + "\ufffd"


def test_transcript_shows_what_was_sent_in_order(simulator: Simulator, client: redis.Redis) -> None:
    before_ms = _now_ms(client)
    ids = [
        simulator.send(Outbound("anna", "Да 🙂", "aa:c:b:0", ("m1", "m2"))),
        simulator.send(Outbound("anna", "Ждём", "aa:c:b:1", ("m1", "m2"))),
        simulator.send(Outbound("boris", "Нет", "aa:d:b:0")),
    ]

    shown = transcript(client, "c_demo_anna")

    assert ids == ["simulator:aa:c:b:0", "simulator:aa:c:b:1", "simulator:aa:d:b:0"]
    assert all(before_ms <= answer.pop("at_ms") <= _now_ms(client) for answer in shown)
    assert shown == [
        {"text": "Да 🙂", "answers": ["m1", "m2"], "provider_id": ids[0]},
        {"text": "Ждём", "answers": ["m1", "m2"], "provider_id": ids[1]},
    ]


def test_stranger_has_no_transcript(client: redis.Redis) -> None:
    assert transcript(client, "c_demo_nobody") == []


def test_transcript_is_bounded_and_forgotten(simulator: Simulator, client: redis.Redis) -> None:
    for number in range(KEPT_MAX + 5):
        simulator.send(Outbound("anna", str(number), f"tag-{number}"))

    shown = transcript(client, "c_demo_anna")

    assert [answer["text"] for answer in shown] == [str(n) for n in range(5, KEPT_MAX + 5)]
    assert 0 < client.pttl("aa:simulator:c_demo_anna") <= KEPT_MS


def test_lone_surrogate_in_an_answer_is_shown_as_a_placeholder(
    simulator: Simulator, client: redis.Redis
) -> None:
    simulator.send(Outbound("anna", "a\ud800", "tag"))

    assert transcript(client, "c_demo_anna")[0]["text"] == "a\ufffd"


def test_refused_answer_was_certainly_not_kept(simulator: Simulator, client: redis.Redis) -> None:
    client.set("aa:simulator:c_demo_anna", "not a list")

    with pytest.raises(TransientError, match="simulator_refused"):
        simulator.send(Outbound("anna", "Да", "tag"))


def test_redis_away_is_certainly_not_kept(nowhere: redis.Redis) -> None:
    simulator = Simulator(account_id="demo", client=nowhere, conversation_id=conversation_id)

    with pytest.raises(TransientError, match="simulator_unreachable"):
        simulator.send(Outbound("anna", "Да", "tag"))
    with pytest.raises(LedgerUnavailableError, match="simulator_unreachable"):
        transcript(nowhere, "c_demo_anna")


def test_answer_that_redis_does_not_confirm_leaves_a_doubt(client: redis.Redis) -> None:
    class Silent(redis.Redis):
        """Loses the connection while it waits for the confirmation."""

        def pipeline(self, *_: object, **__: object) -> redis.client.Pipeline:
            raise redis.TimeoutError("no confirmation")

    silent = Silent(connection_pool=client.connection_pool)
    simulator = Simulator(account_id="demo", client=silent, conversation_id=conversation_id)

    with pytest.raises(AmbiguousError, match="simulator_unclear"):
        simulator.send(Outbound("anna", "Да", "tag"))


def _now_ms(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
