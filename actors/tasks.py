"""The tasks of a worker: flush, generate and send; each calls exactly one step of the flow.

A wake-up says which attempt of which batch to look at, and carries nothing else.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

import dramatiq
import redis
from dramatiq.errors import DramatiqError

from actors.bulkhead import Bulkhead
from batching import flow
from batching.errors import AmbiguousError, StoppedError, TransientError, UnusableAnswerError
from batching.keys import FLUSH_GATE
from batching.model import Answer, Exchange, Outbound, Stage, WakeUp
from batching.ports import Account, Accounts, Channel, Model, Pause
from batching.store import STALE, SUPERSEDED, Store, reached
from httpjson import Calls
from runtime.build import Runtime
from runtime.outages import Dependency, Outages

log = logging.getLogger(__name__)

#: The one actor that is not a stage of a batch.
FLUSH = "flush"
#: Every queue, one for each actor.
QUEUES = (FLUSH, *(stage.value for stage in Stage))
#: Before the name of a queue where a release is on trial: its wake-ups are no others'.
TRIAL_QUEUES = "trial_"
#: How long an enqueued flush may take to begin before another is enqueued, ms.
GATE_MS = 3_000
#: How long no flush is enqueued after our own code failed in one, ms: it would fail 14 times a
#: second, and no batch gets on by that.
FAILED_PAUSE_MS = 5_000
#: Most batches that one flush takes of each kind and shard, so that no script blocks for long.
FLUSH_LIMIT = 100
#: How often a lease is renewed while it lasts. All of these but one may be missed, by a busy host
#: or a slow Redis, before a worker that lives loses its batch.
RENEWALS = 6


class BrokerQueue:
    """Enqueues wake-ups on ``broker``; ``ledger`` holds the gate that all schedulers share.

    ``outages`` is told whether the broker was reached. ``gate``: the key of the gate. ``prefix``:
    see ``declare``.

    No actor has to be declared in this process: a stage's queue and actor have the stage's name.
    """

    def __init__(
        self,
        broker: dramatiq.Broker,
        ledger: redis.Redis,
        outages: Outages | None = None,
        *,
        gate: str = FLUSH_GATE,
        prefix: str = "",
    ) -> None:
        self._outages = outages or Outages()
        self._broker = broker
        self._ledger = ledger
        self._gate = gate
        self._prefix = prefix

    def enqueue(self, wake_up: WakeUp) -> None:
        """Wake a worker for the batch. Raise TransientError if the broker did not take it."""
        args = (wake_up.conversation_id, wake_up.batch_id, wake_up.attempt)
        self._enqueue(wake_up.stage.value, *args)

    def enqueue_flush(self) -> bool:
        """Enqueue a flush; return False if one is enqueued already and has not begun.

        Raise LedgerUnavailableError, or TransientError if the broker did not take it.
        """
        with reached():
            first = self._ledger.set(self._gate, 1, nx=True, px=GATE_MS)
        if not first:
            return False
        # The gate stays closed if this fails: that is the pause before the next attempt.
        self._enqueue(FLUSH)
        return True

    def flush_begins(self) -> None:
        """Open the gate for the next flush. Raise LedgerUnavailableError."""
        with reached():
            self._ledger.delete(self._gate)

    def flush_failed(self) -> None:
        """Close the gate for FAILED_PAUSE_MS. Raise LedgerUnavailableError."""
        with reached():
            self._ledger.set(self._gate, 1, px=FAILED_PAUSE_MS)

    def _enqueue(self, name: str, *args: str | int) -> None:
        queue = f"{self._prefix}{name}"
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=queue, actor_name=name, args=args, kwargs={}, options={}
        )
        try:
            self._broker.enqueue(message)
        except (DramatiqError, redis.RedisError, OSError) as error:
            self._outages.failed("broker", "broker_away")
            raise TransientError("broker_away", type(error).__name__) from error
        self._outages.worked("broker")


class WatchedAccounts:
    """Accounts whose models and providers are watched: a call that fails is told to ``outages``.

    A circuit that opens has an alert of its own, and what cannot be used was answered.
    """

    def __init__(self, accounts: Accounts, outages: Outages) -> None:
        self._accounts = accounts
        self._outages = outages
        self._failing: set[tuple[Dependency, str]] = set()

    def get(self, account_id: str) -> Account | None:
        """Return the account, None if it is not configured."""
        account = self._accounts.get(account_id)
        return account and replace(
            account,
            channel=_WatchedChannel(account.channel, self._calls("provider", account_id)),
            model=_WatchedModel(account.model, self._calls("model", account_id)),
            fallbacks=tuple(
                _WatchedModel(it, self._calls("model", account_id)) for it in account.fallbacks
            ),
        )

    def _calls(self, dependency: Dependency, account_id: str) -> "_Watch":
        """Return what takes note of whether the call in its context works."""

        @contextmanager
        def watch() -> Iterator[None]:
            try:
                yield
            except (StoppedError, UnusableAnswerError):
                raise
            except (AmbiguousError, TransientError) as error:
                self._failing.add((dependency, account_id))
                self._outages.failed(dependency, error.code, account=account_id)
                raise
            if (dependency, account_id) in self._failing and self._outages.worked(
                dependency, account=account_id
            ):
                self._failing.discard((dependency, account_id))

        return watch


_Watch = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class _WatchedModel:
    model: Model
    watch: _Watch

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
        with self.watch():
            return self.model.answer(history, turn, now_ms=now_ms)


@dataclass(frozen=True, slots=True)
class _WatchedChannel:
    channel: Channel
    watch: _Watch

    def split(self, text: str) -> list[str]:
        return self.channel.split(text)

    def send(self, outbound: Outbound) -> str:
        with self.watch():
            return self.channel.send(outbound)


class Tasks:
    """What the actors run. No failure reaches the broker: retrying is the ledger's work.

    ``flushed`` is called after every flush that reached the whole ledger. ``bulkhead`` bounds how
    many threads an account with slow calls may use. ``pause``: waits while the ledger is away.
    ``outages`` is told whether models and providers work.
    """

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        queue: BrokerQueue,
        flushed: Callable[[], None] = lambda: None,
        bulkhead: Bulkhead | None = None,
        pause: Pause = lambda _ms: False,
        outages: Outages | None = None,
    ) -> None:
        self._pause = pause
        self._bulkhead = bulkhead or Bulkhead()
        self._store = store
        self._accounts = WatchedAccounts(accounts, outages or Outages())
        self._queue = queue
        self._flushed = flushed

    def flush(self) -> None:
        """Put due batches in flight and enqueue their wake-ups."""
        with _reported(FLUSH):
            try:
                self._flush()
            except TransientError:
                raise
            except Exception:
                with suppress(TransientError):
                    self._queue.flush_failed()
                raise

    def _flush(self) -> None:
        # Opened first: what becomes due during the flush must be able to enqueue another.
        self._queue.flush_begins()
        taken = flow.flush(self._store, self._queue, limit=FLUSH_LIMIT)
        self._flushed()
        if taken >= FLUSH_LIMIT:
            # There may be more, which must not wait for the scheduler's next tick.
            self._queue.enqueue_flush()

    def generate(self, conversation_id: str, batch_id: str, attempt: int) -> None:
        """Ask the model to answer a batch and keep the reply."""
        step = partial(flow.generate, self._store, self._accounts, self._queue)
        self._take(step, WakeUp(conversation_id, batch_id, attempt, Stage.GENERATE))

    def send(self, conversation_id: str, batch_id: str, attempt: int) -> None:
        """Send the reply of a batch."""
        step = partial(flow.send, self._store, self._accounts)
        self._take(step, WakeUp(conversation_id, batch_id, attempt, Stage.SEND))

    def _take(self, step: Callable[..., None], wake_up: WakeUp) -> None:
        with _reported(wake_up.stage, wake_up):
            span = self._store.figures.traces.span(
                wake_up.stage, batch=wake_up.batch, attempt=wake_up.attempt
            )
            account_id = self._store.account_of(wake_up.conversation_id)
            with self._bulkhead.slot(wake_up.stage, account_id) as may_begin:
                if may_begin:
                    with span:
                        step(wake_up, renew_lease=renew_lease, pause=self._pause)


def queue_of(broker: dramatiq.Broker, runtime: Runtime) -> BrokerQueue:
    """Return the queue of a process; on trial it shares none with the processes of the service."""
    prefix = TRIAL_QUEUES if runtime.settings.on_trial else ""
    gate = runtime.store.keyring.flush_gate
    return BrokerQueue(broker, runtime.store.client, runtime.outages, gate=gate, prefix=prefix)


def declare(broker: dramatiq.Broker, tasks: Tasks, *, prefix: str = "") -> None:
    """Declare an actor with a queue of its own on ``broker`` for each task.

    ``prefix``: before the name of each queue; actors are called the same in every release.
    """
    actions: dict[str, Callable[..., None]] = {
        FLUSH: tasks.flush,
        Stage.GENERATE.value: tasks.generate,
        Stage.SEND.value: tasks.send,
    }
    for name, action in actions.items():
        dramatiq.actor(broker=broker, actor_name=name, queue_name=f"{prefix}{name}")(action)


@contextmanager
def _reported(name: str, wake_up: WakeUp | None = None) -> Iterator[None]:
    where: dict[str, object] = {"actor": name}
    if wake_up is not None:
        where |= {"conversation": wake_up.conversation_id, "batch": wake_up.batch_id}
    try:
        yield
    except TransientError as error:
        log.warning("doorbell.unanswered", extra=where | {"code": error.code})
    except Exception:
        log.exception("doorbell.failed", extra=where)


@contextmanager
def renew_lease(extend: Callable[[], int], lease_ms: int) -> Iterator[None]:
    """Call ``extend`` RENEWALS times in ``lease_ms`` from another thread until the context ends.

    Stop early when ``extend`` returns STALE: another worker holds the run, and the fenced write
    after the slow call will be refused. Cut off the calls of this context where it returns
    SUPERSEDED. No renewal is running when the context has been left.
    """
    over = threading.Event()
    every_s = lease_ms / 1000 / RENEWALS
    with Calls() as calls:
        thread = threading.Thread(
            target=_renew, args=(extend, over, every_s, calls), name="lease-renewer", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _renew(extend: Callable[[], int], over: threading.Event, every_s: float, calls: Calls) -> None:
    while not over.wait(every_s):
        try:
            renewed = extend()
        except TransientError:
            continue  # The lease outlives missed renewals; the fence holds if it does not.
        if renewed == STALE:
            return
        if renewed == SUPERSEDED:
            # Renewed all the same: nobody else is to ask before this call has ended.
            calls.cut()
