"""The way in: a provider that delivers until it hears 200, and web processes that may die."""

from batching import flow
from batching.errors import LedgerUnavailableError
from batching.model import SILENT_KINDS, Event, InboundMessage, Status
from batching.store import Store
from tests.history.events import Accepted, Offered
from tests.simulation.world import World

AGAIN_MS = (500, 60_000)


class Web:
    """Delivers what happens at the provider to one of two web processes, whose limits differ."""

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        #: Deliveries that were not answered 200 yet.
        self.pending = 0

    def deliver(self, *events: Event, delay_ms: int = 0) -> None:
        """Call the webhook with the events, again and again until it answers 200."""
        self.pending += 1
        self._try(events, delay_ms)

    def _try(self, events: tuple[Event, ...], delay_ms: int) -> None:
        def call() -> None:
            if self._receive(events):
                self.pending -= 1
            else:
                again()

        def again() -> None:
            self._try(events, self._world.rng.randint(*AGAIN_MS))

        self._world.hub.spawn("web", call, delay_ms=delay_ms, crashed=again)

    def _receive(self, events: tuple[Event, ...]) -> bool:
        """Return whether the answer is 200."""
        world = self._world
        messages = [event for event in events if isinstance(event, InboundMessage)]
        for message in messages:
            silent = message.kind in SILENT_KINDS
            person = (message.account_id, message.customer)
            world.add(Offered(world.now_ms, *person, message.text, silent))
        limits = world.rng.choice(world.setup.limits)
        try:
            receipts = flow.receive(self._store, events, lambda _: limits)
        except LedgerUnavailableError:
            return False
        world.occurred.update(f"receipt {receipt.status}" for receipt in receipts)
        if any(receipt.status is Status.FULL for receipt in receipts):
            return False
        for message in messages:
            world.add(Accepted(world.now_ms, message.text))
        return True
