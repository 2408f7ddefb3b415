"""What customers wrote when, without a word of it, and what a debounce window makes of it.

``masked`` reads it from what the ledger keeps anyway: times from deduplication (8 days), what each
message looks like and how long it is from the history (30 answers a conversation). Nothing is
written for it when a message comes. ``replayed`` runs the rules of ``window.py`` over it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Final

from batching.keys import Shard
from batching.model import UNREADABLE, Exchange, InboundMessage, Kind, Limits, decode_all
from batching.scan import scan_keys
from batching.store import Store, reached
from batching.window import Rule, closes, due_ms, idle_ms, rule_of_said

#: Without knowing better: what comes after so long a silence is another burst, ms.
BURST_GAP_MS: Final = 60_000
#: The first line of a file names its form.
FORM: Final = "bursts-1"
_KINDS, _RULES = frozenset(Kind), frozenset(Rule)
#: Tells what a message was by the text that the model read.
KindOf = Callable[[str], Kind]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A message without its words. ``length``: of its text, in characters.

    ``at_ms``: since the first of its conversation. ``answer``: the number of the answer that it had
    in its conversation, 0 if there is none yet.
    """

    at_ms: int
    length: int
    kind: Kind
    rule: Rule
    answer: int = 0


@dataclass(frozen=True, slots=True)
class Burst:
    """What a customer wrote in one go. ``conversation``: an ordinal, the same for one customer."""

    conversation: int
    fragments: tuple[Fragment, ...]

    def encode(self) -> str:
        """Return the burst as a line of a file."""
        messages = [[it.at_ms, it.length, it.kind, it.rule, it.answer] for it in self.fragments]
        return json.dumps({"conversation": self.conversation, "messages": messages})

    @classmethod
    def decode(cls, line: str) -> "Burst":
        """Return the burst of a line; what is unknown here is TEXT of WORDS. Raise ValueError."""
        kept = json.loads(line)
        fragments = [
            Fragment(int(at_ms), int(length), _kind(kind), _rule(rule), int(answer))
            for at_ms, length, kind, rule, answer in kept["messages"]
        ]
        return cls(int(kept["conversation"]), tuple(fragments))


