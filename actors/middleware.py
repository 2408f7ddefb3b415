"""What our workers do differently from Dramatiq's defaults: one small class for each correction."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import dramatiq.worker
from dramatiq import Worker
from dramatiq.broker import Broker, MessageProxy
from dramatiq.middleware import Middleware
from dramatiq.worker import ConsumerThread

from actors.drain import FastDrain

log = logging.getLogger(__name__)

#: How seldom an idle consumer may look for doorbells, ms. A hop then takes 10 ms on average and 21
#: at the 99th percentile, for 55 looks a second and queue and 4 % of a core; Dramatiq's 1000 makes
#: a hop 360 ms and more.
POLL_MS = 25
#: How long a consumer that lost its broker waits before it looks for it again, s. Dramatiq's 3 is
#: most of what a restart of the broker costs; each look of each queue logs two lines.
RETURN_S = 1.0
#: How often a worker looks whether its master is alive, s.
PARENT_CHECK_S = 1.0


def middleware(at_stop: Sequence[Callable[[], object]] = ()) -> list[Middleware]:
    """Return all that runs around a doorbell. ``at_stop``: see AtStop."""
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
    """Rejects a doorbell whose processing raised: Dramatiq alone acknowledges it as a success."""

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002
        exception: BaseException | None = None,
    ) -> None:
        """Mark the doorbell for the dead letters if there was an exception."""
        if exception is not None:
            message.fail()


class PromptPickUp(Middleware):
    """Makes idle consumers look for doorbells every few milliseconds."""

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
    would move; and a doorbell fetched ahead would wait here while another process is idle.
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
