"""Outages of what we depend on: one event at the beginning, one at the end.

A call that fails is no event of its own. Processes of one host would all tell the same outage, so
one of them tells of its beginning, whichever is first; the others log it. Whoever refused webhooks
meanwhile tells of the end as well, with their count.
"""

import errno
import logging
import socket
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from runtime.sentry import report
from runtime.settings import Settings

log = logging.getLogger(__name__)

Dependency = Literal["ledger", "broker", "model", "provider"]

#: For how long calls must fail before an outage is told, ms: a restart of a server of ours takes
#: less, and a model or a provider refuses now and then.
LASTS_MS = 4_000
LASTS_OUTSIDE_MS = 15_000
#: An outage is over when a call works and none has failed for so long, ms.
QUIET_MS = 5_000
#: How often a process that leaves the telling to another asks whether that one has died, ms.
ASK_AGAIN_MS = 30_000


class Turn:
    """Makes a process the one of its host that tells, until it is closed or the process ends."""

    def __init__(self, held: socket.socket | None = None) -> None:
        # Also when whoever held it is forgotten.
        self._leave = weakref.finalize(self, held.close) if held else None

    def close(self) -> None:
        """Leave the telling to others."""
        if self._leave:
            self._leave()


@dataclass(slots=True)
class _Outage:
    """Calls that failed since ``began_ms``. ``turn``: we tell of it."""

    began_ms: int
    failed_ms: int
    code: str
    refused: int = 0
    ask_ms: int = 0
    turn: Turn | None = None


class Outages:
    """What this process cannot reach, and since when.

    ``name``: what stands for a dependency among the processes of this host that share it; "" for
    one that every process tells. ``clock``: monotonic ms. Safe in threads.
    """

    def __init__(
        self,
        name: Callable[[str], str] = lambda _: "",
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._outages: dict[tuple[Dependency, str], _Outage] = {}

    def failed(
        self, dependency: Dependency, code: str, *, account: str = "", refused: int = 0
    ) -> None:
        """Take note of a call that failed; ``refused``: webhooks that were not taken for it.

        ``account``: whose model or provider it is, "" for what all accounts share.
        """
        now_ms, is_outside = self._clock(), dependency in {"model", "provider"}
        with self._lock:
            outage = self._outages.setdefault((dependency, account), _Outage(now_ms, now_ms, code))
            outage.failed_ms, outage.code = now_ms, code
            outage.refused += refused
            lasts_ms = LASTS_OUTSIDE_MS if is_outside else LASTS_MS
            if now_ms - outage.began_ms < lasts_ms or outage.turn or now_ms < outage.ask_ms:
                return
            is_first, outage.ask_ms = not outage.ask_ms, now_ms + ASK_AGAIN_MS
            outage.turn = take_turn(self._name(f"{dependency} {account}"))
        fields = _fields(dependency, account) | {"code": code}
        fields["for_ms"] = now_ms - outage.began_ms
        if outage.turn:
            log.error("outage.began", extra=fields)
        elif is_first:
            # Another process of this host tells it.
            log.warning("outage.began", extra=fields)

    def worked(self, dependency: Dependency, *, account: str = "") -> bool:
        """Take note of a call that worked, and return whether there is no outage now.

        Cheap while there is none.
        """
        if (dependency, account) not in self._outages:
            return True
        with self._lock:
            outage = self._outages.get((dependency, account))
            if outage is None or self._clock() - outage.failed_ms < QUIET_MS:
                return outage is None
            del self._outages[dependency, account]
        fields = _fields(dependency, account) | {"code": outage.code}
        fields["lasted_ms"] = outage.failed_ms - outage.began_ms
        fields["refused"] = outage.refused
        if outage.ask_ms or outage.refused:
            log.warning("outage.ended", extra=fields)
        if outage.turn or outage.refused:
            report("outage.ended", fields)
        if outage.turn:
            outage.turn.close()
        return True

    def close(self) -> None:
        """Leave the telling to others, at the end of this process. Safe to run twice."""
        with self._lock:
            for outage in self._outages.values():
                if outage.turn:
                    outage.turn.close()
            self._outages.clear()


def namer_of(settings: Settings) -> Callable[[str], str]:
    """Return what gives a dependency a name among the processes that share ledger and broker."""
    # Server and database of an address, without the user, who differs between roles.
    places = [url.rpartition("@")[2] for url in (settings.redis_url, settings.broker_url)]
    return lambda dependency: settings.digest(f"outage {dependency} {places}")


def take_turn(name: str = "") -> Turn | None:
    """Return this process's turn to tell what ``name`` says; None while another one has it.

    Without a name, or where the system has no abstract addresses, every process has its turn.
    """
    if not name:
        return Turn()
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        # Abstract: no file is left, and directories of their own do not part the roles.
        held.bind(f"\0ai-admin-{name}")
    except OSError as error:
        held.close()
        return None if error.errno == errno.EADDRINUSE else Turn()
    return Turn(held)


def _fields(dependency: Dependency, account: str) -> dict[str, object]:
    return {"dependency": dependency} | ({"account": account} if account else {})
