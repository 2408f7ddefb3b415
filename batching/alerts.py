"""The alert streams: what a person must know, delivered at least once.

A script writes an alert as an entry of its shard's stream, in the step that decides it. A consumer
group keeps which entries are pending: taken, and not acknowledged. They are given out again after
REDELIVER_MS, so a notifier that dies repeats an alert and loses none.

Alerts of one kind, account and cause beyond a rate are throttled: counted, and notified as one
summary.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import redis

from batching.inspect import to_number
from batching.store import Store, reached, server_ms

#: The consumer group's names, as every release has stored them; under others it would start anew.
_GROUP, _READER = "told", "teller"
#: After this an alert that was taken and not acknowledged is given out again, ms.
REDELIVER_MS = 30_000
#: In so many shards it is looked for such alerts at once; the next time in the next ones.
CLAIMED_MAX = 64
#: So many of one kind, account and cause are notified one by one in a window of so long, ms.
RATE_MAX, RATE_MS = 2, 300_000
#: Acknowledged alerts of each shard that are kept for the operator to list. Up to TRIM_MIN more
#: may be there: trimming reads what it removes, so it is done for many at once.
KEPT_MAX, TRIM_MIN = 1_000, 100
#: A code at the beginning of a detail, or as all of it; the digest of a conversation is none.
_CODE = re.compile(
    r"(?!c_[0-9a-f]{24})(?:[A-Za-z][\w-]{1,63}\Z|[a-z]{2,20}(?:[_-]\w{1,40})+(?=[:;]))"
)
#: What the server answers where a stream or its group does not exist yet.
_ABSENT = ("NOGROUP", "no such key")

_Entry = tuple[bytes, dict[bytes, bytes]]
#: The place of an entry in its stream: milliseconds and a number, as in "1768478400000-0".
_Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. ``kind``: a Reason, or overdue, undelivered, an alert rule …; "" if unknown.

    ``kept`` and ``lost``: messages of a batch that ended. ``throttled``: how many alerts of its
    kind, account and cause a summary stands for, 0 for a single alert.
    """

    shard: int
    entry_id: str
    kind: str
    detail: str = ""
    account_id: str = ""
    conversation_id: str = ""
    batch_id: str = ""
    at_ms: int = 0
    kept: int = 0
    lost: int = 0
    throttled: int = 0
    notified: bool = False

    @property
    def name(self) -> str:
        """Return a name that no other alert of the ledger has; the same at every delivery."""
        return f"{self.shard}:{self.entry_id}"

    @property
    def code(self) -> str:
        """Return the code of the cause, "" where the detail has none."""
        return code_of(self.detail)

    @property
    def rate_name(self) -> str:
        """Return what alerts that count against one rate share: "salon undelivered cloud_131026".

        A cause that is new must not wait because of another that is frequent.
        """
        return f"{self.account_id} {self.kind} {self.code}".rstrip()


