"""What happened, as the world outside the ledger saw it: the words in which a run is judged.

A history is a sequence of these events in the order in which they happened; ``at_ms`` is there
for people. Whoever records it never takes the ledger's word: what a customer sent, what the model
was asked, what the provider took, what reached a person.

Three conventions tie the events together. The text of a message is one word, used once, so it
names the message wherever it turns up. A model is asked with the words of the batch, one a line,
and every part of its answer repeats at least one of them and is never given twice. A provider
is given our tag, ``aa:<conversation>:<batch>:<part>``, with each part; ``batch`` is always the
middle of it, ``<conversation>:<batch>``.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offered:
    """A webhook with the message was called, perhaps not for the first time.

    ``silent``: the message asks for no answer, like a reaction. ``sent_ms``: by their clock.
    ``address``: the id under which it came, "" for the only one.
    """

    at_ms: int
    account: str
    customer: str
    word: str
    silent: bool = False
    sent_ms: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The webhook was answered 200: from here on the message is ours."""

    at_ms: int
    word: str


@dataclass(frozen=True, slots=True)
class Begun:
    """``worker`` begins with what it was called for: a webhook, or a wake-up."""

    at_ms: int
    worker: str


@dataclass(frozen=True, slots=True)
class Amended:
    """The webhook was answered 200 that the customer deleted a message, or edited it.

    ``by``: the word that it reads as from now on, "" if it was deleted. ``worker`` took the call,
    "" where that is not known. ``address``: as that of a message.
    """

    at_ms: int
    word: str
    by: str = ""
    worker: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """The webhook was answered 200 that these ids are one customer's.

    ``worker``: who was called with it first, and may have done all but answer (seed 2014).
    """

    at_ms: int
    account: str
    customer: str
    ids: tuple[str, ...]
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Renumbered:
    """The webhook was answered 200 that an id of a customer became another.

    ``since_ms``: by their clock, 0 if that is not to be believed.
    """

    at_ms: int
    account: str
    customer: str
    former: str
    present: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A model was asked. ``call`` numbers the question; ``account`` is "" where that is not known.

    ``worker`` asked, "" where that is not known. ``history``: words given as the past, or quoted;
    ``past``: those of past turns.
    """

    at_ms: int
    call: int
    words: tuple[str, ...]
    account: str = ""
    worker: str = ""
    history: tuple[str, ...] = ()
    past: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replied:
    """The question is over: answered, with these parts, or not, with none.

    ``lacked``: the model could not answer anybody, so that the question is nobody's fault.
    ``hands_over``: it said that a person is to go on.
    """

    at_ms: int
    call: int
    parts: tuple[str, ...] = ()
    lacked: bool = False
    hands_over: bool = False


@dataclass(frozen=True, slots=True)
class Apologized:
    """The provider took an account's apology for a batch, the one named in ``tag``."""

    at_ms: int
    tag: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The provider took a part, whether or not it was able to say so.

    ``worker`` sent it, "" where that is not known. ``address``: the id that it was sent to.
    """

    at_ms: int
    account: str
    customer: str
    tag: str
    text: str
    worker: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Doubted:
    """The provider's answer about this part never reached us."""

    at_ms: int
    tag: str


@dataclass(frozen=True, slots=True)
class Failed:
    """We acknowledged the provider's report that this part did not arrive."""

    at_ms: int
    tag: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """We acknowledged the provider's report that its customer has a copy of this part."""

    at_ms: int
    tag: str


@dataclass(frozen=True, slots=True)
class Paused:
    """``worker`` may have lost a lease without knowing: it stood still, was killed, was cut off.

    "" means that any may have. Note it when that begins, and again when it ends.
    """

    at_ms: int
    worker: str = ""


@dataclass(frozen=True, slots=True)
class _OfCustomer:
    at_ms: int
    account: str
    customer: str


@dataclass(frozen=True, slots=True)
class TakenOver(_OfCustomer):
    """A person began to answer this customer themselves. ``address``: under which id."""

    address: str = ""


@dataclass(frozen=True, slots=True)
class HandedBack(_OfCustomer):
    """The takeover of that id has ended."""

    address: str = ""


@dataclass(frozen=True, slots=True)
class Awaited(_OfCustomer):
    """From now on a person is awaited, by the answer of ``batch``. ``silent``: we say nothing."""

    address: str = ""
    batch: str = ""
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Arrived(_OfCustomer):
    """A person is not awaited under that id any more."""

    address: str = ""


class Erased(_OfCustomer):
    """A person had a customer forgotten, under all ids."""


class Conflicted(_OfCustomer):
    """A person was alerted that ids of a customer seem to be two customers'."""


@dataclass(frozen=True, slots=True)
class Leaving(_OfCustomer):
    """The first part of the answer of ``batch`` is about to leave: from now on it is the answer.

    ``anew``: the account makes answers anew, and this batch could have been put back once more.
    """

    batch: str = ""
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Died:
    """A batch became a dead letter with the messages of these words."""

    at_ms: int
    batch: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alerted:
    """A person was alerted. An alert that is delivered twice is recorded once, by its id."""

    at_ms: int
    kind: str
    batch: str = ""


@dataclass(frozen=True, slots=True)
class _OfDeadLetter:
    at_ms: int
    batch: str


class Replayed(_OfDeadLetter):
    """A person had a dead letter answered after all."""


class Discarded(_OfDeadLetter):
    """A person decided that a dead letter needs no answer."""


Happening = (
    Offered | Accepted | Begun | Amended | Joined | Renumbered | Conflicted | Asked | Replied
    | Apologized | Taken | Doubted | Failed | Delivered | Paused | TakenOver | HandedBack | Died
    | Alerted | Awaited | Arrived | Leaving | Replayed | Discarded | Erased
)  # fmt: skip
History = Sequence[Happening]


#: What may follow a word of a customer's: an adaptive window goes by it.
ENDING = re.compile(r"(?<=\d)(?:[?,!]|\.\.\.| and)$")


def words(turn: str) -> tuple[str, ...]:
    """Return the customers' words of a turn, without the sentences of ours before or between."""
    lines = (line.rpartition("] ")[2] for line in turn.split("\n"))
    return tuple(ENDING.sub("", line) for line in lines if not line.endswith("]"))


def digest(history: History) -> str:
    """Return what two runs have in common only if the same happened in both."""
    return hashlib.sha256("\n".join(map(repr, history)).encode()).hexdigest()[:16]
