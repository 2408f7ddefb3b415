"""A customer's right to a copy: everything readable that the ledger keeps of a conversation."""

from dataclasses import asdict
from typing import Any

from batching.inspect import trace
from batching.model import decode
from batching.store import Store, reached


def export(store: Store, conversation_id: str) -> dict[str, Any]:
    """Return what is kept of a conversation, ready for JSON. Raise LedgerUnavailableError.

    Times are ms. Of messages that were answered only digests are kept, beside the history: their
    number is here. ``erase`` deletes all of it.
    """
    shard, found = store.shard_of(conversation_id), trace(store, conversation_id)
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
        "dead_letters": [asdict(letter) for letter in found.dead_letters],
        "steps": [asdict(step) for step in found.steps],
    }
