"""The fleet: every live process announces itself in the ledger, so that a stale one is visible.

A process that uses another Redis is missing here; one with other settings has another fingerprint.
Each process also watches that the ledger is still the one it started with, and that its Redis is
flushed.
"""

import hashlib
import json
import logging
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType

import redis

from batching.errors import AdminError, ConfigurationError, LedgerUnavailableError
from batching.keys import FLEET
from batching.store import SCRIPTS, Store, reached, server_ms
from runtime import sentry
from runtime.clients import database_id
from runtime.logs import write_counted
from runtime.needs import Purpose
from runtime.outages import Outages
from runtime.silence import Silence
from runtime.units import moment

log = logging.getLogger(__name__)

#: The installation needs at least one process of each.
ROLES = ("web", "worker", "scheduler")
BEAT_EVERY_MS = 1_000
#: Of so many beats one also looks at the ledger and the others.
BEATS_A_CHECK = 3
#: After three missed beats, the last of them late, a process counts as dead.
ALIVE_MS_MAX = 3_500
#: How often releases beat that do not say so, ms.
FORMER_BEAT_MS = 3_000
#: After this its entry is removed, and it is counted as one that died.
SILENT_MS_MAX = 60_000
#: How long a process must have reached the ledger before it removes others, ms: after an outage
#: all are silent, and come back one after the other.
STEADY_MS = 10_000
#: Cooldown of an alert about the fleet, for the whole installation, ms.
ALERT_COOLDOWN_MS = 3_600_000

_REPLACED = (
    "another ledger is in the place of ours: this Redis was emptied, or replaced by another; "
    "restore the old one if its messages are to be answered"
)


@dataclass(frozen=True, slots=True)
class Member:
    """A process as it announced itself.

    ``redis_run_id``, ``redis_db`` and ``ledger_id``: what it found at its last heartbeat.
    ``webhook_secrets`` and ``answer_secrets``: keyed digests of those, "" where its role has none.
    ``space``: within which its ``pid`` is unique, "" where that is unknown.
    ``digests``: what makes up the fingerprint, "NAME=digest ...".
    ``threads`` for tasks, of which ``busy`` have one; ``queued``: what it knows of wake-ups that
    wait in the broker, "QUEUE=count ...". ``beat_ms``: how often it beats.
    ``silent_ms``: time since that heartbeat, set when it is read.
    """

    role: str
    host: str
    pid: int
    release: str = ""
    fingerprint: str = ""
    scripts: str = ""
    started_ms: int = 0
    heartbeat_ms: int = 0
    silent_ms: int = 0
    redis_run_id: str = ""
    redis_db: int = 0
    space: str = ""
    ledger_id: str = ""
    webhook_secrets: str = ""
    answer_secrets: str = ""
    digests: str = ""
    threads: int = 0
    busy: int = 0
    queued: str = ""
    beat_ms: int = FORMER_BEAT_MS

    @property
    def name(self) -> str:
        """Return the unique name of this process, "worker:host-1:4711"."""
        return f"{self.role}:{self.host}:{self.pid}"

    @property
    def since(self) -> str:
        """Return its name and since when it runs, in a form that no log takes for a number."""
        return f"{self.name} (since {moment(self.started_ms)[:19].replace(' ', 'T')})"

    @property
    def is_alive(self) -> bool:
        """Return whether it announced itself lately."""
        return self.silent_ms <= max(ALIVE_MS_MAX, 3 * self.beat_ms)

    def as_json(self) -> dict[str, str | int | bool]:
        """Return it for /fleet and ``manage.py fleet --json``."""
        return asdict(self) | {"is_alive": self.is_alive}


def this_process(
    role: str,
    *,
    release: str,
    fingerprint: str,
    ledger_id: str,
    digests: str = "",
    secrets: Mapping[Purpose, str] = MappingProxyType({}),
) -> Member:
    """Return this process as a member that has not announced itself yet."""
    host, pid = socket.gethostname(), os.getpid()
    text = json.dumps({verb: script.digest for verb, script in SCRIPTS.items()}, sort_keys=True)
    scripts = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Member(
        role,
        host,
        pid,
        release,
        fingerprint,
        scripts,
        space=_space(),
        ledger_id=ledger_id,
        webhook_secrets=secrets.get("webhooks", ""),
        answer_secrets=secrets.get("answers", ""),
        digests=digests,
        beat_ms=BEAT_EVERY_MS,
    )


