"""The processes of the service: webs, schedulers, and workers behind a broker not to be trusted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from batching import flow
from batching.errors import LedgerUnavailableError, TransientError
from batching.model import (
    DeliveryStatus,
    Event,
    IdentityChange,
    InboundMessage,
    Reception,
    Stage,
    Status,
    WakeUp,
    Watch,
)
from batching.ports import Account
from batching.store import STALE, SUPERSEDED, Store
from scheduler.tick import needs_flush
from tests.history.events import (
    Accepted,
    Amended,
    Begun,
    Delivered,
    Failed,
    Joined,
    Offered,
    Renumbered,
    words,
)
from tests.simulation.ids import customer_of
from tests.simulation.world import World

#: After how long a provider delivers again what was not answered 200.
AGAIN_MS = (500, 60_000)
TICK_MS, SOON_MS, LATE_MS = (50, 3_000), (1, 300), (5_000, 600_000)
#: How long a scheduler sleeps at most although nothing is due.
BUSY_MS, CALM_MS = 10_000, 60_000
#: How long a broker keeps what it repeats for no reason.
STALE_MAX = 50


@dataclass
class Web:
    """Delivers what happens at the provider to one of two web processes, whose limits differ.

    ``pending``: deliveries that were not answered 200 yet. ``came_by``: by message, under which ids
    it came. ``tags``: of each copy of a part, by the provider's id.
    """

    world: World
    store: Store
    pending: int = 0
    amended: set[str] = field(default_factory=set)
    came_by: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def deliver(self, *events: Event, delay_ms: int = 0) -> None:
        """Call the webhook with the events, again and again until it answers 200."""
        self.pending += 1
        self._try(events, delay_ms, [])

    def _try(self, events: tuple[Event, ...], delay_ms: int, tried: list[str]) -> None:
        """``tried``: the workers that were called with the events before."""

        def call() -> None:
            tried.append(self.world.worker)
            if self._receive(events, tried[0]):
                self.pending -= 1
            else:
                again()

        def again() -> None:
            self._try(events, self.world.rng.randint(*AGAIN_MS), tried)

        self.world.spawn("web", call, delay_ms=delay_ms, crashed=again)

    def _receive(self, events: tuple[Event, ...], first: str) -> bool:
        """Return whether the answer is 200. ``first``: who was called with the events first."""
        world = self.world
        messages = [event for event in events if isinstance(event, InboundMessage)]
        world.add(Begun(world.now_ms, world.worker))
        began_ms = world.clock()
        for message in messages:
            self._offered(message)
        limits = world.rng.choice(world.setup.limits)
        try:
            limits_of = partial(world.setup.limits_of, limits)
            receipts = flow.receive(self.store, events, limits_of, self._reception)
        except LedgerUnavailableError:
            return False
        for event in events:
            if isinstance(event, DeliveryStatus):
                self._reported(event)
            elif isinstance(event, IdentityChange):
                self._followed(event, began_ms, first)
        world.occurred.update(f"receipt {receipt.status}" for receipt in receipts)
        if any(receipt.status is Status.FULL for receipt in receipts):
            return False
        for message, receipt in zip(messages, receipts, strict=True):
            # What its full conversation could not hold is counted, and a person is alerted.
            if receipt.status is not Status.OVERFLOW:
                self._accepted(message, receipt.status, first)
        return True

    def _reception(self, account_id: str) -> Reception:
        """Return how an account takes in messages; drawn apart, as in ``day``."""
        rng = Random(f"{self.world.setup.day_ms} reception {account_id}")  # noqa: S311
        return Reception(window=rng.choice(("fixed", "adaptive", "adaptive")), language="en")

    def _reported(self, status: DeliveryStatus) -> None:
        world, id_ = self.world, status.provider_id
        # Without our tag nothing is known of a part whose id is not recorded yet.
        if status.state == "failed" and status.tag and id_.startswith(f"{status.account_id}-"):
            world.add(Failed(world.now_ms, status.tag))
        elif status.state == "delivered" and id_ in self.tags:
            world.add(Delivered(world.now_ms, self.tags[id_]))

    def _offered(self, message: InboundMessage) -> None:
        world, id_ = self.world, message.customer
        person = message.account_id, customer_of(id_)
        for word in words(message.text):
            silent = message.is_silent
            world.add(Offered(world.now_ms, *person, word, silent, message.sent_at_ms, id_))

    def _accepted(self, message: InboundMessage, status: Status, first: str) -> None:
        world, said = self.world, words(message.text)
        ids = self.came_by.setdefault((message.account_id, message.message_id), set())
        ids.add(message.customer)
        if len(ids) > 1:
            # No provider gives one id to two customers' messages.
            self._joined(message.account_id, tuple(sorted(ids)), first)
        for word in said:
            world.add(Accepted(world.now_ms, word))
        is_new = message.message_id not in self.amended or status is not Status.DUPLICATE
        if message.amends and is_new:
            self.amended.add(message.message_id)
            by = said[0] if said else ""
            world.add(
                Amended(world.now_ms, _word(message.amends), by, world.worker, message.customer)
            )
        if message.aliases:
            self._joined(message.account_id, (message.customer, *message.aliases), first)

    def _joined(self, account: str, ids: tuple[str, ...], first: str) -> None:
        customer = customer_of(ids[0])
        self.world.add(Joined(self.world.now_ms, account, customer, ids, first))

    def _followed(self, change: IdentityChange, began_ms: int, first: str) -> None:
        world, account = self.world, change.account_id
        self._joined(account, (*change.former, *change.present), first)
        since_ms = change.at_ms if change.at_ms <= min(began_ms, world.clock()) else 0
        for former, present in change.addresses.items():
            place = account, customer_of(former), former, present
            world.add(Renumbered(world.now_ms, *place, since_ms))
        world.occurred["ids changed"] += 1


@dataclass
class Workers:
    """All between the ledger and the ports: it enqueues, answers, renews leases."""

    world: World
    store: Store
    accounts: dict[str, Account]
    enqueued: list[WakeUp] = field(default_factory=list)

    def get(self, account_id: str) -> Account | None:
        """Return the account; now and then a worker does not know it yet."""
        return None if self.world.chance("account_unknown") else self.accounts[account_id]

    def start(self) -> None:
        """Start the schedulers."""
        for _ in range(self.world.setup.flushers):
            self._schedule()

    def _schedule(self) -> None:
        """Start one scheduler; who supervises it starts the next when it dies."""
        self.world.spawn(
            "scheduler", self._tick, delay_ms=1_000, daemon=True, crashed=self._schedule
        )

    def _tick(self) -> None:
        world = self.world
        while True:
            wait_ms = 0
            with suppress(LedgerUnavailableError):
                watch = self.store.watch()
                if needs_flush(watch):
                    self._carry("flush", self._flush)
                wait_ms = _until_due_ms(watch)
            # A real one ticks many times a second; these sleep while nothing can be due.
            world.sleep(min(wait_ms, CALM_MS if world.healed else BUSY_MS))
            world.sleep(world.rng.randint(*TICK_MS))

    def _flush(self) -> None:
        with suppress(TransientError):  # as the tasks of a worker do
            flow.flush(self.store, self, limit=self.world.setup.flush_limit)

    def enqueue(self, wake_up: WakeUp) -> None:
        """Wake a worker. Raise TransientError if the broker did not take it."""
        world = self.world
        world.boundary()
        if world.chance("wake_up_refused"):
            raise TransientError("broker_away")
        self.enqueued = [*self.enqueued[-STALE_MAX:], wake_up]
        self._carry(wake_up.stage, lambda: self._answer(wake_up))
        if world.chance("wake_up_stale"):
            stale = world.rng.choice(self.enqueued)
            self._carry(stale.stage, lambda: self._answer(stale))
        world.boundary()

    def _carry(self, name: str, answer: Callable[[], None]) -> None:
        """Bring a wake-up to a worker: once, twice, late, or never."""
        world = self.world
        if world.chance("wake_up_lost"):
            return
        for _ in range(2 if world.chance("wake_up_twice") else 1):
            span = LATE_MS if world.chance("wake_up_late") else SOON_MS
            world.spawn(name, answer, delay_ms=world.rng.randint(*span))

    def _answer(self, wake_up: WakeUp) -> None:
        ways: Any = {"renew_lease": self._renew_lease, "pause": self._pause}
        self.world.add(Begun(self.world.now_ms, self.world.worker))
        with suppress(TransientError):  # as the tasks of a worker do
            if wake_up.stage is Stage.GENERATE:
                flow.generate(self.store, self, self, wake_up, **ways)
            else:
                flow.send(self.store, self, wake_up, **ways)

    def _pause(self, ms: int) -> bool:
        """Wait as a worker does whose ledger is away; now and then its process is to end."""
        self.world.sleep(ms)
        return not self.world.chance("worker_ends")

    @contextmanager
    def _renew_lease(self, extend: Callable[[], int], lease_ms: int) -> Iterator[None]:
        """Renew the lease as actors.tasks does: in time, from beside, and not while it sleeps."""
        world, owner = self.world, self.world.task
        assert owner
        keeping = True

        def renew() -> None:
            if not keeping:
                return
            if owner.frozen_until_ms > world.now_ms:
                again(owner.frozen_until_ms - world.now_ms)
                return
            try:
                renewed = extend()
            except TransientError:
                world.pause(owner)
            else:
                if renewed == STALE:
                    return
                if renewed == SUPERSEDED:
                    # Not at once: who is woken goes on before this returns.
                    world.after(0, owner.cut)
            again(lease_ms // 3)

        def again(delay_ms: int) -> None:
            world.spawn("lease renewer", renew, delay_ms=delay_ms, mortal=False, daemon=True)

        again(lease_ms // 3)
        try:
            yield
        finally:
            keeping = False


def _word(message_id: str) -> str:
    """Return the word that a message of the day consists of, by its id."""
    return message_id.replace("id-", "m")


def _until_due_ms(watch: Watch) -> int:
    moments = [at_ms for at_ms in (watch.due_ms, watch.lease_ms) if at_ms is not None]
    return max(0, min(moments, default=watch.now_ms + CALM_MS) - watch.now_ms)
