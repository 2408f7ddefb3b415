"""The values that move through the flow, and how each is stored. No I/O, no clock."""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any, Final, Literal, Self, get_args

#: The reserved account of the canary; no other may bear its name.
CANARY_ACCOUNT: Final = "canary"
#: How releases that did not keep limits by name wrote the numbers; never to be changed.
_POSITIONS: Final = (
    *("idle_ms", "max_messages", "max_wait_ms", "overdue_ms", "reply_deadline_ms"),
    *("lease_ms", "max_attempts"),
)
#: The number of a part, as a provider gives it back: what else stands there is not ours.
_PART = re.compile(r"[0-9]{1,4}")
#: How an exchange keeps a line of the customer's, and the digest of a part.
_LINE = re.compile(r"([0-9a-f]*):([0-9]{1,9}):([0-9a-f]*):([0-9]{1,9})")
_DIGEST_OF_PART = re.compile(r"([0-9]{1,4}):([0-9a-f]+)")


#: A conversation's id, wherever it stands.
_CONVERSATION = re.compile(r"\b[ck]_[0-9a-f]{24}\b")
#: What JSON and its parts raise that somebody has damaged.
UNREADABLE = (TypeError, ValueError, OverflowError, RecursionError)


def _read(raw: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what JSON says. Raise one of UNREADABLE, also where it is no UTF-8."""
    return json.loads(raw.encode() if isinstance(raw, str) else raw)


def _legible(raw: str | bytes) -> str:
    """Return text with a mark in place of what is none."""
    raw = raw.encode(errors="surrogateescape") if isinstance(raw, str) else raw
    return raw.decode(errors="replace")


class Kind(StrEnum):
    """What a customer sent."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VOICE = "voice"
    VIDEO = "video"
    DOCUMENT = "document"
    STICKER = "sticker"
    LOCATION = "location"
    CONTACTS = "contacts"
    BUTTON_REPLY = "button_reply"
    LIST_REPLY = "list_reply"
    FLOW_REPLY = "flow_reply"
    ORDER = "order"
    PRODUCT = "product"
    POLL_VOTE = "poll_vote"
    EDITED = "edited"
    UNSUPPORTED = "unsupported"
    REACTION = "reaction"
    DELETED = "deleted"
    CALL = "call"
    PAYMENT = "payment"


#: Why thanks that nothing else waits with are not answered; ``append.lua`` knows it.
CLOSING: Final = "closing"
#: Kinds that ask for no answer, but for a deletion that names its message.
SILENT_KINDS = frozenset({Kind.REACTION, Kind.DELETED})


@dataclass(frozen=True, slots=True)
class Reception:
    """How an account takes in what its customers send.

    ``on_call``: "answer" gives a call to the model as a line of the turn, "alert" tells a person,
    "ignore" counts it. ``automatic_texts``: what the business's app sends by itself (greeting, away
    message), each as ``plain`` returns it. ``window``: whether the debounce window depends on what
    was written, in ``language``. ``closing``: "ignore" counts thanks and lone emoji that nothing
    waits with.
    """

    on_call: Literal["answer", "alert", "ignore"] = "answer"
    automatic_texts: frozenset[str] = frozenset()
    window: Literal["fixed", "adaptive"] = "fixed"
    closing: Literal["answer", "ignore"] = "answer"
    language: str = ""

    def is_automatic(self, text: str) -> bool:
        """Return whether a text from our number is one that the app sends by itself."""
        return plain(text) in self.automatic_texts


def plain(text: str) -> str:
    """Return ``text`` without case, and with one space where there is any white space."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True, slots=True)
class Media:
    """Where the bytes of a picture or a voice message are; "" where the provider is silent."""

    media_id: str = ""
    mime_type: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message of a customer, as its channel understood it.

    ``shared``: a number that the customer gave as their own. ``has_twin``: the same message, by an
    id that no other of the account has, may come once more under an id of the other kind.
    ``customer`` is the id to answer, exactly as delivered. ``aliases`` are further ids that the
    same webhook gave for the same person. ``secondary``: ``customer`` is itself an id that may
    belong to a conversation known by another one (a business-scoped id, a LID).
    ``text`` is what the model reads: the words, or a sentence that says what was sent.
    ``sent_at_ms``: by the provider's clock, 0 if it says nothing; see ``is_believed``.
    ``amends``: the id of the message that this one edits or deletes. ``quotes``: the id of the
    message that it replies to, a customer's or ours; ``quoted``: its words where they came along.
    """

    account_id: str
    customer: str
    message_id: str
    kind: Kind
    text: str
    sent_at_ms: int = 0
    aliases: tuple[str, ...] = ()
    secondary: bool = False
    media: Media | None = None
    amends: str = ""
    quotes: str = ""
    quoted: str = ""
    shared: str = ""
    has_twin: bool = False

    @property
    def is_silent(self) -> bool:
        """Return whether it asks for nothing: counted as suppressed, its kind is the reason."""
        return self.kind in SILENT_KINDS and not self.amends

    @property
    def is_damaged(self) -> bool:
        """Return whether it stands for what cannot be read: its text is that, as it is kept."""
        return not self.message_id

    @property
    def stands_for(self) -> str:
        """Return the id by which others are about it: an edited message keeps its own."""
        return self.amends or self.message_id

    @property
    def is_deletion(self) -> bool:
        """Return whether it tells that a message was deleted."""
        return self.kind is Kind.DELETED


#: States by which a provider says that the customer has a message.
WITH_CUSTOMER = frozenset({"delivered", "read", "played"})
#: States after which it will say nothing else of a message.
ENDS = WITH_CUSTOMER | {"failed"}


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """A customer has other ids from now on.

    ``addresses``: former id → the id to answer instead. ``at_ms``: by the provider's clock, 0 if it
    says nothing.
    """

    account_id: str
    former: tuple[str, ...]
    present: tuple[str, ...]
    addresses: Mapping[str, str]
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What a provider says became of a part. ``tag`` is ours, "" if the provider carries none.

    ``stops``: ``code`` says that the account as a whole cannot send.
    """

    account_id: str
    provider_id: str
    state: str
    tag: str = ""
    code: str = ""
    stops: bool = False


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message from our number that we may not have sent.

    ``author``: person, meta_agent, app or unknown. ``text``: its words, "" if unknown; they are
    compared with the account's automatic texts and kept nowhere.
    """

    account_id: str
    customer: str
    provider_id: str
    author: str
    text: str = field(default="", repr=False, compare=False)

    @property
    def secondary(self) -> bool:
        """Return whether ``customer`` may be a second id: always, as echoes seldom carry both."""
        return True


class Gravity(IntEnum):
    """What a notice means for the account.

    QUIET: nothing, it is logged. WARNING: a person is alerted. WELL: its channel works (again).
    From OFFLINE on nothing can be sent, and the graver the harder it is to mend.
    """

    QUIET = -2
    WARNING = -1
    WELL = 0
    OFFLINE = 1
    LOGGED_OUT = 2
    DEAD = 3


@dataclass(frozen=True, slots=True)
class Notice:
    """What a provider reports that is neither a message nor a status.

    ``name``: a constant code. ``detail``: code, meaning and advice in plain words, joined by ": ",
    "" for a QUIET one.
    """

    account_id: str
    name: str
    gravity: Gravity = Gravity.QUIET
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LostChannel:
    """A channel that its provider says is lost: since when by the server's clock, and in words."""

    account_id: str
    gravity: int
    since_ms: int
    detail: str


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Something that may be a customer's message and could not be read; a person is alerted.

    ``reason`` is a constant code. ``shape`` has names of fields, no values. ``account_id``: "" if
    it is not known.
    """

    account_id: str
    reason: str
    shape: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """That an account as a whole cannot send, as a failure says that was learnt late."""

    account_id: str
    code: str


Event = InboundMessage | IdentityChange | DeliveryStatus | ForeignMessage | Notice | NotUnderstood


class Reason(StrEnum):
    """Why a batch ended unanswered, or an alert was raised for it."""

    POISON = "poison"
    FATAL_PROVIDER = "fatal_provider"
    FATAL_MODEL = "fatal_model"
    DEADLINE = "deadline"
    AMBIGUOUS = "ambiguous"
    UNDELIVERED = "undelivered"
    VANISHED = "vanished"
    RESTORED = "restored"
    ERASED = "erased"
    DISCARDED = "discarded"
    TAKEOVER = "takeover"
    HANDOVER = "handover"


#: Alerts of a batch that gets no answer: `handover` is that of one which gets it.
DROPS: Final = frozenset(Reason) - {Reason.HANDOVER}


class Stage(StrEnum):
    """What a batch in flight is waiting for."""

    GENERATE = "generate"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class WakeUp:
    """What goes through the broker: look at this attempt of this batch."""

    conversation_id: str
    batch_id: str
    attempt: int
    stage: Stage

    @property
    def batch(self) -> str:
        """Return the name of the batch, whatever the attempt."""
        return f"{self.conversation_id}:{self.batch_id}"


class Dependency(StrEnum):
    """What an account needs to answer; each has a circuit of its own.

    The fallbacks are the models that are asked while the one before cannot answer.
    """

    CHANNEL = "channel"
    MODEL = "model"
    FALLBACK_1 = "fallback-1"
    FALLBACK_2 = "fallback-2"

    @property
    def alert(self) -> str:
        """Return the kind of the alert that its circuit is open."""
        return "channel_stopped" if self is Dependency.CHANNEL else "model_stopped"


#: The models of an account, in the order in which they are asked.
MODELS: Final = tuple(of for of in Dependency if of is not Dependency.CHANNEL)
#: How many models may be asked while the first cannot answer.
FALLBACKS_MAX: Final = len(MODELS) - 1


@dataclass(frozen=True, slots=True)
class Circuit:
    """An open circuit: why, since when, and when a batch may probe, by the server's clock, ms."""

    account_id: str
    of: Dependency
    code: str
    since_ms: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class Line:
    """A message of a customer in ``Exchange.customer``: the digest of its id, and its length.

    ``length`` is in bytes of UTF-8. ``quotes``: the digest of the message that its first
    ``quote_length`` bytes quote, "" for none.
    """

    digest: str
    length: int
    quotes: str = ""
    quote_length: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One past turn of a conversation: what the customer wrote and what was answered.

    The rest says where that is from, and is empty where an earlier release kept the exchange:
    ``batch_id``; ``lines``, which joined by newlines are ``customer``; the ``lengths`` of the parts
    of the answer, in characters; ``sent``, by part the digest of the provider's id.
    """

    customer: str
    answer: str
    batch_id: str = field(default="", compare=False)
    lines: tuple[Line, ...] = field(default=(), compare=False)
    lengths: tuple[int, ...] = field(default=(), compare=False)
    sent: Mapping[int, str] = field(default_factory=dict, compare=False)

    @property
    def is_readable(self) -> bool:
        """Return whether it says anything: not where somebody has damaged it."""
        return bool(self.customer or self.answer)

    def texts(self) -> Iterator[tuple[Line, str]]:
        """Yield the lines and what each says; nothing where they do not make up ``customer``."""
        left = self.customer.encode()
        if sum(line.length + 1 for line in self.lines) != len(left) + 1:
            return
        for line in self.lines:
            yield line, left[: line.length].decode(errors="replace")
            left = left[line.length + 1 :]

    def said(self) -> Iterator[tuple[str, str, str]]:
        """Yield what can be quoted of it: the digest of its id, whose it is, and the words."""
        for line, text in self.texts():
            yield (
                line.digest,
                "their own message",
                text.encode()[line.quote_length :].decode(errors="replace"),
            )
        left, is_whole = self.answer, sum(self.lengths) == len(self.answer)
        for part, length in enumerate(self.lengths):
            yield self.sent.get(part, ""), "our message", left[:length]
            # Channels drop the space where they cut.
            left = left[length:] if is_whole else left[length:].lstrip()

    def encode(self) -> str:
        """Return the exchange as the history keeps it, a JSON list of texts.

        The last is "" until ``finish.lua``: only then the parts have ids.
        """
        lines = " ".join(
            f"{line.digest}:{line.length}:{line.quotes}:{line.quote_length}" for line in self.lines
        )
        lengths = " ".join(map(str, self.lengths))
        sent = " ".join(f"{part}:{digest}" for part, digest in self.sent.items())
        kept = [self.customer, self.answer, self.batch_id, lines, lengths, sent]
        return json.dumps(kept, ensure_ascii=False)

    @classmethod
    def decode(cls, kept: str | bytes) -> Self:
        """Return the exchange that ``encode`` kept; what another release added is ignored.

        One without texts, where somebody has damaged it.
        """
        try:
            texts = _read(kept)
        except UNREADABLE:
            texts = []
        texts = texts if isinstance(texts, list) else []
        found = [it if isinstance(it, str) else "" for it in texts]
        customer, answer, batch_id, lines, lengths, sent, *_ = (*found, *[""] * 6)
        digests = (_DIGEST_OF_PART.fullmatch(it) for it in sent.split())
        return cls(
            customer,
            answer,
            batch_id,
            tuple(
                Line(it[1], int(it[2]), it[3], int(it[4]))
                for it in map(_LINE.fullmatch, lines.split())
                if it
            ),
            tuple(int(it) for it in lengths.split() if it.isdecimal()),
            {int(it[1]): it[2] for it in digests if it},
        )

    @classmethod
    def decode_all(cls, kept: Iterable[str | bytes]) -> list[Self]:
        """Return the exchanges that ``encode`` kept, without those that are damaged."""
        return [exchange for exchange in map(cls.decode, kept) if exchange.is_readable]


#: Why a person is to answer: by a model's word, then by rules; see docs/conversation.md.
HANDOVER_REASONS: Final = (
    *("asked", "upset", "not_known", "booking", "other", "unknown"),
    *("promised", "words", "angry", "unclear", "vip"),
)
#: Longest summary that is kept of a hand-over, in characters.
SUMMARY_CHARACTERS_MAX = 1_000
Urgency = Literal["low", "normal", "high"]


@dataclass(frozen=True, slots=True)
class Handover:
    """That a person is to answer. ``summary``: for that person; it holds a customer's words.

    A reason that is none of HANDOVER_REASONS becomes "unknown", and its words go before the
    summary: nothing that a model writes is lost, and only codes go where no text may.
    """

    reason: str = "unknown"
    summary: str = field(default="", repr=False)
    urgency: str = "normal"

    def __post_init__(self) -> None:
        """Make it fit to be kept."""
        summary = self.summary
        if self.reason not in HANDOVER_REASONS:
            summary = ": ".join(filter(None, (self.reason, summary)))
            object.__setattr__(self, "reason", "unknown")
        if self.urgency not in get_args(Urgency):
            object.__setattr__(self, "urgency", "normal")
        summary = summary.encode("utf-8", "replace").decode().strip()
        object.__setattr__(self, "summary", summary[:SUMMARY_CHARACTERS_MAX])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says: the words for the customer, and whether a person is to go on.

    ``text`` is "" only beside a ``handover``: then the account has a sentence for it.
    """

    text: str
    handover: Handover | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an account does while a person is awaited; a conversation keeps what held at first.

    ``remind_ms``: how long until a person is alerted again, doubling each time. ``apology_ms``: how
    long until the customer is told ``apology``, once; 0 for never. ``expires_ms``: how long until
    nobody is awaited any more.
    """

    silent: bool = True
    remind_ms: int = 900_000
    apology_ms: int = 1_800_000
    expires_ms: int = 86_400_000
    apology: str = ""


@dataclass(frozen=True, slots=True)
class Awaited:
    """That a person is awaited in a conversation. ``batch_id``: whose answer said so.

    ``reminders``: of how many a person was alerted since. ``apology``: "due", "none", or when it
    was put on its way, ms. ``summary`` is "" where it was not asked for.
    """

    conversation_id: str
    account_id: str
    batch_id: str
    since_ms: int
    reason: str = ""
    urgency: str = "normal"
    reminders: int = 0
    apology: str = ""
    summary: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Outbound:
    """One part of a reply on its way. ``tag`` comes back in the provider's status.

    ``answers``: the ids of the customer's messages that the whole reply answers.
    """

    customer: str
    text: str
    tag: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tag:
    """Names one part of one batch to a provider, and back.

    Written ``aa:<conversation>:<batch>.<seal>:<part>``. ``seal``: a digest by which we know our own
    tag (``Keyring.seal``), "" in what earlier releases wrote.
    """

    conversation_id: str
    batch_id: str
    part: int
    seal: str = ""

    def __str__(self) -> str:
        return f"aa:{self.conversation_id}:{self.batch_id}.{self.seal}:{self.part}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the tag, or None where it does not look like ours; ``seal`` is not checked."""
        match text.split(":"):
            case ["aa", conversation_id, batch, part] if text.isascii() and _PART.fullmatch(part):
                batch_id, _, seal = batch.partition(".")
                return cls(conversation_id, batch_id, int(part), seal)
        return None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch obeys, chosen by the process that opens it.

    Processes with other limits then leave that batch as it is. ``idle_ms`` is the debounce window.
    ``overdue_ms``: a person is alerted, nothing is dropped. ``reply_deadline_ms``: past it the
    batch is a dead letter (WhatsApp answers for 24 h only). ``supersede_max``: how often it is put
    back because its customer wrote again before any of its answer left. A limit that is added gets
    a default here and in ``_prelude.lua``; releases with and without it work on the same batches.
    """

    idle_ms: int = 9_000
    max_messages: int = 10
    max_wait_ms: int = 45_000
    overdue_ms: int = 120_000
    reply_deadline_ms: int = 86_400_000
    lease_ms: int = 6_000
    max_attempts: int = 8
    supersede_max: int = 0

    def encode(self) -> tuple[str, str]:
        """Return the id of this set of limits, which batches keep, and the set by name, JSON.

        The id is the numbers alone where the names are those of releases that kept nothing else.
        """
        return _encoded(self)

    @classmethod
    def decode(cls, kept: str) -> Self | None:
        """Return the limits of a set, or of the bare numbers of a release that kept no sets.

        A name that is unknown here is ignored, one that is missing has its default. None where
        nothing can be read.
        """
        numbers = kept.split(" ")
        if len(numbers) == len(_POSITIONS) and all(number.isdigit() for number in numbers):
            found: Any = dict(zip(_POSITIONS, map(int, numbers), strict=True))
        else:
            try:
                found = json.loads(kept)
            except ValueError:
                return None
        if not isinstance(found, dict):
            return None
        names = {field.name for field in fields(cls)}
        return cls(**{
            name: value for name, value in found.items() if name in names and type(value) is int
        })  # fmt: skip


@lru_cache(maxsize=256)
def _encoded(limits: Limits) -> tuple[str, str]:
    named = {field.name: getattr(limits, field.name) for field in fields(limits)}
    # Without it a set is the one of releases that did not know it.
    if not named.get("supersede_max", 1):
        del named["supersede_max"]
    set_id = " ".join(map(str, named.values()))
    if tuple(named) != _POSITIONS:
        # Equal numbers mean something else where the names differ.
        set_id += f" {zlib.crc32(' '.join(named).encode()):08x}"
    return set_id, json.dumps(named, separators=(",", ":"))


#: A conversation gets at most one of so many parts of an account's day, and of all accounts' day.
DAY_PARTS = 4


@dataclass(frozen=True, slots=True)
class Budget:
    """The most questions to models: by conversation and hour, by each and by all in a day.

    A window begins with its first question. Questions that fail count too.
    """

    conversation_hour: int
    conversation_day: int
    account_day: int
    installation_day: int

    @property
    def share_day(self) -> int:
        """The most questions of one conversation in a day, so that none takes all that others have.

        At least one, however small the days are.
        """
        whole = min(self.account_day, self.installation_day)
        return min(self.conversation_day, -(-whole // DAY_PARTS))


@dataclass(frozen=True, slots=True)
class Timing:
    """How the ledger waits, repeats and forgets; one set for a whole ledger, in milliseconds.

    ``wake_up_ms``: how long a wake-up may stay unanswered before it is enqueued again, doubling up
    to ``wake_up_max_ms``. ``ambiguous_ms``: how long the provider's status of a part may take.
    ``defer_ms``: the pause of a batch whose account cannot send or ask now, and the first pause of
    a circuit, which doubles up to ``circuit_ms_max``. ``seen_ms`` outlives
    the longest redelivery known (Meta: 7 days), ``seen_max`` bounds its ids. ``waiting_max``:
    messages a conversation may hold unanswered before the webhook is refused. ``overflow_ms``: how
    long the oldest of them may wait until further ones are counted and acknowledged instead, and a
    person is alerted: no provider need deliver them for days. ``takeover_ms``: how long we are
    silent after a person wrote. ``greeting_ms``: what leaves the phone so soon after the first
    message of a new customer may be the app's greeting, which is no takeover; the batch then waits
    ``greeting_pause_ms`` for a person to go on. ``history_*``: exchanges kept for the model.
    ``sent_ms``, ``alias_ms``: how long ids of our messages and second ids of customers are kept.
    ``delivery_ms``: how long the content of an answer is kept until its customer has it, because
    the provider may report that it did not arrive; 0 for not at all.
    """

    wake_up_ms: int = 5_000
    wake_up_max_ms: int = 60_000
    ambiguous_ms: int = 60_000
    defer_ms: int = 60_000
    circuit_ms_max: int = 300_000
    takeover_ms: int = 1_800_000
    greeting_ms: int = 5_000
    greeting_pause_ms: int = 60_000
    seen_ms: int = 8 * 86_400_000
    seen_max: int = 1_000
    waiting_max: int = 200
    overflow_ms: int = 600_000
    history_max: int = 30
    history_ms: int = 30 * 86_400_000
    sent_ms: int = 2 * 86_400_000
    alias_ms: int = 180 * 86_400_000
    delivery_ms: int = 2 * 86_400_000


#: Age up to which a provider's clock is believed: no provider delivers later, and no ledger holds a
#: message for longer. A clock that says more, or the future, is wrong.
BELIEVED_MS = 30 * 86_400_000
#: From this age on the model is told how old a message is: what is "today" in it is not today.
_AGE_TOLD_MS = 600_000
#: An age is told in the last of these units that it has twice, in milliseconds.
_AGE_UNITS = (("minutes", 60_000), ("hours", 3_600_000), ("days", 86_400_000))


def is_believed(sent_at_ms: int, now_ms: int) -> bool:
    """Return whether a message can have been sent at ``sent_at_ms``, by a provider's clock."""
    return 0 <= now_ms - sent_at_ms <= BELIEVED_MS


def in_order(messages: Sequence[InboundMessage], now_ms: int) -> tuple[InboundMessage, ...]:
    """Return messages, given as they arrived, as they were sent.

    Those sent in the same second, and those whose clock is wrong, stay behind what arrived before.
    """
    last_ms, placed = 0, []
    for number, message in enumerate(messages):
        is_dated = is_believed(message.sent_at_ms, now_ms)
        last_ms = max(last_ms, message.sent_at_ms if is_dated else 0)
        placed.append((message.sent_at_ms if is_dated else last_ms, number, message))
    return tuple(message for _, _, message in sorted(placed, key=lambda place: place[:2]))


def _age(message: InboundMessage, now_ms: int) -> str:
    """Return how long ago a message was sent, to stand before it; "" if that is a few minutes."""
    age_ms = now_ms - message.sent_at_ms
    if age_ms < _AGE_TOLD_MS or not is_believed(message.sent_at_ms, now_ms):
        return ""
    unit, unit_ms = [pair for pair in _AGE_UNITS if age_ms >= 2 * pair[1]][-1]
    return f"[sent {age_ms // unit_ms} {unit} ago] "


#: Longest text that is kept of one message, in characters: as long as WhatsApp lets anybody write.
TEXT_CHARACTERS_MAX = 65_536
_KINDS = frozenset(Kind)
#: Fields that few messages have: they are kept by name, behind the others.
_REFERENCES = ("amends", "quotes", "quoted")


def encode(message: InboundMessage) -> bytes:
    """Return a message as the ledger keeps it; its account is the conversation's.

    A JSON list without names, and without what a text does not have, to save memory.
    """
    text, media = _bounded(message.text), message.media
    kept: list[Any] = [message.message_id, message.customer, text, message.sent_at_ms]
    refers = {name: found for name in _REFERENCES if (found := getattr(message, name))}
    if message.kind is not Kind.TEXT or media is not None or refers:
        kept.append(message.kind)
    if media is not None or refers:
        kept.append(media and [media.media_id, media.mime_type, media.url])
    if refers:
        kept.append(refers)
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


def _bounded(text: str) -> str:
    """Return ``text`` within the limit, with a sentence about the rest if there is one."""
    rest = len(text) - TEXT_CHARACTERS_MAX
    notice = f" [The rest of this message, {rest} characters, is too long to be kept]"
    return text if rest <= 0 else text[:TEXT_CHARACTERS_MAX] + notice


def decode(account_id: str, raw: str | bytes) -> InboundMessage:
    """Return the message that ``encode`` kept; see ``is_damaged`` for what cannot be read.

    What a newer release added at the end is ignored, what is not there has its default.
    """
    try:
        return _decoded(account_id, _read(raw))
    except UNREADABLE:
        return InboundMessage(account_id, "", "", Kind.UNSUPPORTED, _legible(raw))


def decode_all(account_id: str, raws: Iterable[str | bytes]) -> list[InboundMessage]:
    """Return the messages that ``encode`` kept, without those that somebody has damaged."""
    messages = (decode(account_id, raw) for raw in raws)
    return [message for message in messages if not message.is_damaged]


def read_header(raw: str | bytes) -> dict[str, Any]:
    """Return what the header of a dead letter or an answer says.

    "damaged" is true of one that cannot be read; then it may still name its conversation.
    """
    try:
        return dict(_read(raw))
    except UNREADABLE:
        found = _CONVERSATION.search(_legible(raw))
        return {"damaged": True, "conversation": found[0] if found else ""}


def read_parts(reply: object) -> tuple[str, ...] | None:
    """Return the parts of an answer as ``checkpoint`` kept them; () for none, None if damaged."""
    try:
        parts: Any = _read(reply) if isinstance(reply, str) else reply
        return tuple(map(str, parts or ())) if isinstance(parts or [], list) else None
    except UNREADABLE:
        return None


def _decoded(account_id: str, kept: list[Any]) -> InboundMessage:
    kept += ("", "", "", 0, Kind.TEXT, None, {})[len(kept) :]
    message_id, customer, text, sent_at_ms, kind, media, refers, *_ = kept
    if not all(isinstance(it, str) for it in (message_id, customer, text)):
        raise TypeError
    refers = refers if isinstance(refers, dict) else {}
    return InboundMessage(
        account_id=account_id,
        customer=customer,
        message_id=message_id,
        kind=Kind(kind) if kind in _KINDS else Kind.UNSUPPORTED,
        text=text,
        sent_at_ms=int(sent_at_ms),
        media=None if media is None else Media(*media[: len(fields(Media))]),
        amends=str(refers.get("amends", "")),
        quotes=str(refers.get("quotes", "")),
        quoted=str(refers.get("quoted", "")),
    )


class Status(StrEnum):
    """What became of a message that a webhook brought.

    MOVED, UNLINKED: not taken here, see ``batching.identity``; the receipt's ``batch_id`` is where
    to go, or where the same message came by another id, "" if it did not. FULL: refused, to be
    delivered again. OVERFLOW: its conversation stays full; it is counted as suppressed, and a
    person is alerted.
    """

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    FULL = "full"
    MOVED = "moved"
    UNLINKED = "unlinked"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The store's answer to one message.

    ``batch_id``, ``count`` and ``due_ms`` are those of the open batch, "" and 0 if the message is
    in none (but FULL has the count). ``due_ms``: at the earliest; not before the batch in flight
    has ended. ``flusher_lag_ms``: since a flusher last collected from this very Redis, -1 if
    none ever did.
    """

    status: Status
    conversation_id: str
    batch_id: str = ""
    count: int = 0
    due_ms: int = 0
    flusher_lag_ms: int = -1


@dataclass(frozen=True, slots=True)
class Collected:
    """A batch that was just put in flight. ``why``: size, age or idle.

    vanished: the conversation was due and its batch is missing; ``batch_id`` is "". ``waited_ms``:
    since its first message. ``quiet_ms``: since its last. ``attempt``: 1 but where it was in flight
    before.
    """

    conversation_id: str
    account_id: str
    batch_id: str
    count: int
    waited_ms: int
    why: str
    quiet_ms: int
    attempt: int = 1

    @property
    def wake_up(self) -> WakeUp:
        """The wake-up that starts it."""
        return WakeUp(self.conversation_id, self.batch_id, self.attempt, Stage.GENERATE)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A batch that waits too long; a person was alerted to it just now."""

    conversation_id: str
    batch_id: str
    account_id: str


class Expiry(StrEnum):
    """What it means for a batch that its lease ran out.

    WAKE_UP: enqueue it again. SPENT: no attempt is left. AMBIGUOUS: its worker ended while a part
    was leaving; the provider's status is awaited. UNRESOLVED: no status came. VANISHED: the batch
    is missing.
    """

    WAKE_UP = "wake_up"
    SPENT = "spent"
    AMBIGUOUS = "ambiguous"
    UNRESOLVED = "unresolved"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class Reaped:
    """A batch whose lease ran out. ``token`` and ``policy`` are "" where it has none."""

    wake_up: WakeUp
    account_id: str
    expiry: Expiry
    token: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class SpendRefusal:
    """Why a question may not be asked now.

    ``wait_ms``: until the budget's window ends, None if only a person can say. ``alerted``: a
    person is alerted by this.
    """

    code: str
    wait_ms: int | None
    alerted: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a conversation, as it was read.

    ``flight``: messages, of which there are to be ``count``; ``open``: those that wait behind them;
    ``history``: exchanges; ``letters``: by batch, a header and messages; ``answered``: the same of
    answers that their customer may not have yet. ``is_asked``: what is in flight is being asked
    about, or its answer is being sent. ``kin``: the same of other conversations of the customer;
    ``moved``: the one to which new messages go instead, "" if it is this one.
    """

    count: int
    flight: Sequence[str]
    open: Sequence[str]
    history: Sequence[str]
    letters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    answered: Mapping[str, Sequence[str]] = field(default_factory=dict)
    is_asked: bool = False
    kin: Mapping[str, "Kept"] = field(default_factory=dict)
    moved: str = ""

    @property
    def amendments(self) -> list[str]:
        """Return the edits and deletions that are in flight, and that wait behind them."""
        return [raw for raw in (*self.flight, *self.open) if '"amends":' in raw]

    def lists(self) -> dict[str, Sequence[str]]:
        """Return the lists by the names that ``amend.lua`` has for them."""
        own = {"f": self.flight, "o": self.open, "history": self.history}
        return own | self.with_header()

    def with_header(self) -> dict[str, Sequence[str]]:
        """Return by their names the lists that begin with a header."""
        answered = {f"answered:{batch_id}": raws for batch_id, raws in self.answered.items()}
        return {**self.letters, **answered}


@dataclass(frozen=True, slots=True)
class Change:
    """What lists are to become, by name, and how many messages end by it, by reason.

    ``kin``: the same for other conversations of the customer. ``damaged``: the names of lists in
    which something cannot be read.
    """

    lists: Mapping[str, Sequence[str]]
    ended: Mapping[str, int]
    kin: Mapping[str, "Change"] = field(default_factory=dict)
    damaged: Sequence[str] = ()

    @property
    def places_damaged(self) -> list[str]:
        """Return the lists in which something cannot be read, wherever they are."""
        return [
            *self.damaged,
            *(f"{c}:{it}" for c, each in self.kin.items() for it in each.damaged),
        ]


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one stage of a batch, fenced by ``token`` until its lease runs out.

    ``count`` messages were accepted; fewer in ``messages`` means that some vanished.
    ``parts``: the reply, () before there is one; ``part``: the first that was not sent yet.
    ``messages``: by when they were sent. ``heard_ms``: when the newest was, or arrived if that is
    unknown: from then on the provider takes an answer for a while. ``address``: the id to answer.
    ``kin``: conversations of the same customer whose past belongs to this one; ``moved``: that to
    which new messages go instead, "" if it is this one.
    ``tries``: how often this stage failed for what the provider lacks; no attempt is spent by it.
    ``apology``: (reason, detail) of the dead letter that the batch becomes when ``parts``, an
    apology, were sent; None for an answer.
    ``quotes``: what each message replies to, as a sentence before its text, "" for nothing.
    ``awaited``: the names of the batches by whose answers a person is awaited, with since when, ms.
    ``superseded``: the customer has written again, and it is to be put back.
    """

    wake_up: WakeUp
    token: str
    account_id: str
    now_ms: int
    first_ms: int
    limits: Limits
    count: int
    messages: tuple[InboundMessage, ...]
    parts: tuple[str, ...] = ()
    part: int = 0
    taken_over: bool = False
    heard_ms: int = 0
    tries: int = 0
    apology: tuple[str, str] | None = None
    quotes: tuple[str, ...] = ()
    address: str = ""
    kin: tuple[str, ...] = ()
    moved: str = ""
    awaited: Mapping[str, int] = field(default_factory=dict)
    superseded: bool = False

    @property
    def age_ms(self) -> int:
        """How long the batch's first message has waited."""
        return self.now_ms - self.first_ms

    @property
    def is_withdrawn(self) -> bool:
        """Whether the customer has deleted all of it."""
        return not self.is_notice and all(message.is_deletion for message in self.messages)

    @property
    def is_notice(self) -> bool:
        """Whether it answers no message: it tells a customer that a person is still awaited."""
        return not self.count and bool(self.parts)

    @property
    def is_behind(self) -> bool:
        """Whether a person is awaited, but by its own answer."""
        return bool(self.awaited.keys() - {self.wake_up.batch})

    @property
    def lines(self) -> list[str]:
        """The texts as they were sent, each behind its age and what it replies to."""
        quotes = self.quotes or [""] * len(self.messages)
        return [
            f"{_age(message, self.now_ms)}{quote}{message.text}"
            for message, quote in zip(self.messages, quotes, strict=True)
        ]

    @property
    def turn(self) -> str:
        """The batch as the model sees it: a line for each message."""
        return "\n".join(self.lines)

    def quoting(self, history: Sequence[Exchange], digest_of: Callable[[str], str]) -> Self:
        """Return the run with what its messages reply to, as far as anything is known of that.

        ``digest_of`` gives the digest of a message's id, by which the history knows it.
        """
        if not any(message.quotes or message.quoted for message in self.messages):
            return self
        said = {
            digest_of(it.stands_for): ("their own message", it.text)
            for it in self.messages
            if not it.is_deletion
        }
        said |= {digest: (whose, words) for it in history for digest, whose, words in it.said()}
        return replace(self, quotes=tuple(_quote(it, digest_of, said) for it in self.messages))


#: Square brackets of all scripts, and what looks like them. Corner brackets are quotation marks.
_OPENING = "[⁅❲⟦⟬⦋⦍⦏⦗⹕⹗【〔〖〘〚︗︹︻﹇﹝［⌈⌊⸢⸤"
_CLOSING = "]⁆❳⟧⟭⦌⦎⦐⦘⹖⹘】〕〗〙〛︘︺︼﹈﹞］⌉⌋⸣⸥"
_ROUND = str.maketrans(_OPENING + _CLOSING, "(" * len(_OPENING) + ")" * len(_CLOSING))
#: So many characters of what a message refers to are shown before it.
EXCERPT_LENGTH_MAX = 200


def spoken(words: str) -> str:
    """Return a customer's own words with round brackets for square ones.

    The prompt says that square brackets hold our own description of a message; customers must not
    be able to forge one.
    """
    return words.translate(_ROUND)


def excerpt(words: str) -> str:
    """Return the beginning of ``words`` in one line, fit to stand in square brackets."""
    line = " ".join(spoken(words[: 2 * EXCERPT_LENGTH_MAX]).split())
    return line if len(line) <= EXCERPT_LENGTH_MAX else f"{line[:EXCERPT_LENGTH_MAX]}…"


def _quote(
    message: InboundMessage, digest_of: Callable[[str], str], said: Mapping[str, tuple[str, str]]
) -> str:
    if not message.quotes and not message.quoted:
        return ""
    known = said.get(digest_of(message.quotes)) if message.quotes else None
    whose, words = known or ("a message", message.quoted)
    if words := excerpt(words):
        return f"[The customer replies to {whose}: {words}] "
    return "[The customer replies to an earlier message that is not known here] "


@dataclass(frozen=True, slots=True)
class Watch:
    """What waits in all shards: earliest due and lease end, oldest heartbeat; None for none.

    ``to_collect``, ``to_reap``, ``to_remind``: numbers in ``Keyring.all_shards`` of those with
    something to do.
    A shard whose heartbeat is old is to be collected from too: that renews it.
    """

    now_ms: int
    due_ms: int | None
    lease_ms: int | None
    heartbeat_ms: int | None
    to_collect: Sequence[int] = ()
    to_reap: Sequence[int] = ()
    to_remind: Sequence[int] = ()

    @property
    def flusher_lag_ms(self) -> int:
        """How long ago a flusher last collected from this very Redis, -1 if none ever did."""
        return -1 if self.heartbeat_ms is None else max(0, self.now_ms - self.heartbeat_ms)


@dataclass(frozen=True, slots=True)
class Peek:
    """What a conversation is doing now, for people and tests: it may have changed already."""

    now_ms: int
    open_count: int
    due_ms: int | None
    flight_count: int
    stage: Stage | None
    state: str | None
