"""One thing that a person must be told, as a stream of the ledger has it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell. ``kind``: a Reason, or overdue, undelivered, an alarm …; "" for none.

    ``name`` is the same for ever; ``held`` counts those of its kind that it stands for, else 0.
    """

    shard: int
    entry_id: str
    kind: str
    detail: str = ""
    account_id: str = ""
    conversation_id: str = ""
    batch_id: str = ""
    at_ms: int = 0
    kept: int = 0
    lost: int = 0
    held: int = 0
    told: bool = False

    @property
    def written_ms(self) -> int:
        """Return when it was written: the server makes the ids of a stream from its clock."""
        return int(self.entry_id.partition("-")[0])

    @property
    def name(self) -> str:
        """Return what tells this alert from every other of the ledger."""
        return f"{self.shard}:{self.entry_id}"


def untold_ms(kept: Iterable[Alert], now_ms: int) -> int:
    """Return for how long the oldest alert that nobody was told of waits, 0 if all were told."""
    oldest_ms = min((alert.written_ms for alert in kept if not alert.told), default=now_ms)
    return max(0, now_ms - oldest_ms)


def position(entry_id: bytes) -> tuple[int, int]:
    """Return where an entry stands in its stream, fit to be compared."""
    ms, _, number = entry_id.decode().partition("-")
    return int(ms), int(number)


def alert_of(shard: int, entry: tuple[bytes, dict[bytes, bytes]], *, told: bool = False) -> Alert:
    """Return the alert of a stream's entry."""
    fields = {name.decode(): value.decode() for name, value in entry[1].items()}
    return Alert(
        shard=shard,
        entry_id=entry[0].decode(),
        kind=fields.get("kind", ""),
        detail=fields.get("detail", ""),
        account_id=fields.get("account", ""),
        conversation_id=fields.get("conversation", ""),
        batch_id=fields.get("batch", ""),
        at_ms=int(fields.get("at_ms", 0)),
        kept=int(fields.get("kept", 0)),
        lost=int(fields.get("lost", 0)),
        told=told,
    )
