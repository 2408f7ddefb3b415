"""One simulated day: what customers write, and what people and fate do meanwhile."""

from collections.abc import Callable
from typing import Any

import redis

from batching.model import ForeignMessage, InboundMessage, Kind
from tests.simulation.provider import SimulatedChannel
from tests.simulation.watcher import Watcher
from tests.simulation.web import Web
from tests.simulation.wire import Wire
from tests.simulation.world import World

#: Both accounts know the same numbers: their conversations must never meet.
ACCOUNTS = ("salon", "sister")
CUSTOMERS = ("79990000001", "79990000002", "79990000003")
STEPS_MS = (-600_000, -30_000, -1_000, 1_000, 30_000, 600_000)


def people(customers: int) -> list[tuple[str, str]]:
    """Return who may write to whom."""
    return [(account, customer) for account in ACCOUNTS for customer in CUSTOMERS[:customers]]


class Day:
    """Plans the day's events on the heap."""

    def __init__(
        self,
        world: World,
        *,
        web: Web,
        watcher: Watcher,
        wire: Wire,
        channels: dict[str, SimulatedChannel],
        client: redis.Redis,
    ) -> None:
        self._world = world
        self._web = web
        self._watcher = watcher
        self._wire = wire
        self._channels = channels
        self._client: Any = client

    def plan(self) -> None:
        """Put everything that is to come at its time."""
        setup = self._world.setup
        self._write()
        for count, deed in (
            (setup.takeover_count, self._take_over),
            (setup.operator_count, self._operate),
            (setup.erase_count, self._erase),
            (setup.clock_step_count, self._step_clock),
            (setup.outage_count, self._cut_off),
            (setup.stopped_count, self._stop_account),
            (setup.script_flush_count, self._client.script_flush),
        ):
            for _ in range(count):
                self._sometime(deed)

    def _sometime(self, deed: Callable[[], object]) -> None:
        self._world.hub.after(self._world.rng.randint(0, self._world.setup.day_ms), deed)

    def _someone(self) -> tuple[str, str]:
        return self._world.rng.choice(people(self._world.setup.customers))

    def _write(self) -> None:
        """Plan the customers' messages: bursts, some of them long."""
        world, written = self._world, 0
        while written < world.setup.messages:
            person, at_ms = self._someone(), world.rng.randint(0, world.setup.day_ms)
            burst = []
            for _ in range(min(world.rng.choice((1, 2, 3, 8)), world.setup.messages - written)):
                written += 1
                kind = Kind.REACTION if world.rng.random() < 0.04 else Kind.TEXT
                burst.append(InboundMessage(*person, f"id-{written}", kind, f"m{written}"))
            self._post(burst, at_ms)

    def _post(self, burst: list[InboundMessage], at_ms: int) -> None:
        world = self._world
        if len(burst) > 1 and world.chance("webhook_shared"):
            self._web.deliver(*burst, delay_ms=at_ms)
            burst = []
        for message in burst:
            at_ms += world.rng.choice((50, 500, 2_000, 8_000))
            self._web.deliver(message, delay_ms=at_ms)
            if world.chance("webhook_twice_at_once"):
                self._web.deliver(message, delay_ms=at_ms)
            if world.chance("webhook_again"):
                self._web.deliver(message, delay_ms=at_ms + world.rng.randint(0, 120_000))

    def _take_over(self) -> None:
        name = f"phone-{self._world.now_ms}"
        self._web.deliver(ForeignMessage(*self._someone(), name, "person"))
        self._world.occurred["taken over"] += 1

    def _operate(self) -> None:
        letters = self._watcher.dead_letters()
        if not letters:
            return
        letter = self._world.rng.choice(letters)
        if self._world.rng.random() < 0.7:
            self._watcher.replay(letter)
        else:
            self._watcher.discard(letter)

    def _erase(self) -> None:
        self._watcher.erase(*self._someone())

    def _step_clock(self) -> None:
        self._world.offset_ms += self._world.rng.choice(STEPS_MS)
        self._world.occurred["clock step"] += 1
        for task in self._world.hub.alive.values():
            self._world.pause(task)

    def _cut_off(self) -> None:
        span_ms = self._world.rng.randint(1_000, 60_000)
        self._wire.away_until_ms = self._world.now_ms + span_ms
        self._world.occurred["outage"] += 1

    def _stop_account(self) -> None:
        channel = self._channels[self._world.rng.choice(ACCOUNTS)]
        channel.stopped_until_ms = self._world.now_ms + self._world.rng.randint(1_000, 120_000)
