"""The sink of the canary: a synthetic message's answer ends here, and reaches nobody.

A canary goes the whole way that a customer's message goes, and only this way's end is another.
"""

import redis

from batching.errors import MalformedError, TransientError
from batching.keys import CANARY
from batching.ledger import server_ms
from batching.model import CANARY_ACCOUNT, InboundMessage, Kind, Outbound
from channels.fields import identifier
from channels.inbound import Parsed

CUSTOMER, _TEXT = "canary", "Are you open?"
_ID_LENGTH_MAX = 64


def parse(body: object) -> Parsed:
    """Return the message of a body ``{"message_id"}``. Raise MalformedError for any other."""
    message_id = identifier(body, "message_id")
    if not 1 <= len(message_id) <= _ID_LENGTH_MAX:
        raise MalformedError("wrong_field", f"message_id: must have 1..{_ID_LENGTH_MAX} characters")
    return Parsed((InboundMessage(CANARY_ACCOUNT, CUSTOMER, message_id, Kind.TEXT, _TEXT),))


class CanarySink:
    """The channel of the canary's account: notes which message was answered, and when."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def split(self, text: str) -> list[str]:
        """Return ``text`` as it is."""
        return [text]

    def send(self, outbound: Outbound) -> str:
        """Note the answer by the server's time. Safe to run twice. See Channel.send."""
        try:
            answered_ms = server_ms(self._client.time())
            fields = ["answered_id", outbound.answers[-1], "answered_ms", str(answered_ms)]
            self._client.hset(CANARY, items=fields)
        except redis.RedisError as error:
            raise TransientError("canary_sink_away", type(error).__name__) from None
        return f"canary:{outbound.tag}"
