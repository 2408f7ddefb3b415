"""Bulkhead: keep an account with slow calls from using every thread of a worker process."""

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

#: A run that takes longer is slow, ms: several times what a healthy provider or model takes.
SLOW_MS = {Stage.GENERATE: 10_000, Stage.SEND: 3_000}
#: Not counted as other accounts: the canary, and wake-ups whose batch has ended.
_NO_NEIGHBOUR = frozenset({"", CANARY_ACCOUNT})
#: How long after a slow run an account is limited, ms.
LIMITED_MS = 120_000

#: A stage and an account.
Key = tuple[Stage, str]


class Bulkhead(Middleware):
    """Limits a slow account to half of a queue's threads, at least one.

    Healthy accounts, and an account alone on the process, are not limited. A wake-up that gets no
    slot is dropped; the ledger enqueues it again, like any other that was lost.
    """

    def __init__(
        self, clock_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000
    ) -> None:
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._threads: dict[str, int] = {}
        self._running: defaultdict[Key, list[int]] = defaultdict(list)
        self._limited_until_ms: dict[Key, int] = {}
        self._neighbours: set[str] = set()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002
        """Compute how many threads each queue has."""
        self._threads = shares(worker)

    @contextmanager
    def slot(self, stage: Stage, account_id: str) -> Iterator[bool]:
        """Yield whether a run of the account may begin; its slot is kept until the context ends.

        ``account_id`` is "" if nothing of the conversation is open or in flight any more.
        """
        began_ms = self._clock_ms()
        may_begin = self._acquire((stage, account_id), began_ms)
        if not may_begin:
            log.info("doorbell.deferred", extra={"actor": stage, "account": account_id})
        try:
            yield may_begin
        finally:
            if may_begin:
                self._release((stage, account_id), began_ms)

    def _acquire(self, key: Key, now_ms: int) -> bool:
        stage, account_id = key
        with self._lock:
            self._neighbours |= {account_id} - _NO_NEIGHBOUR
            running = self._running[key]
            slow = bool(running) and now_ms - running[0] >= SLOW_MS[stage]
            limited = slow or now_ms < self._limited_until_ms.get(key, 0)
            most = max(1, self._threads.get(stage, 0) // 2)
            if limited and len(self._neighbours) > 1 and len(running) >= most:
                return False
            running.append(now_ms)
            return True

    def _release(self, key: Key, began_ms: int) -> None:
        now_ms = self._clock_ms()
        with self._lock:
            self._running[key].remove(began_ms)
            if now_ms - began_ms >= SLOW_MS[key[0]]:
                self._limited_until_ms[key] = now_ms + LIMITED_MS
