"""Read-only views of a ledger for operators: counters, dead letters, traces, where a message is.

Every function raises LedgerUnavailableError. A question takes a fixed number of round trips,
whatever the number of shards; only scans take more, one for about 100 names. What another release
wrote is read as far as we know it: unknown fields are ignored, missing ones are "" or 0.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

from batching.identity import where
from batching.keys import Shard
from batching.model import (
    UNREADABLE,
    Awaited,
    Circuit,
    InboundMessage,
    Reason,
    Stage,
    decode,
    read_header,
    read_parts,
)
from batching.scan import scan_members
from batching.store import Store, reached


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of a shard, in messages. ``named``: these and all others, by name."""

    shard: int
    accepted: int
    answered: int
    suppressed: int
    dead: int
    lost: int
    open: int
    flight: int
    named: Counter[str] = field(repr=False)

    @classmethod
    def of(cls, shard: int, stats: Mapping[bytes, bytes]) -> "Counters":
        """Return what the hash ``stats`` of a shard holds."""
        named = Counter({name.decode(): to_number(count) for name, count in stats.items()})
        return cls(shard=shard, named=named, **{name: named[name] for name in MESSAGES})

    @property
    def holds(self) -> bool:
        """Return whether the conservation check holds: every accepted message is somewhere."""
        ended = self.answered + self.suppressed + self.dead + self.lost
        return self.accepted == ended + self.open + self.flight


#: The counters of the conservation check.
MESSAGES = ("accepted", "answered", "suppressed", "dead", "lost", "open", "flight")
#: Counted by account, as by reason: whole replies that left, the messages they left in, which the
#: provider may bill, and the questions to the model that collecting spared.
SENT = ("replies_sent", "parts_sent", "calls_saved")


def counters(store: Store) -> list[Counters]:
    """Return the counters of every shard."""
    pipeline: Any = store.client.pipeline(transaction=False)
    for shard in store.keyring.shards:
        pipeline.hgetall(shard.stats)
    with reached():
        return [Counters.of(number, stats) for number, stats in enumerate(pipeline.execute())]


def total(shards: Iterable[Counters]) -> Counter[str]:
    """Return every counter by its name, over some shards."""
    return sum((counted.named for counted in shards), Counter[str]())


def by_reason(named: Mapping[str, int], kind: str) -> dict[str, int]:
    """Return the counters of a kind by reason, sorted: "dead:poison" counts poison of dead."""
    start = f"{kind}:"
    return {
        name.removeprefix(start): named[name] for name in sorted(named) if name.startswith(start)
    }


@dataclass(frozen=True, slots=True)
class Failing:
    """What an account needs for a stage, and has got from nobody since ``since_ms``.

    ``code``: that of the last failure, at ``last_ms``. Times are the server's, ms.
    """

    account_id: str
    stage: Stage
    code: str
    since_ms: int
    last_ms: int


#: By stage, where the ledger keeps when it last succeeded for an account.
_GOOD = {Stage.GENERATE: "generated_ms", Stage.SEND: "sent_ms"}


def failing(shards: Sequence[Counters]) -> list[Failing]:
    """Return of which accounts nothing was generated, or sent, since a failure in passing.

    However long ago: nobody tries where nobody writes. An open circuit is another matter.
    """
    found: list[Failing] = []
    kept = {it for shard in shards for it in by_reason(shard.named, "failing_ms")}
    for account_id, _, name in sorted(it.rpartition(":") for it in kept):
        stage, of = Stage(name), f"{account_id}:{name}"
        good_ms = max(shard.named[f"{_GOOD[stage]}:{account_id}"] for shard in shards)
        since = [shard.named[f"failing_ms:{of}"] for shard in shards]
        codes = [
            (ms, code)
            for it in shards
            for code, ms in by_reason(it.named, f"outage_ms:{of}").items()
        ]
        if lasting := [ms for ms in since if ms > good_ms]:
            last_ms, code = max(codes)
            found.append(Failing(account_id, stage, code, min(lasting), last_ms))
    return found