@dataclass(frozen=True, slots=True)
class Bursts:
    """The bursts of a file. ``parts_per_answer``: messages in which an answer left, on average."""

    bursts: tuple[Burst, ...]
    parts_per_answer: float = 1.0

    def encode(self) -> Iterator[str]:
        """Yield the lines of a file."""
        yield json.dumps({"form": FORM, "parts_per_answer": round(self.parts_per_answer, 3)})
        for burst in self.bursts:
            yield burst.encode()

    @classmethod
    def decode(cls, lines: Iterable[str]) -> "Bursts":
        """Return what the lines of a file hold. Raise ValueError, which names a line."""
        number = 1
        try:
            header, *rest = [line for line in lines if line.strip()] or [""]
            head = json.loads(header)
            parts_per_answer = float(head["parts_per_answer"])
            if head["form"] != FORM or not isfinite(parts_per_answer):
                raise ValueError
            bursts = []
            for number, line in enumerate(rest, start=2):  # noqa: B007 - told below
                bursts.append(Burst.decode(line))
            return cls(tuple(bursts), parts_per_answer)
        except (*UNREADABLE, KeyError) as error:
            says = f"line {number}: must be as `manage.py bursts` writes it ({FORM})"
            raise ValueError(says) from error

    def conversations(self) -> list[list[Burst]]:
        """Return the bursts of each conversation, in order."""
        found: dict[int, list[Burst]] = {}
        for burst in self.bursts:
            found.setdefault(burst.conversation, []).append(burst)
        return list(found.values())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a window made of bursts. ``split``: bursts that had more than one answer.

    ``waits_ms``: of each answer, from the last message of its batch until it was collected.
    ``ignored``: messages that asked for nothing and were alone; they are no calls saved.
    """

    messages: int
    bursts: int
    split: int
    waits_ms: tuple[int, ...]
    ignored: int
    parts_per_answer: float

    @property
    def calls(self) -> int:
        """Return how often the model is asked."""
        return len(self.waits_ms)

    @property
    def saved(self) -> int:
        """Return how many calls answering messages together saves, as ``/metrics`` counts them."""
        return self.messages - self.ignored - self.calls

    @property
    def per_answer(self) -> float:
        """Return how many messages an answer answers on average; 0 without one."""
        return (self.messages - self.ignored) / self.calls if self.calls else 0.0

    @property
    def billed(self) -> int:
        """Return in how many messages the answers leave."""
        return round(self.calls * self.parts_per_answer)

    @property
    def wait_mean_ms(self) -> int:
        """Return the wait of an answer on average; 0 without one."""
        return round(sum(self.waits_ms) / len(self.waits_ms)) if self.waits_ms else 0

    def wait_ms(self, percent: int) -> int:
        """Return the wait that so many percent of answers do not exceed; 0 without one."""
        ordered = sorted(self.waits_ms)
        place = -(-percent * len(ordered) // 100) - 1
        return ordered[max(0, place)] if ordered else 0


@dataclass(frozen=True, slots=True)
class Window:
    """By what bursts are replayed. ``answer_ms``: how long an answer takes from its collection."""

    limits: Limits
    adaptive: bool = False
    ignores_closing: bool = False
    answer_ms: int = 3_000

    def idle_ms(self, fragment: Fragment) -> int:
        """Return how long to wait after a message."""
        return idle_ms(fragment.rule, self.limits) if self.adaptive else self.limits.idle_ms


def replayed(bursts: Bursts, window: Window) -> Outcome:
    """Return what a window makes of bursts."""
    waits: list[int] = []
    split = ignored = messages = 0
    for conversation in bursts.conversations():
        numbered = [(it, n) for n, burst in enumerate(conversation) for it in burst.fragments]
        messages += len(numbered)
        answered: dict[int, set[int]] = {}
        for number, (batch, collected_ms) in enumerate(_batches(numbered, window)):
            if collected_ms is None:
                ignored += 1
                continue
            waits.append(collected_ms - batch[-1][0].at_ms)
            for _, burst in batch:
                answered.setdefault(burst, set()).add(number)
        split += sum(len(answers) > 1 for answers in answered.values())
    return Outcome(
        messages, len(bursts.bursts), split, tuple(waits), ignored, bursts.parts_per_answer
    )


_Numbered = tuple[Fragment, int]


def _batches(
    numbered: Sequence[_Numbered], window: Window
) -> Iterator[tuple[list[_Numbered], int | None]]:
    """Yield the batches of a conversation, and when each was collected; None: it was ignored."""
    limits, open_, free_ms = window.limits, list[_Numbered](), 0
    for fragment, burst in numbered:
        if open_ and (at_ms := max(free_ms, _due_ms(open_, window))) <= fragment.at_ms:
            yield open_, at_ms
            open_, free_ms = [], at_ms + window.answer_ms
        if window.ignores_closing and not open_ and closes(fragment.kind, fragment.rule):
            yield [(fragment, burst)], None
            continue
        open_.append((fragment, burst))
        # Full: collected before anything else can come, unless another is being answered.
        if len(open_) >= limits.max_messages and free_ms <= fragment.at_ms:
            yield open_, fragment.at_ms
            open_, free_ms = [], fragment.at_ms + window.answer_ms
    if open_:
        yield open_, max(free_ms, _due_ms(open_, window))


def _due_ms(batch: Sequence[_Numbered], window: Window) -> int:
    first, last = batch[0][0], batch[-1][0]
    return due_ms(window.limits, len(batch), first.at_ms, last.at_ms, window.idle_ms(last))


def masked(store: Store, languages: Mapping[str, str], kind_of: KindOf) -> Bursts:
    """Return the bursts of accounts, given with their languages. Raise LedgerUnavailableError.

    Of what was answered and what waits; a message that was edited counts from its edit.
    """
    found, parts = list[Burst](), list[int]()
    for page in scan_keys(store, "seen:"):
        for number, _, conversation_id in page:
            place = store.keyring.shards[number], conversation_id
            kept = _Kept.read(store, *place)
            if kept.account_id not in languages:
                continue
            parts += [len(it.lengths) for it in kept.exchanges if it.lengths]
            if fragments := kept.fragments(store, languages[kept.account_id], kind_of):
                found += _cut(1 + (found[-1].conversation if found else 0), fragments)
    return Bursts(tuple(found), sum(parts) / len(parts) if parts else 1.0)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a conversation. ``seen``: digest of a message → when it was accepted."""

    account_id: str
    seen: Mapping[str, int]
    exchanges: Sequence[Exchange]
    waiting: Sequence[InboundMessage]

    @classmethod
    def read(cls, store: Store, shard: Shard, c: str) -> "_Kept":
        pipeline: Any = store.client.pipeline(transaction=True)
        pipeline.zrange(shard.seen(c), 0, -1, withscores=True)
        for key in (shard.history(c), shard.flight_messages(c), shard.open_messages(c)):
            pipeline.lrange(key, 0, -1)
        pipeline.hget(shard.batches(c), "account")
        pipeline.lrange(shard.trail(c), 0, -1)
        with reached():
            seen, history, flying, waiting, account, trail = pipeline.execute()
        account_id = account.decode() if account else _account_of(trail)
        return cls(
            account_id,
            {digest.decode(): int(ms) for digest, ms in seen},
            Exchange.decode_all(history),
            decode_all(account_id, [*flying, *waiting]),
        )

    def fragments(self, store: Store, language: str, kind_of: KindOf) -> list[Fragment]:
        """Return the messages whose time and words are kept, in order of arrival."""
        words = [
            (line.digest, text.encode()[line.quote_length :].decode(errors="replace"), number)
            for number, exchange in enumerate(self.exchanges, start=1)
            for line, text in exchange.texts()
        ]
        words += [
            (store.keyring.digest(self.account_id, it.message_id), it.text, 0)
            for it in self.waiting
        ]
        known = [
            (self.seen[digest], text, answer)
            for digest, text, answer in words
            if digest in self.seen
        ]
        first_ms = min((at_ms for at_ms, *_ in known), default=0)
        fragments = []
        for at_ms, text, answer in sorted(known, key=lambda it: it[0]):
            kind = kind_of(text)
            rule = rule_of_said(kind, text, language)
            fragments.append(Fragment(at_ms - first_ms, len(text), kind, rule, answer))
        return fragments


def _account_of(trail: Iterable[bytes]) -> str:
    """Return the account that the steps of a conversation name, "" for none."""
    words: Any = [raw.decode(errors="replace").split(" ") for raw in trail]
    return next((it[5] for it in words if it[1:2] == ["collect"] and len(it) > 5), "")  # noqa: PLR2004 - where collect writes it


def _cut(ordinal: int, fragments: Sequence[Fragment]) -> Iterator[Burst]:
    """Yield the bursts of a conversation, cut where its customer was silent for long."""
    burst = [fragments[0]]
    for before, fragment in pairwise(fragments):
        if fragment.at_ms - before.at_ms > BURST_GAP_MS:
            yield Burst(ordinal, tuple(burst))
            burst = []
        burst.append(fragment)
    yield Burst(ordinal, tuple(burst))


def _rule(name: str) -> Rule:
    return Rule(name) if name in _RULES else Rule.WORDS


def _kind(name: str) -> Kind:
    return Kind(name) if name in _KINDS else Kind.TEXT
