"""The messenger without a provider: what the page may post, and what it reads back."""

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
from batching.store import Store, server_ms
from channels.inbound import Parsed
from channels.simulator import KEPT_MAX, KEPT_MS, Simulator, conversation, parse

BODY = {"customer": "anna", "message_id": "m1", "text": "Привет 🙂"}


@pytest.fixture
def simulator(store: Store) -> Simulator:
    return Simulator("demo", store)


@pytest.fixture
def conversation_id(store: Store) -> str:
    return store.conversation_id("demo", "anna")


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
        (BODY | {"text": " \n"}, "text: has 2 characters, must have 1..65536"),
        (BODY | {"text": "\x00"}, "text: has 0 characters, must have 1..65536"),
        (BODY | {"text": "x" * 65_537}, "text: has 65537 characters, must have 1..65536"),
    ],
)
def test_body_of_another_form_is_named(body: object, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        parse(body, "demo")


def test_longest_text_is_taken_and_cleaned() -> None:
    (message,) = parse(BODY | {"text": "x" * 4095 + "\ud800\x00"}, "demo").events

    assert isinstance(message, InboundMessage)
    assert message.text == "x" * 4095 + "\ufffd"


def test_answers_are_shown_in_order(
    simulator: Simulator, client: redis.Redis, conversation_id: str
) -> None:
    before_ms = server_ms(client.time())
    ids = [
        simulator.send(Outbound("anna", "Да 🙂", "aa:c:b:0", ("m1", "m2"))),
        simulator.send(Outbound("anna", "a\ud800", "aa:c:b:1", ("m1", "m2"))),
        simulator.send(Outbound("boris", "Нет", "aa:d:b:0")),
    ]

    shown = conversation(client, conversation_id)

    times_ms = [answer.pop("at_ms") for answer in shown]
    assert ids == ["simulator:aa:c:b:0", "simulator:aa:c:b:1", "simulator:aa:d:b:0"]
    assert before_ms <= times_ms[0] <= times_ms[1] <= server_ms(client.time())
    assert shown == [
        {"from": "business", "id": f"{sent}:{at_ms}", "text": text, "answers": ["m1", "m2"]}
        for sent, at_ms, text in zip(ids, times_ms, ("Да 🙂", "a\ufffd"), strict=False)
    ]


def test_conversation_is_bounded_and_forgotten(
    simulator: Simulator, client: redis.Redis, conversation_id: str
) -> None:
    for number in range(KEPT_MAX + 5):
        simulator.send(Outbound("anna", str(number), f"tag-{number}"))

    shown = conversation(client, conversation_id)

    assert [answer["text"] for answer in shown] == [str(n) for n in range(5, KEPT_MAX + 5)]
    assert 0 < client.pttl(f"aa:simulator:{conversation_id}") <= KEPT_MS


def test_refused_answer_was_certainly_not_kept(
    simulator: Simulator, client: redis.Redis, conversation_id: str
) -> None:
    client.set(f"aa:simulator:{conversation_id}", "not a list")

    with pytest.raises(TransientError, match="simulator_refused"):
        simulator.send(Outbound("anna", "Да", "tag"))


def test_redis_away_is_certainly_not_kept(store: Store) -> None:
    store.client = redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))

    with pytest.raises(TransientError, match="simulator_unreachable"):
        Simulator("demo", store).send(Outbound("anna", "Да", "tag"))
    with pytest.raises(LedgerUnavailableError):
        conversation(store.client, "c_demo_anna")


def test_answer_that_redis_does_not_confirm_leaves_a_doubt(store: Store) -> None:
    class Silent(redis.Redis):
        """Loses the connection while it waits for the confirmation."""

        def pipeline(self, *_: object, **__: object) -> redis.client.Pipeline:
            raise redis.TimeoutError("no confirmation")

    store.client = Silent(connection_pool=store.client.connection_pool)

    with pytest.raises(AmbiguousError, match="simulator_unclear"):
        Simulator("demo", store).send(Outbound("anna", "Да", "tag"))
