"""A messenger without a provider: the page posts what a customer writes and reads what was sent.

For development and demonstrations only: there is no secret, so anybody may post. Both sides of a
conversation stay in Redis for a day.
"""

import json
from collections.abc import Sequence
from typing import Any

import redis

from batching.errors import AmbiguousError, MalformedError, TransientError
from batching.model import TEXT_CHARACTERS_MAX, Event, InboundMessage, Kind, Outbound
from batching.store import Store, reached, server_ms
from channels.inbound import Parsed, clean, required_object, spoken
from channels.outbound import TEXT_LENGTH_MAX, split
from channels.provider import ChannelAccount, Outside, Provider, Refusal
from config import Table

#: Longest id of a customer or of a message, in characters.
ID_LENGTH_MAX = 128
#: Most messages of either side kept of a conversation, and for how long after the last, ms.
KEPT_MAX = 200
KEPT_MS = 86_400_000


class Config(Table):
    """The simulator has no keys of its own."""


def parse(body: object, account_id: str) -> Parsed:
    """Return the message of a body ``{"customer", "message_id", "text"}``.

    Raise MalformedError, which names the field and its limit, for any other.
    """
    body = required_object(body, "body")
    message = InboundMessage(
        account_id=account_id,
        customer=_field(body, "customer", ID_LENGTH_MAX),
        message_id=_field(body, "message_id", ID_LENGTH_MAX),
        kind=Kind.TEXT,
        text=spoken(_field(body, "text", TEXT_CHARACTERS_MAX)),
    )
    return Parsed((message,))


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


class Simulator:
    """The channel of a simulated number."""

    def __init__(self, account_id: str, store: Store) -> None:
        self._account_id = account_id
        self._store = store

    def split(self, text: str) -> list[str]:
        """Return ``text`` in parts as long as a real messenger takes them."""
        return split(text, TEXT_LENGTH_MAX)

    def send(self, outbound: Outbound) -> str:
        """Keep one part for the page to show and return its id. See Channel.send."""
        provider_id = f"simulator:{outbound.tag}"
        answer = {
            "text": clean(outbound.text),
            "answers": list(outbound.answers),
            "provider_id": provider_id,
        }
        key = _answers_key(self._store.conversation_id(self._account_id, outbound.customer))
        try:
            at_ms = server_ms(self._store.client.time())
        except redis.RedisError as error:
            raise TransientError("simulator_unreachable", type(error).__name__) from None
        try:
            _keep(self._store.client, key, {**answer, "at_ms": at_ms})
        except redis.ResponseError as error:
            raise TransientError("simulator_refused", type(error).__name__) from None
        except redis.RedisError as error:
            raise AmbiguousError("simulator_unclear", type(error).__name__) from None
        return provider_id


def accepted(store: Store, events: Sequence[Event]) -> None:
    """Keep what the customer wrote, for the page to show. Raise LedgerUnavailableError."""
    for event in events:
        if isinstance(event, InboundMessage):
            key = _written_key(store.conversation_id(event.account_id, event.customer))
            note = {"id": event.message_id, "text": event.text}
            with reached():
                at_ms = server_ms(store.client.time())
                _keep(store.client, key, {**note, "at_ms": at_ms})


def conversation(client: redis.Redis, conversation_id: str) -> list[dict[str, Any]]:
    """Return both sides by time: from, id, text, at_ms, and of an answer the ids it answers.

    Raise LedgerUnavailableError.
    """
    written: dict[str, dict[str, Any]] = {}
    for note in _kept(client, _written_key(conversation_id)):
        # A message that was delivered again is the same message: the first time counts.
        written.setdefault(note["id"], {"from": "customer", **note})
    answered = [
        # An answer that was sent twice is shown twice.
        {"from": "business", "id": f"{answer.pop('provider_id')}:{answer['at_ms']}", **answer}
        for answer in _kept(client, _answers_key(conversation_id))
    ]
    return sorted([*written.values(), *answered], key=lambda message: message["at_ms"])


def forget(store: Store, conversation_id: str) -> int:
    """Erase both sides of a conversation; return how many of the two there were.

    Raise LedgerUnavailableError.
    """
    with reached():
        return int(
            store.client.delete(_answers_key(conversation_id), _written_key(conversation_id))
        )


def _keep(client: redis.Redis, key: str, note: dict[str, Any]) -> None:
    with client.pipeline(transaction=True) as pipe:
        pipe.rpush(key, json.dumps(note))
        pipe.ltrim(key, -KEPT_MAX, -1)
        pipe.pexpire(key, KEPT_MS)
        pipe.execute()


def _kept(client: redis.Redis, key: str) -> list[dict[str, Any]]:
    with reached():
        return [json.loads(note) for note in client.lrange(key, 0, -1)]


def _answers_key(conversation_id: str) -> str:
    return f"aa:simulator:{conversation_id}"


def _written_key(conversation_id: str) -> str:
    return f"{_answers_key(conversation_id)}:customer"


def _build(account: ChannelAccount, outside: Outside) -> Simulator:
    return Simulator(account.account_id, outside.store)


SIMULATOR = Provider(
    name="simulator",
    config=Config,
    # Anybody may post.
    verify=lambda _request, _secrets: 0,
    refusal=Refusal("secret", "none is needed"),
    parse=parse,
    build=_build,
    accepted=accepted,
    forget=forget,
    development_only=True,
)
