"""One ledger in one Redis: where things are, what time it is, and looking without touching."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import redis

from batching import keys
from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.keys import Keyring, Shard
from batching.limits import Pace
from batching.model import Exchange, Stage
from batching.records import Peek, Watch
from batching.scripts import Call, run

#: The form of what is stored. A process that knows another form refuses to start.
SCHEMA = 1

Arg = str | int | bytes


class Ledger:
    """The place. ``clock`` is for tests; without it time is the server's.

    ``privacy_key`` turns customers' ids into digests; processes that share a ledger share it.
    ``synced``: what must survive a power cut is waited for until the server has it on its disk.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        privacy_key: str,
        shards: int = 1,
        generation: int = 1,
        pace: Pace | None = None,
        synced: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.client = client
        self.keyring = Keyring(privacy_key, shards=shards, generation=generation)
        self._form: dict[str, str | int] = {
            "schema": SCHEMA,
            "generation": generation,
            "shards": shards,
            # Only a digest of the key can be kept where the digests are.
            "privacy_key": self.keyring.digest("form"),
        }
        self.pace = pace or Pace()
        self.synced = synced
        self._clock = clock or (lambda: 0)

    def open(self) -> str:
        """Return the identity of the ledger in this Redis, creating it if there is none.

        Raise ConfigurationError if it was made with another form or PRIVACY_KEY: its
        conversations would not be found again. Safe to run twice.
        """
        with reached():
            self.client.hsetnx(keys.META, "identity", uuid4().hex)
            for name, value in self._form.items():
                self.client.hsetnx(keys.META, name, value)
        identity = self.identity()
        for shard in self.keyring.all_shards:
            run(self.client, self.timed("open", (shard.stats,), ()))
        return identity

    def identity(self) -> str:
        """Return the identity of the ledger in this Redis, "" if there is none.

        Raise ConfigurationError if it has another form than ours.
        """
        with reached():
            kept: Any = self.client.hgetall(keys.META)
        for name, value in self._form.items():
            found = kept.get(name.encode(), str(value).encode()).decode()
            if found != str(value):
                raise ConfigurationError(
                    "ledger_mismatch", f"{name}={value}: this ledger was made with {name}={found}"
                )
        return str(kept.get(b"identity", b"").decode())

    def conversation_id(self, account_id: str, customer: str) -> str:
        """Return the id of an account's conversation with a customer."""
        return self.keyring.conversation_id(account_id, customer)

    def shard_of(self, conversation_id: str) -> Shard:
        """Return the keys of the shard that holds a conversation."""
        return self.keyring.shard_of(conversation_id)

    def timed(self, verb: str, names: tuple[str, ...], args: tuple[Arg, ...]) -> Call:
        """Return a script's call with the time as its first argument."""
        return Call(verb, names, (self._clock(), *args))

    def watch(self) -> Watch:
        """Return the earliest due time and lease end of all shards, in one round trip."""
        pipeline = self.client.pipeline(transaction=False)
        pipeline.time()
        for shard in self.keyring.all_shards:
            pipeline.zrange(shard.due, 0, 0, withscores=True)
            pipeline.zrange(shard.lease, 0, 0, withscores=True)
            pipeline.get(shard.heartbeat)
        with reached():
            time, *rows = pipeline.execute()
        beats = rows[2::3]
        return Watch(
            now_ms=self._clock() or server_ms(time),
            due_ms=_earliest(rows[0::3]),
            lease_ms=_earliest(rows[1::3]),
            heartbeat_ms=min(map(int, beats)) if all(beats) else None,
        )

    def peek(self, conversation_id: str) -> Peek:
        """Return what a conversation is doing now."""
        shard = self.shard_of(conversation_id)
        pipeline = self.client.pipeline(transaction=False)
        pipeline.time()
        pipeline.zscore(shard.due, conversation_id)
        pipeline.hmget(shard.batches(conversation_id), "open_count", "count", "stage", "state")
        with reached():
            time, due_ms, (opened, flying, stage, state) = pipeline.execute()
        return Peek(
            now_ms=self._clock() or server_ms(time),
            open_count=int(opened or 0),
            due_ms=None if due_ms is None else int(due_ms),
            flight_count=int(flying or 0),
            stage=Stage(stage.decode()) if stage else None,
            state=state.decode() if state else None,
        )

    def account_of(self, conversation_id: str) -> str:
        """Return whose conversation it is, "" where nothing of it is open or in flight."""
        with reached():
            found: Any = self.client.hget(
                self.shard_of(conversation_id).batches(conversation_id), "account"
            )
        return found.decode() if found else ""

    def read(self, names: Sequence[str]) -> list[str | None]:
        """Return the strings kept under keys, None where there is none, in one round trip."""
        if not names:
            return []
        pipeline = self.client.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
        with reached():
            return [value and value.decode() for value in pipeline.execute()]

    def history(self, conversation_id: str) -> list[Exchange]:
        """Return the past exchanges, oldest first."""
        key = self.shard_of(conversation_id).history(conversation_id)
        with reached():
            kept: Any = self.client.lrange(key, 0, -1)
        return [Exchange(*json.loads(exchange)) for exchange in kept]

    def probe(self) -> None:
        """Write something small to every shard. Raise LedgerUnavailableError if that fails."""
        with reached():
            for shard in self.keyring.shards:
                self.client.hincrby(shard.stats, "probes", 1)


def server_ms(time: Any) -> int:  # noqa: ANN401 - redis-py types a reply as anything
    """Return the reply of TIME in milliseconds since the epoch."""
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000


@contextmanager
def reached() -> Iterator[None]:
    """Turn what Redis raises into the ledger's own error."""
    try:
        yield
    except redis.RedisError as error:
        raise LedgerUnavailableError("ledger_away", type(error).__name__) from error


def _earliest(heads: list[list[tuple[bytes, float]]]) -> int | None:
    return min((int(head[0][1]) for head in heads if head), default=None)
