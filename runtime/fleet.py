"""Every live process announces itself in the ledger, so that a stale one cannot hide.

A process that uses another Redis is missing here, one with other settings shows another
fingerprint: the two ways in which processes come to disagree without anybody noticing. Each also
looks whether this is still the ledger that it started with.
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace

from batching.errors import AdminError, ConfigurationError, LedgerUnavailableError
from batching.keys import FLEET
from batching.ledger import reached, server_ms
from batching.store import Store
from runtime.durability import identity
from runtime.members import Member, drift, members
from runtime.silence import Silence

log = logging.getLogger(__name__)

BEAT_EVERY_MS = 5_000
#: After this the entry of a process that died without a word is removed.
SILENT_MS_MAX = 60_000
#: How long the installation is quiet about what it has raised an alarm for, ms.
ALARM_QUIET_MS = 3_600_000
_REPLACED = (
    "another ledger is in the place of ours: this Redis was emptied, or replaced by another; "
    "restore the old one if its messages are to be answered"
)


class Fleet:
    """This process among the others. ``start`` and ``stop`` are for long-running processes.

    ``ledger_id``: the ledger that it works with; another one in its place is told, then adopted.
    ``grace_ms``: how long processes may differ while a deploy goes on. ``silence`` is told of the
    flusher's lag at every beat.
    """

    def __init__(
        self,
        store: Store,
        *,
        role: str,
        release: str,
        fingerprint: str,
        scripts: str,
        ledger_id: str,
        grace_ms: int,
        silence: Silence,
    ) -> None:
        host, pid = socket.gethostname(), os.getpid()
        self._store = store
        self._client = store.client
        self._me = Member(role, host, pid, release, fingerprint, scripts, ledger_id=ledger_id)
        self._grace_ms = grace_ms
        self._silence = silence
        self._told_of = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="fleet", daemon=True)

    @property
    def ledger_id(self) -> str:
        """Return the identity of the ledger that this process works with."""
        return self._me.ledger_id

    def beat(self) -> list[Member]:
        """Announce this process, forget those that fell silent, and return all that were there.

        Times are the server's. Raise LedgerUnavailableError.
        """
        with reached():
            place = identity(self._client)
            now_ms = server_ms(self._client.time())
            self._me = replace(
                self._me,
                started_ms=self._me.started_ms or now_ms,
                heartbeat_ms=now_ms,
                # Another one after each restart of the server, which is no fault.
                redis_run_id=place.run_id,
                redis_db=place.db,
            )
            self._client.hset(FLEET, self._me.name, json.dumps(asdict(self._me)))
        # One that speaks up between the look and the removal is back with its next beat.
        found = self.members()
        silent = [member.name for member in found if member.silent_ms > SILENT_MS_MAX]
        if silent:
            with reached():
                self._client.hdel(FLEET, *silent)
        return found

    def follow(self) -> None:
        """Tell of a ledger that took the place of ours, once, and give it its form.

        Raise LedgerUnavailableError, or ConfigurationError if its form is another than ours.
        """
        try:
            found = self._store.identity()
        except ConfigurationError as error:
            self._tell_replaced(error.detail)
            raise
        if found != self.ledger_id:
            self._tell_replaced(found or "nothing")
            self._me = replace(self._me, ledger_id=self._store.open())
            self._store.alarm("ledger_replaced", _REPLACED, quiet_ms=ALARM_QUIET_MS)
        self._told_of = ""

    def members(self) -> list[Member]:
        """Return all that announced themselves. Raise LedgerUnavailableError."""
        return members(self._client)

    def start(self) -> None:
        """Beat from a thread of its own until ``stop``. Once for a process."""
        self._thread.start()

    def stop(self) -> None:
        """Leave: the entry goes at once. Never raises; safe to run twice."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=BEAT_EVERY_MS / 1000)
        try:
            with reached():
                self._client.hdel(FLEET, self._me.name)
        except LedgerUnavailableError:
            return  # It is removed by the others when it has been silent for long.

    def look(self, known: Sequence[str]) -> list[str]:
        """Beat, follow the ledger, report drift that lasts and is not ``known``; return the drift.

        Raise LedgerUnavailableError or ConfigurationError.
        """
        self.follow()
        found = self.beat()
        self._silence.heed([self._store.watch().flusher_lag_ms])
        problems = drift(found, self._grace_ms)
        if problems:
            if problems != known:
                log.error("settings.drift", extra={"problems": problems})
            self._store.alarm("drift", "; ".join(problems), quiet_ms=ALARM_QUIET_MS)
        return problems

    def _tell_replaced(self, found: str) -> None:
        if found != self._told_of:
            # Directly to Sentry too: an emptied ledger holds no alert that would tell of it.
            log.error("ledger.replaced", extra={"ours": self.ledger_id, "found": found})
        self._told_of = found

    def _beat_on(self) -> None:
        trouble, problems = "", list[str]()
        while not self._over.is_set():
            try:
                problems = self.look(problems)
                trouble = ""
            except AdminError as error:
                if trouble != error.code:
                    log.warning("fleet.unreachable", extra={"code": error.code})
                trouble = error.code
            self._over.wait(BEAT_EVERY_MS / 1000)
