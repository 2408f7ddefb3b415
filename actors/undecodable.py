"""Gets bytes that are no doorbell out of a Redis queue, without touching their neighbours."""

import logging
from typing import cast

import redis
from dramatiq.brokers.redis import RedisBroker

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
