"""What a batch is held to, and how the ledger waits: plain numbers, in milliseconds and counts."""

from dataclasses import dataclass, fields
from typing import Self

from batching.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch is held to. Stamped into it by whoever opens it, so a stale process is harmless.

    All ``*_ms`` are milliseconds. ``overdue_ms``: a person is told, nothing is dropped.
    ``reply_deadline_ms``: past it the batch is a dead letter (WhatsApp answers for 24 h only).
    """

    idle_ms: int = 9_000
    messages_max: int = 10
    wait_max_ms: int = 45_000
    overdue_ms: int = 120_000
    reply_deadline_ms: int = 86_400_000
    lease_ms: int = 30_000
    attempts_max: int = 8

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
class Pace:
    """How the ledger waits, repeats and forgets; one set for a whole ledger, in milliseconds.

    ``ring_ms``: how long a doorbell may stay unanswered before it is rung again, doubling up to
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
