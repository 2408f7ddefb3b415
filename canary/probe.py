"""Send canaries, find their answers, and alert a person when one is late.

The scheduler and ``manage.py canary`` send theirs side by side, even into one batch. Each is known
to the ledger and to the sink by its id, so none is mistaken for another.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from batching.errors import TransientError
from batching.inspect import MessageState, MessageStatus, Trace, message_status, trace
from batching.keys import CANARY, CANARY_ANSWERED, CANARY_SENDS, CANARY_TURN
from batching.model import CANARY_ACCOUNT, Reason
from batching.store import Store, reached
from canary.channel import CUSTOMER
from httpjson import CallError, call_json

log = logging.getLogger(__name__)

#: How long a web process may take to answer the webhook, ms.
POST_MS_MAX = 5_000
#: How long an answer may take before a person is alerted, ms; it normally takes about a second.
LATE_MS = 20_000
#: Cooldown of that alert, ms.
LATE_COOLDOWN_MS = 600_000
#: A canary without an answer is given up after this, ms, and the next one is sent.
GIVEN_UP_MS = 300_000


class Probe:
    """Post canaries and find them again. Every method may raise LedgerUnavailableError.

    ``secret`` proves the webhook, see ``canary.channel.webhook_secret``.
    """

    def __init__(self, store: Store, *, secret: str, http: httpx2.Client) -> None:
        self._store = store
        self._client: Any = store.client
        self._secret = secret
        self._http = http
        self._conversation_id = store.conversation_id(CANARY_ACCOUNT, CUSTOMER)

    def now_ms(self) -> int:
        """Return the server's time, the clock of the sink."""
        return self._store.now_ms()

    def post(self, url: str, message_id: str) -> str:
        """Post a canary to the web process at ``url``; return why it was refused, "" if taken."""
        try:
            reply = call_json(
                self._http,
                f"{url}/webhooks/canary",
                {"message_id": message_id},
                headers={"X-Webhook-Secret": self._secret},
                timeout_ms=POST_MS_MAX,
                connect_ms_max=POST_MS_MAX,
            )
        except CallError as error:
            return f"no answer ({error})"
        return "" if reply.is_success else f"HTTP {reply.status}"

    def answered_ms(self, message_id: str) -> int:
        """Return when a canary was answered, 0 if it was not."""
        with reached():
            return int(self._client.zscore(CANARY_ANSWERED, message_id) or 0)

    def times_answered(self, message_id: str) -> int:
        """Return how many answers were sent to a canary, among the newest there were."""
        with reached():
            sends: Any = self._client.lrange(CANARY_SENDS, 0, -1)
        return sum(message_id in answers.decode().split() for answers in sends)

    def last_step(self, message_id: str, refused: str) -> str:
        """Return where a canary was last seen, and what to look at; ``refused``: see ``post``."""
        if refused:
            return f"webhook: {refused}: look at the web processes and the address (CANARY_URL)"
        shard = self._store.shard_of(self._conversation_id)
        digest = self._store.keyring.digest(CANARY_ACCOUNT, message_id)
        with reached():
            accepted_ms = self._client.zscore(shard.seen(self._conversation_id), digest)
        if accepted_ms is None:
            return "the ledger in our REDIS_URL does not have it: is the web on another Redis?"
        found = trace(self._store, self._conversation_id)
        return _step(found, message_status(found, message_id, int(accepted_ms)))

    def discard_dead(self) -> None:
        """Discard the canaries' dead letters: each raised its alert, and none is worth a replay."""
        with reached():
            batches = self._client.zrange(self._store.keyring.canary.dead, 0, 100)
        for batch in batches:
            self._store.discard(self._conversation_id, batch.decode(), Reason.DISCARDED)


def _step(found: Trace, at: MessageStatus) -> str:
    flight, last = found.flight, found.steps[-1] if found.steps else None
    done = f" (last step: {' '.join((last.verb, *last.words))})" if last else ""
    if at.state not in (MessageState.FLIGHT, MessageState.OPEN):
        return f"ended, and the sink did not get it{done}: look at the log of the workers"
    if flight is None:
        return "append: open, and not collected: look at scheduler, broker and workers"
    behind = "append: open, behind a batch in " if at.state is MessageState.OPEN else ""
    return f"{behind}{flight.stage}: {flight.state}{done}: look at the workers and the broker"


