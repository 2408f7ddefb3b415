"""What a worker does with doorbells once it is told to stop: it takes none from others any more."""

import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from dramatiq import Worker
from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import iter_queue
from dramatiq.middleware import Middleware
from dramatiq.worker import ConsumerThread

#: How long a consumer may take to hand over what it had fetched before it was told to stop, s.
SETTLE_S = 0.05


class FastDrain(Middleware):
    """Stops fetching at the first sign of a shutdown, and hands back what nobody has begun.

    Dramatiq's consumers fetch on while the last jobs run, which may take minutes, and what they
    fetch waits until those are done. Pausing them would stop their heartbeats.
    """

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Have no consumer fetch any more, and return the waiting doorbells."""
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
    """Return doorbells to RabbitMQ now: by itself it has them back when the connection ends."""
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
