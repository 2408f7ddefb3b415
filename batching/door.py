"""The ledger's door: the calls by which the outside world reaches it.

They are built here and run together, so that a webhook with many events costs one round trip.
"""

from collections.abc import Sequence
from typing import Any

from batching.encoding import encode
from batching.keys import Shard
from batching.limits import Limits
from batching.model import DeliveryStatus, ForeignMessage, InboundMessage, Tag
from batching.records import Receipt, Status
from batching.scripts import Call, run_all
from batching.store import Store

_APPENDED = {1: Status.ACCEPTED, 0: Status.DUPLICATE, -1: Status.FULL}
_SUPPRESSED = {1: Status.SUPPRESSED, 0: Status.DUPLICATE}


class Door:
    """Builds the calls of one webhook and runs them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pace = store.pace

    def append(self, conversation_id: str, message: InboundMessage, limits: Limits) -> Call:
        """Return the call that accepts a message; ``receipt`` reads its answer."""
        s, c, pace = self._store.shard_of(conversation_id), conversation_id, self._store.pace
        names = (s.batches(c), s.open(c), s.seen(c), s.due, s.stats, s.heartbeat, s.overdue)
        what = (self._digest(message), encode(message), limits.stamp())
        caps = (pace.waiting_max, pace.seen_ms, pace.seen_max)
        return self._store.timed("append", names, (c, message.account_id, *what, *caps))

    def link(self, conversation_id: str, message: InboundMessage, alias: str) -> Call:
        """Return the call that remembers a second id of a customer."""
        shard, key = self._alias(message.account_id, alias)
        args = (conversation_id, message.account_id, self._pace.alias_ms)
        return self._store.timed("link", (key, shard.alerts), args)

    def owners(self, events: Sequence[InboundMessage | ForeignMessage]) -> list[str]:
        """Return the conversation of each event.

        Costs a round trip only if one came under a second id alone, or was written by others.
        """
        found = [self._store.conversation_id(event.account_id, event.customer) for event in events]
        places = [n for n, event in enumerate(events) if event.secondary]
        if places:
            keys = [self._alias(events[n].account_id, events[n].customer)[1] for n in places]
            for n, owner in zip(places, self._store.read(keys), strict=True):
                found[n] = owner or found[n]
        return found

    def tags(self, statuses: Sequence[DeliveryStatus]) -> list[Tag | None]:
        """Return the part of which each status tells, None where it is not ours.

        Costs a round trip only if a failure came without our tag: from a provider that carries
        none, or about a message that is not ours.
        """
        found = [Tag.parse(status.tag) for status in statuses]
        lost = [n for n, tag in enumerate(found) if not tag and statuses[n].state == "failed"]
        shards = self._store.keyring.shards
        digests = [self._digest_id(statuses[n].provider_id) for n in lost]
        sent = self._store.read([shard.sent(digest) for digest in digests for shard in shards])
        for place, n in enumerate(lost):
            places = sent[place * len(shards) : (place + 1) * len(shards)]
            found[n] = next((Tag.parse(f"aa:{known}") for known in places if known), None)
        return found

    def suppress(self, conversation_id: str, message: InboundMessage) -> Call:
        """Return the call that accounts a message which asks for no answer."""
        s, c = self._store.shard_of(conversation_id), conversation_id
        return self._store.timed(
            "suppress",
            (s.seen(c), s.stats),
            (self._digest(message), message.kind, self._pace.seen_ms, self._pace.seen_max),
        )

    def left(self, tag: Tag, provider_id: str) -> Call:
        """Return the call by which a provider's status says that a part is with it."""
        return self._store.left_call(tag, provider_id)

    def undelivered(self, account_id: str, tag: Tag, provider_id: str, code: str) -> Call:
        """Return the call that tells a person that a part never arrived; 0 if it was told."""
        s, c = self._store.shard_of(tag.conversation_id), tag.conversation_id
        return self._store.timed(
            "undelivered",
            (s.batches(c), s.lease, s.sent(self._digest_id(provider_id)), s.alerts, s.stats),
            (c, account_id, tag.batch_id, tag.part, code, self._pace.sent_ms),
        )

    def foreign(
        self, conversation_id: str, account_id: str, provider_id: str, author: str, *, pause: bool
    ) -> Call:
        """Return the call that notes a message from our number; 0 if we sent it ourselves."""
        s, c = self._store.shard_of(conversation_id), conversation_id
        sent, told = s.sent(self._digest_id(provider_id)), s.told(account_id, "foreign_reply")
        return self._store.timed(
            "foreign",
            (s.batches(c), sent, s.takeover(c), told, s.alerts, s.stats),
            (c, account_id, author, self._pace.takeover_ms if pause else 0),
        )

    def post(self, calls: Sequence[Call]) -> list[Any]:
        """Run calls in order in one round trip and return their answers."""
        return run_all(self._store.client, calls, synced=self._store.synced) if calls else []

    def _alias(self, account_id: str, alias: str) -> tuple[Shard, str]:
        digest = self._store.keyring.digest(account_id, alias)
        shard = self._store.shard_of(digest)
        return shard, shard.alias(account_id, digest)

    def _digest(self, message: InboundMessage) -> str:
        return self._store.keyring.digest(message.account_id, message.message_id)

    def _digest_id(self, provider_id: str) -> str:
        return self._store.keyring.digest(provider_id)


def receipt(conversation_id: str, call: Call, answer: Any) -> Receipt:  # noqa: ANN401
    """Return what ``append`` or ``suppress`` answered."""
    if call.verb == "suppress":
        return Receipt(_SUPPRESSED[answer], conversation_id)
    status, batch, count, due_ms, lag_ms = answer
    return Receipt(_APPENDED[status], conversation_id, batch.decode(), count, due_ms, lag_ms)
