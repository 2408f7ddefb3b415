"""Schedulers, a broker that cannot be trusted, and the workers that answer its wake-ups."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from batching import flow
from batching.errors import LedgerUnavailableError, TransientError
from batching.model import Stage, WakeUp, Watch
from batching.ports import Account
from batching.store import Store
from scheduler.tick import needs_flush
from tests.simulation.world import World

TICK_MS, SOON_MS, LATE_MS = (50, 3_000), (1, 300), (5_000, 600_000)
#: How long a scheduler sleeps at most although nothing is due.
BUSY_MS, CALM_MS = 10_000, 60_000
#: How long a broker keeps what it repeats for no reason.
STALE_MAX = 50


class Workers:
    """All between the ledger and the ports: it enqueues, answers, renews leases."""

    def __init__(self, world: World, store: Store, accounts: dict[str, Account]) -> None:
        self._world = world
        self._store = store
        self._accounts = accounts
        self._enqueued: list[WakeUp] = []

    def get(self, account_id: str) -> Account | None:
        """Return the account; now and then a worker does not know it yet."""
        return None if self._world.chance("account_unknown") else self._accounts[account_id]

    def start(self) -> None:
        """Start the schedulers."""
        for _ in range(self._world.setup.flushers):
            self._schedule()

    def _schedule(self) -> None:
        """Start one scheduler; who supervises it starts the next when it dies."""
        self._world.hub.spawn(
            "scheduler", self._tick, delay_ms=1_000, daemon=True, crashed=self._schedule
        )

    def _tick(self) -> None:
        world = self._world
        while True:
            wait_ms = 0
            try:
                watch = self._store.watch()
                if needs_flush(watch):
                    self._carry("flush", self._flush)
                wait_ms = _until_due_ms(watch)
            except LedgerUnavailableError:
                pass
            # A real one ticks many times a second; these sleep while nothing can be due.
            world.hub.sleep(min(wait_ms, CALM_MS if world.healed else BUSY_MS))
            world.hub.sleep(world.rng.randint(*TICK_MS))

    def _flush(self) -> None:
        with suppress(TransientError):  # as the tasks of a worker do
            flow.flush(self._store, self, limit=self._world.setup.flush_limit)

    def enqueue(self, wake_up: WakeUp) -> None:
        """Wake a worker. Raise TransientError if the broker did not take it."""
        world = self._world
        world.boundary()
        if world.chance("wake_up_refused"):
            raise TransientError("broker_away")
        self._enqueued = [*self._enqueued[-STALE_MAX:], wake_up]
        self._carry(wake_up.stage, lambda: self._answer(wake_up))
        if world.chance("wake_up_stale"):
            stale = world.rng.choice(self._enqueued)
            self._carry(stale.stage, lambda: self._answer(stale))
        world.boundary()

    def _carry(self, name: str, answer: Callable[[], None]) -> None:
        """Bring a wake-up to a worker: once, twice, late, or never."""
        world = self._world
        if world.chance("wake_up_lost"):
            return
        for _ in range(2 if world.chance("wake_up_twice") else 1):
            span = LATE_MS if world.chance("wake_up_late") else SOON_MS
            world.hub.spawn(name, answer, delay_ms=world.rng.randint(*span))

    def _answer(self, wake_up: WakeUp) -> None:
        with suppress(TransientError):  # as the tasks of a worker do
            if wake_up.stage is Stage.GENERATE:
                flow.generate(self._store, self, self, wake_up, renew_lease=self._renew_lease)
            else:
                flow.send(self._store, self, wake_up, renew_lease=self._renew_lease)

    @contextmanager
    def _renew_lease(self, extend: Callable[[], bool], lease_ms: int) -> Iterator[None]:
        """Renew the lease as actors.tasks does: in time, from beside, and not while it sleeps."""
        world, owner = self._world, self._world.hub.task
        assert owner
        keeping = True

        def renew() -> None:
            if not keeping:
                return
            if owner.frozen_until_ms > world.now_ms:
                again(owner.frozen_until_ms - world.now_ms)
                return
            try:
                if not extend():
                    return
            except TransientError:
                world.pause(owner)
            again(lease_ms // 3)

        def again(delay_ms: int) -> None:
            world.hub.spawn("lease renewer", renew, delay_ms=delay_ms, mortal=False, daemon=True)

        again(lease_ms // 3)
        try:
            yield
        finally:
            keeping = False


def _until_due_ms(watch: Watch) -> int:
    moments = [at_ms for at_ms in (watch.due_ms, watch.lease_ms) if at_ms is not None]
    return max(0, min(moments, default=watch.now_ms + CALM_MS) - watch.now_ms)
