"""Every live process announces itself in the ledger, so that a stale one cannot hide.

A process that uses another Redis is missing here, one with other settings shows another
fingerprint: the two ways in which processes come to disagree without anybody noticing.
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace

import redis

from batching.errors import LedgerUnavailableError
from batching.keys import FLEET
from batching.ledger import reached
from runtime.members import Member, drift, members, missing, server_ms

log = logging.getLogger(__name__)

BEAT_EVERY_MS = 5_000
#: After this the entry of a process that died without a word is removed.
SILENT_MS_MAX = 60_000


class Fleet:
    """This process among the others. ``start`` and ``stop`` are for long-running processes."""

    def __init__(
        self, client: redis.Redis, *, role: str, release: str, fingerprint: str, scripts: str
    ) -> None:
        host, pid = socket.gethostname(), os.getpid()
        self._client = client
        self._me = Member(role, host, pid, release, fingerprint, scripts)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="fleet", daemon=True)

    def beat(self) -> None:
        """Announce this process, and forget those that fell silent. Raise LedgerUnavailableError.

        Times are the server's.
        """
        with reached():
            now_ms = server_ms(self._client.time())
            self._me = replace(
                self._me, started_ms=self._me.started_ms or now_ms, heartbeat_ms=now_ms
            )
            self._client.hset(FLEET, self._me.name, json.dumps(asdict(self._me)))
        # One that speaks up between the look and the removal is back with its next beat.
        silent = [member.name for member in self.members() if member.silent_ms > SILENT_MS_MAX]
        if silent:
            with reached():
                self._client.hdel(FLEET, *silent)

    def members(self) -> list[Member]:
        """Return all that announced themselves. Raise LedgerUnavailableError."""
        return members(self._client)

    def drift(self, members: Sequence[Member]) -> list[str]:
        """Return what live processes disagree about, in plain words; empty if they agree."""
        return drift(members)

    def missing(self, members: Sequence[Member]) -> list[str]:
        """Return a line for every role that nobody plays in this Redis."""
        return missing(members)

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
        """Beat, report drift that is not ``known``, return what there is now.

        Raise LedgerUnavailableError.
        """
        self.beat()
        problems = drift(self.members())
        if problems and problems != known:
            log.error("settings.drift", extra={"problems": problems})
        return problems

    def _beat_on(self) -> None:
        trouble, problems = False, list[str]()
        while not self._over.is_set():
            try:
                problems = self.look(problems)
                trouble = False
            except LedgerUnavailableError as error:
                if not trouble:
                    log.warning("fleet.unreachable", extra={"code": error.code})
                trouble = True
            self._over.wait(BEAT_EVERY_MS / 1000)
