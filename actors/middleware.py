"""What our workers do differently from Dramatiq's defaults: one small class for each correction."""

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

#: How often a starting worker looks whether it consumes, s.
LOOK_S = 0.1


class Readiness(Middleware):
    """Dramatiq calls a worker ready whose consumers have not reached any broker yet; we do not."""

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd
        self._over = threading.Event()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Wait, in the background, until every consumer has its queue."""
        threading.Thread(
            target=self._await, args=(broker, worker), name="readiness", daemon=True
        ).start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Tell that the end has begun: what runs is finished, nothing more is fetched."""
        self._over.set()
        self._systemd.stopping()

    def _await(self, broker: Broker, worker: Worker) -> None:
        while not _consumes(broker, worker):
            if self._over.wait(LOOK_S):
                return
        self._systemd.ready()


def _consumes(broker: Broker, worker: Worker) -> bool:
    if any(thread.consumer is None for thread in worker.consumers.values()):
        return False
    if not isinstance(broker, RedisBroker):
        return True  # A consumer of RabbitMQ is made of a connection.
    try:
        return bool(broker.client.ping())
    except redis.RedisError:
        return False


log = logging.getLogger(__name__)

#: How seldom an idle consumer may look for wake-ups, ms. A hop then takes 10 ms on average and 21
#: at the 99th percentile, for 55 looks a second and queue and 4 % of a core; Dramatiq's 1000 makes
#: a hop 360 ms and more.
POLL_MS = 25
#: How long a consumer that lost its broker waits before it looks for it again, s. Dramatiq's 3 is
#: most of what a restart of the broker costs; each look of each queue logs two lines.
RETURN_S = 1.0
#: How often a worker looks whether its master is alive, s.
PARENT_CHECK_S = 1.0


#: How long a consumer may take to hand over what it had fetched before it was told to stop, s.
SETTLE_S = 0.05


class FastDrain(Middleware):
    """Stops fetching at the first sign of a shutdown, and hands back what nobody has begun.

    Dramatiq's consumers fetch on while the last jobs run, which may take minutes, and what they
    fetch waits until those are done. Pausing them would stop their heartbeats.
    """

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Have no consumer fetch any more, and return the waiting wake-ups."""
        on_redis = isinstance(broker, RedisBroker)
        (_fetch_no_more if on_redis else _cancel_all)(broker, worker)
        time.sleep(SETTLE_S)
        waiting: defaultdict[str, list[MessageProxy]] = defaultdict(list)
        for item in iter_queue(worker.work_queue):  # type: ignore[no-untyped-call]
            waiting[item.message.queue_name].append(item.message)
        for queue_name, messages in waiting.items():
            thread = worker.consumers[queue_name]
            if on_redis:
                thread.requeue_messages(messages)
            else:
                _hand_back(thread, messages)


class IdleConsumer(Consumer):
    """Finds nothing, every ``timeout_ms``; what a consumer before it had, its broker has back."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms

    def __next__(self) -> None:
        """Return None after a while."""
        time.sleep(self._timeout_ms / 1000)

    def ack(self, message: MessageProxy) -> None:
        """Do nothing."""

    def nack(self, message: MessageProxy) -> None:
        """Do nothing."""


def _fetch_no_more(_: Broker, worker: Worker) -> None:
    for thread in worker.consumers.values():
        # One that connects only now, or again, goes by the thread's.
        thread.prefetch = 0
        consumer: Any = thread.consumer
        if consumer is not None:
            consumer.prefetch = 0


def _cancel_all(broker: Any, worker: Worker) -> None:  # noqa: ANN401 - ours, not in Dramatiq's types
    # Not by the prefetch: to RabbitMQ 0 means no limit at all.
    broker.drains = True
    for thread in worker.consumers.values():
        if thread.consumer is not None:
            _cancel(thread.consumer)


def _cancel(consumer: Any) -> None:  # noqa: ANN401 - Dramatiq's own, of RabbitMQ
    """Have RabbitMQ deliver no more; the channel stays, for what runs is acknowledged on it."""

    def cancel() -> None:
        for tag in consumer.channel.consumer_tags:
            consumer.channel.basic_cancel(tag)

    _in_its_thread(consumer, cancel)


