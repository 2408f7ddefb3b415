"""Wake-ups through a real Redis and a real RabbitMQ, with Dramatiq's real worker."""

import runpy
import shutil
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dramatiq
import pytest
import redis
from dramatiq import Worker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.stub import StubBroker
from pika.exceptions import AMQPError

from actors.broker import WakeUpBroker, build_broker
from actors.middleware import POLL_MS, AtStop, Threads, shares
from actors.tasks import BrokerQueue
from batching.errors import TransientError
from batching.figures import Figures
from batching.model import Stage, WakeUp
from tests.actors.conftest import DEADLINE_S, Brokers, Workers, counts, declare, draining
from tests.processes import Guard, started
from tests.rabbitmq_server import RabbitMQServer
from tests.repository import ROOT
from tests.valkey_server import free_port
from tests.waiting import eventually

WAKE_UP = WakeUp("c_0123456789abcdef01234567", "b7", 2, Stage.GENERATE)
#: Long enough for a consumer to take what it would take, s.
SETTLED_S = 0.5


def test_wake_up_is_answered_and_leaves_nothing_behind(
    broker: dramatiq.Broker, client: redis.Redis, workers: Workers
):
    answered: list[object] = []
    declare(broker, generate=lambda *args: answered.append(args))
    worker = workers(broker)

    BrokerQueue(broker, client).enqueue(WAKE_UP)

    eventually(lambda: answered)
    worker.stop()
    broker.join("generate", timeout=int(DEADLINE_S * 1000))  # raises if anything is unacknowledged
    assert answered == [("c_0123456789abcdef01234567", "b7", 2)]
    assert counts(broker, "generate") == (0, 0)


def explode() -> None:
    raise ValueError("boom")


@pytest.mark.parametrize(
    ("action", "args"),
    [
        pytest.param(explode, (), id="its processing raised"),
        pytest.param(lambda _batch_id: None, ("b1", "more"), id="another release's arguments"),
    ],
)
def test_wake_up_that_fails_is_dead_lettered(
    broker: dramatiq.Broker, workers: Workers, action, args
):
    """Dramatiq without its Retries acknowledges a failure as if it were a success."""
    declare(broker, generate=action)
    worker = workers(broker)

    broker.get_actor("generate").send(*args)

    eventually(lambda: counts(broker, "generate") == (0, 1))
    worker.stop()
    assert counts(broker, "generate") == (0, 1)


def test_draining_worker_leaves_what_it_has_not_begun_to_others(brokers: Brokers, workers: Workers):
    """A worker that stops has one slow job; a wake-up waits behind it, others come in."""
    sent, flushed = threading.Semaphore(0), threading.Semaphore(0)
    broker, other = brokers(), brokers()

    with draining(broker, other, workers, send=sent.release, flush=flushed.release):
        eventually(lambda: counts(broker, "send") == (1, 0))
        for _ in range(4):
            other.get_actor("flush").send()
        workers(other, threads=3)
        taken_over = [sent.acquire(timeout=DEADLINE_S)]
        taken_over += [flushed.acquire(timeout=DEADLINE_S) for _ in range(4)]

    assert taken_over == [True] * 5
    assert counts(broker, "generate") == (0, 0)  # what ran is acknowledged


