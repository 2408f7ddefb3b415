"""The values that move through the flow, and how each is stored. No I/O, no clock."""

import json
import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

from batching.errors import ConfigurationError

#: The reserved account of the canary; no other may bear its name.
CANARY_ACCOUNT: Final = "canary"
#: The number of a part, as a provider gives it back: what else stands there is not ours.
_PART = re.compile(r"[0-9]{1,4}")


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
    POLL_VOTE = "poll_vote"
    EDITED = "edited"
    UNSUPPORTED = "unsupported"
    REACTION = "reaction"
    DELETED = "deleted"
    CALL = "call"


#: Kinds that ask for no answer: counted as suppressed, with the kind as the reason.
SILENT_KINDS = frozenset({Kind.REACTION, Kind.DELETED, Kind.CALL})


@dataclass(frozen=True, slots=True)
class Media:
    """Where the bytes of a picture or a voice message are; "" where the provider is silent."""

    media_id: str = ""
    mime_type: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message of a customer, as its channel understood it.

    ``customer`` is the id to answer, exactly as delivered. ``aliases`` are further ids that the
    same webhook gave for the same person. ``secondary``: ``customer`` is itself an id that may
    belong to a conversation known by another one (a business-scoped id, a LID).
    ``text`` is what the model will read: the words, or a sentence that says what was sent.
    ``sent_at_ms``: the provider's claim, 0 if it made none; never used to order or to expire.
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


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What a provider says became of a part that left. ``tag`` is ours, "" if it carries none."""

    account_id: str
    provider_id: str
    state: str
    tag: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """Something left our number that a person, or a program that is not us, may have written.

    ``author``: person, meta_agent, app or unknown.
    """

    account_id: str
    customer: str
    provider_id: str
    author: str

    @property
    def secondary(self) -> bool:
        """Whether ``customer`` may be a second id; always, for echoes seldom carry both."""
        return True


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a provider tells that is neither a message nor a status: counted, nothing more."""

    account_id: str
    name: str


Event = InboundMessage | DeliveryStatus | ForeignMessage | Notice


class Reason(StrEnum):
    """Why a batch ended unanswered, or an alert was raised for it."""

    POISON = "poison"
    FATAL_PROVIDER = "fatal_provider"
    FATAL_MODEL = "fatal_model"
    DEADLINE = "deadline"
    AMBIGUOUS = "ambiguous"
    VANISHED = "vanished"
    ERASED = "erased"
    DISCARDED = "discarded"
    TAKEOVER = "takeover"


