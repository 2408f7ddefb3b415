"""Where a message is, and what became of a batch, as far as the ledger remembers.

The trail names batches and no messages. But a collect takes all that is open, so a message that is
kept nowhere any more was in the first batch that was collected after it was accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from batching import walk
from batching.ledger import reached
from batching.store import Store
from batching.trace import TRAIL_MAX, TRAIL_MS, Step, Trace


class Place(StrEnum):
    """Where a message is. ``FORGOTTEN``: it has ended, and its steps are not kept any more."""

    OPEN = "open"
    FLIGHT = "in flight"
    DEAD = "dead"
    ANSWERED = "answered"
    SUPPRESSED = "suppressed"
    FORGOTTEN = "forgotten"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A message's place. ``batch_id``: "" for none; ``reason``: why it is dead or suppressed."""

    place: Place
    accepted_ms: int = 0
    batch_id: str = ""
    reason: str = ""


def find(store: Store, account_ids: Sequence[str], message_id: str) -> tuple[str, int] | None:
    """Return the conversation of a provider's message id and when it was accepted, ms.

    None if no account has accepted it in the time that deduplication remembers. Walks.
    """
    digests = [store.keyring.digest(account_id, message_id) for account_id in account_ids]
    shards = store.keyring.shards
    for page in walk.keys(store.client, store.keyring, "seen:"):
        pipeline: Any = store.client.pipeline(transaction=False)
        for number, _, conversation_id in page:
            pipeline.zmscore(shards[number].seen(conversation_id), digests)
        with reached():
            found = pipeline.execute()
        for (_, _, conversation_id), scores in zip(page, found, strict=True):
            for accepted_ms in filter(None, scores):
                return conversation_id, int(accepted_ms)
    return None


def owner(store: Store, account_id: str, customer: str) -> str:
    """Return the conversation of a customer by any id that was ever delivered for them."""
    digest = store.keyring.digest(account_id, customer)
    (found,) = store.read([store.shard_of(digest).alias(account_id, digest)])
    return found or store.conversation_id(account_id, customer)


def whereabouts(trace: Trace, message_id: str, accepted_ms: int) -> Whereabouts:
    """Return where a message is that was accepted in this conversation."""
    batch_id = trace.messages.get(message_id)
    if batch_id is None:
        batch_id = _collected_in(trace, accepted_ms)
    if batch_id is not None:
        place, reason, batch_id = outcome(trace, batch_id)
        return Whereabouts(place, accepted_ms, batch_id, reason)
    trimmed = len(trace.steps) >= TRAIL_MAX and trace.steps[0].at_ms > accepted_ms
    if trimmed or trace.now_ms - accepted_ms > TRAIL_MS:
        return Whereabouts(Place.FORGOTTEN, accepted_ms)
    return Whereabouts(Place.SUPPRESSED, accepted_ms, reason="asks for no answer")


def outcome(trace: Trace, batch_id: str) -> tuple[Place, str, str]:
    """Return what became of a batch, why, and the batch that tells: a replay makes another."""
    if trace.open and trace.open.batch_id == batch_id:
        return Place.OPEN, "", batch_id
    if trace.flight and trace.flight.batch_id == batch_id:
        return Place.FLIGHT, trace.flight.state, batch_id
    for letter in trace.letters:
        if letter.batch_id == batch_id:
            return Place.DEAD, letter.reason, batch_id
    steps = [step for step in trace.steps if step.batch_id == batch_id]
    return _ended(trace, steps[-1]) if steps else (Place.FORGOTTEN, "", batch_id)


def _ended(trace: Trace, last: Step) -> tuple[Place, str, str]:
    match last.verb, last.words:
        case "replay", (replayed_as, *_) if replayed_as != last.batch_id:
            return outcome(trace, replayed_as)
        case "finish", (reason, *_) if reason:
            return Place.SUPPRESSED, reason, last.batch_id
        case "discard", _:
            return Place.SUPPRESSED, "discarded", last.batch_id
        case "finish" | "left", _:
            return Place.ANSWERED, "", last.batch_id
    return Place.FORGOTTEN, "", last.batch_id


def _collected_in(trace: Trace, accepted_ms: int) -> str | None:
    """Return the batch that took what was open at a time, None if the trail does not say."""
    steps = trace.steps
    if len(steps) >= TRAIL_MAX and steps[0].at_ms > accepted_ms:
        return None
    later = (step for step in steps if step.verb == "collect" and step.at_ms >= accepted_ms)
    return next((step.batch_id for step in later), None)
