"""Looks things up in a history: who wrote a word, what became of a batch, what a call said.

Places are positions in the history: the order of events is the only time that judges.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from batching.model import BELIEVED_MS, Tag
from tests.history.events import (
    Accepted,
    Alerted,
    Amended,
    Arrived,
    Asked,
    Awaited,
    Delivered,
    Died,
    Erased,
    HandedBack,
    History,
    Leaving,
    Offered,
    Paused,
    Replayed,
    Replied,
    Taken,
    TakenOver,
)
from tests.history.ids import NEVER, Identities, Message, Person

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """One question to a model."""

    asked: Asked
    began: int
    ended: int = NEVER
    parts: tuple[str, ...] = ()
    lacked: bool = False
    hands_over: bool = False


@dataclass(slots=True)
class Reply:
    """What the provider took of one batch: the places of every copy of every part."""

    batch: str
    takes: list[tuple[int, int, Taken]] = field(default_factory=list)

    @property
    def began(self) -> int:
        return self.takes[0][0]

    def copies(self, part: int) -> list[tuple[int, Taken]]:
        return [(place, taken) for place, number, taken in self.takes if number == part]

    @property
    def parts(self) -> list[int]:
        """The parts that left, each once, in the order of their first copies."""
        return list(dict.fromkeys(number for _, number, _ in self.takes))

    @property
    def words(self) -> set[str]:
        return {word for _, _, taken in self.takes for word in taken.text.split()}


class Story:
    """A history, indexed once."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.messages: dict[str, Message] = {}
        self.calls: dict[int, Call] = {}
        self.replies: dict[str, Reply] = {}
        self.deaths: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.replays: dict[str, int] = {}
        self.alerts: defaultdict[str, list[str]] = defaultdict(list)
        self.erasures: defaultdict[Person, list[int]] = defaultdict(list)
        #: When they began and ended, and under which id.
        self.takeovers: defaultdict[Person, list[tuple[int, int, str]]] = defaultdict(list)
        #: When a person was awaited, until when, and whose answer said so.
        self.awaited: defaultdict[Person, list[tuple[int, int, Awaited]]] = defaultdict(list)
        self.pauses: list[tuple[int, str]] = []
        self.strays: list[Taken] = []
        #: When an answer was about to leave.
        self.leaving: list[tuple[int, Leaving]] = []
        #: When we were told that the customer has a copy, by batch and part.
        self.delivered: defaultdict[str, list[int]] = defaultdict(list)
        #: By word, when the customer took it back; or edited it, too; and what it was before.
        self.deleted: defaultdict[str, list[int]] = defaultdict(list)
        self.amended: defaultdict[str, list[int]] = defaultdict(list)
        self.former: dict[str, str] = {}
        #: By the place of either, when the call began that brought it.
        self.called: dict[int, int] = {}
        #: By the place of either, under which id.
        self.amended_by: dict[int, str] = {}
        self.ids = Identities(history)
        for place, event in enumerate(history):
            self._note(place, event)
        self._replies = _by_word((reply, reply.words) for reply in self.replies.values())
        self._deaths = _by_word((batch, words) for batch, (_, words) in self.deaths.items())
        self._authors: defaultdict[tuple[int, str], list[Call]] = defaultdict(list)
        for call in self.calls.values():
            for part in enumerate(call.parts):
                self._authors[part].append(call)

    def _note(self, place: int, event: object) -> None:  # noqa: C901, PLR0912 - one case an event
        match event:
            case Offered(at_ms, account, customer, word, silent, sent_ms, address):
                message = Message(word, (account, customer), silent, place, address=address)
                message.late = 0 < at_ms - sent_ms <= BELIEVED_MS
                message.sent_ms = sent_ms
                self.messages.setdefault(word, message).addresses.add(address)
            case Accepted(_, word):
                message = self.messages[word]
                message.accepted = min(message.accepted, place)
            case Amended(_, word, by, worker, address):
                self.amended[word].append(place)
                self.called[place] = self.ids.begun.get(worker, place)
                self.amended_by[place] = address
                if by:
                    self.former[by] = word
                else:
                    self.deleted[word].append(place)
            case Asked():
                self.calls[event.call] = Call(event, place)
            case Replied(_, call, parts, lacked, hands_over):
                self.calls[call].ended, self.calls[call].parts = place, parts
                self.calls[call].lacked, self.calls[call].hands_over = lacked, hands_over
            case Awaited(_, account, customer):
                self.awaited[account, customer].append((place, NEVER, event))
            case Arrived(_, account, customer, address):
                self.awaited[account, customer] = [
                    (start, min(end, place) if it.address == address else end, it)
                    for start, end, it in self.awaited[account, customer]
                ]
            case Leaving():
                self.leaving.append((place, event))
            case Taken(_, _, _, tag):
                self._note_taken(place, Tag.parse(tag), event)
            case Delivered(_, tag):
                self._note_delivered(place, Tag.parse(tag))
            case Paused(_, worker):
                self.pauses.append((place, worker))
            case Died(_, batch, words):
                self.deaths[batch] = place, words
            case Replayed(_, batch):
                self.replays[batch] = place
            case Alerted(_, kind, batch):
                self.alerts[batch].append(kind)
            case Erased(_, account, customer):
                self.erasures[account, customer].append(place)
            case TakenOver(_, account, customer, address):
                self.takeovers[account, customer].append((place, NEVER, address))
            case HandedBack(_, account, customer, address):
                self.takeovers[account, customer] = [
                    (start, min(end, place) if at == address else end, at)
                    for start, end, at in self.takeovers[account, customer]
                ]

    def _note_delivered(self, place: int, tag: Tag | None) -> None:
        if tag:
            self.delivered[f"{tag.conversation_id}:{tag.batch_id}:{tag.part}"].append(place)

    def _note_taken(self, place: int, tag: Tag | None, taken: Taken) -> None:
        if tag is None:
            self.strays.append(taken)
            return
        batch = f"{tag.conversation_id}:{tag.batch_id}"
        self.replies.setdefault(batch, Reply(batch)).takes.append((place, tag.part, taken))

    def deaths_of(self, word: str) -> list[str]:
        """Return the dead letters with the word."""
        return self._deaths[word]

    def replays_of(self, word: str) -> list[str]:
        """Return the dead letters with the word that a person had answered after all."""
        return [batch for batch in self._deaths[word] if batch in self.replays]

    def replies_to(self, word: str) -> list[Reply]:
        """Return the replies of which a part answers the word."""
        return self._replies[word]

    def authors_of(self, reply: Reply) -> list[Call]:
        """Return the calls that said every part taken; several if they said the same."""
        said = [self._authors[number, taken.text] for _, number, taken in reply.takes]
        return [call for call in said[0] if all(call in others for others in said[1:])]

    def is_complete(self, reply: Reply) -> bool:
        """Return whether the customer has all parts of the reply."""
        sizes = {len(call.parts) for call in self.authors_of(reply)}
        return len(reply.parts) in sizes

    def deleted_by(self, person: Person) -> set[str]:
        """Return under which ids the customer deleted something."""
        return {
            self.amended_by[place]
            for word, places in self.deleted.items()
            for place in places
            if word in self.messages and self.messages[word].person == person
        }

    def paused(self, worker: str, start: int, end: int) -> bool:
        """Return whether the worker may have lost a lease between two places; "" for any."""
        return any(start <= place <= end and who == worker for place, who in self.pauses)

    def known(self, words: Iterable[str]) -> Iterator[Message]:
        """Yield the messages that the words name."""
        return (self.messages[word] for word in words if word in self.messages)

    def written(self, words: Iterable[str]) -> Iterator[Message]:
        """Yield these, and the messages in whose place the edits among them may stand."""
        words = list(words)
        return self.known(dict.fromkeys([*words, *(self.former.get(it, "") for it in words)]))

    def people(self, words: Iterable[str]) -> set[Person]:
        """Return whose words these are."""
        return {message.person for message in self.known(words)}


def _by_word(named: Iterable[tuple[T, Iterable[str]]]) -> defaultdict[str, list[T]]:
    found: defaultdict[str, list[T]] = defaultdict(list)
    for thing, words in named:
        for word in words:
            found[word].append(thing)
    return found
