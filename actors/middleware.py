"""Corrections of Dramatiq's defaults, one small middleware each."""

import logging
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dramatiq.worker
import redis
from dramatiq import Worker
from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import iter_queue
from dramatiq.middleware import Middleware
from dramatiq.worker import ConsumerThread

from runtime.systemd import Systemd

log = logging.getLogger(__name__)

#: How often an idle consumer polls for wake-ups, ms. A hop then takes 10 ms on average and 21 ms at
#: the 99th percentile, for 55 polls a second and queue and 4 % of a core. With Dramatiq's default
#: of 1000 a hop takes 360 ms and more.
POLL_MS = 25
#: How long a consumer that lost its broker waits before it reconnects, s. Dramatiq's default of 3
#: is most of what a restart of the broker costs. Each attempt of each queue logs two lines.
RECONNECT_S = 1.0
#: How often a worker checks that its master is alive, s.
PARENT_CHECK_S = 1.0


def middleware(at_stop: Sequence[Callable[[], object]] = ()) -> list[Middleware]:
    """Return the middleware of a worker. ``at_stop``: see AtStop."""
    return [
        FailuresToDeadLetters(),
        FastPolling(),
        FastReconnect(),
        ThreadShares(),
        FastDrain(),
        LeaveWithMaster(),
        AtStop(at_stop),
    ]


class FailuresToDeadLetters(Middleware):
    """Rejects a wake-up whose task raised; without retries Dramatiq would acknowledge it."""

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """Move the wake-up to the broker's dead letters if there was an exception."""
        if exception is not None:
            message.fail()


class FastPolling(Middleware):
    """Polls for wake-ups every POLL_MS."""

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Set the interval before the consumers start."""
        worker.worker_timeout = POLL_MS


class FastReconnect(Middleware):
    """Reconnects consumers RECONNECT_S after they lost the broker.

    Dramatiq reads ``dramatiq_restart_delay`` from the environment when it is imported, which its
    command does before any code of ours runs, so it is set here for every way of starting.
    """

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Set the delay before the consumers start."""
        dramatiq.worker.CONSUMER_RESTART_DELAY_SECS = RECONNECT_S


class ThreadShares(Middleware):
    """Gives each queue its own share of the threads, and prefetches no more than that.

    Otherwise slow model calls could fill every thread and hold up flushes and finished replies,
    and a prefetched wake-up would wait here while another process is idle.
    """

    def __init__(self) -> None:
        self._shares: dict[str, int] = {}

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Divide the threads among the queues that this worker serves."""
        queues = worker.consumer_whitelist or broker.get_declared_queues()
        self._shares = shares(worker.worker_threads, queues)

    def after_consumer_thread_boot(self, broker: Broker, thread: ConsumerThread) -> None:  # noqa: ARG002
        """Limit the queue's messages in progress; runs before its first fetch."""
        thread.prefetch = self._shares.get(thread.queue_name, 1)


#: A model call takes seconds, a send less than a second, a flush milliseconds.
WEIGHTS = {"generate": 5, "send": 2, "flush": 1}


