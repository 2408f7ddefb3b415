"""A sign of life once a minute: Sentry raises the alarm when it stays away.

It is given after a flush that reached the ledger, and so proves scheduler, broker, worker and
Redis at once; the death of any of them is silence.
"""

import redis
from sentry_sdk.crons import capture_checkin
from sentry_sdk.types import MonitorConfig

from batching.keys import CHECK_IN
from batching.ledger import reached

SLUG = "ai-admin-flush"
#: A little less than the monitor's minute; Sentry takes six a minute at most.
EVERY_MS = 55_000
CONFIG: MonitorConfig = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 2,
    "max_runtime": 1,
    "failure_issue_threshold": 2,
    "recovery_threshold": 1,
}


class Monitor:
    """Checks in for the whole installation; the gate in the ledger is shared by all workers."""

    def __init__(self, ledger: redis.Redis) -> None:
        self._ledger = ledger

    def alive(self) -> None:
        """Give the sign if none was given lately. Raise LedgerUnavailableError."""
        with reached():
            our_turn = self._ledger.set(CHECK_IN, 1, nx=True, px=EVERY_MS)
        if our_turn:
            capture_checkin(monitor_slug=SLUG, status="ok", monitor_config=CONFIG)
