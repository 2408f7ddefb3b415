"""The queue of wake-ups: what a wake-up carries, and what a broker that is away raises."""

import json
from collections.abc import Iterator

import dramatiq
import pytest
import redis
from dramatiq.brokers.stub import StubBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.broker import build_broker
from actors.tasks import BrokerQueue
from batching.errors import LedgerUnavailableError, TransientError
from batching.keys import FLUSH_GATE
from batching.model import Stage, WakeUp
from tests.valkey_server import free_port

WAKE_UP = WakeUp("c_0123456789abcdef01234567", "b7", 2, Stage.SEND)


@pytest.fixture
def stub() -> StubBroker:
    broker = StubBroker(middleware=[])
    for name in ("flush", "generate", "send"):
        broker.declare_queue(name)
    return broker


@pytest.fixture
def absent() -> Iterator[redis.Redis]:
    """Return a client of an address where nothing listens."""
    with redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0), protocol=2) as connection:
        yield connection


def queued(broker: StubBroker, queue: str) -> list[dramatiq.Message[None]]:
    return [dramatiq.Message.decode(body) for body in list(broker.queues[queue].queue)]


def test_ring_names_batch_and_attempt_and_nothing_else(stub: StubBroker, client: redis.Redis):
    BrokerQueue(stub, client).enqueue(WAKE_UP)

    (message,) = queued(stub, "send")
    body = json.loads(message.encode())
    assert (body["actor_name"], body["args"], body["kwargs"], body["options"]) == (
        "send",
        ["c_0123456789abcdef01234567", "b7", 2],
        {},
        {},
    )


def test_many_schedulers_have_one_flush_outstanding(stub: StubBroker, client: redis.Redis):
    first, second = BrokerQueue(stub, client), BrokerQueue(stub, client)

    answers = [first.enqueue_flush(), second.enqueue_flush(), first.enqueue_flush()]

    assert answers == [True, False, False]
    assert len(queued(stub, "flush")) == 1


def test_flush_that_began_may_be_rung_for_again(stub: StubBroker, client: redis.Redis):
    queue = BrokerQueue(stub, client)
    queue.enqueue_flush()

    queue.flush_begins()

    assert queue.enqueue_flush() is True


def test_flush_that_never_begins_blocks_the_bell_for_seconds_only(
    stub: StubBroker, client: redis.Redis
):
    BrokerQueue(stub, client).enqueue_flush()

    assert 0 < client.pttl(FLUSH_GATE) <= 3_000


def test_broker_that_is_away_is_a_passing_failure(client: redis.Redis):
    broker = build_broker(f"redis://127.0.0.1:{free_port()}/1", client_name="test")

    with pytest.raises(TransientError, match="broker_away"):
        BrokerQueue(broker, client).enqueue(WAKE_UP)


def test_rabbitmq_that_is_away_is_a_passing_failure(client: redis.Redis):
    broker = build_broker(f"amqp://127.0.0.1:{free_port()}/", client_name="test")

    with pytest.raises(TransientError, match="broker_away"):
        BrokerQueue(broker, client).enqueue(WAKE_UP)


@pytest.mark.parametrize("verb", ["enqueue_flush", "flush_begins"])
def test_ledger_that_is_away_is_named(stub: StubBroker, absent: redis.Redis, verb: str):
    with pytest.raises(LedgerUnavailableError):
        getattr(BrokerQueue(stub, absent), verb)()