def code_of(detail: str) -> str:
    """Return the code that the detail of an alert or a dead letter has, "" for none.

    "model_auth" of "model_auth; apology sent"; details in plain words have none.
    """
    found = _CODE.match(detail)
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The alerts that are not acknowledged: how many, and the age of the oldest, 0 for none."""

    count: int
    oldest_ms: int


class Alerts:
    """The alert streams of a ledger. Every method raises LedgerUnavailableError.

    How many round trips a method takes does not depend on the number of shards.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._client: Any = store.client
        self._shards = store.keyring.all_shards
        self._all = range(len(self._shards))
        self._numbers = {shard.alerts.encode(): n for n, shard in enumerate(self._shards)}
        self._claim_from = 0
        # Rates hold for the whole installation, so their keys are in one shard.
        self._rates = self._shards[0]

    def take(self, limit: int) -> list[Alert]:
        """Return what is to be notified: up to ``limit`` new alerts of each shard, oldest first.

        Further up to ``limit`` that were taken and not acknowledged for REDELIVER_MS, and a summary
        of each kind, account and cause that was throttled in a window that is over.
        """
        found = self._read(limit)
        if found is None:
            # The ledger is new, or came back empty.
            self._create_groups()
            found = self._read(limit)
        alerts, throttled = found or ([], {})
        return [*alerts, *self._summaries(throttled)]

    def throttle(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Return the alerts within the rate, and summaries; count and acknowledge the others."""
        single = [alert for alert in alerts if not alert.throttled]
        pipeline = self._client.pipeline(transaction=False)
        for alert in single:
            pipeline.set(self._window(alert), 0, nx=True, px=RATE_MS)
            pipeline.incr(self._window(alert))
        counts = execute(pipeline)[1::2]
        over = {alert for alert, n in zip(single, counts, strict=True) if n > RATE_MAX}
        pipeline = self._client.pipeline(transaction=True)
        for alert in over:
            pipeline.hincrby(self._rates.throttled, alert.rate_name, 1)
            pipeline.xack(self._shards[alert.shard].alerts, _GROUP, alert.entry_id)
        execute(pipeline)
        self._trim({alert.shard for alert in over})
        return [alert for alert in alerts if alert not in over]

    def acknowledge(self, alerts: Iterable[Alert]) -> None:
        """Note that a person was notified of them. Safe to run twice, but not for a summary."""
        entry_ids, summaries = defaultdict[int, list[str]](list), dict[str, int]()
        for alert in alerts:
            if alert.throttled:
                summaries[alert.rate_name] = alert.throttled
            else:
                entry_ids[alert.shard].append(alert.entry_id)
        pipeline = self._client.pipeline(transaction=False)
        for name, count in summaries.items():
            pipeline.hincrby(self._rates.throttled, name, -count)
        for number, ids in entry_ids.items():
            pipeline.xack(self._shards[number].alerts, _GROUP, *ids)
        counts = execute(pipeline)[: len(summaries)]
        # Alerts that were throttled meanwhile stay counted.
        if spent := [n for n, count in zip(summaries, counts, strict=True) if count <= 0]:
            with reached():
                self._client.hdel(self._rates.throttled, *spent)
        self._trim(entry_ids)

    def newest(self, limit: int) -> list[Alert]:
        """Return the newest ``limit`` alerts of each shard, newest first, notified or not."""
        return [
            _alert(number, entry, notified=_position(entry[0]) < stream.acknowledged_to)
            for number, stream, entries in self._streams(self._all, "xrevrange", count=limit)
            for entry in entries
        ]

    def undelivered(self) -> Undelivered:
        """Return how many alerts are not acknowledged, and the age of the oldest."""
        now_ms, count = self.store.now_ms(), 0
        pipeline = self._client.pipeline(transaction=False)
        for number, stream, length in self._streams(self._all, "xlen"):
            waiting = length if stream.waiting is None else stream.waiting
            count += waiting
            if waiting:
                first = _entry_id(stream.acknowledged_to)
                pipeline.xrange(self._shards[number].alerts, min=first, count=1)
        oldest = [_position(entries[0][0])[0] for entries in execute(pipeline) if entries]
        return Undelivered(count, max(0, now_ms - min(oldest, default=now_ms)))

    def throttled_counts(self) -> dict[str, int]:
        """Return how many alerts wait for a summary, by ``rate_name``: {"salon poison": 3}."""
        with reached():
            return _counts(self._client.hgetall(self._rates.throttled))

    def _read(self, limit: int) -> tuple[list[Alert], dict[str, int]] | None:
        """Take alerts; return them and the throttled counts, None where a shard has no group."""
        start = self._claim_from
        claimed = list(self._numbers)[start : start + CLAIMED_MAX]
        self._claim_from = (start + len(claimed)) % len(self._numbers)
        pipeline = self._client.pipeline(transaction=False)
        for key in claimed:
            pipeline.xautoclaim(key, _GROUP, _READER, REDELIVER_MS, "0-0", count=limit)
        pipeline.xreadgroup(_GROUP, _READER, dict.fromkeys(self._numbers, ">"), count=limit)
        pipeline.hgetall(self._rates.throttled)
        *again, new, throttled = execute(pipeline)
        if new is None or None in again:
            return None
        taken = [(key, answer[1]) for key, answer in zip(claimed, again, strict=True)]
        return [
            _alert(self._numbers[key], entry)
            for key, entries in (*taken, *new)
            for entry in entries
            # Some servers give deleted entries out again, without fields.
            if entry[1]
        ], _counts(throttled)

    def _create_groups(self) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key in self._numbers:
            pipeline.xgroup_create(key, _GROUP, id="0", mkstream=True)
        # BUSYGROUP: it is there.
        execute(pipeline, "BUSYGROUP")

    def _summaries(self, throttled: Mapping[str, int]) -> list[Alert]:
        """Return a summary of each rate whose window is over.

        To one caller at a time: two that acknowledged the same count would take it off twice. The
        name of a summary holds its window, so that it is the same if it is delivered again.
        """
        if not throttled:
            return []
        alerts = [
            Alert(0, "", kind, code, account_id=account_id, throttled=count)
            for name, count in throttled.items()
            for account_id, kind, code in [(*name.split(" ", 2), "", "")[:3]]
        ]
        pipeline = self._client.pipeline(transaction=False)
        pipeline.time()
        for alert in alerts:
            pipeline.exists(self._window(alert))
        time, *are_open = execute(pipeline)
        closed = [alert for alert, is_open in zip(alerts, are_open, strict=True) if not is_open]
        pipeline = self._client.pipeline(transaction=False)
        for alert in closed:
            turn = self._rates.cooldown(alert.account_id, f"held:{_rate(alert)}")
            pipeline.set(turn, 1, nx=True, px=REDELIVER_MS)
        window = server_ms(time) // RATE_MS
        return [
            replace(alert, entry_id=f"held:{alert.rate_name}:{alert.throttled}:{window}")
            for alert, is_ours in zip(closed, execute(pipeline), strict=True)
            if is_ours
        ]

    def _window(self, alert: Alert) -> str:
        """Return the key of an alert's rate, there while its window is open."""
        return self._rates.cooldown(alert.account_id, f"rate:{_rate(alert)}")

    def _trim(self, numbers: Iterable[int]) -> None:
        """Remove acknowledged alerts beyond KEPT_MAX; what is not acknowledged stays, however old.

        Two processes that trim at once may leave a few less.
        """
        numbers = list(numbers)
        pipeline = self._client.pipeline(transaction=False)
        for number in numbers:
            pipeline.xlen(self._shards[number].alerts)
        for number, length in zip(numbers, execute(pipeline), strict=True):
            excess = min(length - KEPT_MAX, KEPT_MAX)
            if excess >= TRIM_MIN:
                ((_, stream, entries),) = self._streams([number], "xrange", count=excess + 1)
                # An id, no length: alerts that are written meanwhile push nothing out.
                first = min(_position(entries[-1][0]), stream.acknowledged_to)
                with reached():
                    self._client.xtrim(
                        self._shards[number].alerts, minid=_entry_id(first), approximate=False
                    )

    def _streams(
        self, numbers: Sequence[int], command: str, **options: int
    ) -> Iterator[tuple[int, "_Stream", Any]]:
        """Yield how far each of some shards is delivered, and what ``command`` says of its stream.

        The latter is empty where there is no stream.
        """
        pipeline = self._client.pipeline(transaction=False)
        for number in numbers:
            key = self._shards[number].alerts
            # In this order: what others take in between is found pending.
            pipeline.xinfo_groups(key)
            pipeline.xpending(key, _GROUP)
            getattr(pipeline, command)(key, **options)
        answers = execute(pipeline)
        for n, number in enumerate(numbers):
            groups, pending, answer = answers[3 * n : 3 * n + 3]
            yield number, _stream(groups or [], pending), answer


@dataclass(frozen=True, slots=True)
class _Stream:
    """How far a stream is delivered: everything before ``acknowledged_to`` is acknowledged.

    ``waiting``: how many alerts are not, None where the server cannot tell.
    """

    acknowledged_to: _Position
    waiting: int | None


def _stream(groups: list[dict[str, Any]], pending: dict[str, Any] | None) -> _Stream:
    group = next((group for group in groups if group["name"] == _GROUP.encode()), None)
    if group is None or pending is None:
        return _Stream((0, 0), None)
    # The server does not tell the lag of a stream from whose middle something was deleted.
    lag = group.get("lag")
    waiting = None if lag is None else pending["pending"] + lag
    if pending["pending"]:
        return _Stream(_position(pending["min"]), waiting)
    ms, number = _position(group["last-delivered-id"])
    return _Stream((ms, number + 1), waiting)


def _rate(alert: Alert) -> str:
    return f"{alert.kind}:{alert.code}" if alert.code else alert.kind


def _position(entry_id: bytes) -> _Position:
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number)


