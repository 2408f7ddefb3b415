"""The ids of a simulated customer: a number, one that WhatsApp made, and what both become."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from batching.model import ForeignMessage, IdentityChange, InboundMessage

#: By what a message comes: the number, the other id, or both.
FORMS = ("number", "other", "both")


def customer_of(id_: str) -> str:
    """Return whose id it is."""
    return id_.removeprefix("RU.")[:11]


def ids_of(customer: str) -> tuple[str, ...]:
    """Return all ids that a customer may ever have."""
    return tuple(f"{kind}{customer}{number}" for number in ("", "9") for kind in ("", "RU."))


@dataclass
class Ids:
    """Gives the customers of a day their ids.

    ``several``: customers have more than one, in this day. Drawn apart from the world's chances,
    so that days without them take the same course as ever.
    """

    rng: Random
    several: bool
    #: When an id of a customer of an account is replaced, ms: (number, other id).
    changes: dict[tuple[str, str], tuple[int | None, int | None]]

    @classmethod
    def draw(cls, rng: Random, people: Sequence[tuple[str, str]], day: range) -> "Ids":
        """Return the ids of a day."""
        changes = {}
        for person in people:
            number = rng.choice((None, rng.choice(day)))
            # With the number WhatsApp makes another id, sooner or later, or also without.
            other = rng.choice((number, None, rng.choice(day)))
            changes[person] = number, other
        return cls(rng, rng.random() < 0.5, changes)

    def at(self, account: str, customer: str, at_ms: int) -> tuple[str, str]:
        """Return a customer's number and other id at a time."""
        number, other = (
            "" if when is None or at_ms < when or not self.several else "9"
            for when in self.changes[account, customer]
        )
        return f"{customer}{number}", f"RU.{customer}{other}"

    def under(self, message: InboundMessage, at_ms: int, form: str = "") -> InboundMessage:
        """Return a message as it comes under the ids of its customer at that time."""
        if not self.several:
            return message
        number, other = self.at(message.account_id, message.customer, at_ms)
        match form or self.rng.choice(FORMS):
            case "number":
                return replace(message, customer=number, has_twin=True)
            case "other":
                return replace(message, customer=other, secondary=True, has_twin=True)
        return replace(message, customer=number, aliases=(other,))

    def again(self, first: InboundMessage, message: InboundMessage, at_ms: int) -> InboundMessage:
        """Return a message that came already as it comes once more, perhaps by other ids."""
        return self.under(message, at_ms) if self.rng.random() < 0.5 else first

    def wrote_to(self, event: ForeignMessage, at_ms: int) -> ForeignMessage:
        """Return a message of a person of the business, to whichever id of the customer."""
        if not self.several:
            return event
        return replace(
            event, customer=self.rng.choice(self.at(event.account_id, event.customer, at_ms))
        )

    def news(self, account: str, customer: str) -> list[IdentityChange]:
        """Return what the provider tells of a customer's new ids: all at once, or one by one."""
        moments = {when for when in self.changes[account, customer] if when is not None}
        found = []
        for at_ms in sorted(moments) if self.several else ():
            before, after = (self.at(account, customer, ms) for ms in (at_ms - 1, at_ms))
            former = [old for old, new in zip(before, after, strict=True) if old != new]
            present = [new for old, new in zip(before, after, strict=True) if old != new]
            if self.rng.random() < 0.5:
                # It may name what stays, too.
                present += [it for it in after if it not in present]
            addresses = {old: new for old, new in zip(before, after, strict=True) if old != new}
            found.append(IdentityChange(account, tuple(former), tuple(present), addresses, at_ms))
        return found
