"""Find what a name from a log line or from a provider belongs to, without knowing the customer.

Each function scans the names of a ledger in use and stops nothing; a name that has left the ledger
is found no more. All raise LedgerUnavailableError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batching.inspect import dead_letter_headers
from batching.scan import scan_keys
from batching.store import Store, reached


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part of ours, from 0, that a provider knows by an id."""

    conversation_id: str
    batch_id: str
    part: int


def digests_of(store: Store, account_ids: Sequence[str], provider_id: str) -> list[str]:
    """Return by which digests the ledger may know a provider's id of a message."""
    return [store.keyring.digest(account_id, provider_id) for account_id in account_ids]


def find_message(store: Store, digests: Sequence[str]) -> tuple[str, int, str] | None:
    """Return the conversation of a customer's message, when it was accepted, ms, and its digest.

    None if it was not accepted in the time that deduplication remembers.
    """
    for page in scan_keys(store, "seen:"):
        pipeline: Any = store.client.pipeline(transaction=False)
        for number, _, conversation_id in page:
            pipeline.zmscore(store.keyring.shards[number].seen(conversation_id), digests)
        with reached():
            found = pipeline.execute()
        for (_, _, conversation_id), scores in zip(page, found, strict=True):
            for digest, accepted_ms in zip(digests, scores, strict=True):
                if accepted_ms:
                    return conversation_id, int(accepted_ms), digest
    return None


def find_part(store: Store, digests: Sequence[str]) -> SentPart | None:
    """Return the part of ours that a provider's id names, None if it is none or forgotten."""
    pipeline: Any = store.client.pipeline(transaction=False)
    for shard in store.keyring.all_shards:
        for digest in digests:
            pipeline.get(shard.sent(digest))
    with reached():
        found = pipeline.execute()
    for value in filter(None, found):
        match value.decode().split(":"):
            case [conversation_id, batch_id, part, *_] if part.isdecimal():
                return SentPart(conversation_id, batch_id, int(part))
    return None


def find_batch(store: Store, batch_id: str) -> list[str]:
    """Return the conversations that have, or had, a batch of this id: ids repeat in each shard."""
    found = {it.conversation_id for it in dead_letter_headers(store) if it.batch_id == batch_id}
    for page in scan_keys(store, "c:", "trail:"):
        pipeline: Any = store.client.pipeline(transaction=False)
        for number, kind, conversation_id in page:
            shard = store.keyring.shards[number]
            if kind == "c:":
                pipeline.hmget(shard.batches(conversation_id), "open_id", "id")
            else:
                pipeline.lrange(shard.trail(conversation_id), 0, -1)
        with reached():
            answers = pipeline.execute()
        for (_, kind, conversation_id), values in zip(page, answers, strict=True):
            words = [it.decode(errors="replace").split(" ") for it in filter(None, values)]
            ids = [it[0] for it in words] if kind == "c:" else [" ".join(it[2:3]) for it in words]
            if batch_id in ids:
                found.add(conversation_id)
    return sorted(found)
