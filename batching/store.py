"""The message store: one atomic Lua script a verb, one typed method a script.

It decides nothing; ``flow.py`` does.
Every method is safe to repeat, and raises LedgerUnavailableError where Redis did not take it. A
step of a run is refused, never half done, once the token is not the holder's.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal
from uuid import uuid4

import redis
from redis.exceptions import NoScriptError, ResponseError

from batching import keys
from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.keys import Keyring, Shard
from batching.model import (
    Collected,
    DeliveryStatus,
    Exchange,
    ForeignMessage,
    InboundMessage,
    Limits,
    Overdue,
    Peek,
    Reaped,
    Receipt,
    Run,
    Stage,
    Status,
    Tag,
    Timing,
    Verdict,
    WakeUp,
    Watch,
    decode_run,
    encode,
)

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
        timing: Timing | None = None,
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
        self.timing = timing or Timing()
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

    def now_ms(self) -> int:
        """Return the time by which the ledger's steps are timed: the server's, or a test's."""
        with reached():
            return self._clock() or server_ms(self.client.time())

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


#: How mark_sending answers: go; the account is stopped; the part is not this run's to send.
GO, STOPPED, STALE = 1, -1, 0
#: How fail answers: done; refused because the attempts are spent; not this run's any more.
DONE, SPENT = 1, 2
#: How replay and discard answer instead of a number of messages.
GONE = -1
#: Why a run ends without success: try again, wait for the account, or the part may be out.
Setback = Literal["retry", "park", "ambiguous"]