@dataclass(frozen=True, slots=True)
class Census:
    """How much there is of everything. ``open``, ``flight``, ``dead``, ``lost``: messages.

    ``due`` and ``leased`` are conversations. ``overdue``: batches that wait too long and that
    nobody was alerted to yet. ``oldest_dead_letter_ms``: its age, 0 without one.
    """

    open: int
    flight: int
    dead: int
    lost: int
    due: int
    leased: int
    dead_letters: int
    overdue: int
    oldest_dead_letter_ms: int


def census(store: Store) -> Census:
    """Return how much there is of everything, in all shards."""
    now_ms = store.now_ms()
    pipeline: Any = store.client.pipeline(transaction=False)
    for shard in store.keyring.shards:
        pipeline.hgetall(shard.stats)
        pipeline.zcard(shard.due)
        pipeline.zcard(shard.lease)
        pipeline.zcard(shard.dead)
        pipeline.zcount(shard.overdue, "-inf", now_ms)
        pipeline.zrange(shard.dead, 0, 0, withscores=True)
    with reached():
        answers = pipeline.execute()
    named = total(Counters.of(0, stats) for stats in answers[0::6])
    died_ms = [int(oldest[0][1]) for oldest in answers[5::6] if oldest]
    return Census(
        open=named["open"],
        flight=named["flight"],
        dead=named["dead"],
        lost=named["lost"],
        due=sum(answers[1::6]),
        leased=sum(answers[2::6]),
        dead_letters=sum(answers[3::6]),
        overdue=sum(answers[4::6]),
        oldest_dead_letter_ms=max(0, now_ms - min(died_ms, default=now_ms)),
    )


