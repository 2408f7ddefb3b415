"""The way of a canary: into a webhook, through the ledger, out of the sink; and where it is now.

The scheduler and ``manage.py canary`` send theirs side by side, also into one batch. None is taken
for another: the ledger and the sink know each by its id, and nothing else is looked at.
"""

from typing import Any

import httpx2

from batching.inspect import MessageLocation, Place, Trace, locate, trace
from batching.keys import CANARY_ANSWERED
from batching.model import CANARY_ACCOUNT
from batching.store import Store, reached, server_ms
from channels.canary import CUSTOMER
from httpjson import WireError, post_json
from runtime.canary import canary_account
from runtime.settings import Settings

#: How long a web process may take to answer the webhook, ms.
POST_MS_MAX = 5_000


class CanaryWay:
    """Hands canaries in and finds them again. Every method may raise LedgerUnavailableError."""

    def __init__(self, store: Store, settings: Settings, http: httpx2.Client) -> None:
        (self._secret,) = canary_account(settings).secrets
        self._store = store
        self._client: Any = store.client
        self._http = http
        self._conversation_id = store.conversation_id(CANARY_ACCOUNT, CUSTOMER)

    def now_ms(self) -> int:
        """Return the server's time: that of the sink."""
        with reached():
            return server_ms(self._client.time())

    def post(self, url: str, message_id: str) -> str:
        """Hand a message in at the web process behind ``url``; return why it was refused, or ""."""
        try:
            reply = post_json(
                self._http,
                f"{url}/webhooks/canary",
                {"message_id": message_id},
                headers={"X-Webhook-Secret": self._secret},
                timeout_ms=POST_MS_MAX,
                connect_ms_max=POST_MS_MAX,
            )
        except WireError as error:
            return f"no answer ({error})"
        return "" if reply.is_success else f"HTTP {reply.status}"

    def answered_ms(self, message_id: str) -> int:
        """Return when a message came out, 0 if it did not."""
        with reached():
            return int(self._client.zscore(CANARY_ANSWERED, message_id) or 0)

    def last_step(self, message_id: str, refused: str) -> str:
        """Return where a message was last seen, in plain words with what to look at.

        ``refused``: what ``post`` returned.
        """
        if refused:
            return f"webhook: {refused}: look at the web processes and the address (CANARY_URL)"
        shard = self._store.shard_of(self._conversation_id)
        digest = self._store.keyring.digest(CANARY_ACCOUNT, message_id)
        with reached():
            accepted_ms = self._client.zscore(shard.seen(self._conversation_id), digest)
        if accepted_ms is None:
            return "the ledger in our REDIS_URL does not have it: is the web on another Redis?"
        found = trace(self._store, self._conversation_id)
        return _step(found, locate(found, message_id, int(accepted_ms)))


def _step(found: Trace, at: MessageLocation) -> str:
    flight = found.flight
    last = found.steps[-1] if found.steps else None
    done = f" (last step: {' '.join((last.verb, *last.words))})" if last else ""
    if at.place is Place.FLIGHT and flight:
        return f"{flight.stage}: {flight.state}{done}: look at the workers and the broker"
    if at.place is Place.OPEN and flight:
        before = f"{flight.stage}: {flight.state}{done}"
        return f"append: open, behind a batch in {before}: look at the workers and the broker"
    if at.place is Place.OPEN:
        return "append: open, and nobody collects it: look at scheduler, broker and workers"
    return f"ended, and the sink did not get it{done}: look at the log of the workers"
