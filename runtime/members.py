"""The processes that announced themselves in the ledger, and what they disagree about."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace

import redis

from batching.keys import FLEET
from batching.ledger import reached, server_ms

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
