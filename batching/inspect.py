"""Read-only views of a ledger for operators: counters, dead letters, where a message is."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from batching.keys import Keyring, Shard
from batching.model import InboundMessage, Limits, Reason, decode
from batching.store import Store, reached, run

#: About so many walk_keys or walk_members a step.
PAGE = 100


def walk_keys(
    client: redis.Redis, keyring: Keyring, *kinds: str
) -> Iterator[list[tuple[int, str, str]]]:
    """Yield shard number, kind and the rest of each key that starts with one of ``kinds``."""
    numbers = {shard.prefix: number for number, shard in enumerate(keyring.shards)}
    start = keyring.shards[0].prefix.partition(".")[0]
    cursor = 0
    while True:
        with reached():
            found: Any = client.scan(cursor, match=f"{start}.*", count=PAGE)
        cursor, names = found
        page = []
        for name in names:
            tag, brace, rest = name.decode().partition("}:")
            number = numbers.get(tag + brace)
            kind = next((kind for kind in kinds if rest.startswith(kind)), "")
            if number is not None and kind:
                page.append((number, kind, rest.removeprefix(kind)))
        yield page
        if cursor == 0:
            return


def walk_members(client: redis.Redis, key: str) -> Iterator[list[str]]:
    """Yield the walk_members of a sorted set."""
    cursor = 0
    while True:
        with reached():
            found: Any = client.zscan(key, cursor, count=PAGE)
        cursor, pairs = found
        yield [member.decode() for member, _ in pairs]
        if cursor == 0:
            return


_COUNTS = ("accepted", "answered", "suppressed", "dead", "lost", "open", "flight")


@dataclass(frozen=True, slots=True)
class Balance:
    """The books of one shard, in messages: what came in is somewhere."""

    shard: int
    accepted: int
    answered: int
    suppressed: int
    dead: int
    lost: int
    open: int
    flight: int

    @property
    def holds(self) -> bool:
        """Whether every accepted message is accounted for."""
        ended = self.answered + self.suppressed + self.dead + self.lost
        return self.accepted == ended + self.open + self.flight


def balance(store: Store) -> list[Balance]:
    """Return the books of every shard."""
    books = []
    for number, shard in enumerate(store.keyring.shards):
        with reached():
            counts: Any = store.client.hmget(shard.stats, _COUNTS)
        books.append(Balance(number, *(int(count or 0) for count in counts)))
    return books


def totals(store: Store) -> Counter[str]:
    """Return every counter by its name, over all shards."""
    found: Counter[str] = Counter()
    for shard in store.keyring.shards:
        found.update(counters(store, shard))
    return found


def reasons(totals: Mapping[str, int], kind: str) -> dict[str, int]:
    """Return the counters of a kind by their reason, sorted: "dead:poison" is a poison of dead."""
    start = f"{kind}:"
    return {
        name.removeprefix(start): totals[name] for name in sorted(totals) if name.startswith(start)
    }


def counters(store: Store, shard: Shard) -> dict[str, int]:
    """Return every counter of a shard by its name."""
    with reached():
        kept: Any = store.client.hgetall(shard.stats)
    return {name.decode(): int(count) for name, count in kept.items()}


@dataclass(frozen=True, slots=True)
class Census:
    """``open``, ``flight``, ``dead`` and ``lost`` are messages, as the books have them.

    ``due`` and ``leased`` are conversations, ``letters`` dead letters, ``late`` batches that are
    overdue and that nobody was told of yet, ``untold`` alerts. ``oldest_letter_ms``: how long the
    oldest dead letter has waited, 0 without one.
    """

    open: int
    flight: int
    dead: int
    lost: int
    due: int
    leased: int
    letters: int
    late: int
    undelivered_count: int
    oldest_letter_ms: int


def census(store: Store) -> Census:
    """Return how much there is of everything, in all shards. Raise LedgerUnavailableError."""
    with reached():
        now_ms = store.watch().now_ms
        pipeline: Any = store.client.pipeline(transaction=False)
        for shard in store.keyring.shards:
            _ask(pipeline, shard, now_ms)
        rows = pipeline.execute(raise_on_error=False)
        for row in rows:
            if isinstance(row, redis.RedisError) and "no such key" not in str(row):
                raise row
    answers = [rows[n : n + 8] for n in range(0, len(rows), 8)]
    counts = [_counts(*answer) for answer in answers]
    deaths = [int(oldest[0][1]) for _, _, _, _, _, oldest, _, _ in answers if oldest]
    age_ms = max(0, now_ms - min(deaths)) if deaths else 0
    return Census(*[sum(column) for column in zip(*counts, strict=True)] + [age_ms])


def _ask(pipeline: Any, shard: Shard, now_ms: int) -> None:  # noqa: ANN401
    pipeline.hmget(shard.stats, "open", "flight", "dead", "lost")
    pipeline.zcard(shard.due)
    pipeline.zcard(shard.lease)
    pipeline.zcard(shard.dead)
    pipeline.zcount(shard.overdue, "-inf", now_ms)
    pipeline.zrange(shard.dead, 0, 0, withscores=True)
    pipeline.xlen(shard.alerts)
    # An error where there is no stream yet.
    pipeline.xinfo_groups(shard.alerts)


def _counts(
    stats: list[bytes | None],
    due: int,
    leased: int,
    letters: int,
    late: int,
    _oldest: object,
    alerts: int,
    groups: list[dict[str, Any]] | redis.RedisError,
) -> list[int]:
    undelivered_count = alerts
    if isinstance(groups, list) and groups:
        undelivered_count = groups[0]["pending"] + (groups[0]["lag"] or 0)
    return [*(int(count or 0) for count in stats), due, leased, letters, late, undelivered_count]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A batch that waits for a person. ``part`` of ``parts`` had left; both "" before a reply.

    ``size``: its messages; ``messages`` are () where only the letter's face was read.
    """

    batch_id: str
    conversation_id: str
    account_id: str
    reason: str
    detail: str
    stage: str
    attempt: int
    part: str
    parts: str
    died_ms: int
    size: int
    messages: tuple[InboundMessage, ...] = ()

    @property
    def parts_left(self) -> int:
        """How many parts of a reply the customer has."""
        return int(self.part or 0)

    @property
    def may_repeat(self) -> bool:
        """Whether the customer may have an answer, or a part of it, already."""
        unknown = self.reason == Reason.AMBIGUOUS or self.detail == "flight_missing"
        return unknown or self.parts_left > 0