def shares(threads: int, queues: set[str]) -> dict[str, int]:
    """Return how many of ``threads`` each queue may use: by weight, at least one each.

    The remainder goes to the heaviest queue.
    """
    weights = {queue: WEIGHTS.get(queue, 1) for queue in queues}
    whole = sum(weights.values())
    parts = {queue: max(1, threads * weight // whole) for queue, weight in weights.items()}
    heaviest = max(weights, key=weights.__getitem__)
    parts[heaviest] += max(0, threads - sum(parts.values()))
    return parts


#: How long a consumer may take to pass on what it had fetched before the shutdown, s.
SETTLE_S = 0.05


class FastDrain(Middleware):
    """Graceful shutdown: stop fetching, requeue what was prefetched.

    Dramatiq's consumers go on fetching while the last tasks run, which may take minutes, and what
    they fetch waits until those have ended. Pausing them would stop their heartbeats.
    """

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Stop every consumer from fetching, and requeue the waiting wake-ups."""
        on_redis = isinstance(broker, RedisBroker)
        (_stop_fetching if on_redis else _cancel_consumers)(broker, worker)
        time.sleep(SETTLE_S)
        waiting: defaultdict[str, list[MessageProxy]] = defaultdict(list)
        for item in iter_queue(worker.work_queue):  # type: ignore[no-untyped-call]
            waiting[item.message.queue_name].append(item.message)
        for queue_name, messages in waiting.items():
            thread = worker.consumers[queue_name]
            if on_redis:
                thread.requeue_messages(messages)
            else:
                _requeue_to_rabbitmq(thread, messages)


class IdleConsumer(Consumer):
    """Returns nothing every ``timeout_ms``: for a worker that shuts down."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms

    def __next__(self) -> None:
        """Return None after ``timeout_ms``."""
        time.sleep(self._timeout_ms / 1000)

    def ack(self, message: MessageProxy) -> None:
        """Do nothing."""

    def nack(self, message: MessageProxy) -> None:
        """Do nothing."""


def _stop_fetching(_: Broker, worker: Worker) -> None:
    for thread in worker.consumers.values():
        # A consumer that connects later takes its prefetch from the thread.
        thread.prefetch = 0
        consumer: Any = thread.consumer
        if consumer is not None:
            consumer.prefetch = 0


def _cancel_consumers(broker: Any, worker: Worker) -> None:  # noqa: ANN401 - ours, not in Dramatiq's types
    # Not by prefetch: for RabbitMQ 0 means no limit.
    broker.drains = True
    for thread in worker.consumers.values():
        if thread.consumer is not None:
            _cancel(thread.consumer)


def _cancel(consumer: Any) -> None:  # noqa: ANN401 - Dramatiq's own, of RabbitMQ
    """Stop deliveries; the channel stays open to acknowledge the tasks that still run."""

    def cancel() -> None:
        for tag in consumer.channel.consumer_tags:
            consumer.channel.basic_cancel(tag)

    _run_in_consumer_thread(consumer, cancel)


def _requeue_to_rabbitmq(thread: ConsumerThread, messages: Sequence[Any]) -> None:
    """Requeue wake-ups now; RabbitMQ itself would do so only when the connection ends."""
    consumer: Any = thread.consumer
    if isinstance(consumer, IdleConsumer):
        return
    for message in messages:
        consumer.known_tags.discard(message._tag)  # noqa: SLF001 - where Dramatiq keeps it
        back = partial(consumer.channel.basic_nack, message._tag, requeue=True)  # noqa: SLF001
        _run_in_consumer_thread(consumer, back)


def _run_in_consumer_thread(consumer: Any, call: Any) -> None:  # noqa: ANN401
    # pika is not thread-safe. If the connection broke, RabbitMQ has requeued everything already.
    if consumer.connection.is_open:
        consumer.connection.add_callback_threadsafe(call)


#: How often a starting worker checks whether it consumes, s.
READY_CHECK_S = 0.1


class Readiness(Middleware):
    """Reports readiness to systemd when every consumer has reached the broker, not before."""

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd
        self._over = threading.Event()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Wait in the background until every consumer has its queue."""
        threading.Thread(
            target=self._await, args=(broker, worker), name="readiness", daemon=True
        ).start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Report to systemd that the shutdown has begun."""
        self._over.set()
        self._systemd.stopping()

    def _await(self, broker: Broker, worker: Worker) -> None:
        while not _consumes(broker, worker):
            if self._over.wait(READY_CHECK_S):
                return
        self._systemd.ready()


def _consumes(broker: Broker, worker: Worker) -> bool:
    if any(thread.consumer is None for thread in worker.consumers.values()):
        return False
    if not isinstance(broker, RedisBroker):
        return True  # A RabbitMQ consumer exists only on an open connection.
    try:
        return bool(broker.client.ping())
    except redis.RedisError:
        return False


class LeaveWithMaster(Middleware):
    """Ends a worker whose master was killed: it would go on unsupervised, with old code."""

    def after_process_boot(self, broker: Broker) -> None:  # noqa: ARG002
        """Start watching the parent process."""
        parent = os.getppid()
        threading.Thread(
            target=_leave_after, args=(parent,), name="master-watch", daemon=True
        ).start()


def _leave_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    log.error("worker.orphaned", extra={"master": parent})
    os.kill(os.getpid(), signal.SIGTERM)


class AtStop(Middleware):
    """Calls functions at shutdown: Dramatiq ends a worker by ``os._exit``, without atexit."""

    def __init__(self, calls: Sequence[Callable[[], object]]) -> None:
        self._calls = tuple(calls)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Call them in order; if one fails the others still run."""
        for call in self._calls:
            try:
                call()
            except Exception:
                log.exception("worker.stop_failed")