def overdue(store: Store) -> list[str]:
    """Return the batches that wait too long and raised no alert yet, CONVERSATION:BATCH."""
    now_ms = store.now_ms()
    pipeline: Any = store.client.pipeline(transaction=False)
    for shard in store.keyring.shards:
        # As web may ask.
        pipeline.zrange(shard.overdue, "-inf", now_ms, byscore=True)
    with reached():
        return [name.decode() for names in pipeline.execute() for name in names]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A batch that waits for a person's decision. ``size``: how many messages it has.

    ``parts_sent`` of ``parts`` are with the provider; ``parts``: 0 before there was a reply.
    ``messages`` are () where only the header was read. ``reply``: the parts of the answer, ()
    before there was one. ``failed``: part, from 0 → code of those that did not arrive;
    ``delivered``: those that the customer has. ``is_damaged``: something of it cannot be read.
    """

    batch_id: str
    conversation_id: str
    account_id: str
    reason: str
    detail: str
    stage: str
    attempt: int
    parts_sent: int
    parts: int
    died_ms: int
    size: int
    messages: tuple[InboundMessage, ...] = ()
    reply: tuple[str, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)
    delivered: frozenset[int] = frozenset()
    is_damaged: bool = False

    @property
    def may_repeat(self) -> bool:
        """Return whether the customer may have the answer, or a part of it, already."""
        doubtful = self.reason in {Reason.AMBIGUOUS, Reason.RESTORED}
        unknown = doubtful or self.detail == "flight_missing"
        return unknown or self.parts_sent > len(self.failed)

    def state_of(self, part: int) -> str:
        """Return in a few words what became of a part of the answer, from 0."""
        if part in self.failed:
            return f"did not arrive ({self.failed[part] or 'no code'})"
        if part in self.delivered:
            return "was delivered"
        if part < self.parts_sent:
            return "was sent"
        is_doubtful = self.reason == Reason.AMBIGUOUS and part == self.parts_sent
        return "may have been sent" if is_doubtful else "was not sent"


def dead_letter_headers(store: Store, shard: Shard | None = None) -> Iterator[DeadLetter]:
    """Yield every dead letter of all shards, or of one, without its messages, in no order."""
    shards = store.keyring.shards if shard is None else (shard,)
    for page in scan_members(store, [each.dead for each in shards]):
        pipeline: Any = store.client.pipeline(transaction=False)
        for place, batch_id in page:
            pipeline.lindex(shards[place].dead_letter(batch_id), 0)
            pipeline.llen(shards[place].dead_letter(batch_id))
        with reached():
            got = pipeline.execute()
        for (_, batch_id), header, size in zip(page, got[0::2], got[1::2], strict=True):
            # One that was decided about in between is not there any more.
            if header is not None:
                yield _dead_letter(batch_id, header, size - 1)


def dead_letters(store: Store, headers: Iterable[DeadLetter] | None = None) -> list[DeadLetter]:
    """Return dead letters with their messages, oldest first: all, or those of ``headers``."""
    chosen = dead_letter_headers(store) if headers is None else headers
    places = [(store.shard_of(header.conversation_id), header.batch_id) for header in chosen]
    return sorted(_with_messages(store, places), key=lambda letter: letter.died_ms)


def find_dead_letters(store: Store, batch_id: str) -> list[DeadLetter]:
    """Return the dead letters of a batch id with messages: at most one a shard, as ids repeat."""
    return _with_messages(store, [(shard, batch_id) for shard in store.keyring.shards])


def _with_messages(store: Store, places: Sequence[tuple[Shard, str]]) -> list[DeadLetter]:
    pipeline: Any = store.client.pipeline(transaction=False)
    for shard, batch_id in places:
        pipeline.lrange(shard.dead_letter(batch_id), 0, -1)
    with reached():
        found = pipeline.execute()
    return [
        _dead_letter(batch_id, kept[0], len(kept) - 1, kept[1:])
        for (_, batch_id), kept in zip(places, found, strict=True)
        if kept
    ]


def watched_answers(store: Store, conversation_id: str) -> list[DeadLetter]:
    """Return answers that may yet be reported as failed, as the dead letters they then become."""
    shard, ids = store.shard_of(conversation_id), store.watched(conversation_id)
    pipeline: Any = store.client.pipeline(transaction=False)
    for batch_id in ids:
        pipeline.lrange(shard.answered(conversation_id, batch_id), 0, -1)
    with reached():
        lists = pipeline.execute()
    return [
        _dead_letter(batch_id, kept[0], len(kept) - 1, kept[1:])
        for batch_id, kept in zip(ids, lists, strict=True)
        if kept
    ]


def watched_count(store: Store, account_ids: Sequence[str]) -> dict[str, int]:
    """Return how many answers of each account are watched: sent, and not known as delivered yet."""
    now_ms, shards = store.now_ms(), store.keyring.all_shards
    pipeline: Any = store.client.pipeline(transaction=False)
    for account_id in account_ids:
        for shard in shards:
            pipeline.zcount(shard.watched(account_id), f"({now_ms}", "+inf")
    with reached():
        found = iter(pipeline.execute() if account_ids else [])
    return {account_id: sum(islice(found, len(shards))) for account_id in account_ids}


#: What is kept of a hand-over, without the words for that person.
_AWAITED = (
    *("account", "batch", "since", "reason", "urgency", "reminders", "sorry_at", "apologized"),
)


def awaited(
    store: Store, conversation_ids: Iterable[str] | None = None, *, content: bool = False
) -> list[Awaited]:
    """Return where a person is awaited, in all conversations or some; who waits longest first.

    ``content``: with what the model says for that person, which holds a customer's words.
    """
    shards = store.keyring.shards
    if conversation_ids is None:
        pages = scan_members(store, [each.handovers for each in shards])
        conversation_ids = [name for page in pages for _, name in page]
    names = list(dict.fromkeys(conversation_ids))
    pipeline: Any = store.client.pipeline(transaction=False)
    fields = (*_AWAITED, *(["summary"] if content else []))
    for name in names:
        pipeline.hmget(store.shard_of(name).handover(name), fields)
    with reached():
        kept = pipeline.execute() if names else []
    found = [
        _awaited(name, dict(zip(fields, values, strict=True)))
        for name, values in zip(names, kept, strict=True)
        if any(values)
    ]
    return sorted(found, key=lambda each: each.since_ms)


def _awaited(conversation_id: str, fields: Mapping[str, bytes | None]) -> Awaited:
    known = {name: (value or b"").decode(errors="replace") for name, value in fields.items()}
    said_ms, is_due = to_number(known.get("apologized")), bool(known.get("sorry_at"))
    return Awaited(
        conversation_id=conversation_id,
        account_id=known.get("account", ""),
        batch_id=known.get("batch", ""),
        since_ms=to_number(known.get("since")),
        reason=known.get("reason", ""),
        urgency=known.get("urgency", ""),
        reminders=to_number(known.get("reminders")),
        apology=str(said_ms) if said_ms else ("due" if is_due else "none"),
        summary=known.get("summary", ""),
    )


def _dead_letter(
    batch_id: str, header: bytes, size: int, messages: Iterable[bytes] = ()
) -> DeadLetter:
    known = read_header(header)
    reply = read_parts(known.get("reply"))
    account_id, conversation_id = str(known.get("account", "")), str(known.get("conversation", ""))
    kept = tuple(decode(account_id, raw) for raw in messages)
    return DeadLetter(
        batch_id=batch_id,
        conversation_id=conversation_id,
        account_id=account_id,
        reason=str(known.get("reason", "")),
        detail=str(known.get("detail", "")),
        stage=str(known.get("stage", "")),
        attempt=to_number(known.get("attempt")),
        parts_sent=to_number(known.get("part")),
        parts=to_number(known.get("parts")),
        died_ms=to_number(known.get("at_ms")),
        size=size,
        messages=kept,
        reply=reply or (),
        failed=_by_part(known.get("failed")),
        delivered=frozenset(_by_part(known.get("delivered"))),
        is_damaged=not conversation_id or reply is None or any(it.is_damaged for it in kept),
    )


def _by_part(found: object) -> dict[int, str]:
    """Return what a header says of the parts of an answer, by their numbers from 0."""
    named = found if isinstance(found, dict) else {}
    return {int(part): str(value) for part, value in named.items() if str(part).isdecimal()}


def to_number(value: object, otherwise: int = 0) -> int:
    """Return a number as a script wrote it, ``otherwise`` for anything else."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except UNREADABLE:
        return otherwise


