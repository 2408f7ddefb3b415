"""What our Redis consumer survives, and the limits that RabbitMQ is given."""

import threading

import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed

from actors.broker import WakeUpBroker, build_broker
from actors.rabbitmq import with_limits
from tests.actors.conftest import DEADLINE_S, Workers, declare
from tests.waiting import eventually

BROKEN = b'{"queue_name": "flush", broken'


def put_raw(queues: redis.Redis, message_id: str, body: bytes) -> None:
    queues.hset("dramatiq:flush.msgs", message_id, body)
    queues.rpush("dramatiq:flush", message_id)


def test_undecodable_message_is_dead_lettered_and_its_neighbours_are_answered(
    broker: WakeUpBroker, queues: redis.Redis, workers: Workers
):
    """They are fetched together; Dramatiq's consumer dies of it, with all of them in its hands."""
    answered: list[int] = []
    actor = declare(broker, "flush", answered.append)
    actor.send(1)
    put_raw(queues, "poison", BROKEN)
    actor.send(2)

    workers(broker, threads=8)

    eventually(lambda: queues.hlen("dramatiq:flush.msgs") == 0)
    assert sorted(answered) == [1, 2]
    assert queues.hgetall("dramatiq:flush.XQ.msgs") == {b"poison": BROKEN}
    assert queues.keys("dramatiq:__acks__*") == []


@pytest.mark.parametrize("command", ["fetch", "ack", "nack"])
def test_any_answer_of_redis_reconnects_the_consumer(
    broker: WakeUpBroker, queues: redis.Redis, command: str
):
    """Dramatiq takes only a lost connection for one; a timeout or READONLY passes for a bug."""
    broker.declare_queue("flush")
    broker.enqueue(dramatiq.Message("flush", "flush", (), {}, {}))
    consumer = broker.consume("flush", prefetch=2)
    message = next(consumer)
    assert message is not None
    acks = f"dramatiq:__acks__.{broker.broker_id}.flush"
    queues.delete(acks)
    queues.set(acks, "of the wrong type: every command that touches it is refused")
    broker.enqueue(dramatiq.Message("flush", "flush", (), {}, {}))

    commands = {
        "fetch": lambda: next(consumer),
        "ack": lambda: consumer.ack(message),
        "nack": lambda: consumer.nack(message),
    }

    with pytest.raises(ConnectionClosed):
        commands[command]()


def test_enqueue_is_never_sent_twice_by_the_client(broker: WakeUpBroker):
    retry = broker.client.get_retry()

    assert retry is not None
    assert retry.get_retries() == 0


def test_every_wait_for_redis_is_bounded(broker: WakeUpBroker):
    options = broker.client.connection_pool.connection_kwargs

    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (2, 5)


def test_amqp_address_gets_limits_where_it_has_none():
    url = with_limits("amqp://guest:guest@127.0.0.1:5672/%2F?heartbeat=10")

    assert url == (
        "amqp://guest:guest@127.0.0.1:5672/%2F"
        "?socket_timeout=2&stack_timeout=3&blocked_connection_timeout=5&heartbeat=10"
    )


def test_broker_confirms_deliveries_to_rabbitmq():
    broker = build_broker("amqp://127.0.0.1:1/", client_name="test")

    assert not isinstance(broker, RedisBroker)
    assert vars(broker)["confirm_delivery"] is True


def test_wake_up_ring_while_the_consumer_waits(broker: WakeUpBroker, workers: Workers):
    answered = threading.Event()
    actor = declare(broker, "flush", answered.set)
    workers(broker)

    actor.send()

    assert answered.wait(DEADLINE_S)
