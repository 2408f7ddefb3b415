"""The processes that announced themselves in the ledger, and what they disagree about."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import redis

from batching.keys import FLEET
from batching.ledger import reached

#: Without one of these nothing is taken, nothing is flushed or nothing is answered.
ROLES = ("web", "worker", "scheduler")
#: Three missed beats: the process is not counted on any more.
ALIVE_MS_MAX = 15_000
#: How long two releases may run side by side before that is a deploy that stopped half-way.
DEPLOY_MS_MAX = 600_000


@dataclass(frozen=True, slots=True)
class Member:
    """A process as it announced itself. ``silent_ms``: how long ago it last did, when read."""

    role: str
    host: str
    pid: int
    release: str
    fingerprint: str
    scripts: str
    started_ms: int = 0
    heartbeat_ms: int = 0
    silent_ms: int = 0

    @property
    def name(self) -> str:
        """Return what tells this process from all others, "worker:host-1:4711"."""
        return f"{self.role}:{self.host}:{self.pid}"

    @property
    def is_alive(self) -> bool:
        """Return whether it was heard of lately."""
        return self.silent_ms <= ALIVE_MS_MAX


def members(client: redis.Redis) -> list[Member]:
    """Return all that announced themselves, by name. Raise LedgerUnavailableError."""
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    pipeline.hgetall(FLEET)
    with reached():
        time, entries = pipeline.execute()
    found = (_member(raw, server_ms(time)) for raw in entries.values())
    return sorted((member for member in found if member), key=lambda member: member.name)


def drift(members: Sequence[Member]) -> list[str]:
    """Return what live processes disagree about, in plain words; empty if they agree."""
    alive = [member for member in members if member.is_alive]
    return [*_settings_drift(alive), *_release_drift(alive)]


def missing(members: Sequence[Member]) -> list[str]:
    """Return a line for every role that nobody plays in this Redis."""
    played = {member.role for member in members if member.is_alive}
    return [
        f"no {role} is alive in this Redis: it is stopped, or it uses another REDIS_URL"
        for role in ROLES
        if role not in played
    ]


def server_ms(time: Any) -> int:  # noqa: ANN401 - redis-py types a reply as anything
    """Return the reply of TIME in milliseconds since the epoch."""
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000


def _member(raw: bytes, now_ms: int) -> Member | None:
    """Return the member of an entry; None for one that another release wrote in another form."""
    try:
        member = Member(**json.loads(raw))
        return replace(member, silent_ms=max(0, now_ms - member.heartbeat_ms))
    except (ValueError, TypeError):
        return None


def _settings_drift(alive: Iterable[Member]) -> list[str]:
    by_fingerprint = defaultdict(list)
    for member in alive:
        by_fingerprint[member.fingerprint].append(member.name)
    if len(by_fingerprint) <= 1:
        return []
    camps = (f"{', '.join(names)} have {mark}" for mark, names in by_fingerprint.items())
    return [f"settings or accounts differ: {'; '.join(camps)}: restart those that are stale"]


def _release_drift(alive: Sequence[Member]) -> list[str]:
    """Two releases are a deploy; two releases for long are a process that was left behind."""
    first_ms: dict[tuple[str, str], int] = {}
    for member in alive:
        release = (member.release, member.scripts)
        first_ms[release] = min(member.started_ms, first_ms.get(release, member.started_ms))
    newest = max(first_ms, key=lambda release: first_ms[release], default=("", ""))
    stale = [member for member in alive if (member.release, member.scripts) != newest]
    heard_ms = max((member.heartbeat_ms for member in alive), default=0)
    if not stale or heard_ms - first_ms[newest] <= DEPLOY_MS_MAX:
        return []
    names = ", ".join(f"{member.name} still runs {member.release}" for member in stale)
    return [f"{names}, although {newest[0]} came more than {DEPLOY_MS_MAX // 60_000} min ago"]
