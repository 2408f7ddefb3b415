"""The values that move through the flow, and the small sums over them. No I/O, no clock."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

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
class Ring:
    """A doorbell: look at this attempt of this batch. It carries nothing else."""

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
