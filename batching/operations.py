"""The operator's verbs on a ledger, together: all keep its invariants."""

from batching import audit, erase, inspect
from batching.inspect import Balance, DeadLetter, DeadLetters
from batching.keys import Shard
from batching.model import Limits, Reason
from batching.store import Store

__all__ = ["Balance", "DeadLetter", "Operations"]


class Operations:
    """What a person does to a ledger. Every method raises LedgerUnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._letters = DeadLetters(store)

    def balance(self) -> list[Balance]:
        """Return the books of every shard."""
        return inspect.balance(self._store)

    def audit(self) -> list[str]:
        """Return what contradicts the invariants of a ledger at rest; empty if nothing does."""
        return list(audit.audit(self._store).problems)

    def dead_letters(self) -> list[DeadLetter]:
        """Return every dead letter with its messages, oldest first."""
        headers = list(self._letters.headers())
        read = (
            self.dead_letter(face.batch_id, self._store.shard_of(face.conversation_id))
            for face in headers
        )
        return sorted((letter for letter in read if letter), key=lambda letter: letter.died_ms)

    def dead_letter(self, batch_id: str, shard: Shard) -> DeadLetter | None:
        """Return one dead letter of a shard, None if there is none of that batch."""
        return self._letters.read(batch_id, shard)

    def replay(self, letter: DeadLetter, limits: Limits) -> int:
        """Put a dead letter back to be answered; return its messages, -1 if it is gone."""
        return self._letters.replay(letter, limits)

    def discard(self, letter: DeadLetter, reason: Reason = Reason.DISCARDED) -> int:
        """Forget a dead letter; return its messages, -1 if it is gone."""
        return self._letters.discard(letter, reason)

    def erase(self, conversation_id: str) -> int:
        """Forget a customer; return the messages that are not answered because of it."""
        return erase.erase(self._store, conversation_id).messages
