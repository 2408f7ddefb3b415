"""Calls a function at an interval: the one place that knows APScheduler, which has no types."""

import logging
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