def _space() -> str:
    """Return what only processes share that know each other by their ids, "" where unknown.

    Containers and machines may have the same name.
    """
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text().strip()
        names = f"{machine} {Path('/proc/self/ns/pid').readlink()}"
        return hashlib.sha256(names.encode()).hexdigest()[:12] if machine else ""
    return ""


def members(client: redis.Redis) -> list[Member]:
    """Return all processes that are announced, by name. Raise LedgerUnavailableError."""
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    pipeline.hgetall(FLEET)
    with reached():
        time, entries = pipeline.execute()
    found = (_member(raw, server_ms(time)) for raw in entries.values())
    return sorted((member for member in found if member), key=lambda member: member.name)


def _member(raw: bytes, now_ms: int) -> Member | None:
    """Return the member of an entry, None if another release wrote it in an unknown form.

    Fields that we do not know are ignored; but for role, host and pid, one may be missing.
    """
    try:
        found = json.loads(raw)
        given = {f.name: found[f.name] for f in fields(Member) if type(found.get(f.name)) is f.type}
        member = Member(**given)
    except (AttributeError, TypeError, ValueError):
        return None
    return replace(member, silent_ms=max(0, now_ms - member.heartbeat_ms))


def missing(members: Sequence[Member]) -> list[str]:
    """Return a line for every role of which no process is alive."""
    alive = {member.role for member in members if member.is_alive}
    return [
        f"no {role} is alive in this Redis: it is stopped, or it uses another REDIS_URL"
        for role in ROLES
        if role not in alive
    ]


#: What live processes may disagree about: in words, who has it, and their version of it.
_ASPECTS: tuple[tuple[str, Callable[[Member], object], Callable[[Member], str]], ...] = (
    ("settings or accounts differ", lambda _: True, lambda m: m.fingerprint),
    ("secrets of webhooks differ", lambda m: m.webhook_secrets, lambda m: m.webhook_secrets),
    ("access tokens or model keys differ", lambda m: m.answer_secrets, lambda m: m.answer_secrets),
    ("releases differ", lambda _: True, lambda m: f"{m.release} (scripts {m.scripts})"),
)


def drift(members: Sequence[Member], grace_ms: int, about: Member | None = None) -> list[str]:
    """Return what live processes have disagreed about for ``grace_ms``, a line each.

    0: what they disagree about now, a deploy that is under way included. ``about``: only that in
    which this one differs from most roles and hosts, from the newest where as many differ.
    """
    alive = [member for member in members if member.is_alive]
    lines = []
    for what, has_it, version_of in _ASPECTS:
        groups = _versions([it for it in alive if has_it(it)], grace_ms, version_of)
        if not groups or (about and version_of(about) == _most(groups)):
            continue
        told = [f"{it} in {', '.join(m.since for m in group)}" for it, group in groups.items()]
        where = _in_what(alive) if what == _ASPECTS[0][0] else ""
        lines.append(f"{what}{where}: {'; '.join(told)}: restart those that are wrong")
    return lines


def _most(groups: Mapping[str, Sequence[Member]]) -> str:
    """Return the version of most roles and hosts, however many processes each has.

    The first, which is the newest, of those that as many have.
    """
    return max(groups, key=lambda version: len({(it.role, it.host) for it in groups[version]}))


def _in_what(alive: Sequence[Member]) -> str:
    """Return the settings and accounts that processes disagree about, "" where they do not tell."""
    told = [dict(it.split("=", 1) for it in m.digests.split() if "=" in it) for m in alive]
    values = defaultdict[str, set[str]](set)
    for digests in filter(None, told):
        for name, digest in digests.items():
            values[name].add(digest)
    names = [name for name, found in values.items() if len(found) > 1]
    # An account that only one of them has.
    names += [name for name in values if any(it and name not in it for it in told)]
    return f" in {', '.join(names)}" if names else ""


