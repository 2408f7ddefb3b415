"""Brokers on the tests' servers, workers that are always stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dramatiq
import pytest
import redis
from dramatiq import Worker

from actors.broker import WakeUpBroker, build_broker
from tests.rabbitmq_server import RabbitMQServer
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

#: How long a fact may take to come true on a busy machine.
DEADLINE_S = 10.0

Brokers = Callable[[], dramatiq.Broker]
Workers = Callable[..., Worker]


def declare(broker: dramatiq.Broker, **actions: Callable[..., object]) -> None:
    """Declare an actor on the queue of its name for each action."""
    for name, action in actions.items():
        dramatiq.actor(broker=broker, actor_name=name, queue_name=name)(action)


def counts(broker: dramatiq.Broker, queue: str) -> tuple[int, int]:
    """Return how many wake-ups wait and how many are dead."""
    if isinstance(broker, WakeUpBroker):
        waiting, dead = f"dramatiq:{queue}", f"dramatiq:{queue}.XQ.msgs"
        return broker.client.llen(waiting), broker.client.hlen(dead)
    waiting, _, dead = broker.get_queue_message_counts(queue)  # type: ignore[attr-defined]
    return waiting, dead


@contextmanager
def draining(
    broker: dramatiq.Broker,
    other: dramatiq.Broker,
    workers: Workers,
    **actions: Callable[..., object],
) -> Iterator[None]:
    """Have a worker of ``broker`` stop for the body, with one slow job; a send waits behind it.

    ``actions``: what both brokers' actors do beside it, by the names of their queues.
    """
    release, begun = threading.Event(), threading.Event()

    def generate() -> None:
        begun.set()
        release.wait(DEADLINE_S * 4)

    for one in (broker, other):
        declare(one, generate=generate, **actions)
    worker = workers(broker, threads=1)
    broker.get_actor("generate").send()
    assert begun.wait(DEADLINE_S)
    broker.get_actor("send").send()
    eventually(lambda: not worker.work_queue.empty())

    stopping = threading.Thread(target=worker.stop, daemon=True)
    stopping.start()
    try:
        yield
        assert stopping.is_alive(), "the worker ended before the body did"
    finally:
        release.set()
        stopping.join()


@pytest.fixture(scope="module", params=["redis", pytest.param("rabbitmq", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    """Return the address of a broker of each kind."""
    if request.param == "redis":
        valkey: ValkeyServer = request.getfixturevalue("valkey")
        return valkey.url(1)
    rabbitmq: RabbitMQServer = request.getfixturevalue("rabbitmq")
    return rabbitmq.url


@pytest.fixture
def brokers(url: str, client: redis.Redis) -> Iterator[Brokers]:
    """Return a maker of brokers, each as another process would have it, with empty queues."""
    assert client.dbsize() == 0
    made: list[dramatiq.Broker] = []

    def make() -> dramatiq.Broker:
        made.append(build_broker(url, client_name="test"))
        return made[-1]

    yield make
    for broker in made:
        broker.flush_all()
        broker.close()


@pytest.fixture
def broker(brokers: Brokers) -> dramatiq.Broker:
    return brokers()


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Return a starter of workers, each as ``python -m actors`` would run it."""
    running: list[Worker] = []

    def start(broker: dramatiq.Broker, *, threads: int = 8) -> Worker:
        worker = Worker(broker, worker_threads=threads)
        worker.start()
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.stop(timeout=5_000)
