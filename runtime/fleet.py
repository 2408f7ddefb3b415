"""Every live process announces itself in the ledger, so that a stale one cannot hide.

A process that uses another Redis is missing here, one with other settings shows another
fingerprint: the two ways in which processes come to disagree without anybody noticing. Each also
checks that this is still the ledger that it started with.
"""

import json
import logging
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace

import redis

from batching.errors import AdminError, ConfigurationError, LedgerUnavailableError
from batching.keys import FLEET
from batching.store import Store, reached, server_ms
from runtime.clients import database_id

#: Without one of these nothing is taken, nothing is flushed or nothing is answered.
ROLES = ("web", "worker", "scheduler")
#: Three missed beats: the process is not counted on any more.
ALIVE_MS_MAX = 15_000


@dataclass(frozen=True, slots=True)
class Member:
    """A process as it announced itself. ``silent_ms``: how long ago it last did, when read.

    ``redis_run_id``, ``redis_db`` and ``ledger_id``: what it found at its last heartbeat.
    """

    role: str
    host: str
    pid: int
    release: str
    fingerprint: str
    scripts: str
    started_ms: int = 0
    heartbeat_ms: int = 0
    silent_ms: int = 0
    redis_run_id: str = ""
    redis_db: int = 0
    ledger_id: str = ""

    @property
    def name(self) -> str:
        """Return what tells this process from all others, "worker:host-1:4711"."""
        return f"{self.role}:{self.host}:{self.pid}"

    @property
    def is_alive(self) -> bool:
        """Return whether it was heard of lately."""
        return self.silent_ms <= ALIVE_MS_MAX

    def as_json(self) -> dict[str, str | int | bool]:
        """Return what a program is told of it."""
        return asdict(self) | {"is_alive": self.is_alive}


def members(client: redis.Redis) -> list[Member]:
    """Return all that announced themselves, by name. Raise LedgerUnavailableError."""
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    pipeline.hgetall(FLEET)
    with reached():
        time, entries = pipeline.execute()
    found = (_member(raw, server_ms(time)) for raw in entries.values())
    return sorted((member for member in found if member), key=lambda member: member.name)


def drift(members: Sequence[Member], grace_ms: int) -> list[str]:
    """Return what live processes have disagreed about for ``grace_ms``, in plain words.

    0: what they disagree about now, a deploy that is under way included.
    """
    alive = [member for member in members if member.is_alive]
    return [
        *_differences(alive, grace_ms, "settings or accounts", lambda m: m.fingerprint),
        *_differences(alive, grace_ms, "releases", lambda m: f"{m.release} (scripts {m.scripts})"),
    ]


def missing(members: Sequence[Member]) -> list[str]:
    """Return a line for every role that nobody plays in this Redis."""
    played = {member.role for member in members if member.is_alive}
    return [
        f"no {role} is alive in this Redis: it is stopped, or it uses another REDIS_URL"
        for role in ROLES
        if role not in played
    ]


def _member(raw: bytes, now_ms: int) -> Member | None:
    """Return the member of an entry; None for one that another release wrote in another form."""
    known = {field.name for field in fields(Member)}
    try:
        # A newer release may tell more of itself than this one knows.
        given = {name: value for name, value in json.loads(raw).items() if name in known}
        member = Member(**given)
        return replace(member, silent_ms=max(0, now_ms - member.heartbeat_ms))
    except (AttributeError, TypeError, ValueError):
        return None


def _differences(
    alive: Sequence[Member], grace_ms: int, what: str, mark_of: Callable[[Member], str]
) -> list[str]:
    """Return a line if there are several marks and the newest has been there for ``grace_ms``."""
    camps: defaultdict[str, list[Member]] = defaultdict(list)
    for member in alive:
        camps[mark_of(member)].append(member)
    first_ms = {mark: min(m.started_ms for m in camp) for mark, camp in camps.items()}
    newest = max(first_ms, key=first_ms.__getitem__, default="")
    heard_ms = max((member.heartbeat_ms for member in alive), default=0)
    if len(camps) < 2 or max(0, heard_ms - first_ms[newest]) < grace_ms:  # noqa: PLR2004 - a pair differs
        return []
    told = [
        f"{', '.join(member.name for member in camps[mark])} have {mark}"
        for mark in sorted(camps, key=lambda mark: mark != newest)
    ]
    return [f"{what} differ: {'; '.join(told)}: the first came last, restart the others"]


log = logging.getLogger(__name__)

#: A flusher collects every few seconds; silent for so long it is dead or looks elsewhere, ms.
FLUSHER_SILENT_MS_MAX = 30_000
#: How long that must have been seen before it is told: an installation that starts is silent, ms.
SEEN_MS = 30_000
#: How long this process then keeps quiet about it, ms.
QUIET_MS = 300_000
#: As a receipt has it: nobody ever flushed here.
NEVER = -1


class Silence:
    """What this process has seen of the flusher. ``clock``: milliseconds that only go up."""

    def __init__(self, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._clock = clock
        self._since_ms: int | None = None
        self._quiet_until_ms = 0

    def observe(self, lags_ms: Iterable[int]) -> None:
        """Take note of a flusher's lags, as receipts have them; tell where nobody flushes."""
        for lag_ms in lags_ms:
            if lag_ms == NEVER or lag_ms > FLUSHER_SILENT_MS_MAX:
                self._seen(lag_ms)
            elif lag_ms >= 0:
                self._since_ms = None

    def _seen(self, lag_ms: int) -> None:
        now_ms = self._clock()
        if self._since_ms is None:
            self._since_ms = now_ms
        if now_ms - self._since_ms >= SEEN_MS and now_ms >= self._quiet_until_ms:
            self._quiet_until_ms = now_ms + QUIET_MS
            log.error(
                "flusher.silent", extra={"flusher_lag_ms": lag_ms, "problem": describe_lag(lag_ms)}
            )


def describe_lag(lag_ms: int) -> str:
    """Return in plain words what a flusher's lag means that is too long."""
    since = "nobody ever collected from it"
    if lag_ms != NEVER:
        since = f"nobody has collected from it for {lag_ms} ms"
    return f"you are writing into a Redis nobody flushes: {since}"


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
            place = database_id(self._client)
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
        self._silence.observe([self._store.watch().flusher_lag_ms])
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
