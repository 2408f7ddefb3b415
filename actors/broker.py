"""The broker of the wake-ups: Redis by ``redis://``, RabbitMQ by ``amqp://``.

No retries, delays, pipelines or results: the ledger owns all of that.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed, DecodeError
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.middleware import IdleConsumer, middleware

log = logging.getLogger(__name__)


def reject(broker: RedisBroker, queue_name: str, data: bytes) -> None:
    """Dead-letter every fetched message of ``queue_name`` whose body is ``data``.

    The id of a message that cannot be decoded is unknown, so it is searched among the few that
    this broker has fetched and not acknowledged. Raise redis.RedisError; safe to run twice.
    """
    client = cast("redis.Redis", broker.client)
    prefix = broker.namespace
    fetched = client.smembers(f"{prefix}:__acks__.{broker.broker_id}.{queue_name}")
    ids = list(cast("set[bytes]", fetched))
    bodies = client.hmget(f"{prefix}:{queue_name}.msgs", ids) if ids else []
    for message_id, body in zip(ids, bodies, strict=True):
        if body == data:
            broker.do_nack(queue_name, message_id)
            log.error("doorbell.undecodable", extra={"queue": queue_name, "bytes": len(data)})


#: After this silence other workers take a worker's wake-ups, ms. Longer than most model calls,
#: since a draining worker does not poll; the ledger repeats a lost wake-up much sooner.
HEARTBEAT_TIMEOUT_MS = 60_000
#: Chance in a million that a command requeues the messages of dead workers: with our polling about
#: once a second and process. The default is once in twenty minutes for an idle process.
MAINTENANCE_CHANCE = 20_000
CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 5
#: pika's timeouts where the address sets none, in seconds.
AMQP_LIMITS = {
    "socket_timeout": "2",
    "stack_timeout": "3",
    "blocked_connection_timeout": "5",
    "heartbeat": "30",
}
AMQP_ATTEMPTS_MAX = 2


def build_broker(
    url: str, *, client_name: str, at_stop: Sequence[Callable[[], object]] = ()
) -> dramatiq.Broker:
    """Return the broker at ``url`` without connecting.

    ``client_name`` names our connections in CLIENT LIST. ``at_stop``: called in order when a worker
    process has finished its work.
    """
    if urlsplit(url).scheme in {"amqp", "amqps"}:
        return _rabbitmq(url, at_stop)
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
        middleware=middleware(at_stop),
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
    )


class WakeUpBroker(RedisBroker):
    """A Redis broker that survives messages that cannot be decoded and unexpected answers."""

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        """Return the corrected consumer."""
        return WakeUpConsumer

    def get_declared_delay_queues(self) -> set[str]:
        """Return none: nothing is delayed, and each delay queue costs a polling thread."""
        return set()


class WakeUpConsumer(_RedisConsumer):
    """Fetches wake-ups; dead-letters undecodable messages, reconnects after any Redis error."""

    def __next__(self) -> dramatiq.broker.MessageProxy | None:
        """Return the next wake-up, None if there is none. Raise ConnectionClosed."""
        try:
            found: dramatiq.broker.MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        except DecodeError as error:
            # If raised, it would end the consumer and strand the wake-ups fetched with it.
            self._translate(reject, self.broker, self.queue_name, error.data)
            return None
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        return found

    def ack(self, message: dramatiq.broker.MessageProxy) -> None:
        """Acknowledge a wake-up. Raise ConnectionClosed; safe to run twice."""
        self._translate(super().ack, message)

    def nack(self, message: dramatiq.broker.MessageProxy) -> None:
        """Dead-letter a wake-up. Raise ConnectionClosed; safe to run twice."""
        self._translate(super().nack, message)

    @staticmethod
    def _translate(command: Callable[..., object], *args: Any) -> None:  # noqa: ANN401
        # The parent handles redis.ConnectionError only: after a timeout or READONLY the wake-up
        # would stay fetched until the next restart.
        try:
            command(*args)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


def _rabbitmq(url: str, at_stop: Sequence[Callable[[], object]]) -> dramatiq.Broker:
    from dramatiq.brokers import rabbitmq  # noqa: PLC0415 - loads pika, which few need

    class RabbitmqWakeUpBroker(rabbitmq.RabbitmqBroker):
        """A RabbitMQ broker without delay queues; in a draining worker it consumes nothing."""

        #: Whether this process shuts down.
        drains = False

        def consume(
            self, queue_name: str, prefetch: int = 1, timeout: int = 5_000
        ) -> dramatiq.broker.Consumer:
            """Return a consumer, an idle one while draining. ``timeout``: ms."""
            consumer: dramatiq.broker.Consumer = super().consume(queue_name, prefetch, timeout)
            if not self.drains:
                return consumer
            consumer.close()
            return IdleConsumer(timeout)

        def get_declared_delay_queues(self) -> set[str]:
            """Return none: nothing is delayed, and each delay queue costs a connection."""
            return set()

    # Six by default: a server that drops packets would hold up the caller for 20 s.
    rabbitmq.MAX_ENQUEUE_ATTEMPTS = AMQP_ATTEMPTS_MAX
    # Without confirmation a wake-up for a full or missing queue is lost silently.
    return RabbitmqWakeUpBroker(
        url=with_limits(url), middleware=middleware(at_stop), confirm_delivery=True
    )


def with_limits(url: str) -> str:
    """Return an AMQP address with AMQP_LIMITS for the options that it does not set."""
    parts = urlsplit(url)
    options = AMQP_LIMITS | dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode(options)))
