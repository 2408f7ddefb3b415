"""Rings through the broker. A doorbell says where to look and carries nothing else."""

import dramatiq
import redis
from dramatiq.errors import DramatiqError

from batching.errors import LedgerUnavailableError, TransientError
from batching.keys import FLUSH_GATE
from batching.model import Ring

#: The one actor that is not a stage of a batch.
FLUSH = "flush"
#: How long a flush that was rung for may take to begin before it is rung for again, ms.
GATE_MS = 3_000


class BrokerDoorbell:
    """Wakes a worker through ``broker``; ``ledger`` keeps the gate that all schedulers share.

    Needs no actors declared here: a stage's queue and actor bear the stage's name.
    """

    def __init__(self, broker: dramatiq.Broker, ledger: redis.Redis) -> None:
        self._broker = broker
        self._ledger = ledger

    def ring(self, ring: Ring) -> None:
        """Ask a worker to look at the batch. Raise TransientError if the broker did not take it."""
        self._enqueue(ring.stage.value, ring.conversation_id, ring.batch_id, ring.attempt)

    def ring_flush(self) -> bool:
        """Ask a worker to flush; return False where one was asked already and has not begun.

        Raise LedgerUnavailableError, or TransientError if the broker did not take it.
        """
        try:
            first = self._ledger.set(FLUSH_GATE, 1, nx=True, px=GATE_MS)
        except redis.RedisError as error:
            raise LedgerUnavailableError("ledger_away", type(error).__name__) from error
        if not first:
            return False
        # The gate stays where this fails: it is the pause before the next try.
        self._enqueue(FLUSH)
        return True

    def flush_begins(self) -> None:
        """Open the gate: what becomes due from now on needs another flush.

        Raise LedgerUnavailableError.
        """
        try:
            self._ledger.delete(FLUSH_GATE)
        except redis.RedisError as error:
            raise LedgerUnavailableError("ledger_away", type(error).__name__) from error

    def _enqueue(self, name: str, *args: str | int) -> None:
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=name, actor_name=name, args=args, kwargs={}, options={}
        )
        try:
            self._broker.enqueue(message)
        except (DramatiqError, redis.RedisError, OSError) as error:
            raise TransientError("broker_away", type(error).__name__) from error
