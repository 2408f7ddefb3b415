"""The three doors through which doorbells come in; each calls exactly one step of the flow."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import dramatiq

from actors.doorbell import FLUSH, BrokerDoorbell
from actors.keeper import keep_lease
from actors.places import Places
from batching import flow
from batching.errors import TransientError
from batching.model import Ring, Stage
from batching.ports import Accounts
from batching.store import Store

log = logging.getLogger(__name__)

#: Most batches that one flush takes of each kind and shard: a script must not block for long.
FLUSH_LIMIT = 100


class Doors:
    """What the actors do. The broker learns nothing of failures: the ledger repeats or gives up.

    ``flushed`` is called after every flush that reached the whole ledger. ``places`` bounds what
    an account whose calls hang may take of this process.
    """

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        doorbell: BrokerDoorbell,
        flushed: Callable[[], None] = lambda: None,
        places: Places | None = None,
    ) -> None:
        self._places = places or Places()
        self._store = store
        self._accounts = accounts
        self._doorbell = doorbell
        self._flushed = flushed

    def flush(self) -> None:
        """Collect what is due and ring for it."""
        with _door(FLUSH):
            # Opened before looking: what becomes due while we look must be able to ring again.
            self._doorbell.flush_begins()
            taken = flow.flush(self._store, self._doorbell, limit=FLUSH_LIMIT)
            self._flushed()
            if taken >= FLUSH_LIMIT:
                # There may be more: it must not wait for the scheduler's next tick.
                self._doorbell.ring_flush()

    def generate(self, conversation_id: str, batch_id: str, attempt: int) -> None:
        """Ask the model about a batch and keep its answer."""
        ring = Ring(conversation_id, batch_id, attempt, Stage.GENERATE)
        with _door(Stage.GENERATE, ring), self._place(ring) as may_begin:
            if may_begin:
                flow.generate(self._store, self._accounts, self._doorbell, ring, keep=keep_lease)

    def send(self, conversation_id: str, batch_id: str, attempt: int) -> None:
        """Send the answer of a batch."""
        ring = Ring(conversation_id, batch_id, attempt, Stage.SEND)
        with _door(Stage.SEND, ring), self._place(ring) as may_begin:
            if may_begin:
                flow.send(self._store, self._accounts, ring, keep=keep_lease)

    def _place(self, ring: Ring) -> AbstractContextManager[bool]:
        return self._places.place(ring.stage, self._store.account_of(ring.conversation_id))


def declare(broker: dramatiq.Broker, doors: Doors) -> None:
    """Give each door its queue on ``broker``."""
    actions: dict[str, Callable[..., None]] = {
        FLUSH: doors.flush,
        Stage.GENERATE.value: doors.generate,
        Stage.SEND.value: doors.send,
    }
    for name, action in actions.items():
        dramatiq.actor(broker=broker, actor_name=name, queue_name=name)(action)


@contextmanager
def _door(name: str, ring: Ring | None = None) -> Iterator[None]:
    where: dict[str, object] = {"actor": name}
    if ring is not None:
        where |= {"conversation": ring.conversation_id, "batch": ring.batch_id}
    try:
        yield
    except TransientError as error:
        log.warning("doorbell.unanswered", extra=where | {"code": error.code})
    except Exception:
        log.exception("doorbell.failed", extra=where)