class DeadLetters:
    """The dead letters of a ledger. Every method raises LedgerUnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client

    def headers(self) -> Iterator[DeadLetter]:
        """Yield every letter without its messages, in no order, without stopping anybody."""
        for shard in self._store.keyring.shards:
            for batches in walk_members(self._client, shard.dead):
                pipeline = self._client.pipeline(transaction=False)
                for batch_id in batches:
                    pipeline.lindex(shard.dead_letter(batch_id), 0)
                    pipeline.llen(shard.dead_letter(batch_id))
                with reached():
                    got = pipeline.execute()
                for batch_id, why, size in zip(batches, got[0::2], got[1::2], strict=True):
                    # One that was decided in between is no letter any more.
                    if why:
                        yield _letter(batch_id, json.loads(why), size - 1)

    def named(self, batch_id: str) -> list[DeadLetter]:
        """Return the letters of a batch's name, with messages: one a shard, as ids repeat there."""
        found = (self.read(batch_id, shard) for shard in self._store.keyring.shards)
        return [letter for letter in found if letter]

    def read(self, batch_id: str, shard: Shard) -> DeadLetter | None:
        """Return one letter of a shard with its messages, None if there is none of that batch."""
        with reached():
            kept: Any = self._client.lrange(shard.dead_letter(batch_id), 0, -1)
        if not kept:
            return None
        why = json.loads(kept[0])
        messages = tuple(decode(why["account"], raw) for raw in kept[1:])
        return _letter(batch_id, why, len(messages), messages)

    def replay(self, letter: DeadLetter, limits: Limits) -> int:
        """Put a letter back to be answered; return its messages, -1 if it is gone."""
        s, c = self._store.shard_of(letter.conversation_id), letter.conversation_id
        dead_letter = s.dead_letter(letter.batch_id)
        names = (
            s.batches(c), s.open(c), s.due, s.stats, s.dead, dead_letter, s.overdue, s.trail(c),
        )  # fmt: skip
        args = (c, letter.batch_id, letter.account_id, limits.stamp())
        return int(run(self._client, self._store.timed("replay", names, args)))

    def discard(self, letter: DeadLetter, reason: Reason = Reason.DISCARDED) -> int:
        """Forget a letter; return its messages, -1 if it is gone."""
        s = self._store.shard_of(letter.conversation_id)
        trail = s.trail(letter.conversation_id)
        names = (s.stats, s.dead, s.dead_letter(letter.batch_id), trail)
        return int(
            run(self._client, self._store.timed("discard", names, (letter.batch_id, reason)))
        )