class Store(Ledger):
    """The scripts by which batches move."""

    # The flusher.

    def collect(self, shard: Shard, *, limit: int) -> list[Collected]:
        """Put up to ``limit`` (at most 200) due batches in flight and return them."""
        keys = (shard.due, shard.lease, shard.stats, shard.heartbeat)
        _, *taken = self._run("collect", keys, shard.prefix, limit, self.timing.ring_ms)
        return [
            Collected(c.decode(), account.decode(), batch.decode(), count, waited, why.decode())
            for c, account, batch, count, waited, why in taken
        ]

    def reap(self, shard: Shard, *, limit: int) -> list[Reaped]:
        """Return what is to be done about up to ``limit`` batches whose lease ran out."""
        keys, timing = (shard.lease, shard.stats), self.timing
        waits = (timing.ring_ms, timing.ring_max_ms, timing.ambiguous_ms)
        return [
            Reaped(
                WakeUp(c.decode(), batch.decode(), attempt, Stage(stage.decode())),
                account.decode(),
                Verdict(verdict.decode()),
                token.decode(),
                policy.decode(),
            )
            for c, account, batch, stage, attempt, verdict, token, policy in self._run(
                "reap", keys, shard.prefix, limit, *waits
            )
        ]

    def overdue(self, shard: Shard, *, limit: int) -> list[Overdue]:
        """Tell a person of up to ``limit`` batches that waited too long, and return them."""
        keys = (shard.overdue, shard.stats, shard.alerts)
        late = self._run("overdue", keys, shard.prefix, limit)
        return [Overdue(c.decode(), batch.decode(), account.decode()) for c, batch, account in late]

    def recover_orphan(self, conversation_id: str) -> list[tuple[str, str, int]]:
        """Make dead letters of what is left where a batch vanished; [] if none did.

        For each that did: its new id, "" if nothing was left of it; a detail; messages kept.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        keys = (
            s.batches(c), s.open(c), s.flight(c), s.due, s.lease, s.stats, s.dead, s.alerts,
            s.trail(c),
        )  # fmt: skip
        left = self._run("recover_orphan", keys, c, s.prefix)
        return [(batch.decode(), detail.decode(), kept) for batch, detail, kept in left]

    # One run of a batch.

    def begin(self, wake_up: WakeUp) -> Run | None:
        """Take the attempt that a wake-up names; None if it is over or in other hands."""
        s, c = self.shard_of(wake_up.conversation_id), wake_up.conversation_id
        keys = (s.batches(c), s.flight(c), s.lease, s.stats, s.takeover(c), s.trail(c))
        status, *fields = self._run(
            "begin", keys, c, wake_up.batch_id, wake_up.stage, wake_up.attempt
        )
        return decode_run(wake_up, fields) if status == 1 else None

    def extend(self, held: Run) -> bool:
        """Keep the lease for another while."""
        s, c = self._place(held)
        keys = (s.batches(c), s.lease)
        return bool(self._run("extend", keys, c, held.token, held.limits.lease_ms))

    def checkpoint(self, held: Run, parts: Sequence[str], exchange: Exchange) -> bool:
        """Keep the reply and pass the batch on to sending."""
        s, c = self._place(held)
        reply = json.dumps(list(parts), ensure_ascii=False)
        kept = json.dumps([exchange.customer, exchange.answer], ensure_ascii=False)
        args = (c, held.token, reply, len(parts), kept, self.timing.ring_ms)
        return bool(self._run("checkpoint", (s.batches(c), s.lease, s.trail(c)), *args))

    def mark_sending(self, held: Run, part: int, policy: str) -> int:
        """Record that ``part`` is about to leave; GO, STOPPED or STALE."""
        s, c = self._place(held)
        keys = (s.batches(c), s.lease, s.stopped(held.account_id), s.trail(c))
        args = (c, held.token, part, policy, held.limits.lease_ms)
        # As durable as what is acknowledged: a power cut must not forget that a part left.
        call = self.timed("mark_sending", keys, args)
        return int(run_all(self.client, [call], synced=self.synced)[0])

    def left(self, tag: Tag, provider_id: str) -> bool:
        """Record that a part is with the provider; False if the batch knew or is gone."""
        return bool(run(self.client, self.left_call(tag, provider_id)))

    def left_call(self, tag: Tag, provider_id: str) -> Call:
        """Return the call of ``left``."""
        s, c = self.shard_of(tag.conversation_id), tag.conversation_id
        sent = s.sent(self.keyring.digest(provider_id or str(tag)))
        dead_letter = s.dead_letter(tag.batch_id)
        keys = (s.batches(c), s.lease, sent, s.dead, dead_letter, s.stats, s.trail(c))
        return self.timed("left", keys, (c, tag.batch_id, tag.part, self.timing.sent_ms))

    def finish(self, held: Run, *, suppressed: str = "") -> bool:
        """End the batch as answered, or as suppressed for a reason."""
        (s, c), timing = self._place(held), self.timing
        keys = (
            s.batches(c), s.flight(c), s.due, s.lease, s.stats, s.history(c), s.overdue, s.trail(c),
        )  # fmt: skip
        args = (c, held.token, suppressed, timing.history_max, timing.history_ms)
        return bool(self._run("finish", keys, *args))

    def fail(
        self, wake_up: WakeUp, token: str, verdict: Setback, wait_ms: int, detail: str = ""
    ) -> int:
        """End a run without success and wait; DONE, SPENT (dead_letter it) or STALE."""
        s, c = self.shard_of(wake_up.conversation_id), wake_up.conversation_id
        keys = (s.batches(c), s.lease, s.stats, s.trail(c))
        return int(self._run("fail", keys, c, token, verdict, wait_ms, detail))

    def dead_letter(
        self, wake_up: WakeUp, token: str, reason: str, detail: str
    ) -> tuple[int, int] | None:
        """Make the batch a dead letter; messages (kept, lost), None if it is not the holder's."""
        s, c = self.shard_of(wake_up.conversation_id), wake_up.conversation_id
        dead_letter = s.dead_letter(wake_up.batch_id)
        keys = (
            s.batches(c), s.flight(c), s.due, s.lease, s.stats, s.dead, dead_letter, s.alerts,
            s.overdue, s.trail(c),
        )  # fmt: skip
        kept, lost = self._run("dead_letter", keys, c, wake_up.batch_id, token, reason, detail)
        return None if kept < 0 else (kept, lost)

    def stop(self, held: Run, detail: str) -> bool:
        """Keep the run's account from sending for a while; whether a person is told by this."""
        s, account_id = self.shard_of(held.wake_up.conversation_id), held.account_id
        told = s.told(account_id, "channel_stopped")
        keys = (s.stopped(account_id), told, s.alerts, s.stats)
        return bool(self._run("stop", keys, account_id, detail, self.timing.park_ms))

    def alarm(self, kind: str, detail: str, *, account_id: str = "", quiet_ms: int) -> bool:
        """Tell a person what is wrong with the installation; False if that was done lately.

        ``quiet_ms``: how long the next alarm of this kind and account is held back.
        """
        s = self.keyring.shards[0]
        keys = (s.told(account_id, kind), s.alerts, s.stats)
        return bool(self._run("alarm", keys, kind, detail, account_id, quiet_ms))

    # What an operator decides.

    def replay(self, conversation_id: str, batch_id: str, account_id: str, limits: Limits) -> int:
        """Put a dead letter back to be answered; return its messages, GONE if there is none."""
        s, c = self.shard_of(conversation_id), conversation_id
        names = (
            s.batches(c), s.open(c), s.due, s.stats, s.dead, s.dead_letter(batch_id), s.overdue,
            s.trail(c),
        )  # fmt: skip
        return int(self._run("replay", names, c, batch_id, account_id, limits.stamp()))

    def discard(self, conversation_id: str, batch_id: str, reason: str) -> int:
        """Forget a dead letter; return its messages, GONE if there is none."""
        s = self.shard_of(conversation_id)
        names = (s.stats, s.dead, s.dead_letter(batch_id), s.trail(conversation_id))
        return int(self._run("discard", names, batch_id, reason))

    def erase(self, conversation_id: str) -> tuple[int, int, int, int]:
        """Forget a conversation but its dead letters.

        Return what there was: messages open and in flight, exchanges, message digests.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        names = (
            s.batches(c), s.open(c), s.flight(c), s.seen(c), s.history(c), s.takeover(c),
            s.due, s.lease, s.stats, s.overdue, s.trail(c),
        )  # fmt: skip
        open_, flight, exchanges, digests = run(self.client, Call("erase", names, (c,)))
        return open_, flight, exchanges, digests

    def audit(self, shard: Shard, conversation_ids: Sequence[str]) -> list[tuple[str, list[int]]]:
        """Return each conversation's numbers in the order of ``audit.lua``."""
        args = (shard.prefix, " ".join(conversation_ids))
        rows = run(self.client, Call("audit", (shard.due, shard.lease), args))
        return [(conversation.decode(), counts) for conversation, *counts in rows]

    def _place(self, held: Run) -> tuple[Shard, str]:
        return self.shard_of(held.wake_up.conversation_id), held.wake_up.conversation_id

    def _run(self, verb: str, keys: tuple[str, ...], *args: Arg) -> Any:  # noqa: ANN401
        return run(self.client, self.timed(verb, keys, args))


