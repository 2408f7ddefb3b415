"""RabbitMQ as the broker. Loads pika, which few need: imported for an ``amqp://`` address only."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from dramatiq.broker import Broker, Consumer
from dramatiq.brokers import rabbitmq
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware
from pika import URLParameters
from pika.exceptions import AMQPError, ChannelClosedByBroker

from runtime.outages import Outages

#: pika's timeouts where the address sets none, in seconds.
LIMITS = {
    "socket_timeout": "2",
    "stack_timeout": "3",
    "blocked_connection_timeout": "5",
    "heartbeat": "30",
}
#: Six by default: a server that drops packets would hold up the caller for 20 s.
ENQUEUE_ATTEMPTS_MAX = 2


def rabbitmq_broker(url: str, middleware: list[Middleware]) -> Broker:
    """Return the broker at ``url`` without connecting."""
    rabbitmq.MAX_ENQUEUE_ATTEMPTS = ENQUEUE_ATTEMPTS_MAX
    return RabbitmqWakeUpBroker(url=with_limits(url), middleware=middleware)


def with_limits(url: str) -> str:
    """Return an AMQP address with LIMITS for the options that it does not set."""
    parts = urlsplit(url)
    options = LIMITS | dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode(options)))


class RabbitmqWakeUpConsumer(rabbitmq._RabbitmqConsumer):  # noqa: SLF001 - Dramatiq has no other
    """Fetches wake-ups until the worker drains."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - see the parent
        super().__init__(*args)  # type: ignore[no-untyped-call]
        self.iterator = self._deliveries(self.iterator, args[-1] / 1000)

    def _deliveries(self, fetched: Iterator[Any], pause_s: float) -> Iterator[Any]:
        while not self.broker.drains:
            yield next(fetched)
            self.broker.outages.worked("broker")
        if self.channel.consumer_tags:
            self.channel.cancel()
        while True:
            # The channel stays open to acknowledge the tasks that still run.
            self.connection.sleep(pause_s)
            yield None, None, None

    def requeue(self, messages: Iterable[Any]) -> None:
        """Requeue wake-ups now; RabbitMQ itself would do so only when the connection ends."""
        for message in messages:
            tag = message._tag  # noqa: SLF001 - where Dramatiq keeps it
            self.known_tags.discard(tag)
            # pika is not thread-safe. A broken connection has requeued everything already.
            if self.connection.is_open:
                back = partial(self.channel.basic_nack, tag, requeue=True)
                self.connection.add_callback_threadsafe(back)


class RabbitmqWakeUpBroker(rabbitmq.RabbitmqBroker):
    """A RabbitMQ broker without delay queues. ``drains``: this process shuts down."""

    drains = False
    outages: Outages

    def __init__(self, *, url: str, middleware: list[Middleware]) -> None:
        """Connect nowhere yet."""
        self._url = url
        # Without confirmation a wake-up for a full or missing queue is lost silently.
        super().__init__(url=url, middleware=middleware, confirm_delivery=True)

    @property
    def parameters(self) -> URLParameters:
        """Return how to connect; files that the address names are read now, renewed or not."""
        return URLParameters(self._url)

    @parameters.setter
    def parameters(self, _: URLParameters) -> None:
        """Keep none: Dramatiq would read them once, at the start."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return a connected consumer. Raise dramatiq's ConnectionError."""
        try:
            consumer: Consumer = super().consume(queue_name, prefetch, timeout)
        except ConnectionClosed:
            self.outages.failed("broker", "broker_away")
            raise
        return consumer

    @property
    def consumer_class(self) -> type[RabbitmqWakeUpConsumer]:
        """Return the corrected consumer."""
        return RabbitmqWakeUpConsumer

    def get_declared_delay_queues(self) -> set[str]:
        """Return none: nothing is delayed, and each delay queue costs a connection."""
        return set()

    def waiting(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many wake-ups of each queue nobody has taken. Raise AMQPError."""
        try:
            return {queue: self._waiting_in(queue) for queue in queues}
        except AMQPError:
            # Else this thread would keep a connection that is dead.
            del self.connection
            raise

    def _waiting_in(self, queue: str) -> int:
        try:
            found: int = self.channel.queue_declare(queue=queue, passive=True).method.message_count
        except ChannelClosedByBroker:
            # Nobody has declared it yet.
            del self.channel
            return 0
        return found
