"""A messenger without a provider: the page posts what a customer writes and reads what was sent.

For development and demonstrations only. The answers stay in Redis for a day.
"""

import json
from collections.abc import Callable
from typing import Any

import redis

from batching.errors import (
    AmbiguousError,
    LedgerUnavailableError,
    MalformedError,
    TransientError,
)
from batching.model import InboundMessage, Kind, Outbound
from batching.store import server_ms
from channels.inbound import Parsed, spoken
from channels.text import clean, split

#: Longest text either way, in characters (in UTF-16 units of an answer).
TEXT_LENGTH_MAX = 4096
#: Longest id of a customer or of a message, in characters.
ID_LENGTH_MAX = 128
#: Most answers kept of a conversation, and for how long after the last, ms.
ANSWERS_MAX = 200
ANSWERS_MS = 86_400_000


def parse(body: object, account_id: str) -> Parsed:
    """Return the message of a body ``{"customer", "message_id", "text"}``.

    Raise MalformedError, which names the field and its limit, for any other.
    """
    if not isinstance(body, dict):
        raise MalformedError("not_an_object", "body: must be an object")
    message = InboundMessage(
        account_id=account_id,
        customer=_field(body, "customer", ID_LENGTH_MAX),
        message_id=_field(body, "message_id", ID_LENGTH_MAX),
        kind=Kind.TEXT,
        text=spoken(_field(body, "text", TEXT_LENGTH_MAX)),
    )
    return Parsed((message,))


class Simulator:
    """The channel of a simulated number.

    ``conversation_id`` names the conversation of an account with a customer.
    """

    def __init__(
        self,
        *,
        account_id: str,
        client: redis.Redis,
        conversation_id: Callable[[str, str], str],
    ) -> None:
        self._account_id = account_id
        self._client = client
        self._conversation_id = conversation_id

    def split(self, text: str) -> list[str]:
        """Return ``text`` in parts as long as a real messenger takes them."""
        return split(text, TEXT_LENGTH_MAX)

    def send(self, outbound: Outbound) -> str:
        """Keep one part for the page to show and return its id. See Channel.send."""
        provider_id = f"simulator:{outbound.tag}"
        key = _key(self._conversation_id(self._account_id, outbound.customer))
        answer = {
            "text": clean(outbound.text),
            "answers": list(outbound.answers),
            "provider_id": provider_id,
            "at_ms": self._now_ms(),
        }
        try:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.rpush(key, json.dumps(answer))
                pipe.ltrim(key, -ANSWERS_MAX, -1)
                pipe.pexpire(key, ANSWERS_MS)
                pipe.execute()
        except redis.ResponseError as error:
            raise TransientError("simulator_refused", type(error).__name__) from None
        except redis.RedisError as error:
            raise AmbiguousError("simulator_unclear", type(error).__name__) from None
        return provider_id

    def _now_ms(self) -> int:
        try:
            return server_ms(self._client.time())
        except redis.RedisError as error:
            raise TransientError("simulator_unreachable", type(error).__name__) from None


def transcript(client: redis.Redis, conversation_id: str) -> list[dict[str, Any]]:
    """Return the answers of a conversation, oldest first: text, answers, provider_id, at_ms.

    Raise LedgerUnavailableError.
    """
    try:
        kept = client.lrange(_key(conversation_id), 0, -1)
    except redis.RedisError as error:
        raise LedgerUnavailableError("simulator_unreachable", type(error).__name__) from None
    return [json.loads(answer) for answer in kept]


def forget(client: redis.Redis, conversation_id: str) -> int:
    """Forget both sides of a conversation; return how many of the two there were.

    Raise LedgerUnavailableError.
    """
    try:
        return int(client.delete(_key(conversation_id), customer_key(conversation_id)))
    except redis.RedisError as error:
        raise LedgerUnavailableError("simulator_unreachable", type(error).__name__) from None


def customer_key(conversation_id: str) -> str:
    """Return the key of what the simulated customer wrote, for the page alone."""
    return f"{_key(conversation_id)}:customer"


def _key(conversation_id: str) -> str:
    return f"aa:simulator:{conversation_id}"


def _field(body: dict[str, object], name: str, length_max: int) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise MalformedError("wrong_field", f"{name}: must be a text")
    value = clean(value)
    if not value.strip() or len(value) > length_max:
        raise MalformedError(
            "wrong_field", f"{name}: has {len(value)} characters, must have 1..{length_max}"
        )
    return value
