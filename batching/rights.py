"""A customer's rights: a copy of all that the ledger keeps of a conversation, and its deletion.

A worker that has the batch in flight loses its token and sends nothing more. The messages are
counted as suppressed. No alert is raised, and nothing is recorded about who it was: that would be
another note about the customer. But where copies of the ledger are made, which hold the texts yet,
the digest is noted as long as they do.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from itertools import groupby
from typing import Any

from batching.identity import family
from batching.inspect import DeadLetter, Trace, awaited, dead_letter_headers, watched_answers
from batching.keys import BACKUP, ERASED
from batching.model import Reason, decode
from batching.scan import scan_keys
from batching.store import Store, reached

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted: messages by where they were, and other records.

    ``digests``: of messages that were seen; ``aliases``: second ids of the customer; ``sent``: ids
    of messages that we sent.
    """

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
    """Delete everything of a conversation. Safe to run again, as after a failure half-way.

    Raise LedgerUnavailableError.
    """
    *others, home = family(store, conversation_id)
    _note_for_copies(store, [*others, home])
    erased = [_erase(store, place) for place in [*filter(partial(_is_there, store), others), home]]
    return Erased(*(sum(counts) for counts in zip(*map(astuple, erased), strict=True)))


def _note_for_copies(store: Store, conversations: Sequence[str]) -> None:
    """Where copies are made, keep the digests as long as one may hold the customer's texts.

    A restore repeats what is noted here. Of older ones no copy knows.
    """
    client: Any = store.client
    with reached():
        kept_ms = int(client.hmget(BACKUP, "kept_ms")[0] or 0)
        if kept_ms:
            now_ms = store.watch().now_ms
            client.zadd(ERASED, dict.fromkeys(conversations, now_ms))
            client.zremrangebyscore(ERASED, "-inf", f"({now_ms - kept_ms}")


def _is_there(store: Store, conversation_id: str) -> bool:
    """Delete where a conversation moved to; return whether anything else is kept of it."""
    s, c = store.shard_of(conversation_id), conversation_id
    with reached():
        store.client.delete(s.links(c))
        kept: Any = store.client.exists(
            s.batches(c), s.seen(c), s.history(c), s.takeover(c), s.trail(c), s.handover(c)
        )
    # All else is forgotten by time.
    letters = dead_letter_headers(store, s)
    return bool(kept) or any(letter.conversation_id == c for letter in letters)


def _erase(store: Store, conversation_id: str) -> Erased:
    # First what may still be answered: from here on no run of it can act.
    open_, flight, exchanges, digests = store.erase(conversation_id)
    with reached():
        store.client.delete(store.keyring.shards[0].spent(conversation_id))
        store.client.delete(store.shard_of(conversation_id).links(conversation_id))
    dead = 0
    for letter in list(dead_letter_headers(store, store.shard_of(conversation_id))):
        _tell_damage(letter)
        if letter.conversation_id == conversation_id:
            dead += max(0, store.discard(conversation_id, letter.batch_id, Reason.ERASED))
    aliases, sent = _delete_ids(store, conversation_id)
    return Erased(open_, flight, dead, exchanges, digests, aliases, sent)


def _delete_ids(store: Store, conversation_id: str) -> tuple[int, int]:
    """Delete the customer's second ids, and the ids of what was sent; return how many of each."""
    client: Any = store.client
    deleted = {"alias:": 0, "sent:": 0, "answered:": 0}
    for page in scan_keys(store, *deleted):
        # By shard, whose keys are all in one slot.
        for number, found in groupby(sorted(page), key=lambda key: key[0]):
            prefix = store.keyring.shards[number].prefix
            keys = [(kind, f"{prefix}{kind}{rest}") for _, kind, rest in found]
            with reached():
                values = client.mget([key for _, key in keys])
                for (kind, key), value in zip(keys, values, strict=True):
                    # An alias holds the conversation, a sent id the conversation, batch and part.
                    # The key of an answer names them: it is a list, of which MGET says nothing.
                    named = value.decode() if value else key.rpartition(kind)[2]
                    if named.partition(":")[0] == conversation_id:
                        deleted[kind] += int(client.delete(key))
    return deleted["alias:"], deleted["sent:"]


def export(store: Store, found: Trace) -> dict[str, Any]:
    """Return what is kept of a traced conversation, for JSON. Raise LedgerUnavailableError.

    Times are ms. Of messages that were answered only digests are kept, beside the history: their
    number is here. Until an answer is delivered it is kept with them. ``erase`` deletes all of it.
    """
    conversation_id = found.conversation_id
    shard = store.shard_of(conversation_id)
    pipeline: Any = store.client.pipeline(transaction=False)
    for key in (shard.flight_messages(conversation_id), shard.open_messages(conversation_id)):
        pipeline.lrange(key, 0, -1)
    with reached():
        flight, open_ = pipeline.execute()
    return {
        "conversation": conversation_id,
        "account": found.account_id,
        "exported_ms": found.now_ms,
        "accepted": found.accepted,
        "history": [
            {"customer": exchange.customer, "answer": exchange.answer}
            for exchange in store.history(conversation_id)
        ],
        "waiting": [asdict(decode(found.account_id, raw)) for raw in [*flight, *open_]],
        "dead_letters": [_listed(letter) for letter in found.dead_letters],
        "until_delivered": [_listed(answer) for answer in watched_answers(store, conversation_id)],
        "steps": [asdict(step) for step in found.steps],
        "handed_over": [asdict(it) for it in awaited(store, [conversation_id], content=True)],
    }


def _tell_damage(letter: DeadLetter) -> None:
    """Log that something of a letter or an answer cannot be read: a person is to look at it."""
    if letter.is_damaged:
        about = {"account": letter.account_id, "conversation": letter.conversation_id}
        log.error("content.damaged", extra=about | {"place": letter.batch_id})


def _listed(letter: DeadLetter) -> dict[str, Any]:
    _tell_damage(letter)
    return asdict(letter) | {"delivered": sorted(letter.delivered)}
