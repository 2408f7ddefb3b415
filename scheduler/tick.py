"""The tick: enqueue a flush if the ledger has work for one."""

import logging
from collections.abc import Callable

from batching.errors import TransientError
from batching.model import Watch

log = logging.getLogger(__name__)

#: A flush is enqueued this long after the last one even if nothing is due, ms: health checks and
#: webhooks see by the heartbeat that this very Redis is flushed.
HEARTBEAT_MS = 1_000


class Tick:
    """Enqueues a flush when there is a reason.

    ``watch`` returns the earliest due time and lease end; ``enqueue_flush`` returns False if a
    flush is waiting already. ``alive`` is called after every tick that ended, also if ledger or
    broker were unreachable, but not after any other failure. ``ready`` is called once, after the
    first tick that reached both; until then every tick enqueues. An outage is logged when it begins
    and when it ends: when the broker took a flush again, or somebody has flushed since.
    """

    def __init__(
        self,
        watch: Callable[[], Watch],
        enqueue_flush: Callable[[], bool],
        alive: Callable[[], None],
        ready: Callable[[], None] | None = None,
    ) -> None:
        self._watch = watch
        self._enqueue_flush = enqueue_flush
        self._alive = alive
        self._ready = ready
        self._outage = ""
        #: When somebody last flushed, as it was known before the outage.
        self._flushed_ms: int | None = None

    def __call__(self) -> None:
        """Check once. Never raises."""
        try:
            # A flush too many costs nothing, and only an enqueued one shows that the broker works.
            watch = self._watch()
            needed = needs_flush(watch) or self._ready or self._outage
            taken = self._enqueue() if needed else True
        except TransientError as error:
            self._log_outage(error.code, logging.WARNING)
        except Exception as error:  # noqa: BLE001 - the outermost handler of this process: it logs
            self._log_outage(type(error).__name__, logging.ERROR)
            return
        else:
            if taken or watch.heartbeat_ms != self._flushed_ms:
                self._log_outage("", logging.INFO)
                self._flushed_ms = watch.heartbeat_ms
        self._alive()

    def _enqueue(self) -> bool:
        # False says nothing about the broker: another scheduler enqueued, or failed to.
        taken = self._enqueue_flush()
        if taken and self._ready:
            self._ready()
            self._ready = None
        return taken

    def _log_outage(self, outage: str, level: int) -> None:
        if outage and outage != self._outage:
            exc_info = level >= logging.ERROR
            log.log(level, "flush.hindered", extra={"code": outage}, exc_info=exc_info)
        elif self._outage and not outage:
            log.log(level, "flush.resumed")
        self._outage = outage


def needs_flush(watch: Watch) -> bool:
    """Return whether a batch is due, a lease expired, or the last flush is HEARTBEAT_MS old."""
    reasons = (watch.due_ms, watch.lease_ms, (watch.heartbeat_ms or 0) + HEARTBEAT_MS)
    return any(at_ms is not None and at_ms <= watch.now_ms for at_ms in reasons)
