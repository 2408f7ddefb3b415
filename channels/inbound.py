"""What every parser returns, and the small readings that all of them share."""

import hashlib
import math
from dataclasses import dataclass

from batching.model import Event, Kind

#: Above this a number is milliseconds since the epoch, below it seconds (until the year 5138).
_SECONDS_MAX = 100_000_000_000
#: The last instant that is read: the end of the year 9999, ms.
_EPOCH_MS_MAX = 253_402_300_799_999

#: What came, in words that a model can answer.
_SENTENCES = {
    Kind.IMAGE: "The customer sent a picture that cannot be shown here",
    Kind.AUDIO: "The customer sent an audio file that cannot be played here",
    Kind.VOICE: "The customer sent a voice message that cannot be played here",
    Kind.VIDEO: "The customer sent a video that cannot be shown here",
    Kind.DOCUMENT: "The customer sent a document that cannot be opened here",
    Kind.STICKER: "The customer sent a sticker",
    Kind.LOCATION: "The customer sent a location",
    Kind.CONTACTS: "The customer sent a contact card",
    Kind.BUTTON_REPLY: "The customer pressed a button",
    Kind.LIST_REPLY: "The customer chose from a list",
    Kind.FLOW_REPLY: "The customer filled in a form",
    Kind.ORDER: "The customer sent an order from the catalogue",
    Kind.POLL_VOTE: "The customer voted in a poll",
    Kind.EDITED: "The customer corrected an earlier message",
    Kind.REACTION: "The customer reacted to a message",
    Kind.DELETED: "The customer deleted a message",
    Kind.CALL: "The customer called",
}
_UNKNOWN_SENTENCE = "The customer sent something that cannot be shown here"
_ROUND = str.maketrans("[]", "()")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a webhook's body held.

    ``unknown_accounts``: items addressed to a number that is not ours. ``malformed``: items that
    were skipped because they lack what is needed. Neither fails its neighbours.
    """

    events: tuple[Event, ...]
    unknown_accounts: int = 0
    malformed: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """The customer's id to answer, exactly as delivered, and what else the person is known by.

    ``secondary``: the id may belong to a conversation that began under a phone number.
    """

    customer: str
    aliases: tuple[str, ...]
    secondary: bool


def describe(kind: Kind, words: str = "") -> str:
    """Return a sentence in brackets that says what came, then ``words`` (a caption) if any."""
    sentence = f"[{_SENTENCES.get(kind, _UNKNOWN_SENTENCE)}]"
    return f"{sentence} {spoken(words)}" if words else sentence


def spoken(words: str) -> str:
    """Return a customer's own words with round brackets for square ones: those are ours.

    A model is told that what stands in them is true of what came; nobody else may say it so.
    """
    return words.translate(_ROUND)


def made_id(*parts: object) -> str:
    """Return an id for a message that came without one: the same for the same ``parts``."""
    text = "\0".join(str(part) for part in parts)
    return f"made_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def epoch_ms(value: object) -> int:
    """Return a provider's timestamp as ms since the epoch, 0 where it is none or absurd.

    Seconds and milliseconds are told apart by size; numbers may come as text or with a fraction.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0
    if not math.isfinite(number) or number <= 0:
        return 0
    epoch = number * 1000 if number < _SECONDS_MAX else number
    return int(epoch) if epoch <= _EPOCH_MS_MAX else 0