class Stage(StrEnum):
    """What a batch in flight is waiting for."""

    GENERATE = "generate"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class WakeUp:
    """A wake-up: look at this attempt of this batch. It carries nothing else."""

    conversation_id: str
    batch_id: str
    attempt: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class Exchange:
    """One past turn of a conversation: what the customer wrote and what was answered."""

    customer: str
    answer: str


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
    """Names one part of one batch to a provider, and back: ``aa:<conversation>:<batch>:<part>``."""

    conversation_id: str
    batch_id: str
    part: int

    def __str__(self) -> str:
        return f"aa:{self.conversation_id}:{self.batch_id}:{self.part}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the tag, or None where it is not one of ours."""
        match text.split(":"):
            case ["aa", conversation_id, batch_id, part] if _PART.fullmatch(part):
                return cls(conversation_id, batch_id, int(part))
        return None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch is held to. Stamped into it by whoever opens it, so a stale process is harmless.

    All ``*_ms`` are milliseconds. ``overdue_ms``: a person is told, nothing is dropped.
    ``reply_deadline_ms``: past it the batch is a dead letter (WhatsApp answers for 24 h only).
    """

    idle_ms: int = 9_000
    max_messages: int = 10
    max_wait_ms: int = 45_000
    overdue_ms: int = 120_000
    reply_deadline_ms: int = 86_400_000
    lease_ms: int = 30_000
    max_attempts: int = 8

    def stamp(self) -> str:
        """Return the limits as the ledger keeps them: numbers in field order, space-separated."""
        return " ".join(str(getattr(self, field.name)) for field in fields(self))

    @classmethod
    def from_stamp(cls, stamp: str) -> Self:
        """Return the limits of a stamp. Raise ConfigurationError if it is of another schema."""
        numbers = stamp.split(" ")
        if len(numbers) != len(fields(cls)) or not all(number.isdigit() for number in numbers):
            raise ConfigurationError(
                "limits_schema", f"stamp {stamp!r}: must be {len(fields(cls))} numbers"
            )
        return cls(*map(int, numbers))


@dataclass(frozen=True, slots=True)
class Budget:
    """The most questions to models: by conversation and hour, by account and by all in a day.

    A window begins with its first question. Questions that fail count too.
    """

    conversation_hour: int
    account_day: int
    installation_day: int


@dataclass(frozen=True, slots=True)
class Timing:
    """How the ledger waits, repeats and forgets; one set for a whole ledger, in milliseconds.

    ``ring_ms``: how long a wake-up may stay unanswered before it is rung again, doubling up to
    ``ring_max_ms``. ``ambiguous_ms``: how long a status may take to tell what became of a part.
    ``seen_ms`` outlives the longest redelivery known (Meta: 7 days). ``waiting_max``: messages a
    conversation may hold unanswered before the webhook is refused.
    """

    ring_ms: int = 10_000
    ring_max_ms: int = 60_000
    ambiguous_ms: int = 60_000
    park_ms: int = 60_000
    takeover_ms: int = 1_800_000
    seen_ms: int = 8 * 86_400_000
    seen_max: int = 1_000
    waiting_max: int = 200
    history_max: int = 30
    history_ms: int = 30 * 86_400_000
    sent_ms: int = 2 * 86_400_000
    alias_ms: int = 180 * 86_400_000


#: Longest text that is kept of one message, in characters: as long as WhatsApp lets anybody write.
TEXT_CHARACTERS_MAX = 65_536
_KINDS = frozenset(Kind)


def encode(message: InboundMessage) -> bytes:
    """Return a message as the ledger keeps it; its account is the conversation's.

    A JSON list without names, and without what a text does not have: what waits in Redis is paid
    for in memory.
    """
    kept: list[Any] = [
        message.message_id,
        message.customer,
        _bounded(message.text),
        message.sent_at_ms,
    ]
    if message.kind is not Kind.TEXT or message.media is not None:
        kept.append(message.kind)
    if message.media is not None:
        kept.append([message.media.media_id, message.media.mime_type, message.media.url])
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


def _bounded(text: str) -> str:
    """Return ``text`` within the limit, with a sentence about the rest if there is one."""
    rest = len(text) - TEXT_CHARACTERS_MAX
    if rest <= 0:
        return text
    told = f"[The rest of this message, {rest} characters, is too long to be kept]"
    return f"{text[:TEXT_CHARACTERS_MAX]} {told}"


def decode(account_id: str, raw: bytes) -> InboundMessage:
    """Return the message that ``encode`` kept."""
    message_id, customer, text, sent_at_ms, *rest = json.loads(raw)
    kind = rest[0] if rest else Kind.TEXT
    return InboundMessage(
        account_id=account_id,
        customer=customer,
        message_id=message_id,
        # A newer release may have written a kind that this one does not know.
        kind=Kind(kind) if kind in _KINDS else Kind.UNSUPPORTED,
        text=text,
        sent_at_ms=sent_at_ms,
        media=Media(*rest[1]) if len(rest) > 1 else None,
    )


class Status(StrEnum):
    """What became of a message at the door."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The ledger's answer to one message.

    ``batch_id``, ``count`` and ``due_ms`` are those of the open batch, "" and 0 if the message
    is in none. ``flusher_lag_ms``: since a flusher last collected from this very Redis, -1 if
    none ever did, -2 where the script does not tell.
    """

    status: Status
    conversation_id: str
    batch_id: str = ""
    count: int = 0
    due_ms: int = 0
    flusher_lag_ms: int = -2


@dataclass(frozen=True, slots=True)
class Collected:
    """A batch that was just put in flight. ``why``: size, age or idle.

    vanished: the conversation was due and its batch is missing; ``batch_id`` is "".
    """

    conversation_id: str
    account_id: str
    batch_id: str
    count: int
    waited_ms: int
    why: str

    @property
    def wake_up(self) -> WakeUp:
        """The wake-up that starts it."""
        return WakeUp(self.conversation_id, self.batch_id, 1, Stage.GENERATE)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A batch of which a person was just told that it waits too long."""

    conversation_id: str
    batch_id: str
    account_id: str


class Verdict(StrEnum):
    """What is to be done about a batch whose lease ran out."""

    RING = "ring"
    SPENT = "spent"
    AMBIGUOUS = "ambiguous"
    UNRESOLVED = "unresolved"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class Reaped:
    """A batch whose lease ran out. ``token`` and ``policy`` are "" where it has none."""

    wake_up: WakeUp
    account_id: str
    verdict: Verdict
    token: str
    policy: str


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one stage of a batch, held under ``token`` until its lease runs out.

    ``count`` messages were accepted; fewer in ``messages`` means that some vanished.
    ``parts`` is the reply and ``part`` the first that has not left, once there is a reply.
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

    @property
    def age_ms(self) -> int:
        """How long the batch's first message has waited."""
        return self.now_ms - self.first_ms

    @property
    def turn(self) -> str:
        """The batch as the model sees it: the texts in order of arrival, one a line."""
        return "\n".join(message.text for message in self.messages)


@dataclass(frozen=True, slots=True)
class Watch:
    """One cheap look at all shards: earliest due and lease, latest heartbeat; None for none."""

    now_ms: int
    due_ms: int | None
    lease_ms: int | None
    heartbeat_ms: int | None

    @property
    def flusher_lag_ms(self) -> int:
        """How long ago a flusher last collected from this very Redis, -1 if none ever did."""
        return -1 if self.heartbeat_ms is None else max(0, self.now_ms - self.heartbeat_ms)


@dataclass(frozen=True, slots=True)
class Peek:
    """What a conversation is doing now; for people to look at, never to decide by."""

    now_ms: int
    open_count: int
    due_ms: int | None
    flight_count: int
    stage: Stage | None
    state: str | None


def decode_run(wake_up: WakeUp, fields: list[Any]) -> Run:
    """Return the run that ``begin.lua`` describes."""
    now_ms, token, account, first_ms, stamp, count, reply, part, taken_over, *messages = fields
    account_id = account.decode()
    return Run(
        wake_up=wake_up,
        token=token.decode(),
        account_id=account_id,
        now_ms=now_ms,
        first_ms=first_ms,
        limits=Limits.from_stamp(stamp.decode()),
        count=count,
        messages=tuple(decode(account_id, raw) for raw in messages),
        parts=tuple(json.loads(reply)) if reply else (),
        part=part,
        taken_over=bool(taken_over),
    )