def _letter(
    batch_id: str, why: dict[str, Any], size: int, messages: tuple[InboundMessage, ...] = ()
) -> DeadLetter:
    return DeadLetter(
        batch_id=batch_id,
        conversation_id=why["conversation"],
        account_id=why["account"],
        reason=why["reason"],
        detail=why["detail"],
        stage=why["stage"],
        attempt=int(why["attempt"]),
        part=str(why["part"]),
        parts=str(why["parts"]),
        died_ms=int(why["at_ms"]),
        size=size,
        messages=messages,
    )


#: How long the steps of a conversation's last batch are kept, ms, and how many at least.
TRAIL_MS, TRAIL_MAX = 7 * 86_400_000, 100


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a batch: the script's verb, and its further words."""

    at_ms: int
    verb: str
    batch_id: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """The batch that collects. ``due_ms``: None while another is in flight."""

    batch_id: str
    count: int
    first_ms: int
    last_ms: int
    due_ms: int | None


@dataclass(frozen=True, slots=True)
class FlightBatch:
    """The batch in flight. ``until_ms``: when somebody looks at it again, whatever happens.

    ``parts``: 0 before there is a reply. ``policy``: "" before a part was about to leave.
    """

    batch_id: str
    count: int
    first_ms: int
    stage: str
    state: str
    attempt: int
    until_ms: int | None
    part: int
    parts: int
    policy: str


@dataclass(frozen=True, slots=True)
class Trace:
    """A conversation as it stands. ``overdue_ms``: batch → when a person is told that it waits.

    ``accepted``: messages of the last days. ``taken_over_ms``, ``stopped_ms``: for how much
    longer a person answers, or the account cannot send; 0 for neither. ``messages``: message id
    → the batch that has its content.
    """

    conversation_id: str
    now_ms: int
    account_id: str
    accepted: int
    open: OpenBatch | None
    flight: FlightBatch | None
    letters: tuple[DeadLetter, ...]
    steps: tuple[Step, ...]
    overdue_ms: dict[str, int]
    taken_over_ms: int
    stopped_ms: int
    messages: dict[str, str]

    @property
    def is_known(self) -> bool:
        """Whether the ledger knows anything of it."""
        return bool(self.accepted or self.open or self.flight or self.letters or self.steps)


