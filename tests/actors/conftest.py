"""A broker on the tests' server, workers that are always stopped, and a way to wait for a fact."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dramatiq
import pytest
import redis
from dramatiq import Worker

from actors.broker import WakeUpBroker, build_broker
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

#: How long a fact may take to come true on a busy machine.
DEADLINE_S = 10.0

Brokers = Callable[[], WakeUpBroker]
Workers = Callable[..., Worker]


def declare(
    broker: dramatiq.Broker, name: str, action: Callable[..., None]
) -> dramatiq.Actor[..., None]:
    """Return an actor on the queue of its name."""
    return dramatiq.actor(broker=broker, actor_name=name, queue_name=name)(action)


def block(release: threading.Event) -> None:
    release.wait(DEADLINE_S * 4)


@contextmanager
def draining(
    broker: dramatiq.Broker,
    other: dramatiq.Broker,
    workers: Workers,
    **actions: Callable[..., None],
) -> Iterator[None]:
    """Have a worker of ``broker`` stop for the body, with one slow job; a send waits behind it.

    ``actions``: what both brokers' actors do beside it, by the names of their queues.
    """
    release, begun = threading.Event(), threading.Event()

    def generate() -> None:
        begun.set()
        block(release)

    for name, action in {"generate": generate, **actions}.items():
        declare(broker, name, action)
        declare(other, name, action)
    worker = workers(broker, threads=1)
    broker.get_actor("generate").send()
    assert begun.wait(DEADLINE_S)
    broker.get_actor("send").send()
    eventually(lambda: not worker.work_queue.empty())

    stopping = threading.Thread(target=worker.stop, daemon=True)
    stopping.start()
    try:
        yield
    finally:
        release.set()
        stopping.join()


@pytest.fixture
def brokers(valkey: ValkeyServer, client: redis.Redis) -> Iterator[Brokers]:
    """Return a maker of brokers, each as another process would have it; ``client`` empties all."""
    assert client.dbsize() == 0
    made: list[WakeUpBroker] = []

    def make() -> WakeUpBroker:
        broker = build_broker(valkey.url(1), client_name="test")
        assert isinstance(broker, WakeUpBroker)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.client.close()


@pytest.fixture
def broker(brokers: Brokers) -> WakeUpBroker:
    return brokers()


@pytest.fixture
def queues(valkey: ValkeyServer, broker: WakeUpBroker) -> Iterator[redis.Redis]:
    """Return a client of the database of ``broker``."""
    assert broker.get_declared_queues() == set()
    with valkey.client(1) as connection:
        yield connection


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Return a starter of workers, each as ``dramatiq actors:main`` would run it."""
    running: list[Worker] = []

    def start(broker: dramatiq.Broker, *, threads: int = 8) -> Worker:
        worker = Worker(broker, worker_threads=threads)
        worker.start()
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.stop(timeout=5_000)
