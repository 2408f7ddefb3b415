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
from batching.model import CANARY_ACCOUNT
from batching.operations import Operations
from batching.store import reached
from runtime.build import Runtime
from runtime.canary_way import CanaryWay

log = logging.getLogger(__name__)

#: How long an answer may take before a person is told, ms; healthy, it takes about one second.
LATE_MS = 20_000
#: How long the next alarm is held back, ms.
QUIET_MS = 600_000
#: A message that is not answered by then is given up, and the next one sent, ms.
GIVEN_UP_MS = 300_000


@dataclass(frozen=True, slots=True)
class State:
    """The scheduler's last canary as the ledger has it; times are the server's, 0 for never."""

    now_ms: int
    message_id: str
    posted_ms: int
    refused: str
    answered_ms: int
    reported_id: str

    @property
    def is_reported(self) -> bool:
        """Return whether nothing is under way."""
        return self.message_id == self.reported_id

    @property
    def is_answered(self) -> bool:
        """Return whether nothing is awaited."""
        return self.is_reported or self.answered_ms > 0

    @property
    def age_ms(self) -> int:
        """Return how long ago the message was posted."""
        return self.now_ms - self.posted_ms


class Canary:
    """Posts, measures, and tells a person of one that is late. Any number of schedulers may run."""

    def __init__(self, runtime: Runtime, http: httpx2.Client) -> None:
        self._url = runtime.settings.canary_url
        self._every_ms = runtime.settings.canary_every_ms
        self._store = runtime.store
        self._client: Any = runtime.store.client
        self._way = CanaryWay(runtime.store, runtime.settings, http)

    def __call__(self) -> None:
        """Look once. Never raises TransientError: a ledger that is away is told by the tick."""
        try:
            state = self._state()
            if state.is_answered and not state.is_reported:
                self._report(state)
            elif not state.is_answered and state.age_ms > LATE_MS:
                self._tell_late(state)
            if (state.is_answered or state.age_ms > GIVEN_UP_MS) and self._is_our_turn():
                self._post()
        except TransientError:
            return

    def _state(self) -> State:
        names = ("message_id", "posted_ms", "refused", "reported_id")
        with reached():
            values = self._client.hmget(CANARY, names)
        message_id, posted_ms, refused, reported_id = (
            value.decode() if value else "" for value in values
        )
        return State(
            now_ms=self._way.now_ms(),
            message_id=message_id,
            posted_ms=int(posted_ms or 0),
            refused=refused,
            answered_ms=self._way.answered_ms(message_id),
            reported_id=reported_id,
        )

    def _report(self, state: State) -> None:
        """Tell of an answer, once whichever scheduler sees it first."""
        with reached():
            self._client.hset(
                CANARY,
                items=[
                    "reported_id", state.message_id,
                    "answered_ms", str(state.answered_ms),
                    "round_trip_ms", str(state.answered_ms - state.posted_ms),
                ],
            )  # fmt: skip
        self._discard_dead()
        log.info("canary.answered", extra={"round_trip_ms": state.answered_ms - state.posted_ms})

    def _tell_late(self, state: State) -> None:
        step = self._way.last_step(state.message_id, state.refused)
        told = f"posted {state.age_ms // 1000} s ago, not answered; last seen: {step}"
        if self._store.alarm("canary_late", told, account_id=CANARY_ACCOUNT, quiet_ms=QUIET_MS):
            log.error("canary.late", extra={"waited_ms": state.age_ms, "step": step})

    def _is_our_turn(self) -> bool:
        with reached():
            return bool(self._client.set(CANARY_TURN, 1, nx=True, px=self._every_ms))

    def _post(self) -> None:
        """Post the next message; why the webhook refused it is kept for the alarm."""
        message_id = uuid.uuid4().hex
        posted_ms = str(self._way.now_ms())
        with reached():
            fields = ["message_id", message_id, "posted_ms", posted_ms, "refused", ""]
            self._client.hset(CANARY, items=fields)
        if refused := self._way.post(self._url, message_id):
            with reached():
                self._client.hset(CANARY, "refused", refused)

    def _discard_dead(self) -> None:
        """Forget canaries that died: their alerts told it, and there is nothing to replay."""
        shard, operations = self._store.keyring.canary, Operations(self._store)
        with reached():
            batches = self._client.zrange(shard.dead, 0, 100)
        for batch in batches:
            letter = operations.dead_letter(batch.decode(), shard)
            if letter:
                operations.discard(letter)