def trace(store: Store, conversation_id: str) -> Trace:
    """Return what is known of a conversation. Raise LedgerUnavailableError."""
    s, c = store.shard_of(conversation_id), conversation_id
    pipeline: Any = store.client.pipeline(transaction=True)
    pipeline.hgetall(s.batches(c))
    pipeline.zscore(s.due, c)
    pipeline.zscore(s.lease, c)
    pipeline.zcard(s.seen(c))
    pipeline.lrange(s.trail(c), 0, -1)
    pipeline.pttl(s.takeover(c))
    pipeline.lrange(s.open(c), 0, -1)
    pipeline.lrange(s.flight(c), 0, -1)
    with reached():
        kept, due_ms, lease_ms, accepted, trail, taken_over, opened, flying = pipeline.execute()
    fields = {name.decode(): value.decode() for name, value in kept.items()}
    open_batch, flight = _open(fields, due_ms), _flight(fields, lease_ms)
    letters = _letters(store, c)
    account_id = fields.get("account") or next((x.account_id for x in letters if x.account_id), "")
    overdue, stopped = _waits(store, c, account_id, [open_batch, flight])
    contents = [(open_batch, opened), (flight, flying)]
    messages = {
        decode("", raw).message_id: batch.batch_id if batch else ""
        for batch, raws in contents
        for raw in raws
    }
    messages |= {m.message_id: x.batch_id for x in letters for m in x.messages}
    return Trace(
        conversation_id=c,
        now_ms=store.watch().now_ms,
        account_id=account_id,
        accepted=accepted,
        open=open_batch,
        flight=flight,
        letters=letters,
        steps=tuple(_step(raw) for raw in trail),
        overdue_ms=overdue,
        taken_over_ms=max(0, taken_over),
        stopped_ms=stopped,
        messages=messages,
    )


def _open(fields: dict[str, str], due_ms: float | None) -> OpenBatch | None:
    if "open_id" not in fields:
        return None
    return OpenBatch(
        batch_id=fields["open_id"],
        count=int(fields["open_count"]),
        first_ms=int(fields["open_first"]),
        last_ms=int(fields["open_last"]),
        due_ms=None if due_ms is None else int(due_ms),
    )


def _flight(fields: dict[str, str], lease_ms: float | None) -> FlightBatch | None:
    if "id" not in fields:
        return None
    return FlightBatch(
        batch_id=fields["id"],
        count=int(fields["count"]),
        first_ms=int(fields["first"]),
        stage=fields["stage"],
        state=fields["state"],
        attempt=int(fields["attempt"]),
        until_ms=None if lease_ms is None else int(lease_ms),
        part=int(fields.get("part", 0)),
        parts=int(fields.get("parts", 0)),
        policy=fields.get("policy", ""),
    )


def _letters(store: Store, conversation_id: str) -> tuple[DeadLetter, ...]:
    letters, shard = DeadLetters(store), store.shard_of(conversation_id)
    headers = [face for face in letters.headers() if face.conversation_id == conversation_id]
    read = (letters.read(face.batch_id, shard) for face in headers)
    return tuple(sorted((x for x in read if x), key=lambda letter: letter.died_ms))


def _waits(
    store: Store, c: str, account_id: str, batches: list[OpenBatch | FlightBatch | None]
) -> tuple[dict[str, int], int]:
    """Return when a person is told of each batch, and for how long the account is stopped, ms."""
    shard, ids = store.shard_of(c), [batch.batch_id for batch in batches if batch]
    with reached():
        stopped: Any = store.client.pttl(shard.stopped(account_id))
        times = [store.client.zscore(shard.overdue, f"{c}:{batch_id}") for batch_id in ids]
    told: list[tuple[str, Any]] = list(zip(ids, times, strict=True))
    return {batch_id: int(at) for batch_id, at in told if at is not None}, max(0, stopped)


#: Verbs as an earlier release wrote them.
_EARLIER_VERBS = {"depart": "mark_sending", "bury": "dead_letter", "left": "mark_sent"}


def _step(raw: bytes) -> Step:
    at_ms, verb, batch_id, *words = raw.decode().split(" ")
    return Step(int(at_ms), _EARLIER_VERBS.get(verb, verb), batch_id, tuple(words))