def _versions(
    alive: Sequence[Member], grace_ms: int, version_of: Callable[[Member], str]
) -> dict[str, list[Member]]:
    """Return who has which version, if there are several, the newest of them for ``grace_ms``."""
    groups: defaultdict[str, list[Member]] = defaultdict(list)
    for member in sorted(alive, key=lambda member: -member.started_ms):
        groups[version_of(member)].append(member)
    newest_ms = max((group[-1].started_ms for group in groups.values()), default=0)
    now_ms = max((member.heartbeat_ms for member in alive), default=0)
    is_over = max(0, now_ms - newest_ms) >= grace_ms
    return dict(groups) if len(groups) > 1 and is_over else {}


class Fleet:
    """This process as a member of the fleet; ``start`` and ``stop`` are for long-running ones.

    ``me.ledger_id``: the ledger it works with; one in its place is reported, then adopted.
    ``grace_ms``: how long processes may differ while a deploy goes on. ``silence`` gets the
    flusher's lag at every beat, ``outages`` whether the ledger was reached. ``announced``: False
    for a process on trial, which the fleet is not to know.
    """

    def __init__(
        self,
        store: Store,
        me: Member,
        *,
        grace_ms: int,
        silence: Silence,
        outages: Outages | None = None,
        announced: bool = True,
    ) -> None:
        self._outages = outages or Outages()
        self._announced = announced
        self._store = store
        self._client = store.client
        self._me = me
        self._grace_ms = grace_ms
        self._silence = silence
        self._reported_ledger = ""
        self._reported_drift: list[str] = []
        self._reported_lost = self._counted_lost = 0
        self._steady_ms: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    @property
    def ledger_id(self) -> str:
        """Return the ledger that this process works with."""
        return self._me.ledger_id

    @property
    def me(self) -> Member:
        """Return this process as it announced itself last."""
        return self._me

    def start(self) -> None:
        """Beat in a thread until ``stop``. Call it once in a process."""
        if self._announced:
            self._thread.start()

    def stop(self) -> None:
        """Stop beating, log and report what was only counted, and remove the entry.

        Never raises; safe to run twice.
        """
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=BEAT_EVERY_MS / 1000)
        write_counted(whole=True)
        sentry.tell_counted(whole=True)
        self._outages.close()
        if not self._announced:
            return
        try:
            with reached():
                self._client.hdel(FLEET, self._me.name)
                self._store.figures.write(self._client)
        except LedgerUnavailableError:
            return  # Other processes remove it after SILENT_MS_MAX.

    def check(self) -> None:
        """Follow the ledger, beat, observe the flusher's lag, report lasting drift and lost errors.

        Raise LedgerUnavailableError, or ConfigurationError for a ledger of another form.
        """
        self.follow()
        found = self.beat()
        self._report_killed(found)
        self._silence.observe([self._store.watch().flusher_lag_ms])
        problems = drift(found, self._grace_ms)
        if problems:
            if problems != self._reported_drift:
                log.error("settings.drift", extra={"problems": problems})
            self._store.alert_once("drift", "; ".join(problems), cooldown_ms=ALERT_COOLDOWN_MS)
        self._reported_drift = problems
        self._report_lost(sentry.lost())

    def _report_killed(self, found: Sequence[Member]) -> None:
        """Report schedulers of this host that are gone; others have a master, which reports that.

        Whoever removes one reports it. Raise LedgerUnavailableError.
        """
        for member in found:
            if member.role == "scheduler" and self._is_gone(member):
                with reached():
                    first = self._client.hdel(FLEET, member.name)
                if first:
                    self._store.figures.count("deaths", member.role)
                    log.error("process.killed", extra={"member": member.name})

    def _is_gone(self, member: Member) -> bool:
        """Return whether a process is one of this host, and certainly not there any more."""
        if not member.space or (member.host, member.space) != (self._me.host, self._me.space):
            return False
        try:
            os.kill(member.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # Another user's.
        return False

    def beat(self) -> list[Member]:
        """Announce this process, remove those that are long silent, and return all there were.

        What the process counted is added to the ledger's figures, those that are removed among
        them. Times are the server's. Raise LedgerUnavailableError.
        """
        with reached():
            database = database_id(self._client)
        # The run id changes with each restart of the server, which is no fault.
        self._me = replace(self._me, redis_run_id=database.run_id, redis_db=database.db)
        self._announce()
        found = members(self._client)
        if self._me.heartbeat_ms - (self._steady_ms or 0) >= STEADY_MS:
            self._remove([member for member in found if member.silent_ms > SILENT_MS_MAX])
        self._count_lost()
        # Kept where it fails: no reason to leave out the checks that follow.
        with suppress(redis.RedisError):
            self._store.figures.write(self._client)
        return found

    def _announce(self) -> None:
        figures = self._store.figures
        with reached():
            now_ms = server_ms(self._client.time())
            self._me = replace(
                self._me,
                started_ms=self._me.started_ms or now_ms,
                heartbeat_ms=now_ms,
                threads=figures.threads,
                busy=figures.busy,
                queued=" ".join(f"{queue}={count}" for queue, count in figures.queued.items()),
            )
            self._client.hset(FLEET, self._me.name, json.dumps(asdict(self._me)))
        self._steady_ms = self._steady_ms or now_ms

    def _remove(self, silent: Sequence[Member]) -> None:
        """Remove processes that did not take their leave; whoever does it counts them.

        One that beats before it is removed here is back with its next beat.
        """
        for member in silent:
            with reached():
                first = self._client.hdel(FLEET, member.name)
            if first:
                self._store.figures.count("deaths", member.role)
                about = {"member": member.name, "silent_ms": member.silent_ms}
                log.warning("process.died", extra=about)

    def _count_lost(self) -> None:
        """Count the errors that did not come to Sentry since the last time."""
        lost = sentry.lost()
        self._store.figures.count("reports_lost", by=lost - self._counted_lost)
        self._counted_lost = lost

    def follow(self) -> None:
        """Report a ledger that replaced ours, once, and open it.

        Raise LedgerUnavailableError, or ConfigurationError if its form differs from ours.
        """
        try:
            found = self._store.ledger_id()
        except ConfigurationError as error:
            self._report_replaced(error.detail)
            raise
        if found != self.ledger_id:
            self._report_replaced(found or "nothing")
            self._me = replace(self._me, ledger_id=self._store.open())
            self._store.alert_once("ledger_replaced", _REPLACED, cooldown_ms=ALERT_COOLDOWN_MS)
        self._reported_ledger = ""

    def _report_replaced(self, found: str) -> None:
        if found != self._reported_ledger:
            # Logged, and so sent to Sentry, beside the alert: that ledger may be lost too.
            log.error("ledger.replaced", extra={"ours": self.ledger_id, "found": found})
        self._reported_ledger = found

    def _report_lost(self, lost: int) -> None:
        """Alert about errors that did not come to Sentry: an alert waits until it can."""
        more = lost - self._reported_lost
        detail = f"{more} errors of {self._me.name} did not come to Sentry; its log has them"
        if more and self._store.alert_once("reports_lost", detail, cooldown_ms=ALERT_COOLDOWN_MS):
            self._reported_lost = lost

    def _run(self) -> None:
        trouble, beats = "", 0
        while not self._over.is_set():
            try:
                if beats % BEATS_A_CHECK:
                    self._announce()
                else:
                    self.check()
                self._outages.worked("ledger")
                trouble, beats = "", beats + 1
            except AdminError as error:
                if trouble != error.code:
                    log.warning("fleet.unreachable", extra={"code": error.code})
                trouble, beats, self._steady_ms = error.code, 0, None
                if isinstance(error, LedgerUnavailableError):
                    self._outages.failed("ledger", error.code)
            write_counted()
            sentry.tell_counted()
            self._over.wait(BEAT_EVERY_MS / 1000)