_APPENDED = {1: Status.ACCEPTED, 0: Status.DUPLICATE, -1: Status.FULL}
_SUPPRESSED = {1: Status.SUPPRESSED, 0: Status.DUPLICATE}


class Door:
    """Builds the calls of one webhook and runs them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._timing = store.timing

    def append(self, conversation_id: str, message: InboundMessage, limits: Limits) -> Call:
        """Return the call that accepts a message; ``receipt`` reads its answer."""
        s, c, timing = self._store.shard_of(conversation_id), conversation_id, self._store.timing
        names = (s.batches(c), s.open(c), s.seen(c), s.due, s.stats, s.heartbeat, s.overdue)
        what = (self._digest(message), encode(message), limits.stamp())
        caps = (timing.waiting_max, timing.seen_ms, timing.seen_max)
        return self._store.timed("append", names, (c, message.account_id, *what, *caps))

    def link(self, conversation_id: str, message: InboundMessage, alias: str) -> Call:
        """Return the call that remembers a second id of a customer."""
        shard, key = self._alias(message.account_id, alias)
        args = (conversation_id, message.account_id, self._timing.alias_ms)
        return self._store.timed("link", (key, shard.alerts), args)

    def owners(self, events: Sequence[InboundMessage | ForeignMessage]) -> list[str]:
        """Return the conversation of each event.

        Costs a round trip only if one came under a second id alone, or was written by others.
        """
        found = [self._store.conversation_id(event.account_id, event.customer) for event in events]
        places = [n for n, event in enumerate(events) if event.secondary]
        if places:
            keys = [self._alias(events[n].account_id, events[n].customer)[1] for n in places]
            for n, owner in zip(places, self._store.read(keys), strict=True):
                found[n] = owner or found[n]
        return found

    def tags(self, statuses: Sequence[DeliveryStatus]) -> list[Tag | None]:
        """Return the part of which each status tells, None where it is not ours.

        Costs a round trip only if a failure came without our tag: from a provider that carries
        none, or about a message that is not ours.
        """
        found = [Tag.parse(status.tag) for status in statuses]
        lost = [n for n, tag in enumerate(found) if not tag and statuses[n].state == "failed"]
        shards = self._store.keyring.shards
        digests = [self._digest_id(statuses[n].provider_id) for n in lost]
        sent = self._store.read([shard.sent(digest) for digest in digests for shard in shards])
        for place, n in enumerate(lost):
            places = sent[place * len(shards) : (place + 1) * len(shards)]
            found[n] = next((Tag.parse(f"aa:{known}") for known in places if known), None)
        return found

    def suppress(self, conversation_id: str, message: InboundMessage) -> Call:
        """Return the call that accounts a message which asks for no answer."""
        s, c = self._store.shard_of(conversation_id), conversation_id
        return self._store.timed(
            "suppress",
            (s.seen(c), s.stats),
            (self._digest(message), message.kind, self._timing.seen_ms, self._timing.seen_max),
        )

    def left(self, tag: Tag, provider_id: str) -> Call:
        """Return the call by which a provider's status says that a part is with it."""
        return self._store.left_call(tag, provider_id)

    def undelivered(self, account_id: str, tag: Tag, provider_id: str, code: str) -> Call:
        """Return the call that tells a person that a part never arrived; 0 if it was told."""
        s, c = self._store.shard_of(tag.conversation_id), tag.conversation_id
        return self._store.timed(
            "undelivered",
            (s.batches(c), s.lease, s.sent(self._digest_id(provider_id)), s.alerts, s.stats),
            (c, account_id, tag.batch_id, tag.part, code, self._timing.sent_ms),
        )

    def foreign(
        self, conversation_id: str, account_id: str, provider_id: str, author: str, *, pause: bool
    ) -> Call:
        """Return the call that notes a message from our number; 0 if we sent it ourselves."""
        s, c = self._store.shard_of(conversation_id), conversation_id
        sent, told = s.sent(self._digest_id(provider_id)), s.told(account_id, "foreign_reply")
        return self._store.timed(
            "foreign",
            (s.batches(c), sent, s.takeover(c), told, s.alerts, s.stats),
            (c, account_id, author, self._timing.takeover_ms if pause else 0),
        )

    def post(self, calls: Sequence[Call]) -> list[Any]:
        """Run calls in order in one round trip and return their answers."""
        return run_all(self._store.client, calls, synced=self._store.synced) if calls else []

    def _alias(self, account_id: str, alias: str) -> tuple[Shard, str]:
        digest = self._store.keyring.digest(account_id, alias)
        shard = self._store.shard_of(digest)
        return shard, shard.alias(account_id, digest)

    def _digest(self, message: InboundMessage) -> str:
        return self._store.keyring.digest(message.account_id, message.message_id)

    def _digest_id(self, provider_id: str) -> str:
        return self._store.keyring.digest(provider_id)


def receipt(conversation_id: str, call: Call, answer: Any) -> Receipt:  # noqa: ANN401
    """Return what ``append`` or ``suppress`` answered."""
    if call.verb == "suppress":
        return Receipt(_SUPPRESSED[answer], conversation_id)
    status, batch, count, due_ms, lag_ms = answer
    return Receipt(_APPENDED[status], conversation_id, batch.decode(), count, due_ms, lag_ms)
