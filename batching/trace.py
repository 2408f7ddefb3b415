"""Where is my message: what a ledger knows of one conversation, read without touching it."""

from dataclasses import dataclass
from typing import Any

from batching.dead import DeadLetter, Letters
from batching.encoding import decode
from batching.ledger import reached
from batching.store import Store

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
    letters, shard = Letters(store), store.shard_of(conversation_id)
    faces = [face for face in letters.faces() if face.conversation_id == conversation_id]
    read = (letters.read(face.batch_id, shard) for face in faces)
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


def _step(raw: bytes) -> Step:
    at_ms, verb, batch_id, *words = raw.decode().split(" ")
    return Step(int(at_ms), verb, batch_id, tuple(words))
