"""A customer's right to be forgotten: delete everything that the ledger keeps of a conversation.

A worker that holds the batch in flight loses its token by it, and sends nothing more. The messages
are counted as suppressed; nobody is alerted, for whoever erases knows. Who it was is not recorded:
that would be another note about the customer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batching import inspect
from batching.inspect import DeadLetters
from batching.model import Reason
from batching.store import Call, Store, reached, run


@dataclass(frozen=True, slots=True)
class Erased:
    """What was forgotten: messages by where they were, and what else there was."""

    open: int
    flight: int
    dead: int
    exchanges: int
    digests: int
    aliases: int
    sent: int

    @property
    def messages(self) -> int:
        """Return the messages that will not be answered because of it."""
        return self.open + self.flight + self.dead


def erase(store: Store, conversation_id: str) -> Erased:
    """Forget a customer. Safe to run twice, as it must be where it failed half-way.

    Raise LedgerUnavailableError.
    """
    s, c = store.shard_of(conversation_id), conversation_id
    names = (
        s.batches(c), s.open(c), s.flight(c), s.seen(c), s.history(c), s.takeover(c),
        s.due, s.lease, s.stats, s.overdue, s.trail(c),
    )  # fmt: skip
    # First what may still be answered: from here on no run of it can act.
    opened, flying, exchanges, digests = run(store.client, Call("erase", names, (c,)))
    with reached():
        store.client.delete(store.keyring.shards[0].spent(c))
    letters = DeadLetters(store)
    dead = [letter for letter in letters.headers() if letter.conversation_id == c]
    buried = sum(max(0, letters.discard(letter, Reason.ERASED)) for letter in dead)
    aliases, sent = _forget_ids(store, c)
    return Erased(opened, flying, buried, exchanges, digests, aliases, sent)


def _forget_ids(store: Store, conversation_id: str) -> tuple[int, int]:
    """Forget second ids that lead to the conversation, and ids of what was sent to it."""
    client: Any = store.client
    counts = {"alias:": 0, "sent:": 0}
    for kind, keys in _ids(store):
        with reached():
            values = client.mget(keys)
        for key, value in zip(keys, values, strict=True):
            # An alias holds the conversation, a sent id the conversation, batch and part.
            if value and value.decode().partition(":")[0] == conversation_id:
                with reached():
                    counts[kind] += int(client.delete(key))
    return counts["alias:"], counts["sent:"]


def _ids(store: Store) -> Iterator[tuple[str, list[str]]]:
    """Yield the keys of one kind that a step of the walk met, shard by shard."""
    shards = store.keyring.shards
    for page in inspect.walk_keys(store.client, store.keyring, "alias:", "sent:"):
        for place in {(number, kind) for number, kind, _ in page}:
            number, kind = place
            start = f"{shards[number].prefix}{kind}"
            yield kind, [start + rest for n, k, rest in page if (n, k) == place]
