"""The canary as a channel: its webhook's body, its limits, and the sink where its answers end."""

import hashlib
import hmac
from collections.abc import Sequence

import redis

from batching.errors import MalformedError, TransientError
from batching.keys import CANARY_ANSWERED, CANARY_SENDS
from batching.model import CANARY_ACCOUNT, InboundMessage, Kind, Limits, Outbound
from batching.store import server_ms
from channels.inbound import Parsed, identifier, secret_matches
from channels.provider import ChannelAccount, Outside, Provider, Refusal, Request
from config import Table

CUSTOMER, _TEXT = "canary", "Are you open?"
#: What the demo model answers from.
BUSINESS = "# Canary\n\nOpen every day from 0:00 to 24:00.\n"
#: Short, so that the round trip measures the service and not the debounce window.
LIMITS = Limits(
    idle_ms=500, max_wait_ms=1_000, overdue_ms=60_000, reply_deadline_ms=600_000, max_attempts=3
)
_ID_LENGTH_MAX = 64
#: How many answers are remembered: a quarter of an hour at one canary a second.
ANSWERED_MAX = 1_000


def webhook_secret(privacy_key: str) -> str:
    """Return what proves the canary's webhook; every process of the installation can compute it."""
    return hmac.new(privacy_key.encode(), b"canary webhook", hashlib.sha256).hexdigest()


class Config(Table):
    """The canary has no keys: its account is in no file."""


def verify(request: Request, secrets: Sequence[str]) -> int | None:
    """Return the index of the secret in ``X-Webhook-Secret``, None if it is none of them."""
    return secret_matches(request.headers.get("x-webhook-secret", ""), secrets)


def parse(body: object, _account_of: object = None) -> Parsed:
    """Return the message of a body ``{"message_id": ...}``. Raise MalformedError for any other."""
    message_id = identifier(body, "message_id")
    if not 1 <= len(message_id) <= _ID_LENGTH_MAX:
        raise MalformedError("wrong_field", f"message_id: must have 1..{_ID_LENGTH_MAX} characters")
    return Parsed((InboundMessage(CANARY_ACCOUNT, CUSTOMER, message_id, Kind.TEXT, _TEXT),))


class CanarySink:
    """Record which canaries were answered, when, and how often.

    By message id: the canaries of several senders may be answered in one batch.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def split(self, text: str) -> list[str]:
        """Return ``text`` as one part."""
        return [text]

    def send(self, outbound: Outbound) -> str:
        """Record the answer with the server's time, once more each time. See Channel.send."""
        try:
            answered_ms = server_ms(self._client.time())
            answered = dict.fromkeys(outbound.answers, answered_ms)
            self._client.zadd(CANARY_ANSWERED, answered, nx=True)
            self._client.zremrangebyrank(CANARY_ANSWERED, 0, -ANSWERED_MAX - 1)
            self._client.lpush(CANARY_SENDS, " ".join(outbound.answers))
            self._client.ltrim(CANARY_SENDS, 0, ANSWERED_MAX - 1)
        except redis.RedisError as error:
            raise TransientError("canary_sink_away", type(error).__name__) from None
        return f"canary:{outbound.tag}"


def _build(_account: ChannelAccount, outside: Outside) -> CanarySink:
    return CanarySink(outside.store.client)


#: The canary's own provider: added by the composition root, for no account of a file may name it.
CANARY = Provider(
    name="canary",
    config=Config,
    verify=verify,
    verify_headers=verify,
    is_signed=lambda _request: False,
    refusal=Refusal("secret", "X-Webhook-Secret: must be the installation's"),
    parse=parse,
    shared=True,
    build=_build,
)
