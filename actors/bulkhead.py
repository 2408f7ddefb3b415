"""Keep an account whose calls hang from taking every thread of a worker process."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dramatiq import Worker
from dramatiq.broker import Broker
from dramatiq.middleware import Middleware

from actors.middleware import shares
from batching.model import CANARY_ACCOUNT, Stage

log = logging.getLogger(__name__)

#: From when on a run is slow, ms: several times what a healthy provider or model takes.
SLOW_MS = {Stage.GENERATE: 10_000, Stage.SEND: 3_000}
#: The canary, and a wake-up that comes when its batch is gone, are nobody's neighbours.
_NOBODY = frozenset({"", CANARY_ACCOUNT})
#: How long after a slow run an account is held to its part of the threads, ms.
WARY_MS = 120_000

Place = tuple[Stage, str]


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Bulkhead(Middleware):
    """Gives a slow account at most half of a queue's threads, at least one.

    A healthy account may have all of them, and so may one without neighbours. A wake-up that
    gets no place is dropped: the ledger rings again, as for any other that was lost.
    """

    def __init__(self, clock_ms: Callable[[], int] = _monotonic_ms) -> None:
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._threads: dict[str, int] = {}
        self._running: defaultdict[Place, list[int]] = defaultdict(list)
        self._wary_until_ms: dict[Place, int] = {}
        self._neighbours: set[str] = set()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Learn how many threads each queue has."""
        queues = worker.consumer_whitelist or broker.get_declared_queues()
        self._threads = shares(worker.worker_threads, queues)

    @contextmanager
    def place(self, stage: Stage, account_id: str) -> Iterator[bool]:
        """Give whether a run of the account may begin; it lasts until the context is left."""
        began_ms = self._clock_ms()
        may_begin = self._take((stage, account_id), began_ms)
        if not may_begin:
            log.info("doorbell.deferred", extra={"actor": stage, "account": account_id})
        try:
            yield may_begin
        finally:
            if may_begin:
                self._leave((stage, account_id), began_ms)

    def _take(self, place: Place, now_ms: int) -> bool:
        stage, account_id = place
        with self._lock:
            self._neighbours |= {account_id} - _NOBODY
            running = self._running[place]
            slow = bool(running) and now_ms - running[0] >= SLOW_MS[stage]
            wary = slow or now_ms < self._wary_until_ms.get(place, 0)
            most = max(1, self._threads.get(stage, 0) // 2)
            if wary and len(self._neighbours) > 1 and len(running) >= most:
                return False
            running.append(now_ms)
            return True

    def _leave(self, place: Place, began_ms: int) -> None:
        now_ms = self._clock_ms()
        with self._lock:
            self._running[place].remove(began_ms)
            if now_ms - began_ms >= SLOW_MS[place[0]]:
                self._wary_until_ms[place] = now_ms + WARY_MS
