"""The three tasks of a worker, how they are enqueued, and the lease they renew meanwhile.

A wake-up says where to look and carries nothing else; each task calls exactly one step of the flow.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import dramatiq
import redis
from dramatiq.errors import DramatiqError

from actors.bulkhead import Bulkhead
from batching import flow
from batching.errors import LedgerUnavailableError, TransientError
from batching.keys import FLUSH_GATE
from batching.model import Stage, WakeUp
from batching.ports import Accounts
from batching.store import Store

#: The one actor that is not a stage of a batch.
FLUSH = "flush"
#: How long a flush that was rung for may take to begin before it is rung for again, ms.
GATE_MS = 3_000


class BrokerQueue:
    """Wakes a worker through ``broker``; ``ledger`` keeps the gate that all schedulers share.

    Needs no actors declared here: a stage's queue and actor bear the stage's name.
    """

    def __init__(self, broker: dramatiq.Broker, ledger: redis.Redis) -> None:
        self._broker = broker
        self._ledger = ledger

    def enqueue(self, wake_up: WakeUp) -> None:
        """Ask a worker to look at the batch. Raise TransientError if the broker did not take it."""
        self._enqueue(
            wake_up.stage.value, wake_up.conversation_id, wake_up.batch_id, wake_up.attempt
        )

    def enqueue_flush(self) -> bool:
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


@contextmanager
def renew_lease(extend: Callable[[], bool], lease_ms: int) -> Iterator[None]:
    """Call ``extend`` every third of ``lease_ms`` from another thread until the context ends.

    Stops early when ``extend`` returns False: the run belongs to somebody else, and the fenced
    write after the call will say so. When the context is left, no call is running or follows.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_renew, args=(extend, over, lease_ms / 3000), name="lease-keeper", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _renew(extend: Callable[[], bool], over: threading.Event, every_s: float) -> None:
    while not over.wait(every_s):
        try:
            if not extend():
                return
        except TransientError:
            continue  # The lease outlives one missed renewal; if it does not, the fence holds.


log = logging.getLogger(__name__)

#: Most batches that one flush takes of each kind and shard: a script must not block for long.
FLUSH_LIMIT = 100


class Tasks:
    """What the actors do. The broker learns nothing of failures: the ledger repeats or gives up.

    ``flushed`` is called after every flush that reached the whole ledger. ``places`` bounds what
    an account whose calls hang may take of this process.
    """

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        queue: BrokerQueue,
        flushed: Callable[[], None] = lambda: None,
        places: Bulkhead | None = None,
    ) -> None:
        self._places = places or Bulkhead()
        self._store = store
        self._accounts = accounts
        self._queue = queue
        self._flushed = flushed

    def flush(self) -> None:
        """Collect what is due and ring for it."""
        with _door(FLUSH):
            # Opened before looking: what becomes due while we look must be able to ring again.
            self._queue.flush_begins()
            taken = flow.flush(self._store, self._queue, limit=FLUSH_LIMIT)
            self._flushed()
            if taken >= FLUSH_LIMIT:
                # There may be more: it must not wait for the scheduler's next tick.
                self._queue.enqueue_flush()

    def generate(self, conversation_id: str, batch_id: str, attempt: int) -> None:
        """Ask the model about a batch and keep its answer."""
        wake_up = WakeUp(conversation_id, batch_id, attempt, Stage.GENERATE)
        with _door(Stage.GENERATE, wake_up), self._place(wake_up) as may_begin:
            if may_begin:
                flow.generate(self._store, self._accounts, self._queue, wake_up, keep=renew_lease)

    def send(self, conversation_id: str, batch_id: str, attempt: int) -> None:
        """Send the answer of a batch."""
        wake_up = WakeUp(conversation_id, batch_id, attempt, Stage.SEND)
        with _door(Stage.SEND, wake_up), self._place(wake_up) as may_begin:
            if may_begin:
                flow.send(self._store, self._accounts, wake_up, keep=renew_lease)

    def _place(self, wake_up: WakeUp) -> AbstractContextManager[bool]:
        return self._places.place(wake_up.stage, self._store.account_of(wake_up.conversation_id))


def declare(broker: dramatiq.Broker, tasks: Tasks) -> None:
    """Give each door its queue on ``broker``."""
    actions: dict[str, Callable[..., None]] = {
        FLUSH: tasks.flush,
        Stage.GENERATE.value: tasks.generate,
        Stage.SEND.value: tasks.send,
    }
    for name, action in actions.items():
        dramatiq.actor(broker=broker, actor_name=name, queue_name=name)(action)


@contextmanager
def _door(name: str, wake_up: WakeUp | None = None) -> Iterator[None]:
    where: dict[str, object] = {"actor": name}
    if wake_up is not None:
        where |= {"conversation": wake_up.conversation_id, "batch": wake_up.batch_id}
    try:
        yield
    except TransientError as error:
        log.warning("doorbell.unanswered", extra=where | {"code": error.code})
    except Exception:
        log.exception("doorbell.failed", extra=where)
