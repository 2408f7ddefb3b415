"""Call functions at intervals, and end a process that hangs; alone in knowing APScheduler."""

import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

#: How many actions may run side by side: a slow one must not delay the tick.
JOBS_MAX = 4


class Timer:
    """Runs functions at intervals, in the background, each never twice at a time.

    A run that is late is made up for once, however late. Nothing is kept: what runs when stands
    in the code of this release.
    """

    def __init__(self) -> None:
        # Two lines for each run, 40 a second.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=JOBS_MAX)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def every(self, interval_ms: int, action: Callable[[], None]) -> None:
        """Have ``action`` called every ``interval_ms``, first after one interval."""
        trigger = IntervalTrigger(seconds=interval_ms / 1000, timezone=UTC)
        self._scheduler.add_job(action, trigger)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """Start nothing more and return when the last run has ended."""
        self._scheduler.shutdown(wait=True)


#: EX_SOFTWARE of sysexits.h: the supervisor's log shows that this was no ordinary end.
EXIT_HUNG = 70
CHECK_MS = 250


class Watchdog:
    """Ends the process when ``alive`` was not called for ``limit_ms``.

    Time is counted in checks of its own thread, not read from a clock: a process that was stopped
    and continued, or a clock that was set, is not a process that hangs.
    """

    def __init__(self, *, limit_ms: int) -> None:
        self._checks_max = limit_ms // CHECK_MS
        self._limit_ms = limit_ms
        self._checks = 0
        self._over = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def alive(self) -> None:
        """Say that the work goes on."""
        self._checks = 0

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(CHECK_MS / 1000):
            self._checks += 1
            if self._checks >= self._checks_max:
                # Not through logging: what hangs may hold its lock.
                line = f"scheduler: no tick ended for {self._limit_ms} ms; leaving\n"
                os.write(2, line.encode())
                os._exit(EXIT_HUNG)
