"""The broker that carries wake-ups: Redis by ``redis://``, RabbitMQ by ``amqp://``.

Nothing here retries, delays, pipes or keeps results: the ledger owns all of that.
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
    """Dead-letter every fetched message of ``queue_name`` that consists of ``data``.

    The id of a message that cannot be read is unknown, so it is looked up among the few that
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


#: How long a worker stays silent before others take its wake-ups, ms. Longer than most model
#: calls, for a worker that drains does not poll; the ledger repeats a lost wake-up much sooner.
HEARTBEAT_TIMEOUT_MS = 60_000
#: Chance in a million that a command tidies up after dead workers: at our polling about once a
#: second and process, where the default is once in twenty minutes for an idle one.
MAINTENANCE_CHANCE = 20_000
CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 5
#: What pika is given where the address does not say otherwise, in seconds.
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
    """Return the broker at ``url``; connects nowhere yet.

    ``client_name``: what the server shows for our connections. ``at_stop``: called, in order,
    when a worker process has finished its work.
    """
    if urlsplit(url).scheme in {"amqp", "amqps"}:
        return _rabbitmq(url, at_stop)
    client = redis.Redis.from_url(
        url,
        protocol=2,
        client_name=client_name,
        driver_info=None,  # a command that an ACL would refuse at each connection
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        # A repeated fetch strands what the first one took; a repeated enqueue rings twice.
        retry=Retry(NoBackoff(), 0),
    )
    return WakeUpBroker(  # type: ignore[no-untyped-call]
        client=client,
        middleware=middleware(at_stop),
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
    )


class WakeUpBroker(RedisBroker):
    """A Redis broker that survives what its parent does not: foreign bytes and odd answers."""

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        """Return the consumer with the corrections."""
        return WakeUpConsumer

    def get_declared_delay_queues(self) -> set[str]:
        """Return none: nothing is ever delayed, and each such queue costs a polling thread."""
        return set()


class WakeUpConsumer(_RedisConsumer):
    """Takes wake-ups; dead-letters what is none, reconnects whatever Redis answered."""

    def __next__(self) -> dramatiq.broker.MessageProxy | None:
        """Return the next wake-up, None where there is none. Raise ConnectionClosed."""
        try:
            found: dramatiq.broker.MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        except DecodeError as error:
            # Raised further it would end the consumer, and with it the wake-ups fetched together.
            self._translate(reject, self.broker, self.queue_name, error.data)
            return None
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        return found

    def ack(self, message: dramatiq.broker.MessageProxy) -> None:
        """Forget a wake-up. Raise ConnectionClosed; safe to run twice."""
        self._translate(super().ack, message)

    def nack(self, message: dramatiq.broker.MessageProxy) -> None:
        """Dead-letter a wake-up. Raise ConnectionClosed; safe to run twice."""
        self._translate(super().nack, message)

    @staticmethod
    def _translate(command: Callable[..., object], *args: Any) -> None:  # noqa: ANN401
        # The parent knows redis.ConnectionError only. A timeout or READONLY would pass for a bug
        # of Dramatiq, and the wake-up would stay fetched until the next restart.
        try:
            command(*args)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


def _rabbitmq(url: str, at_stop: Sequence[Callable[[], object]]) -> dramatiq.Broker:
    from dramatiq.brokers import rabbitmq  # noqa: PLC0415 - loads pika, which few need

    class RabbitmqWakeUpBroker(rabbitmq.RabbitmqBroker):
        """A RabbitMQ broker without consumers for delays, nor for a worker that ends."""

        #: Whether this process takes no wake-ups any more.
        drains = False

        def consume(
            self, queue_name: str, prefetch: int = 1, timeout: int = 5_000
        ) -> dramatiq.broker.Consumer:
            """Return a consumer, an idle one in a worker that ends. ``timeout``: ms."""
            consumer: dramatiq.broker.Consumer = super().consume(queue_name, prefetch, timeout)
            if not self.drains:
                return consumer
            consumer.close()
            return IdleConsumer(timeout)

        def get_declared_delay_queues(self) -> set[str]:
            """Return none: nothing is ever delayed, and each such queue costs a connection."""
            return set()

    # Six by default: a server that swallows packets would hold up whoever rings for 20 s.
    rabbitmq.MAX_ENQUEUE_ATTEMPTS = AMQP_ATTEMPTS_MAX
    # Unconfirmed, a wake-up published into a full or missing queue is lost without a word.
    return RabbitmqWakeUpBroker(
        url=with_limits(url), middleware=middleware(at_stop), confirm_delivery=True
    )


def with_limits(url: str) -> str:
    """Return an AMQP address with our time limits where it sets none of its own."""
    parts = urlsplit(url)
    options = AMQP_LIMITS | dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode(options)))