def test_worker_that_ends_before_it_consumes_takes_nothing(
    brokers: Brokers, workers: Workers, monkeypatch: pytest.MonkeyPatch
):
    """One queue's connection comes up only when the worker drains already."""
    flushed, late = threading.Semaphore(0), threading.Event()
    broker, other = brokers(), brokers()
    connect = type(broker).consume

    def consume(self: dramatiq.Broker, queue_name: str, *given: object, **named: object) -> object:
        if self is broker and queue_name == "flush":
            late.wait(DEADLINE_S)
        return connect(self, queue_name, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(type(broker), "consume", consume)

    with draining(broker, other, workers, send=lambda: None, flush=flushed.release):
        eventually(lambda: counts(broker, "send") == (1, 0))
        late.set()
        time.sleep(SETTLED_S)
        for _ in range(4):
            other.get_actor("flush").send()
        workers(other, threads=3)
        taken_over = [flushed.acquire(timeout=DEADLINE_S) for _ in range(4)]

    assert taken_over == [True] * 4


def test_slow_generations_leave_threads_for_flush_and_send_and_wake_ups_for_other_workers(
    broker: dramatiq.Broker, workers: Workers
):
    """Five of eight threads generate; what they cannot begin is not fetched."""
    release, begun = threading.Event(), threading.Semaphore(0)
    flushed, sent = threading.Event(), threading.Event()

    def generate() -> None:
        begun.release()
        release.wait(DEADLINE_S * 4)

    declare(broker, generate=generate, flush=flushed.set, send=sent.set)
    workers(broker, threads=8)

    for _ in range(20):
        broker.get_actor("generate").send()
    generating = [begun.acquire(timeout=DEADLINE_S) for _ in range(5)]
    broker.get_actor("flush").send()
    broker.get_actor("send").send()
    moved = flushed.wait(DEADLINE_S), sent.wait(DEADLINE_S)
    waiting, _ = counts(broker, "generate")
    release.set()

    assert generating == [True] * 5
    assert moved == (True, True)
    assert waiting == 15


@pytest.mark.parametrize(
    ("threads", "queues", "expected"),
    [
        (8, {"flush", "generate", "send"}, {"flush": 1, "generate": 5, "send": 2}),
        (16, {"flush", "generate", "send"}, {"flush": 2, "generate": 10, "send": 4}),
        (9, {"flush", "generate", "send"}, {"flush": 1, "generate": 6, "send": 2}),
        (1, {"flush", "generate", "send"}, {"flush": 1, "generate": 1, "send": 1}),
        (32, {"generate"}, {"generate": 32}),
        (3, {"flush", "send"}, {"flush": 1, "send": 2}),
    ],
)
def test_threads_are_shared_by_weight(threads, queues, expected):
    worker = Worker(StubBroker(middleware=[]), queues=queues, worker_threads=threads)

    assert shares(worker) == expected


def test_idle_consumers_look_often_and_none_waits_for_delayed_wake_ups(
    broker: dramatiq.Broker, workers: Workers
):
    names = ("flush", "generate", "send")
    declare(broker, **dict.fromkeys(names, lambda: None))

    consumers = workers(broker).consumers

    assert {name: consumers[name].worker_timeout for name in consumers} == dict.fromkeys(
        names, POLL_MS
    )


def test_threads_with_a_task_are_counted_and_wake_ups_that_nobody_has_taken(
    broker: WakeUpBroker, workers: Workers
):
    """By what the broker itself says: it is another one for each of Dramatiq's brokers."""
    figures, release = Figures(), threading.Event()
    broker.add_middleware(Threads(figures))
    declare(broker, generate=lambda: release.wait(DEADLINE_S), send=lambda: None)
    for _ in range(2):
        broker.get_actor("generate").send()

    waiting = broker.waiting(("generate", "send"))
    workers(broker, threads=3)
    eventually(lambda: figures.busy == 2)
    threads = figures.threads
    release.set()
    eventually(lambda: figures.busy == 0)

    assert (waiting, threads) == ({"generate": 2, "send": 0}, 3)
    assert broker.waiting(("generate",)) == {"generate": 0}


def test_every_call_at_stop_is_made_though_one_fails(broker: dramatiq.Broker, workers: Workers):
    calls: list[str] = []

    def fail() -> None:
        calls.append("first")
        raise OSError("away")

    broker.add_middleware(AtStop(fail, lambda: calls.append("second")))
    declare(broker, flush=lambda: None)

    workers(broker).stop()

    assert calls == ["first", "second"]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_that_is_away_is_a_passing_failure(client: redis.Redis, scheme: str):
    broker = build_broker(f"{scheme}://127.0.0.1:{free_port()}/1", client_name="test")

    with pytest.raises(TransientError, match="broker_away"):
        BrokerQueue(broker, client).enqueue(WAKE_UP)


@pytest.mark.slow
def test_rabbitmq_that_stopped_is_a_passing_failure(
    rabbitmq_script: str, guard: Guard, client: redis.Redis
):
    with started(RabbitMQServer(rabbitmq_script, guard)) as server:
        broker = build_broker(server.url, client_name="test")
        queue = BrokerQueue(broker, client)
        queue.enqueue(WAKE_UP)

    for _ in range(2):
        with pytest.raises(AMQPError):
            broker.waiting(("generate",))  # type: ignore[attr-defined]
    with pytest.raises(TransientError, match="broker_away"):
        queue.enqueue(WAKE_UP)
    broker.close()


def test_broker_confirms_deliveries_to_rabbitmq():
    broker = build_broker("amqp://127.0.0.1:1/", client_name="test")

    assert isinstance(broker, RabbitmqBroker)
    assert broker.confirm_delivery is True


def test_authority_that_is_replaced_is_read_at_the_next_connection(tmp_path: Path):
    """Processes need not be started again when the broker's authority changes."""
    make = runpy.run_path(str(ROOT / "ansible/roles/ledger/files/certificates.py"))["main"]
    file = tmp_path / "broker-ca.pem"
    options = urlencode({"ssl_options": f"{{'ca_certs': '{file}'}}"})
    seen: list[str] = []
    for name in ("before", "after"):
        make(tmp_path / name, "broker=broker.example")
        shutil.copy(tmp_path / name / "ca.pem", file)
        if not seen:
            broker: Any = build_broker(f"amqps://user:p@broker.example/?{options}", client_name="x")
        (authority,) = broker.parameters.ssl_options.context.get_ca_certs()
        seen.append(authority["serialNumber"])

    assert seen[0] != seen[1]
