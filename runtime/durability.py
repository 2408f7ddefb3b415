"""Looks at a Redis: whether it keeps what it is given, takes writes, and is the right one.

A server that refuses CONFIG is asked for INFO; what neither tells is a warning, not a guess.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

PROBE_KEY = "aa:probe"
PROBE_MS = 1_000


class Level(StrEnum):
    """How bad a finding is: a mistake must be mended before anything starts."""

    OK = "ok"
    WARNING = "warning"
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, in plain words; ``advice`` says what to do, "" if nothing."""

    level: Level
    about: str
    says: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """One database of one running server. Two addresses with one identity are one place."""

    run_id: str
    db: int


def identity(client: redis.Redis) -> Identity:
    """Return which database of which server the client talks to. Raise RedisError."""
    run_id = str(_info(client, "server").get("run_id", ""))
    return Identity(run_id, int(client.get_connection_kwargs().get("db") or 0))


def syncing(client: redis.Redis) -> Finding:
    """Return whether the server can tell when a write is on its disk. Raise RedisError."""
    try:
        client.execute_command("WAITAOF", 1, 0, 1)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        says = f"always: this server cannot wait for its disk ({error})"
        advice = (
            "set appendonly yes on Valkey, or on Redis 7.2 or newer; an older Redis does the same"
            " by appendfsync always, with BATCH_DURABILITY=everysec here"
        )
        return Finding(Level.MISTAKE, "BATCH_DURABILITY", says, advice)
    return Finding(Level.OK, "BATCH_DURABILITY", "always: the server tells when a write is safe")


def memory(client: redis.Redis) -> tuple[int, int]:
    """Return the bytes in use and the limit, 0 if there is none or it cannot be told.

    Raise RedisError.
    """
    told = _info(client, "memory")
    return int(str(told.get("used_memory", 0))), int(str(told.get("maxmemory", 0)))


def inspect(client: redis.Redis, about: str, *, keeps: bool, production: bool) -> list[Finding]:
    """Return what there is to say about the Redis behind ``about``; the first is reachability.

    ``keeps``: messages live there, so that it must not forget. Never raises.
    """
    try:
        client.ping()
        found = [Finding(Level.OK, about, "is reachable")]
        found.append(_writable(client, about))
        if keeps:
            found += _memory(client, about)
            found += _disk(client, about, production=production)
    except redis.RedisError as error:
        # Its words may quote the address, and so a password.
        says = f"does not answer ({type(error).__name__})"
        return [Finding(Level.MISTAKE, about, says, "start the server, or correct the address")]
    return found


def separateness(ledger: redis.Redis, broker: redis.Redis) -> Finding:
    """Return whether ledger and broker are different databases, whatever their addresses say.

    Raise RedisError.
    """
    first, second = identity(ledger), identity(broker)
    if not first.run_id:
        return Finding(Level.WARNING, "BROKER_URL", "cannot tell whether it is another database")
    if first == second:
        says = "is the same database as REDIS_URL"
        advice = "choose another number at its end: the broker's upkeep would block the ledger"
        return Finding(Level.MISTAKE, "BROKER_URL", says, advice)
    return Finding(Level.OK, "BROKER_URL", "is another database than REDIS_URL")


def _writable(client: redis.Redis, about: str) -> Finding:
    try:
        client.set(PROBE_KEY, "1", px=PROBE_MS)
    except redis.ReadOnlyError:
        says, advice = "is a replica: it takes no writes", "use the address of the primary"
    except redis.ResponseError as error:
        says = f"takes no writes ({type(error).__name__})"
        advice = "look at its memory, its disk and the rights of our user"
    else:
        return Finding(Level.OK, about, "takes writes")
    return Finding(Level.MISTAKE, about, says, advice)


def _memory(client: redis.Redis, about: str) -> Iterator[Finding]:
    policy = _setting(client, "maxmemory-policy", "memory", "maxmemory_policy")
    if policy is None:
        yield _unknown(about, "maxmemory-policy", "noeviction")
    elif policy != "noeviction":
        says = f"maxmemory-policy={policy}: must be noeviction"
        advice = "when memory is full this server would delete customers' messages"
        yield Finding(Level.MISTAKE, about, says, advice)
    else:
        yield Finding(Level.OK, about, "maxmemory-policy is noeviction")


def _disk(client: redis.Redis, about: str, *, production: bool) -> Iterator[Finding]:
    appending = _setting(client, "appendonly", "persistence", "aof_enabled")
    if appending is None:
        yield _unknown(about, "appendonly", "yes")
        return
    if appending not in {"yes", "1"}:
        says, advice = "appendonly=no: must be yes", "a restart would forget unanswered messages"
        yield Finding(Level.MISTAKE if production else Level.WARNING, about, says, advice)
        return
    yield Finding(Level.OK, about, "appendonly is yes")
    synced = _setting(client, "appendfsync", "", "")
    if synced == "no":
        says = "appendfsync=no: should be everysec or always"
        yield Finding(
            Level.WARNING, about, says, "a power cut would cost half a minute of messages"
        )


def _unknown(about: str, name: str, wanted: str) -> Finding:
    says = f"cannot tell {name}: neither CONFIG nor INFO is allowed"
    return Finding(Level.WARNING, about, says, f"see for yourself that it is {wanted}")


def _setting(client: redis.Redis, name: str, section: str, field: str) -> str | None:
    """Return a setting of the server by CONFIG, else the INFO field, None if nobody tells."""
    with contextlib.suppress(redis.ResponseError):
        given: Any = client.config_get(name)
        if given:
            return _text(next(iter(given.values())))
    value = _info(client, section).get(field) if section else None
    return None if value is None else _text(value)


def _info(client: redis.Redis, section: str) -> dict[str, object]:
    try:
        told: Any = client.info(section)
        return dict(told)
    except redis.ResponseError:
        return {}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
