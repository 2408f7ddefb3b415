"""What our Redis consumer survives, and the limits of both brokers' connections."""

import logging
from collections.abc import Iterator

import dramatiq
import pytest
import redis
from dramatiq.errors import ConnectionClosed

from actors.broker import WakeUpBroker, build_broker
from actors.rabbitmq import with_limits
from tests.actors.conftest import Workers, declare
from tests.valkey_server import ValkeyServer, free_port
from tests.waiting import eventually

BROKEN = b'{"queue_name": "flush", broken'


@pytest.fixture
def broker(valkey: ValkeyServer, client: redis.Redis) -> WakeUpBroker:
    assert client.dbsize() == 0
    broker = build_broker(valkey.url(1), client_name="test")
    assert isinstance(broker, WakeUpBroker)
    return broker


@pytest.fixture
def queues(broker: WakeUpBroker) -> Iterator[redis.Redis]:
    """Return the client of ``broker``, closed after the test."""
    yield broker.client
    broker.client.close()


def test_undecodable_message_is_dead_lettered_and_its_neighbours_are_answered(
    broker: WakeUpBroker, queues: redis.Redis, workers: Workers
):
    """They are fetched together; Dramatiq's consumer dies of it, with all of them in its hands."""
    answered: list[int] = []
    declare(broker, flush=answered.append)
    broker.get_actor("flush").send(1)
    queues.hset("dramatiq:flush.msgs", "poison", BROKEN)
    queues.rpush("dramatiq:flush", "poison")
    broker.get_actor("flush").send(2)

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


def test_consumer_that_lost_its_broker_looks_for_it_every_second(
    workers: Workers, caplog: pytest.LogCaptureFixture
):
    """Also under Dramatiq's own command, which has imported its three seconds by then."""
    caplog.set_level(logging.INFO, "dramatiq")
    broker = build_broker(f"redis://127.0.0.1:{free_port()}/1", client_name="test")
    declare(broker, flush=lambda: None)

    workers(broker)

    eventually(lambda: "Restarting consumer in 1.00 seconds." in caplog.messages)


def test_every_wait_for_redis_is_bounded_and_no_command_is_sent_twice(broker: WakeUpBroker):
    options = broker.client.connection_pool.connection_kwargs
    retry = broker.client.get_retry()

    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (2, 5)
    assert retry is not None
    assert retry.get_retries() == 0


def test_amqp_address_gets_limits_where_it_has_none():
    url = with_limits("amqp://guest:guest@127.0.0.1:5672/%2F?heartbeat=10")

    assert url == (
        "amqp://guest:guest@127.0.0.1:5672/%2F"
        "?socket_timeout=2&stack_timeout=3&blocked_connection_timeout=5&heartbeat=10"
    )
