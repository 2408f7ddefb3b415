"""Meta's side of the webhooks: delivers until it hears 200, and now and then once more."""

import http.client
import json
import random
import sched
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from tests.chaos.record import Record, Refused
from tests.history.events import Accepted, Offered
from tests.webhooks import CLOUD, body, change, signed, status

SENDERS = 8
#: How long Meta waits for an answer, in seconds, and how long it waits before the next try.
ANSWER_S = 3.0
AGAIN_S = (0.3, 1.5)
#: One delivery in so many is repeated although it was acknowledged.
TWICE_EVERY = 30
_TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class Offer:
    """One message of a webhook."""

    account: str
    customer: str
    word: str
    silent: bool = False


class Meta:
    """Delivers webhooks to ``ports``, each to any of them; ``pending`` is how many are left.

    ``senders``: how many it delivers at a time. ``doublings``: how often the pause before the next
    try of one webhook doubles; a long outage would else be a storm of its own.
    """

    def __init__(
        self,
        record: Record,
        rng: random.Random,
        ports: Sequence[int],
        *,
        senders: int = SENDERS,
        doublings: int = 0,
    ) -> None:
        self.ports = list(ports)
        self.pending = 0
        self._record = record
        self._rng = rng
        self._later = sched.scheduler(time.monotonic)
        self._senders = ThreadPoolExecutor(senders)
        self._doublings = doublings
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._timekeeper = threading.Thread(target=self._keep_time, daemon=True)
        self._timekeeper.start()

    def deliver(
        self, content: dict[str, Any], offers: Sequence[Offer] = (), *, after_s: float = 0.0
    ) -> None:
        with self._lock:
            self.pending += 1
        self._put(json.dumps(content).encode(), offers, after_s)

    def report(self, phone_number_id: str, _customer: str, wamid: str, tag: str) -> None:
        """Deliver the statuses of a text, later, perhaps out of order."""
        for state in self._rng.sample(("sent", "delivered", "read"), self._rng.randint(1, 3)):
            item = change(number=phone_number_id, statuses=[status(wamid, state, tag)])
            self.deliver(body(item), after_s=self._rng.uniform(0.02, 4.0))

    def close(self) -> None:
        """Deliver nothing more."""
        self._over.set()
        self._timekeeper.join()
        self._senders.shutdown(cancel_futures=True)

    def _put(self, raw: bytes, offers: Sequence[Offer], wait_s: float, tries: int = 0) -> None:
        self._later.enter(wait_s, 0, self._senders.submit, (self._offer, raw, offers, tries))

    def _keep_time(self) -> None:
        while not self._over.wait(_TICK_S):
            self._later.run(blocking=False)

    def _offer(self, raw: bytes, offers: Sequence[Offer], tries: int) -> None:
        for offer in offers:
            self._record.note(partial(Offered, **asdict(offer)))
        code, why = self._post(raw)
        if code != str(HTTPStatus.OK):
            self._record.note(lambda at_ms: Refused(at_ms, code, why))
            pause_s = self._rng.uniform(*AGAIN_S) * 2 ** min(tries, self._doublings)
            self._put(raw, offers, pause_s, tries + 1)
            return
        for offer in offers:
            self._record.note(partial(Accepted, word=offer.word))
        if self._rng.random() * TWICE_EVERY < 1:
            self._put(raw, offers, self._rng.uniform(0.0, 3.0))
            return
        with self._lock:
            self.pending -= 1

    def _connection(self) -> http.client.HTTPConnection:
        port = self._rng.choice(self.ports)
        return http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)

    def _post(self, raw: bytes) -> tuple[str, str]:
        """Return the status of the answer, "" if there was none, and then why not."""
        headers = signed(raw) | {"Connection": "close"}
        connection = self._connection()
        try:
            connection.request("POST", CLOUD, raw, headers)
            return str(connection.getresponse().status), ""
        except (OSError, http.client.HTTPException) as error:
            return "", type(error).__name__
        finally:
            connection.close()