class Place(StrEnum):
    """Where a message is. ``FORGOTTEN``: it has ended, and its steps are not kept any more."""

    OPEN = "open"
    FLIGHT = "in flight"
    DEAD = "dead"
    ANSWERED = "answered"
    SUPPRESSED = "suppressed"
    FORGOTTEN = "forgotten"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MessageLocation:
    """A message's place. ``batch_id``: "" for none; ``reason``: why it is dead or suppressed."""

    place: Place
    accepted_ms: int = 0
    batch_id: str = ""
    reason: str = ""


def find(store: Store, account_ids: Sequence[str], message_id: str) -> tuple[str, int] | None:
    """Return the conversation of a provider's message id and when it was accepted, ms.

    None if no account has accepted it in the time that deduplication remembers. Walks.
    """
    digests = [store.keyring.digest(account_id, message_id) for account_id in account_ids]
    shards = store.keyring.shards
    for page in walk_keys(store.client, store.keyring, "seen:"):
        pipeline: Any = store.client.pipeline(transaction=False)
        for number, _, conversation_id in page:
            pipeline.zmscore(shards[number].seen(conversation_id), digests)
        with reached():
            found = pipeline.execute()
        for (_, _, conversation_id), scores in zip(page, found, strict=True):
            for accepted_ms in filter(None, scores):
                return conversation_id, int(accepted_ms)
    return None


def owner(store: Store, account_id: str, customer: str) -> str:
    """Return the conversation of a customer by any id that was ever delivered for them."""
    digest = store.keyring.digest(account_id, customer)
    (found,) = store.read([store.shard_of(digest).alias(account_id, digest)])
    return found or store.conversation_id(account_id, customer)


def locate(trace: Trace, message_id: str, accepted_ms: int) -> MessageLocation:
    """Return where a message is that was accepted in this conversation."""
    batch_id = trace.messages.get(message_id)
    if batch_id is None:
        batch_id = _collected_in(trace, accepted_ms)
    if batch_id is not None:
        place, reason, batch_id = outcome(trace, batch_id)
        return MessageLocation(place, accepted_ms, batch_id, reason)
    trimmed = len(trace.steps) >= TRAIL_MAX and trace.steps[0].at_ms > accepted_ms
    if trimmed or trace.now_ms - accepted_ms > TRAIL_MS:
        return MessageLocation(Place.FORGOTTEN, accepted_ms)
    return MessageLocation(Place.SUPPRESSED, accepted_ms, reason="asks for no answer")


def outcome(trace: Trace, batch_id: str) -> tuple[Place, str, str]:
    """Return what became of a batch, why, and the batch that tells: a replay makes another."""
    if trace.open and trace.open.batch_id == batch_id:
        return Place.OPEN, "", batch_id
    if trace.flight and trace.flight.batch_id == batch_id:
        return Place.FLIGHT, trace.flight.state, batch_id
    for letter in trace.letters:
        if letter.batch_id == batch_id:
            return Place.DEAD, letter.reason, batch_id
    steps = [step for step in trace.steps if step.batch_id == batch_id]
    return _ended(trace, steps[-1]) if steps else (Place.FORGOTTEN, "", batch_id)


def _ended(trace: Trace, last: Step) -> tuple[Place, str, str]:
    match last.verb, last.words:
        case "replay", (replayed_as, *_) if replayed_as != last.batch_id:
            return outcome(trace, replayed_as)
        case "finish", (reason, *_) if reason:
            return Place.SUPPRESSED, reason, last.batch_id
        case "discard", _:
            return Place.SUPPRESSED, "discarded", last.batch_id
        case "finish" | "mark_sent", _:
            return Place.ANSWERED, "", last.batch_id
    return Place.FORGOTTEN, "", last.batch_id


def _collected_in(trace: Trace, accepted_ms: int) -> str | None:
    """Return the batch that took what was open at a time, None if the trail does not say."""
    steps = trace.steps
    if len(steps) >= TRAIL_MAX and steps[0].at_ms > accepted_ms:
        return None
    later = (step for step in steps if step.verb == "collect" and step.at_ms >= accepted_ms)
    return next((step.batch_id for step in later), None)
