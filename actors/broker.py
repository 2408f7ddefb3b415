"""The broker of the wake-ups: Redis by ``redis://``, RabbitMQ by ``amqp://``.

No retries, delays, pipelines or results: the ledger owns all of that.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed, DecodeError
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.middleware import Consuming, FailuresToDeadLetters, FastDrain, LeaveWithMaster
from runtime.outages import Outages

log = logging.getLogger(__name__)


#: After this silence other workers take a worker's wake-ups, ms. Longer than most model calls,
#: since a draining worker does not poll; the ledger repeats a lost wake-up much sooner.
HEARTBEAT_TIMEOUT_MS = 60_000
#: Chance in a million that a command requeues the messages of dead workers: with our polling about
#: once a second and process. The default is once in twenty minutes for an idle process.
MAINTENANCE_CHANCE = 20_000
CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 5


def build_broker(url: str, *, client_name: str, outages: Outages | None = None) -> dramatiq.Broker:
    """Return the broker at ``url`` without connecting.

    ``client_name`` names our connections in CLIENT LIST. ``outages`` is told whether consumers
    reach it.
    """
    broker: Any = _broker(url, client_name)
    broker.outages = outages or Outages()
    built: dramatiq.Broker = broker
    return built


def _broker(url: str, client_name: str) -> dramatiq.Broker:
    middleware = [FailuresToDeadLetters(), Consuming(), FastDrain(), LeaveWithMaster()]
    if urlsplit(url).scheme in {"amqp", "amqps"}:
        from actors.rabbitmq import rabbitmq_broker  # noqa: PLC0415 - loads pika

        return rabbitmq_broker(url, middleware)
    client = redis.Redis.from_url(
        url,
        protocol=2,
        client_name=client_name,
        driver_info=None,  # saves a command at each connection, which an ACL might refuse
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        # A retried fetch would strand what the first one took; a retried enqueue would send two.
        retry=Retry(NoBackoff(), 0),
    )
    return WakeUpBroker(  # type: ignore[no-untyped-call]
        client=client,
        middleware=middleware,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
    )


class WakeUpBroker(RedisBroker):
    """A Redis broker that survives messages that cannot be decoded and unexpected answers.

    ``drains``: this process shuts down.
    """

    drains = False
    outages: Outages

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        """Return the corrected consumer."""
        return WakeUpConsumer

    def get_declared_delay_queues(self) -> set[str]:
        """Return none: nothing is delayed, and each delay queue costs a polling thread."""
        return set()

    def waiting(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many wake-ups of each queue nobody has taken. Raise redis.RedisError."""
        pipeline = self.client.pipeline(transaction=False)
        for queue in queues:
            pipeline.llen(f"{self.namespace}:{queue}")
        return dict(zip(queues, pipeline.execute(), strict=True))

    def reject(self, queue_name: str, data: bytes) -> None:
        """Dead-letter every fetched message of ``queue_name`` whose body is ``data``.

        The id of a message that cannot be decoded is unknown, so it is searched among the few that
        this broker has fetched and not acknowledged. Raise redis.RedisError; safe to run twice.
        """
        fetched: Any = self.client.smembers(
            f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"
        )
        for message_id in fetched:
            if self.client.hget(f"{self.namespace}:{queue_name}.msgs", message_id) == data:
                self.do_nack(queue_name, message_id)
                log.error("doorbell.undecodable", extra={"queue": queue_name, "bytes": len(data)})


@contextmanager
def _reconnecting(outages: Outages) -> Iterator[None]:
    """Have Dramatiq reconnect after any error of Redis, and ``outages`` know of it.

    It handles redis.ConnectionError only: after a timeout or READONLY the wake-up would stay
    fetched until the next restart.
    """
    try:
        yield
    except redis.RedisError as error:
        outages.failed("broker", "broker_away")
        raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


class WakeUpConsumer(_RedisConsumer):
    """Fetches wake-ups; dead-letters undecodable messages, reconnects after any Redis error."""

    def __next__(self) -> MessageProxy | None:
        """Return the next wake-up, None if there is none. Raise ConnectionClosed."""
        if self.broker.drains:
            self.prefetch = 0
        with _reconnecting(self.broker.outages):
            try:
                found: MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
            except DecodeError as error:
                # If raised, it would end the consumer and strand the wake-ups fetched with it.
                self.broker.reject(self.queue_name, error.data)
                return None
        self.broker.outages.worked("broker")
        return found

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a wake-up. Raise ConnectionClosed; safe to run twice."""
        with _reconnecting(self.broker.outages):
            super().ack(message)  # type: ignore[no-untyped-call]

    def nack(self, message: MessageProxy) -> None:
        """Dead-letter a wake-up. Raise ConnectionClosed; safe to run twice."""
        with _reconnecting(self.broker.outages):
            super().nack(message)  # type: ignore[no-untyped-call]