#: How long the steps of a conversation's last batch are kept, ms, and how many at least.
TRAIL_MS, TRAIL_MAX = 7 * 86_400_000, 100
#: Verbs of the trail as earlier releases wrote them.
_FORMER_VERBS = {"depart": "mark_sending", "bury": "dead_letter", "left": "mark_sent"}
#: Further words of a step, likewise.
_FORMER_WORDS = {("fail", "park"): "defer", ("reap", "ring"): "wake_up"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a batch: the verb of the script, and further words of it."""

    at_ms: int
    verb: str
    batch_id: str
    words: tuple[str, ...]

    @property
    def is_failure(self) -> bool:
        """Return whether an attempt failed; the second word is then the code."""
        return self.verb == "fail" and len(self.words) > 1


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """The batch that collects. ``due_ms``: None while another is in flight.

    ``pause``: how long it waits after its last message, ms, and by which rule; "" if that is fixed.
    """

    batch_id: str
    count: int
    first_ms: int
    last_ms: int
    due_ms: int | None
    pause: str = ""


@dataclass(frozen=True, slots=True)
class FlightBatch:
    """The batch in flight. ``until_ms``: when its lease ends and it is taken up again.

    ``parts``: 0 before there is a reply. ``policy``: "" before a part was about to be sent.
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
    """A conversation as it stands. ``accepted``: messages of the last days.

    ``overdue_ms``: batch → when a person is alerted to it. ``taken_over_ms``, ``circuit_ms``: for
    how much longer a person answers, or until the last of the account's ``circuits``, which are
    open, is probed; 0 for neither.
    ``batch_of``: message id → the batch that has its content.
    """

    conversation_id: str
    now_ms: int
    account_id: str
    accepted: int
    open: OpenBatch | None
    flight: FlightBatch | None
    dead_letters: tuple[DeadLetter, ...]
    steps: tuple[Step, ...]
    overdue_ms: dict[str, int]
    taken_over_ms: int
    circuit_ms: int
    batch_of: dict[str, str]
    circuits: tuple[Circuit, ...] = ()
    awaited: tuple[Awaited, ...] = ()

    @property
    def is_known(self) -> bool:
        """Return whether the ledger has anything of the conversation."""
        return bool(self.accepted or self.open or self.flight or self.dead_letters or self.steps)


def trace(store: Store, conversation_id: str) -> Trace:
    """Return what is known of a conversation."""
    s, c = store.shard_of(conversation_id), conversation_id
    pipeline: Any = store.client.pipeline(transaction=True)
    pipeline.hgetall(s.batches(c))
    pipeline.zscore(s.due, c)
    pipeline.zscore(s.lease, c)
    pipeline.zcard(s.seen(c))
    pipeline.lrange(s.trail(c), 0, -1)
    pipeline.pttl(s.takeover(c))
    pipeline.lrange(s.open_messages(c), 0, -1)
    pipeline.lrange(s.flight_messages(c), 0, -1)
    with reached():
        kept, due_ms, lease_ms, accepted, trail, taken_over_ms, *contents = pipeline.execute()
    # Afterwards: a batch that dies meanwhile is seen twice, not nowhere.
    headers = [each for each in dead_letter_headers(store, s) if each.conversation_id == c]
    letters = tuple(dead_letters(store, headers))
    fields = {name.decode(): value.decode() for name, value in kept.items()}
    batch_ids = [fields.get("open_id", ""), fields.get("id", "")]
    steps = tuple(step for step in map(read_step, trail) if step)
    account_id = _account_of(fields, letters, steps)
    overdue_ms, circuits = _overdue(store, c, batch_ids), store.circuits([account_id])
    held, now_ms = zip(batch_ids, contents, strict=True), store.now_ms()
    messages = {decode("", raw).message_id: batch_id for batch_id, raws in held for raw in raws}
    return Trace(
        conversation_id=c,
        now_ms=now_ms,
        account_id=account_id,
        accepted=accepted,
        open=_open(fields, due_ms),
        flight=_flight(fields, lease_ms),
        dead_letters=letters,
        steps=steps,
        overdue_ms=overdue_ms,
        taken_over_ms=max(0, taken_over_ms),
        circuit_ms=max((max(1, circuit.next_ms - now_ms) for circuit in circuits), default=0),
        batch_of=messages | {m.message_id: x.batch_id for x in letters for m in x.messages},
        circuits=tuple(circuits),
    )


def _overdue(store: Store, conversation_id: str, batch_ids: Sequence[str]) -> dict[str, int]:
    """Return when a person is alerted to each batch."""
    names = [f"{conversation_id}:{batch_id}" for batch_id in batch_ids]
    with reached():
        times: Any = store.client.zmscore(store.shard_of(conversation_id).overdue, names)
    return {it: int(at_ms) for it, at_ms in zip(batch_ids, times, strict=True) if at_ms}


def _open(fields: Mapping[str, str], due_ms: float | None) -> OpenBatch | None:
    if "open_id" not in fields:
        return None
    return OpenBatch(
        batch_id=fields["open_id"],
        count=to_number(fields.get("open_count")),
        first_ms=to_number(fields.get("open_first")),
        last_ms=to_number(fields.get("open_last")),
        due_ms=None if due_ms is None else int(due_ms),
        pause=fields.get("open_pause", ""),
    )


def _flight(fields: Mapping[str, str], lease_ms: float | None) -> FlightBatch | None:
    if "id" not in fields:
        return None
    return FlightBatch(
        batch_id=fields["id"],
        count=to_number(fields.get("count")),
        first_ms=to_number(fields.get("first")),
        stage=fields.get("stage", ""),
        state=fields.get("state", ""),
        attempt=to_number(fields.get("attempt")),
        until_ms=None if lease_ms is None else int(lease_ms),
        part=to_number(fields.get("part")),
        parts=to_number(fields.get("parts")),
        policy=fields.get("policy", ""),
    )


def read_step(raw: bytes) -> Step | None:
    """Return a step of the trail, None where it is not in a form that we know."""
    at_ms, *words = raw.decode(errors="replace").split(" ")
    if len(words) < 2 or not at_ms.isdecimal():  # noqa: PLR2004 - the verb and the batch
        return None
    verb, batch_id, *rest = words
    rest = [_FORMER_WORDS.get((verb, word), word) for word in rest]
    return Step(int(at_ms), _FORMER_VERBS.get(verb, verb), batch_id, tuple(rest))


def _account_of(
    fields: Mapping[str, str], letters: Sequence[DeadLetter], steps: Sequence[Step]
) -> str:
    """Return the account of a conversation, "" where nothing that is kept tells it."""
    # Releases before did not write it into the step.
    collected = [step.words[2] for step in steps if step.verb == "collect" and step.words[2:]]
    named = [fields.get("account"), *(letter.account_id for letter in letters), *collected]
    return next(filter(None, named), "")


class MessageState(StrEnum):
    """What became of a message. FORGOTTEN: it has ended, and its steps are not kept any more."""

    OPEN = "open"
    FLIGHT = "in flight"
    DEAD = "dead"
    ANSWERED = "answered"
    SUPPRESSED = "suppressed"
    UNDELIVERED = "sent, not delivered"
    FORGOTTEN = "forgotten"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """Where a message is. ``batch_id``: "" for none; ``reason``: why it is dead or suppressed."""

    state: MessageState
    accepted_ms: int = 0
    batch_id: str = ""
    reason: str = ""


def conversation_of(store: Store, account_id: str, customer: str) -> str:
    """Return the conversation of a customer by any id that was ever delivered for them."""
    return where(store, account_id, [customer])[customer]


def message_status(trace: Trace, message_id: str, accepted_ms: int) -> MessageStatus:
    """Return where a message is that was accepted in this conversation."""
    trimmed = len(trace.steps) >= TRAIL_MAX and trace.steps[0].at_ms > accepted_ms
    batch_id = trace.batch_of.get(message_id)
    if batch_id is None and not trimmed:
        # The next batch that was collected took it.
        later = (s for s in trace.steps if s.verb == "collect" and s.at_ms >= accepted_ms)
        batch_id = next((step.batch_id for step in later), None)
    if batch_id is not None:
        state, reason, batch_id = batch_state(trace, batch_id)
        return MessageStatus(state, accepted_ms, batch_id, reason)
    if trimmed or trace.now_ms - accepted_ms > TRAIL_MS:
        return MessageStatus(MessageState.FORGOTTEN, accepted_ms)
    return MessageStatus(MessageState.SUPPRESSED, accepted_ms, reason="asks for no answer")


def batch_state(trace: Trace, batch_id: str) -> tuple[MessageState, str, str]:
    """Return what became of a batch, why, and its id now: it may have become part of another.

    By a replay, or because the one before it was put back in front of it.
    """
    if trace.open and trace.open.batch_id == batch_id:
        return MessageState.OPEN, "", batch_id
    if trace.flight and trace.flight.batch_id == batch_id:
        return MessageState.FLIGHT, trace.flight.state, batch_id
    for letter in trace.dead_letters:
        if letter.batch_id == batch_id:
            return MessageState.DEAD, letter.reason, batch_id
    for step in trace.steps:
        if step.verb == "supersede" and step.words[:1] == (batch_id,) != (step.batch_id,):
            return batch_state(trace, step.batch_id)
    last = next((step for step in reversed(trace.steps) if step.batch_id == batch_id), None)
    return _ended(trace, last) if last else (MessageState.FORGOTTEN, "", batch_id)


def _ended(trace: Trace, last: Step) -> tuple[MessageState, str, str]:
    match last.verb, last.words:
        case "replay", (replayed_as, *_) if replayed_as != last.batch_id:
            return batch_state(trace, replayed_as)
        case "finish", (reason, *_) if reason:
            return MessageState.SUPPRESSED, reason, last.batch_id
        case "discard", _:
            return MessageState.SUPPRESSED, "discarded", last.batch_id
        case "mark_failed", (_, code, *_):
            return MessageState.UNDELIVERED, code, last.batch_id
        case "finish" | "mark_sent" | "mark_delivered", _:
            return MessageState.ANSWERED, "", last.batch_id
    return MessageState.FORGOTTEN, "", last.batch_id
