"""Guesses of secrets: each is answered later than the one before, and many of them are reported.

A right secret never waits: it is checked first. What is slowed down is one after another; guesses
made side by side are bounded by what a proxy allows an address, and by the length of secrets.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable

import gevent  # type: ignore[import-untyped]

from batching.errors import LedgerUnavailableError
from batching.store import Store

log = logging.getLogger(__name__)

#: Guesses that are answered at once; one more is forgiven each FORGIVEN_EVERY_MS.
FREE = 10
FORGIVEN_EVERY_MS = 1_000
#: How long the first guess that waits does so, which each further one doubles, and the longest.
DELAY_MS, DELAY_MS_MAX = 20, 1_000
#: Most requests of this process that wait at a time, so that room is left for others.
WAITING_MAX = 100
#: So many guesses within this time alert a person, once in it for each account, ms.
ALERTED_AT = 100
ALERT_EVERY_MS = 3_600_000

_DETAIL = (
    "{count} requests to {place} bore a wrong secret within an hour: somebody guesses, "
    "or the other side has a secret that is not ours"
)


class Guesses:
    """What was guessed at one ``place``, in this process.

    ``place``: in words for a person, such as "the webhook of venom". ``clock``: monotonic ms.
    """

    def __init__(
        self,
        store: Store,
        place: str,
        *,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        wait: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self._store = store
        self._place = place
        self._clock = clock
        self._wait = wait
        self._level = 0
        self._forgiven_ms = self._hour_ms = clock()
        self._waiting = 0
        self._counts: Counter[str] = Counter()
        self._alerted: set[str] = set()

    def wrong(self, account_id: str) -> None:
        """Count a wrong secret and return once it may be answered.

        ``account_id``: one of ours, "" where the request names none. Known and unknown accounts
        wait alike. Never raises.
        """
        self._alert(account_id)
        delay_ms = self._delay_ms()
        if delay_ms and self._waiting < WAITING_MAX:
            self._waiting += 1
            try:
                self._wait(delay_ms / 1000)
            finally:
                self._waiting -= 1

    def _delay_ms(self) -> int:
        forgiven = (self._clock() - self._forgiven_ms) // FORGIVEN_EVERY_MS
        self._forgiven_ms += forgiven * FORGIVEN_EVERY_MS
        # Beyond the longest delay the level needs no higher to be bounded.
        most = FREE + DELAY_MS_MAX.bit_length()
        self._level = min(max(0, self._level - forgiven) + 1, most)
        over = self._level - FREE
        return min(DELAY_MS << over - 1, DELAY_MS_MAX) if over > 0 else 0

    def _alert(self, account_id: str) -> None:
        if self._clock() - self._hour_ms >= ALERT_EVERY_MS:
            self._hour_ms = self._clock()
            self._counts.clear()
            self._alerted.clear()
        self._counts[account_id] += 1
        count = self._counts[account_id]
        if count % ALERTED_AT or account_id in self._alerted:
            return
        try:
            self._store.alert_once(
                "secret_guessed",
                _DETAIL.format(count=count, place=self._place),
                account_id=account_id,
                cooldown_ms=ALERT_EVERY_MS,
            )
        except LedgerUnavailableError as error:
            log.warning("webhook.alert_delayed", extra={"code": error.code})
        else:
            self._alerted.add(account_id)
