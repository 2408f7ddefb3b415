"""Corrections of Dramatiq's defaults, one small middleware each."""

import logging
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import dramatiq.worker
import redis
from dramatiq import Worker
from dramatiq.broker import Broker, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import iter_queue
from dramatiq.middleware import Middleware
from dramatiq.worker import ConsumerThread

from batching.figures import Figures
from runtime.systemd import Systemd

log = logging.getLogger(__name__)

#: How often an idle consumer polls for wake-ups, ms. A hop then takes 10 ms on average and 21 ms at
#: the 99th percentile, for 55 polls a second and queue and 4 % of a core. With Dramatiq's default
#: of 1000 a hop takes 360 ms and more.
POLL_MS = 25
#: How long a consumer that lost its broker waits before it reconnects, s. Dramatiq's default of 3
#: is most of what a restart of the broker costs. Each attempt of each queue logs two lines.
RECONNECT_S = 1.0
#: How long a consumer may take to pass on what it had fetched before the shutdown, s.
SETTLE_S = 0.05
#: How often a starting worker checks whether it consumes, s.
READY_CHECK_S = 0.1
#: How long a worker that ends still tries to tell the ledger what only it knows, s.
LAST_TRIES_S = 4.0
#: How often a worker checks that its master is alive, s.
PARENT_CHECK_S = 1.0
#: A model call takes seconds, a send less than a second, a flush milliseconds.
WEIGHTS = {"generate": 5, "send": 2, "flush": 1}


def shares(worker: Worker) -> dict[str, int]:
    """Return how many of a worker's threads each queue may use: by weight, at least one each.

    The remainder goes to the heaviest queue.
    """
    threads = worker.worker_threads
    queues = worker.consumer_whitelist or worker.broker.get_declared_queues()
    weights = {queue: WEIGHTS.get(queue, 1) for queue in queues}
    whole = sum(weights.values())
    parts = {queue: max(1, threads * weight // whole) for queue, weight in weights.items()}
    heaviest = max(weights, key=weights.__getitem__)
    parts[heaviest] += max(0, threads - sum(parts.values()))
    return parts


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


class Consuming(Middleware):
    """Sets how consumers poll, reconnect and prefetch.

    Each queue has its own share of the threads: otherwise slow model calls could fill all of them
    and hold up flushes and finished replies. No more than that is prefetched: a wake-up would wait
    here while another process is idle.
    """

    def __init__(self) -> None:
        self._shares: dict[str, int] = {}

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Set the intervals before the consumers start, and divide the threads."""
        worker.worker_timeout = POLL_MS
        # Dramatiq's command has read ``dramatiq_restart_delay`` before any code of ours runs.
        dramatiq.worker.CONSUMER_RESTART_DELAY_SECS = RECONNECT_S
        self._shares = shares(worker)

    def after_consumer_thread_boot(self, broker: Broker, thread: ConsumerThread) -> None:  # noqa: ARG002
        """Limit the queue's messages in progress; runs before its first fetch."""
        thread.prefetch = self._shares.get(thread.queue_name, 1)


class FastDrain(Middleware):
    """Graceful shutdown: stop fetching, requeue what was prefetched.

    Dramatiq's consumers go on fetching while the last tasks run, which may take minutes, and what
    they fetch waits until those have ended. Pausing them would stop their heartbeats.
    """

    def before_worker_shutdown(self, broker: Any, worker: Worker) -> None:  # noqa: ANN401 - one of ours
        """Stop every consumer from fetching, and requeue the waiting wake-ups."""
        broker.drains = True
        time.sleep(SETTLE_S)
        waiting: defaultdict[str, list[MessageProxy]] = defaultdict(list)
        for item in iter_queue(worker.work_queue):  # type: ignore[no-untyped-call]
            waiting[item.message.queue_name].append(item.message)
        for queue_name, messages in waiting.items():
            worker.consumers[queue_name].requeue_messages(messages)


class LeaveWithMaster(Middleware):
    """Ends a worker whose master was killed: it would go on unsupervised, with old code."""

    def after_process_boot(self, broker: Broker) -> None:  # noqa: ARG002
        """Start watching the parent process."""
        master = os.getppid()

        def watch() -> None:
            while os.getppid() == master:
                time.sleep(PARENT_CHECK_S)
            log.error("worker.orphaned", extra={"master": master})
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="master-watch", daemon=True).start()


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


class Pauses(Middleware):
    """Lets a run wait for the ledger, and no longer than a little once the worker is to end.

    ``pauses(ms)`` waits and returns whether there is time for another try.
    """

    def __init__(self) -> None:
        self._ends = threading.Event()
        self._until_s = 0.0

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Give those that wait their last seconds."""
        self._until_s = time.monotonic() + LAST_TRIES_S
        self._ends.set()

    def __call__(self, ms: int) -> bool:
        """Wait; False if the worker ends and its last seconds are over."""
        if not self._ends.wait(ms / 1000):
            return True
        time.sleep(ms / 1000)
        return time.monotonic() < self._until_s


class Threads(Middleware):
    """Notes how many threads the process has for tasks, and how many of them have one."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Note how many there are."""
        self._figures.threads = worker.worker_threads

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002
        """Note that a thread begins."""
        self._figures.occupy(1)

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,  # noqa: ARG002
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,  # noqa: ARG002
    ) -> None:
        """Note that a thread is free again."""
        self._figures.occupy(-1)


class AtStop(Middleware):
    """Calls functions at shutdown: Dramatiq ends a worker by ``os._exit``, without atexit."""

    def __init__(self, *calls: Callable[[], object]) -> None:
        self._calls = calls

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Call them in order; if one fails the others still run."""
        for call in self._calls:
            try:
                call()
            except Exception:
                log.exception("worker.stop_failed")