def _hand_back(thread: ConsumerThread, messages: Sequence[Any]) -> None:
    """Return wake-ups to RabbitMQ now: by itself it has them back when the connection ends."""
    consumer: Any = thread.consumer
    if isinstance(consumer, IdleConsumer):
        return
    for message in messages:
        consumer.known_tags.discard(message._tag)  # noqa: SLF001 - where Dramatiq keeps it
        back = partial(consumer.channel.basic_nack, message._tag, requeue=True)  # noqa: SLF001
        _in_its_thread(consumer, back)


def _in_its_thread(consumer: Any, call: Any) -> None:  # noqa: ANN401
    # Nothing of pika may be called from another thread. One whose connection broke has nothing to
    # give back: RabbitMQ did that.
    if consumer.connection.is_open:
        consumer.connection.add_callback_threadsafe(call)


def middleware(at_stop: Sequence[Callable[[], object]] = ()) -> list[Middleware]:
    """Return all that runs around a wake-up. ``at_stop``: see AtStop."""
    return [
        FailuresToDeadLetters(),
        PromptPickUp(),
        PromptReturn(),
        ThreadShares(),
        FastDrain(),
        LeaveWithMaster(),
        AtStop(at_stop),
    ]


class FailuresToDeadLetters(Middleware):
    """Rejects a wake-up whose processing raised: Dramatiq alone acknowledges it as a success."""

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """Mark the wake-up for the dead letters if there was an exception."""
        if exception is not None:
            message.fail()


class PromptPickUp(Middleware):
    """Makes idle consumers look for wake-ups every few milliseconds."""

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Set the polling time before the consumers start."""
        worker.worker_timeout = POLL_MS


class PromptReturn(Middleware):
    """Makes consumers come back soon after their broker did.

    Dramatiq reads ``dramatiq_restart_delay`` when it is imported, which its own command does
    before it knows of us; in a unit's environment it would be forgotten wherever else we run.
    """

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Set the pause before the consumers start."""
        dramatiq.worker.CONSUMER_RESTART_DELAY_SECS = RETURN_S


class ThreadShares(Middleware):
    """Gives each queue threads of its own, and fetches nothing that no thread is free for.

    Slow model calls could otherwise fill every thread, and neither flushes nor finished replies
    would move; and a wake-up fetched ahead would wait here while another process is idle.
    """

    def __init__(self) -> None:
        self._shares: dict[str, int] = {}

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Share out the threads among the queues that this worker serves."""
        queues = worker.consumer_whitelist or broker.get_declared_queues()
        self._shares = shares(worker.worker_threads, queues)

    def after_consumer_thread_boot(self, broker: Broker, thread: ConsumerThread) -> None:  # noqa: ARG002
        """Bound what the queue may have in progress; runs before its first fetch."""
        thread.prefetch = self._shares.get(thread.queue_name, 1)


#: A model call takes seconds, a send a fraction of one, a flush milliseconds.
WEIGHTS = {"generate": 5, "send": 2, "flush": 1}


def shares(threads: int, queues: set[str]) -> dict[str, int]:
    """Return how many of ``threads`` each queue may use: by its weight, at least one.

    What rounding leaves over goes to the heaviest queue.
    """
    weights = {queue: WEIGHTS.get(queue, 1) for queue in queues}
    whole = sum(weights.values())
    parts = {queue: max(1, threads * weight // whole) for queue, weight in weights.items()}
    heaviest = max(weights, key=weights.__getitem__)
    parts[heaviest] += max(0, threads - sum(parts.values()))
    return parts


class LeaveWithMaster(Middleware):
    """Ends a worker process whose master was killed: it would consume on, unseen, with old code."""

    def after_process_boot(self, broker: Broker) -> None:  # noqa: ARG002
        """Start to watch the parent process."""
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
    """Calls what must happen before the process ends: it ends in ``os._exit``, without atexit."""

    def __init__(self, calls: Sequence[Callable[[], object]]) -> None:
        self._calls = tuple(calls)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Call them in order; one that fails does not keep the others from running."""
        for call in self._calls:
            try:
                call()
            except Exception:
                log.exception("worker.stop_failed")
