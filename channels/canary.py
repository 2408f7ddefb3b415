"""The sink of the canary: a synthetic message's answer ends here, and reaches nobody.

A canary goes the whole way that a customer's message goes, and only this way's end is another.
"""

import redis

from batching.errors import MalformedError, TransientError
from batching.keys import CANARY_ANSWERED
from batching.model import CANARY_ACCOUNT, InboundMessage, Kind, Outbound
from batching.store import server_ms
from channels.fields import identifier
from channels.inbound import Parsed

CUSTOMER, _TEXT = "canary", "Are you open?"
_ID_LENGTH_MAX = 64
#: So many answers are remembered, the newest: of a quarter of an hour at one canary a second.
ANSWERED_MAX = 1_000


def parse(body: object) -> Parsed:
    """Return the message of a body ``{"message_id"}``. Raise MalformedError for any other."""
    message_id = identifier(body, "message_id")
    if not 1 <= len(message_id) <= _ID_LENGTH_MAX:
        raise MalformedError("wrong_field", f"message_id: must have 1..{_ID_LENGTH_MAX} characters")
    return Parsed((InboundMessage(CANARY_ACCOUNT, CUSTOMER, message_id, Kind.TEXT, _TEXT),))


class CanarySink:
    """The channel of the canary's account: notes which messages were answered, and when.

    Each by its id: canaries of several senders come out of one batch.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def split(self, text: str) -> list[str]:
        """Return ``text`` as it is."""
        return [text]

    def send(self, outbound: Outbound) -> str:
        """Note the answer by the server's time. Safe to run twice. See Channel.send."""
        try:
            answered_ms = server_ms(self._client.time())
            answered = dict.fromkeys(outbound.answers, answered_ms)
            self._client.zadd(CANARY_ANSWERED, answered, nx=True)
            self._client.zremrangebyrank(CANARY_ANSWERED, 0, -ANSWERED_MAX - 1)
        except redis.RedisError as error:
            raise TransientError("canary_sink_away", type(error).__name__) from None
        return f"canary:{outbound.tag}"
