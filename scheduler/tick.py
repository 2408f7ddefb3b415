"""One look at the ledger: whether there is anything for a flush to do."""

import logging
from collections.abc import Callable
from typing import Protocol

from batching.errors import TransientError
from batching.model import Watch

log = logging.getLogger(__name__)

#: How old the last flush may be before one is rung for although nothing is due, ms: readiness and
#: webhooks tell by it that somebody flushes this very Redis.
HEARTBEAT_MS = 5_000


class Ledger(Protocol):
    """What a tick reads."""

    def watch(self) -> Watch:
        """Return the earliest due time and lease end. Raise LedgerUnavailableError."""
        ...


class FlushQueue(Protocol):
    """What a tick rings."""

    def enqueue_flush(self) -> bool:
        """Ask for a flush, unless one was asked for and has not begun. Raise TransientError."""
        ...


class Tick:
    """Rings for a flush when there is a reason; ``alive`` is told of every tick that ended.

    ``serves`` is told once, when a first tick has reached ledger and broker; until then each rings.
    A ledger or broker that is away is told once, when it goes and when it is back: the tick goes
    on, and so does the process. Any other failure does not count as life.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: FlushQueue,
        alive: Callable[[], None],
        serves: Callable[[], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._alive = alive
        self._serves = serves
        self._trouble = ""

    def __call__(self) -> None:
        """Look once. Never raises."""
        try:
            # A flush too many costs nothing, and only one that was rung for shows the broker.
            if asks_for_flush(self._ledger.watch()) or self._serves:
                self._ring()
        except TransientError as error:
            self._tell(error.code, logging.WARNING)
        except Exception as error:  # noqa: BLE001 - the door of this process: it reports
            self._tell(type(error).__name__, logging.ERROR)
            return
        else:
            self._tell("", logging.INFO)
        self._alive()

    def _ring(self) -> None:
        # False tells nothing of the broker: another scheduler has rung, or found it away.
        if self._queue.enqueue_flush() and self._serves:
            self._serves()
            self._serves = None

    def _tell(self, trouble: str, level: int) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.log(
                level, "flush.hindered", extra={"code": trouble}, exc_info=level >= logging.ERROR
            )
        else:
            log.log(level, "flush.resumed")


def asks_for_flush(watch: Watch) -> bool:
    """Return whether a batch is due, a lease ran out, or nobody flushed for a while."""
    reasons = (
        watch.due_ms,
        watch.lease_ms,
        (watch.heartbeat_ms or 0) + HEARTBEAT_MS,
    )
    return any(at_ms is not None and at_ms <= watch.now_ms for at_ms in reasons)
