"""Whether this very Redis is flushed, as its heartbeat and every receipt of a webhook tell."""

import logging
import time
from collections.abc import Callable, Iterable

from runtime.outages import Turn, take_turn
from runtime.units import span

log = logging.getLogger(__name__)

#: A flusher collects every second at least; silent for longer, it or the broker is dead, or it
#: uses another Redis, ms.
FLUSHER_SILENT_MS_MAX = 4_000
#: How long a process must see that before it logs it, ms: a new installation starts silent.
SILENCE_LASTS_MS = 30_000
#: After this the process logs it again, ms.
SILENCE_COOLDOWN_MS = 300_000
#: The flusher lag in a Redis that was never flushed.
NEVER = -1


def describe_lag(lag_ms: int) -> str:
    """Return what a flusher lag above FLUSHER_SILENT_MS_MAX, or NEVER, means."""
    if lag_ms == NEVER:
        return "this Redis was never flushed"
    return f"this Redis was last flushed {span(lag_ms)} ago"


def is_silent(lag_ms: int) -> bool:
    """Return whether a flusher lag means that this Redis is not flushed."""
    return lag_ms == NEVER or lag_ms > FLUSHER_SILENT_MS_MAX


class Silence:
    """Log ``flusher.silent`` when this process sees for long that its Redis is not flushed.

    ``clock``: monotonic milliseconds. ``turn``: gives it where no other process of this host does
    so for the same Redis; without it is a warning.
    """

    def __init__(
        self,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        turn: Callable[[], Turn | None] = take_turn,
    ) -> None:
        self._clock = clock
        self._take_turn = turn
        self._turn: Turn | None = None
        self._since_ms: int | None = None
        self._quiet_until_ms = 0

    def observe(self, lags_ms: Iterable[int]) -> None:
        """Take the flusher's lags from receipts; one below NEVER means unknown."""
        for lag_ms in lags_ms:
            if is_silent(lag_ms):
                self._seen(lag_ms)
            elif lag_ms >= 0:
                self._since_ms = None
                if self._turn:
                    self._turn.close()
                    self._turn = None

    def _seen(self, lag_ms: int) -> None:
        now_ms = self._clock()
        if self._since_ms is None:
            self._since_ms = now_ms
        if now_ms - self._since_ms >= SILENCE_LASTS_MS and now_ms >= self._quiet_until_ms:
            self._quiet_until_ms = now_ms + SILENCE_COOLDOWN_MS
            self._turn = self._turn or self._take_turn()
            fields = {"flusher_lag_ms": lag_ms, "problem": describe_lag(lag_ms)}
            level = logging.ERROR if self._turn else logging.WARNING
            log.log(level, "flusher.silent", extra=fields)
