"""The broker that carries doorbells: Redis by ``redis://``, RabbitMQ by ``amqp://``.

Nothing here retries, delays, pipes or keeps results: the ledger owns all of that.
"""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed, DecodeError
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.drain import IdleConsumer
from actors.middleware import middleware
from actors.undecodable import reject

#: How long a worker stays silent before others take its doorbells, ms. Longer than most model
#: calls, for a worker that drains does not poll; the ledger repeats a lost doorbell much sooner.
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
    return DoorbellBroker(  # type: ignore[no-untyped-call]
        client=client,
        middleware=middleware(at_stop),
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
    )


class DoorbellBroker(RedisBroker):
    """A Redis broker that survives what its parent does not: foreign bytes and odd answers."""

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        """Return the consumer with the corrections."""
        return DoorbellConsumer

    def get_declared_delay_queues(self) -> set[str]:
        """Return none: nothing is ever delayed, and each such queue costs a polling thread."""
        return set()


class DoorbellConsumer(_RedisConsumer):
    """Takes doorbells; dead-letters what is none, reconnects whatever Redis answered."""

    def __next__(self) -> dramatiq.broker.MessageProxy | None:
        """Return the next doorbell, None where there is none. Raise ConnectionClosed."""
        try:
            found: dramatiq.broker.MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        except DecodeError as error:
            # Raised further it would end the consumer, and with it the doorbells fetched together.
            self._translate(reject, self.broker, self.queue_name, error.data)
            return None
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
        return found

    def ack(self, message: dramatiq.broker.MessageProxy) -> None:
        """Forget a doorbell. Raise ConnectionClosed; safe to run twice."""
        self._translate(super().ack, message)

    def nack(self, message: dramatiq.broker.MessageProxy) -> None:
        """Dead-letter a doorbell. Raise ConnectionClosed; safe to run twice."""
        self._translate(super().nack, message)

    @staticmethod
    def _translate(command: Callable[..., object], *args: Any) -> None:  # noqa: ANN401
        # The parent knows redis.ConnectionError only. A timeout or READONLY would pass for a bug
        # of Dramatiq, and the doorbell would stay fetched until the next restart.
        try:
            command(*args)
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]


def _rabbitmq(url: str, at_stop: Sequence[Callable[[], object]]) -> dramatiq.Broker:
    from dramatiq.brokers import rabbitmq  # noqa: PLC0415 - loads pika, which few need

    class RabbitmqDoorbellBroker(rabbitmq.RabbitmqBroker):
        """A RabbitMQ broker without consumers for delays, nor for a worker that ends."""

        #: Whether this process takes no doorbells any more.
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
    # Unconfirmed, a doorbell published into a full or missing queue is lost without a word.
    return RabbitmqDoorbellBroker(
        url=with_limits(url), middleware=middleware(at_stop), confirm_delivery=True
    )


def with_limits(url: str) -> str:
    """Return an AMQP address with our time limits where it sets none of its own."""
    parts = urlsplit(url)
    options = AMQP_LIMITS | dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode(options)))
