"""Runs the Lua scripts by their digests: EVALSHA, loading what a Redis does not know yet.

A digest is a script's version, so two releases never share a name, and a Redis that restarted
or flushed its scripts is served again within the same call.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from batching.errors import LedgerUnavailableError

_LUA = {
    file.name.removesuffix(".lua"): file.read_text(encoding="utf-8")
    for file in resources.files("batching").joinpath("lua").iterdir()
    if file.name.endswith(".lua")
}
#: Verbs that move or end what is accepted run in a full Redis too: else it could never drain.
#: Those that bring something in are refused there, and the provider keeps it.
_FILLING = frozenset({"append", "suppress", "link", "replay"})
_LUA |= {
    verb: f"#!lua flags=allow-oom\n{text}" for verb, text in _LUA.items() if verb not in _FILLING
}
#: How long a disk may take, ms; a webhook that waits longer is refused, and delivered again.
SYNC_MS_MAX = 1_000
_DIGESTS = {
    verb: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    for verb, text in _LUA.items()
}


def digests() -> dict[str, str]:
    """Return the digest of every script by its verb; part of a process's fingerprint."""
    return dict(_DIGESTS)


@dataclass(frozen=True, slots=True)
class Call:
    """One script with its keys and arguments."""

    verb: str
    keys: tuple[str, ...]
    args: tuple[str | int | bytes, ...]


def run(client: redis.Redis, call: Call) -> Any:  # noqa: ANN401
    """Run one script and return what it returns. Raise LedgerUnavailableError."""
    return run_all(client, [call])[0]


def run_all(client: redis.Redis, calls: Sequence[Call], *, synced: bool = False) -> list[Any]:
    """Run scripts in order in one round trip and return their results.

    Each is atomic by itself, the sequence is not. ``synced``: return only when the server has
    their writes on its disk. Raise LedgerUnavailableError if any did not run, or not in time; all
    of them are safe to run again.
    """
    try:
        results = _evaluate(client, calls, synced=synced)
        unknown = [n for n, result in enumerate(results) if isinstance(result, NoScriptError)]
        if unknown:
            for verb in {calls[n].verb for n in unknown}:
                client.script_load(_LUA[verb])
            again = _evaluate(client, [calls[n] for n in unknown], synced=synced)
            for n, result in zip(unknown, again, strict=True):
                results[n] = result
    except redis.RedisError as error:
        raise LedgerUnavailableError("ledger_away", type(error).__name__) from error
    for result in results:
        if isinstance(result, Exception):
            raise LedgerUnavailableError("ledger_refused", type(result).__name__) from result
    return results


def _evaluate(client: redis.Redis, calls: Sequence[Call], *, synced: bool) -> list[Any]:
    """Return the result of each call, or the error that it met."""
    commands = [
        ("EVALSHA", _DIGESTS[call.verb], len(call.keys), *call.keys, *call.args) for call in calls
    ]
    if len(commands) == 1 and not synced:
        # A pipeline of one costs a quarter of a webhook's time.
        execute: Any = client.execute_command
        try:
            return [execute(*commands[0])]
        except ResponseError as error:
            return [error]
    pipeline: Any = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    if not synced:
        return list(pipeline.execute(raise_on_error=False))
    # On the connection of the writes, whose offset it waits for; replicas are not waited for.
    pipeline.execute_command("WAITAOF", 1, 0, SYNC_MS_MAX)
    *results, on_disk = pipeline.execute(raise_on_error=False)
    if isinstance(on_disk, Exception) or on_disk[0] < 1:
        raise LedgerUnavailableError("ledger_not_synced")
    return list(results)
