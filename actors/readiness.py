"""Tells the supervisor when a worker process consumes, and when it begins to end."""

import threading

import redis
from dramatiq import Worker
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware

from runtime.supervisor import Supervisor

#: How often a starting worker looks whether it consumes, s.
LOOK_S = 0.1


class Readiness(Middleware):
    """Dramatiq calls a worker ready whose consumers have not reached any broker yet; we do not."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._over = threading.Event()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Wait, in the background, until every consumer has its queue."""
        threading.Thread(
            target=self._await, args=(broker, worker), name="readiness", daemon=True
        ).start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Tell that the end has begun: what runs is finished, nothing more is fetched."""
        self._over.set()
        self._supervisor.stopping()

    def _await(self, broker: Broker, worker: Worker) -> None:
        while not _consumes(broker, worker):
            if self._over.wait(LOOK_S):
                return
        self._supervisor.ready()


def _consumes(broker: Broker, worker: Worker) -> bool:
    if any(thread.consumer is None for thread in worker.consumers.values()):
        return False
    if not isinstance(broker, RedisBroker):
        return True  # A consumer of RabbitMQ is made of a connection.
    try:
        return bool(broker.client.ping())
    except redis.RedisError:
        return False