def _entry_id(position: _Position) -> str:
    return f"{position[0]}-{position[1]}"


def _alert(shard: int, entry: _Entry, *, notified: bool = False) -> Alert:
    """Return the alert of an entry, which another release may have written.

    Fields that we do not know are left out, those that are missing or damaged get their defaults.
    """
    entry_id, raw = entry
    fields = {name.decode(): value.decode(errors="replace") for name, value in raw.items()}

    return Alert(
        shard=shard,
        entry_id=entry_id.decode(),
        kind=fields.get("kind", ""),
        detail=fields.get("detail", ""),
        account_id=fields.get("account", ""),
        conversation_id=fields.get("conversation", ""),
        batch_id=fields.get("batch", ""),
        # The server makes the ids of a stream from its clock.
        at_ms=to_number(fields.get("at_ms"), _position(entry_id)[0]),
        kept=to_number(fields.get("kept")),
        lost=to_number(fields.get("lost")),
        notified=notified,
    )


def _counts(hash_: Mapping[bytes, bytes]) -> dict[str, int]:
    """Return the counts of a hash by their fields, without those that are 0 or damaged."""
    counts = {field.decode(): to_number(count) for field, count in hash_.items()}
    return {field: count for field, count in counts.items() if count > 0}


def execute(pipeline: Any, *expected: str) -> list[Any]:  # noqa: ANN401 - redis-py's is untyped
    """Run a pipeline and return its answers, None where a stream or its group is absent.

    ``expected``: words of further errors that stand for None.
    """
    with reached():
        answers = pipeline.execute(raise_on_error=False)
        for n, answer in enumerate(answers):
            if isinstance(answer, redis.RedisError):
                if not any(word in str(answer) for word in (*_ABSENT, *expected)):
                    raise answer
                answers[n] = None
    return list(answers)
