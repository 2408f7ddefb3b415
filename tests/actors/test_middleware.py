"""The corrections of Dramatiq, with its real worker on a real server."""

import logging
import threading

import pytest
import redis
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from actors.broker import WakeUpBroker, build_broker
from actors.middleware import POLL_MS, AtStop, shares
from tests.actors.conftest import DEADLINE_S, Brokers, Workers, block, declare, draining
from tests.valkey_server import free_port
from tests.waiting import eventually


def dead_letters(queues: redis.Redis, queue: str) -> int:
    return queues.hlen(f"dramatiq:{queue}.XQ.msgs")


def test_wake_up_whose_processing_raised_is_dead_lettered(
    broker: WakeUpBroker, queues: redis.Redis, workers: Workers
):
    """Dramatiq without its Retries acknowledges a failure as if it were a success."""

    def explode() -> None:
        raise ValueError("boom")

    actor = declare(broker, "generate", explode)
    workers(broker)

    actor.send()

    eventually(lambda: queues.hlen("dramatiq:generate.msgs") == 0)
    assert dead_letters(queues, "generate") == 1


def test_wake_up_with_foreign_arguments_is_dead_lettered(
    broker: WakeUpBroker, queues: redis.Redis, workers: Workers
):
    """Another release may enqueue arguments that this one does not take."""
    actor = declare(broker, "send", lambda _batch_id: None)
    workers(broker)

    broker.enqueue(actor.message_with_options(args=("b1", "more")))

    eventually(lambda: queues.hlen("dramatiq:send.msgs") == 0)
    assert dead_letters(queues, "send") == 1


def test_acknowledged_wake_up_leaves_nothing_behind(
    broker: WakeUpBroker, queues: redis.Redis, workers: Workers
):
    answered = threading.Event()
    actor = declare(broker, "flush", answered.set)
    workers(broker)

    actor.send()

    assert answered.wait(DEADLINE_S)
    eventually(lambda: queues.keys("dramatiq:*flush*") == [])


def test_consumer_that_lost_its_broker_looks_for_it_every_second(
    workers: Workers, caplog: pytest.LogCaptureFixture
):
    """Also under Dramatiq's own command, which has imported its three seconds by then."""
    caplog.set_level(logging.INFO, "dramatiq")
    broker = build_broker(f"redis://127.0.0.1:{free_port()}/1", client_name="test")
    declare(broker, "flush", lambda: None)

    workers(broker)

    eventually(lambda: "Restarting consumer in 1.00 seconds." in caplog.messages)


def test_draining_worker_leaves_what_it_has_not_begun_to_others(brokers: Brokers, workers: Workers):
    """A worker that stops has one slow job; a wake-up waits behind it, another comes in."""
    sent, flushed = threading.Event(), threading.Event()
    broker, other = brokers(), brokers()

    with draining(broker, other, workers, send=sent.set, flush=flushed.set):
        eventually(lambda: broker.client.llen("dramatiq:send") == 1)
        broker.get_actor("flush").send()
        workers(other, threads=3)
        taken_over = sent.wait(DEADLINE_S), flushed.wait(DEADLINE_S)

    assert taken_over == (True, True)


def test_slow_generations_leave_threads_for_flush_and_send(broker: WakeUpBroker, workers: Workers):
    release = threading.Event()
    flushed, sent = threading.Event(), threading.Event()
    generate = declare(broker, "generate", lambda: block(release))
    flush = declare(broker, "flush", flushed.set)
    send = declare(broker, "send", sent.set)
    workers(broker, threads=8)

    for _ in range(20):
        generate.send()
    eventually(lambda: broker.client.llen("dramatiq:generate") < 20)
    flush.send()
    send.send()
    moved = flushed.wait(DEADLINE_S), sent.wait(DEADLINE_S)
    release.set()

    assert moved == (True, True)


def test_worker_fetches_no_more_than_its_threads_can_begin(broker: WakeUpBroker, workers: Workers):
    release, begun = threading.Event(), threading.Semaphore(0)

    def generate() -> None:
        begun.release()
        block(release)

    actor = declare(broker, "generate", generate)
    for _ in range(10):
        actor.send()

    workers(broker, threads=4)
    for _ in range(4):
        assert begun.acquire(timeout=DEADLINE_S)
    waiting = broker.client.llen("dramatiq:generate")
    release.set()

    assert waiting == 6


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


def test_idle_consumers_look_every_few_milliseconds(broker: WakeUpBroker, workers: Workers):
    declare(broker, "flush", lambda: None)

    worker = workers(broker)

    assert {name: c.worker_timeout for name, c in worker.consumers.items()} == {"flush": POLL_MS}


def test_no_consumer_waits_for_delayed_wake_ups(broker: WakeUpBroker, workers: Workers):
    for name in ("flush", "generate", "send"):
        declare(broker, name, lambda: None)

    worker = workers(broker)

    assert set(worker.consumers) == {"flush", "generate", "send"}


def test_every_call_at_stop_is_made_though_one_fails(broker: WakeUpBroker, workers: Workers):
    calls: list[str] = []

    def fail() -> None:
        calls.append("first")
        raise OSError("away")

    broker.add_middleware(AtStop(fail, lambda: calls.append("second")))
    declare(broker, "flush", lambda: None)

    workers(broker).stop()

    assert calls == ["first", "second"]
