"""What a history says of a customer's ids, and what was written under each.

Ids are one customer's from when a webhook that says so was answered 200, until the customer is
erased. Meanwhile, and for what waited then, the conversations of the ids answer side by side.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.history.events import Begun, Conflicted, Erased, History, Joined, Renumbered

Person = tuple[str, str]
NEVER = 1 << 60


@dataclass(slots=True)
class Message:
    """One message: whose it is, when it was first offered and first accepted.

    ``address``: the id under which it came first; ``addresses``: all under which it came.
    """

    word: str
    person: Person
    silent: bool
    offered: int
    accepted: int = NEVER
    late: bool = False
    address: str = ""
    sent_ms: int = 0
    addresses: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Join:
    """``called``: where the call began that was answered at ``place``."""

    called: int
    place: int
    ids: frozenset[str]


class Identities:
    """A history's ids by customer, indexed once."""

    def __init__(self, history: History) -> None:
        #: Where a worker began.
        self.begun: dict[str, int] = {}
        self.renumbered: defaultdict[Person, list[tuple[int, Renumbered]]] = defaultdict(list)
        self._joins: defaultdict[Person, list[_Join]] = defaultdict(list)
        self._erasures: defaultdict[Person, list[int]] = defaultdict(list)
        self._conflicts: set[Person] = set()
        for place, event in enumerate(history):
            self._note(place, event)
        #: Those by which ids were joined that were not already.
        self._news = {
            person: [join for join in joins if not self._is_known(person, join)]
            for person, joins in self._joins.items()
        }

    def _note(self, place: int, event: object) -> None:
        match event:
            case Begun(_, worker):
                self.begun[worker] = place
            case Joined(_, account, customer, ids, worker):
                join = _Join(self.begun.get(worker, place), place, frozenset(ids))
                self._joins[account, customer].append(join)
            case Renumbered(_, account, customer):
                self.renumbered[account, customer].append((place, event))
            case Erased(_, account, customer):
                self._erasures[account, customer].append(place)
            case Conflicted(_, account, customer):
                self._conflicts.add((account, customer))

    def _is_known(self, person: Person, join: _Join) -> bool:
        one, *others = sorted(join.ids)
        return all(self.are_one(person, one, other, join.called) for other in others)

    def is_clear(self, person: Person) -> bool:
        """Return whether nobody was alerted that the customer's ids contradict each other."""
        return person not in self._conflicts

    def are_one(self, person: Person, one: str, other: str, by: int) -> bool:
        """Return whether two ids were known to be one customer's at a place."""
        since = max((place for place in self._erasures[person] if place < by), default=-1)
        found, before = {one}, set[str]()
        while found != before:
            before = set(found)
            for join in self._joins[person]:
                if since < join.called and join.place <= by and join.ids & found:
                    found |= join.ids
        return other in found

    def changed(self, person: Person, start: int, end: int) -> bool:
        """Return whether ids of the customer were being joined, or parted, between two places."""
        # Whoever is forgotten is known by no ids: what is offered once more comes to each by itself
        # (seed 820: one message before and once more after, another id's only after).
        if any(start < place < end for place in self._erasures[person]):
            return True
        return self.joined(person, start, end)

    def joined(self, person: Person, start: int, end: int) -> bool:
        """Return whether ids of the customer were being joined between two places."""
        return any(join.place > start and join.called < end for join in self._news.get(person, ()))

    def together(self, one: Message, other: Message) -> bool:
        """Return whether two messages of one customer came to one conversation."""
        person = one.person
        moments = one.offered, other.offered
        last = max(min(it.accepted, NEVER) for it in (one, other))
        if one.address == other.address and not self._joins[person]:
            return True
        return (
            self.is_clear(person)
            and not self.changed(person, min(moments), max(*moments, 0 if last == NEVER else last))
            and self.are_one(person, one.address, other.address, min(moments))
        )
