"""Notices that nobody flushes the Redis this process writes into, and tells it past the ledger.

Where nobody flushes, nobody tells the ledger's alerts either: so this goes to Sentry directly,
from every process that sees it.
"""

import logging
import time
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

#: A flusher collects every few seconds; silent for so long it is dead or looks elsewhere, ms.
SILENT_MS_MAX = 30_000
#: How long that must have been seen before it is told: an installation that starts is silent, ms.
SEEN_MS = 30_000
#: How long this process then keeps quiet about it, ms.
QUIET_MS = 300_000
#: As a receipt has it: nobody ever flushed here.
NEVER = -1


class Silence:
    """What this process has seen of the flusher. ``clock``: milliseconds that only go up."""

    def __init__(self, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._clock = clock
        self._since_ms: int | None = None
        self._quiet_until_ms = 0

    def heed(self, lags_ms: Iterable[int]) -> None:
        """Take note of a flusher's lags, as receipts have them; tell where nobody flushes."""
        for lag_ms in lags_ms:
            if lag_ms == NEVER or lag_ms > SILENT_MS_MAX:
                self._seen(lag_ms)
            elif lag_ms >= 0:
                self._since_ms = None

    def _seen(self, lag_ms: int) -> None:
        now_ms = self._clock()
        if self._since_ms is None:
            self._since_ms = now_ms
        if now_ms - self._since_ms >= SEEN_MS and now_ms >= self._quiet_until_ms:
            self._quiet_until_ms = now_ms + QUIET_MS
            log.error("flusher.silent", extra={"flusher_lag_ms": lag_ms, "problem": nobody(lag_ms)})


def nobody(lag_ms: int) -> str:
    """Return in plain words what a flusher's lag means that is too long."""
    since = "nobody ever collected from it"
    if lag_ms != NEVER:
        since = f"nobody has collected from it for {lag_ms} ms"
    return f"you are writing into a Redis nobody flushes: {since}"
