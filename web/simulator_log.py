"""What the simulated customer wrote, kept for the page alone: a reload shows the conversation."""

import json
from typing import Any

import redis

from batching.errors import LedgerUnavailableError
from batching.ledger import server_ms
from batching.model import InboundMessage
from channels.simulator import ANSWERS_MAX, ANSWERS_MS, customer_key, transcript


def record(client: redis.Redis, conversation_id: str, message: InboundMessage) -> None:
    """Note a message that the ledger has. Safe to run twice. Raise LedgerUnavailableError."""
    key = customer_key(conversation_id)
    try:
        note = {
            "id": message.message_id,
            "text": message.text,
            "at_ms": server_ms(client.time()),
        }
        with client.pipeline(transaction=True) as pipe:
            pipe.rpush(key, json.dumps(note))
            pipe.ltrim(key, -ANSWERS_MAX, -1)
            pipe.pexpire(key, ANSWERS_MS)
            pipe.execute()
    except redis.RedisError as error:
        raise LedgerUnavailableError("simulator_unreachable", type(error).__name__) from None


def conversation(client: redis.Redis, conversation_id: str) -> list[dict[str, Any]]:
    """Return both sides by time: from, id, text, at_ms, and of an answer the ids it answers.

    Raise LedgerUnavailableError.
    """
    try:
        kept: Any = client.lrange(customer_key(conversation_id), 0, -1)
    except redis.RedisError as error:
        raise LedgerUnavailableError("simulator_unreachable", type(error).__name__) from None
    written: dict[str, dict[str, Any]] = {}
    for raw in kept:
        note = json.loads(raw)
        # A message that was delivered again is the same message: the first time counts.
        written.setdefault(note["id"], {"from": "customer", **note})
    answered = [
        {
            "from": "business",
            # An answer that was sent twice is to be seen twice.
            "id": f"{answer['provider_id']}:{answer['at_ms']}",
            "text": answer["text"],
            "answers": answer["answers"],
            "at_ms": answer["at_ms"],
        }
        for answer in transcript(client, conversation_id)
    ]
    return sorted([*written.values(), *answered], key=lambda message: message["at_ms"])
