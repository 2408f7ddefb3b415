"""The canary: a synthetic message that goes the whole way every minute, so that silence is noticed.

It enters by the webhook over HTTP like a customer's, is collected, answered by the scripted model
and sent into a sink. It costs no token, reaches nobody, and is booked in a shard of its own.
"""

import logging
import uuid
from dataclasses import dataclass
from typing import Any

import httpx2

from batching.errors import TransientError
from batching.keys import CANARY, CANARY_TURN
from batching.ledger import reached, server_ms
from batching.model import CANARY_ACCOUNT
from batching.operations import Operations
from channels.canary import CUSTOMER
from runtime.build import Runtime
from wire.errors import WireError
from wire.post import post_json

log = logging.getLogger(__name__)

#: How long an answer may take before a person is told, ms; healthy, it takes about one second.
LATE_MS = 20_000
#: How long the next alarm is held back, ms.
QUIET_MS = 600_000
#: A message that is not answered by then is given up, and the next one sent, ms.
GIVEN_UP_MS = 300_000
POST_MS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class State:
    """The canary's last message as the ledger has it; times are the server's, 0 for never."""

    now_ms: int
    message_id: str
    posted_ms: int
    refused: str
    answered_id: str
    answered_ms: int
    reported_id: str

    @property
    def is_answered(self) -> bool:
        """Return whether nothing is under way."""
        return self.message_id == self.answered_id

    @property
    def age_ms(self) -> int:
        """Return how long ago the message was posted."""
        return self.now_ms - self.posted_ms


class Canary:
    """Posts, measures, and tells a person of one that is late. Any number of schedulers may run."""

    def __init__(self, runtime: Runtime, http: httpx2.Client) -> None:
        config = runtime.accounts.config(CANARY_ACCOUNT)
        self._secret = config.secrets[0] if config else ""
        self._url = f"{runtime.settings.canary_url}/webhooks/canary"
        self._every_ms = runtime.settings.canary_every_ms
        self._store = runtime.store
        self._client: Any = runtime.store.client
        self._http = http
        self._conversation_id = runtime.store.conversation_id(CANARY_ACCOUNT, CUSTOMER)

    def __call__(self) -> None:
        """Look once. Never raises TransientError: a ledger that is away is told by the tick."""
        try:
            state = self._state()
            if state.is_answered and state.message_id != state.reported_id:
                self._report(state)
            elif not state.is_answered and state.age_ms > LATE_MS:
                self._tell_late(state)
            if (state.is_answered or state.age_ms > GIVEN_UP_MS) and self._is_our_turn():
                self._post()
        except TransientError:
            return

    def _state(self) -> State:
        names = ("message_id", "posted_ms", "refused", "answered_id", "answered_ms", "reported_id")
        pipeline = self._client.pipeline(transaction=False)
        pipeline.time()
        pipeline.hmget(CANARY, names)
        with reached():
            time, values = pipeline.execute()
        message_id, posted_ms, refused, answered_id, answered_ms, reported_id = (
            value.decode() if value else "" for value in values
        )
        return State(
            now_ms=server_ms(time),
            message_id=message_id,
            posted_ms=int(posted_ms or 0),
            refused=refused,
            answered_id=answered_id,
            answered_ms=int(answered_ms or 0),
            reported_id=reported_id,
        )

    def _report(self, state: State) -> None:
        """Tell of an answer, once whichever scheduler sees it first."""
        with reached():
            self._client.hset(
                CANARY,
                items=[
                    "reported_id", state.message_id,
                    "round_trip_ms", str(state.answered_ms - state.posted_ms),
                ],
            )  # fmt: skip
        self._discard_dead()
        log.info("canary.answered", extra={"round_trip_ms": state.answered_ms - state.posted_ms})

    def _tell_late(self, state: State) -> None:
        step = self._last_step(state)
        told = f"posted {state.age_ms // 1000} s ago, not answered; last seen: {step}"
        if self._store.alarm("canary_late", told, account_id=CANARY_ACCOUNT, quiet_ms=QUIET_MS):
            log.error("canary.late", extra={"waited_ms": state.age_ms, "step": step})

    def _last_step(self, state: State) -> str:
        """Return where the message was last seen, in plain words with what to look at."""
        if state.refused:
            return f"webhook: {state.refused}: look at the web processes and CANARY_URL"
        peek = self._store.peek(self._conversation_id)
        trail = self._store.shard_of(self._conversation_id).trail(self._conversation_id)
        with reached():
            last = self._client.lrange(trail, -1, -1)
        done = f" (last step: {last[0].decode().partition(' ')[2]})" if last else ""
        if peek.flight_count:
            return f"{peek.stage}: {peek.state}{done}: look at the workers and the broker"
        if peek.open_count:
            return "append: open, and nobody collects it: look at scheduler, broker and workers"
        return f"the ledger of this scheduler does not have it{done}: is the web on another Redis?"

    def _is_our_turn(self) -> bool:
        with reached():
            return bool(self._client.set(CANARY_TURN, 1, nx=True, px=self._every_ms))

    def _post(self) -> None:
        """Post the next message; what the webhook answers is kept for the alarm."""
        message_id = uuid.uuid4().hex
        with reached():
            posted_ms = str(server_ms(self._client.time()))
            fields = ["message_id", message_id, "posted_ms", posted_ms, "refused", ""]
            self._client.hset(CANARY, items=fields)
        if refused := self._refusal(message_id):
            with reached():
                self._client.hset(CANARY, "refused", refused)

    def _refusal(self, message_id: str) -> str:
        """Hand the message in; return why it was not taken, "" if it was."""
        try:
            reply = post_json(
                self._http,
                self._url,
                {"message_id": message_id},
                headers={"X-Webhook-Secret": self._secret},
                timeout_ms=POST_MS_MAX,
                connect_ms_max=POST_MS_MAX,
            )
        except WireError as error:
            return type(error).__name__
        return "" if reply.is_success else f"HTTP {reply.status}"

    def _discard_dead(self) -> None:
        """Forget canaries that died: their alerts told it, and there is nothing to replay."""
        shard, operations = self._store.keyring.canary, Operations(self._store)
        with reached():
            batches = self._client.zrange(shard.dead, 0, 100)
        for batch in batches:
            letter = operations.dead_letter(batch.decode(), shard)
            if letter:
                operations.discard(letter)
