"""The same wake-ups through a real RabbitMQ."""

import threading
import time
from collections.abc import Iterator

import dramatiq
import pytest
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from actors.broker import build_broker
from actors.tasks import BrokerQueue
from batching.errors import TransientError
from batching.model import Stage, WakeUp
from tests.actors.conftest import DEADLINE_S, Workers, declare, draining
from tests.processes import Guard
from tests.rabbitmq_server import RabbitMQServer
from tests.waiting import eventually

pytestmark = pytest.mark.slow

WAKE_UP = WakeUp("c_0123456789abcdef01234567", "b7", 2, Stage.GENERATE)

#: Long enough for a consumer to take what it would take, s.
SETTLED_S = 0.5


@pytest.fixture
def rabbit_broker(rabbitmq: RabbitMQServer) -> Iterator[dramatiq.Broker]:
    broker = build_broker(rabbitmq.url, client_name="test")
    yield broker
    broker.close()


@pytest.fixture
def pair(
    rabbit_broker: dramatiq.Broker, rabbitmq: RabbitMQServer
) -> Iterator[tuple[dramatiq.Broker, dramatiq.Broker]]:
    """Return two brokers, as two processes would have them."""
    other = build_broker(rabbitmq.url, client_name="test")
    yield rabbit_broker, other
    other.close()


def counts(broker: dramatiq.Broker) -> tuple[int, int, int]:
    """Return how many wake-ups wait, are delayed, are dead."""
    found: tuple[int, int, int] = broker.get_queue_message_counts("generate")  # type: ignore[attr-defined]
    return found


def test_wake_up_is_answered(rabbit_broker: dramatiq.Broker, client: redis.Redis, workers: Workers):
    answered: list[object] = []
    answered_once = threading.Event()

    def generate(*args: object) -> None:
        answered.append(args)
        answered_once.set()

    declare(rabbit_broker, "generate", generate)
    workers(rabbit_broker)

    BrokerQueue(rabbit_broker, client).enqueue(WAKE_UP)

    assert answered_once.wait(DEADLINE_S)
    assert answered == [("c_0123456789abcdef01234567", "b7", 2)]


def test_wake_up_whose_processing_raised_is_dead_lettered_by_rabbitmq(
    rabbit_broker: dramatiq.Broker, workers: Workers
):
    def explode() -> None:
        raise ValueError("boom")

    actor = declare(rabbit_broker, "generate", explode)
    workers(rabbit_broker)
    before = counts(rabbit_broker)

    actor.send()

    eventually(lambda: counts(rabbit_broker) == (0, 0, before[2] + 1))


def test_draining_worker_leaves_what_it_has_not_begun_to_others_of_rabbitmq(
    pair: tuple[dramatiq.Broker, dramatiq.Broker], workers: Workers
):
    """A worker that stops has one slow job; a wake-up waits behind it, others come in."""
    sent, flushed = threading.Semaphore(0), threading.Semaphore(0)
    broker, other = pair

    with draining(broker, other, workers, send=sent.release, flush=flushed.release):
        eventually(lambda: broker.get_queue_message_counts("send")[0] == 1)  # type: ignore[attr-defined]
        workers(other, threads=3)
        for _ in range(4):
            other.get_actor("flush").send()
        taken_over = [sent.acquire(timeout=DEADLINE_S)]
        taken_over += [flushed.acquire(timeout=DEADLINE_S) for _ in range(4)]
    left = counts(broker)

    assert taken_over == [True] * 5
    assert left == (0, 0, left[2])  # what ran is acknowledged, although nothing is consumed


def test_worker_that_ends_before_it_consumes_takes_nothing_from_rabbitmq(
    pair: tuple[dramatiq.Broker, dramatiq.Broker],
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
):
    """One queue's connection comes up only when the worker drains already."""
    flushed, late = threading.Semaphore(0), threading.Event()
    broker, other = pair
    connect = RabbitmqBroker.consume

    def consume(self: dramatiq.Broker, queue_name: str, *given: object, **named: object) -> object:
        if self is broker and queue_name == "flush":
            late.wait(DEADLINE_S)
        return connect(self, queue_name, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(RabbitmqBroker, "consume", consume)

    with draining(broker, other, workers, send=lambda: None, flush=flushed.release):
        eventually(lambda: broker.get_queue_message_counts("send")[0] == 1)  # type: ignore[attr-defined]
        late.set()
        time.sleep(SETTLED_S)
        for _ in range(4):
            other.get_actor("flush").send()
        workers(other, threads=3)
        taken_over = [flushed.acquire(timeout=DEADLINE_S) for _ in range(4)]

    assert taken_over == [True] * 4


def test_rabbitmq_that_stopped_is_a_passing_failure(
    rabbitmq_script: str, guard: Guard, client: redis.Redis
):
    server = RabbitMQServer(rabbitmq_script, guard)
    server.start()
    broker = build_broker(server.url, client_name="test")
    queue = BrokerQueue(broker, client)
    queue.enqueue(WAKE_UP)

    server.stop()

    with pytest.raises(TransientError, match="broker_away"):
        queue.enqueue(WAKE_UP)
    broker.close()
