"""Call functions at intervals (with APScheduler), and end a process that hangs."""

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from runtime.logs import line_without_locks

log = logging.getLogger(__name__)

#: How long an action that failed is left alone, s; doubled with each further failure.
PAUSE_S, PAUSE_S_MAX = 1.0, 60.0
#: How many actions may run at the same time: a slow one must not delay the tick.
JOBS_MAX = 8


class Timer:
    """Runs functions at intervals in background threads, none of them twice at a time.

    Missed runs are made up for by one. The schedule is in memory only.
    """

    def __init__(self) -> None:
        # It logs two lines for each run, 40 a second.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=JOBS_MAX)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def every(self, interval_ms: int, action: Callable[[], None]) -> None:
        """Call ``action`` every ``interval_ms``, first after one; less often if it fails."""
        trigger = IntervalTrigger(seconds=interval_ms / 1000, timezone=UTC)
        self._scheduler.add_job(Round(action), trigger)

    def start(self) -> None:
        """Start calling."""
        self._scheduler.start()

    def stop(self) -> None:
        """Return when the last run has ended."""
        self._scheduler.shutdown(wait=True)


class Round:
    """Calls ``action``; after a failure, which is logged, not before a pause. ``clock``: in s."""

    def __init__(
        self, action: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._action = action
        self._clock = clock
        self._pause_s, self._until_s = PAUSE_S, clock()

    def __call__(self) -> None:
        """Call it, unless it pauses. Never raises."""
        if self._clock() < self._until_s:
            return
        try:
            self._action()
        except Exception:
            # APScheduler would log its failure with the words of the exception.
            name = getattr(self._action, "__name__", type(self._action).__name__)
            log.exception("job.failed", extra={"job": name})
            self._until_s = self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
        else:
            self._pause_s = PAUSE_S


#: EX_SOFTWARE of sysexits.h: systemd's log shows that the process did not end normally.
EXIT_HUNG = 70
CHECK_MS = 250


class Watchdog:
    """Ends the process if ``alive`` is not called for ``limit_ms``.

    It counts its own checks instead of reading a clock: a process that was stopped and continued,
    or a clock that was set, must not look like a process that hangs.
    """

    def __init__(self, *, limit_ms: int) -> None:
        self._checks_max = limit_ms // CHECK_MS
        self._limit_ms = limit_ms
        self._checks = 0
        self._over = threading.Event()

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def alive(self) -> None:
        """Report that the work goes on."""
        self._checks = 0

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(CHECK_MS / 1000):
            self._checks += 1
            if self._checks >= self._checks_max:
                # Not by logging: the thread that hangs may hold its lock.
                os.write(1, line_without_locks("process.hung", limit_ms=self._limit_ms))
                os._exit(EXIT_HUNG)