@dataclass(frozen=True, slots=True)
class State:
    """The last canary of the schedulers; times are the server's, 0 for never.

    ``reported_id``: the last one whose answer was logged.
    """

    now_ms: int
    message_id: str
    posted_ms: int
    refused: str
    answered_ms: int
    reported_id: str

    @property
    def age_ms(self) -> int:
        """Return how long ago it was posted."""
        return self.now_ms - self.posted_ms


class Watcher:
    """Send a canary to ``url`` every ``every_ms``, log its round trip, alert if it is late.

    Any number of schedulers may run one: their state is shared in the ledger. A ledger that is away
    makes it late as well: that is logged at once, and alerted of when there is a ledger to do it.
    ``clock``: monotonic ms.
    """

    def __init__(
        self,
        store: Store,
        *,
        url: str,
        every_ms: int,
        secret: str,
        http: httpx2.Client,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._clock = clock
        self._away_ms: int | None = None
        self._is_late = False
        self._url = url
        self._every_ms = every_ms
        self._store = store
        self._client: Any = store.client
        self._probe = Probe(store, secret=secret, http=http)

    def __call__(self) -> None:
        """Check once. Never raises: that the ledger is away is no fault of the scheduler."""
        try:
            state = self._state()
            self._end_absence()
            under_way = state.message_id != state.reported_id
            missing = under_way and not state.answered_ms
            if missing and state.age_ms > LATE_MS:
                self._alert_late(state)
            elif under_way and not missing:
                self._report(state)
            if (not missing or state.age_ms > GIVEN_UP_MS) and self._is_our_turn():
                self._post()
        except TransientError as error:
            self._miss(error.code)

    def _miss(self, code: str) -> None:
        """Take note of a ledger that is away, and log it once it lasts."""
        now_ms = self._clock()
        self._away_ms = now_ms if self._away_ms is None else self._away_ms
        waited_ms = now_ms - self._away_ms
        if waited_ms >= LATE_MS and not self._is_late:
            self._is_late = True
            step = f"nowhere: the ledger in our REDIS_URL does not answer ({code})"
            log.error("canary.late", extra={"waited_ms": waited_ms, "step": step})

    def _end_absence(self) -> None:
        if self._is_late and self._away_ms is not None:
            away_s = (self._clock() - self._away_ms) // 1000
            detail = f"none was sent for {away_s} s: the ledger in our REDIS_URL did not answer"
            self._store.alert_once(
                "canary_late", detail, account_id=CANARY_ACCOUNT, cooldown_ms=LATE_COOLDOWN_MS
            )
        self._away_ms, self._is_late = None, False

    def _state(self) -> State:
        names = ("message_id", "posted_ms", "refused", "reported_id")
        with reached():
            values = self._client.hmget(CANARY, names)
        message_id, posted_ms, refused, reported_id = ((it or b"").decode() for it in values)
        return State(
            now_ms=self._probe.now_ms(),
            message_id=message_id,
            posted_ms=int(posted_ms) if posted_ms.isdecimal() else 0,
            refused=refused,
            answered_ms=self._probe.answered_ms(message_id),
            reported_id=reported_id,
        )

    def _report(self, state: State) -> None:
        """Log the round trip; afterwards no scheduler reports this canary again."""
        round_trip_ms = state.answered_ms - state.posted_ms
        answered = {
            "reported_id": state.message_id,
            "answered_ms": state.answered_ms,
            "round_trip_ms": round_trip_ms,
        }
        with reached():
            self._client.hset(CANARY, mapping=answered)
        self._probe.discard_dead()
        log.debug("canary.answered", extra={"round_trip_ms": round_trip_ms})

    def _alert_late(self, state: State) -> None:
        step = self._probe.last_step(state.message_id, state.refused)
        detail = f"posted {state.age_ms // 1000} s ago, not answered; last seen: {step}"
        if self._store.alert_once(
            "canary_late", detail, account_id=CANARY_ACCOUNT, cooldown_ms=LATE_COOLDOWN_MS
        ):
            log.error("canary.late", extra={"waited_ms": state.age_ms, "step": step})

    def _is_our_turn(self) -> bool:
        with reached():
            return bool(self._client.set(CANARY_TURN, 1, nx=True, px=self._every_ms))

    def _post(self) -> None:
        """Post the next canary; why the webhook refused it is kept for the alert."""
        message_id = uuid.uuid4().hex
        posted = {"message_id": message_id, "posted_ms": self._probe.now_ms(), "refused": ""}
        with reached():
            self._client.hset(CANARY, mapping=posted)
        if refused := self._probe.post(self._url, message_id):
            with reached():
                self._client.hset(CANARY, "refused", refused)
