"""Runs one seed from its first message to quiet, and judges it."""

import logging
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import count
from random import Random

import redis

from batching.model import Dependency
from batching.ports import Account
from batching.store import Store
from tests.history.checker import check
from tests.history.events import Accepted, Happening, digest
from tests.simulation.day import ACCOUNTS, Day, people
from tests.simulation.ids import Ids, ids_of
from tests.simulation.outside import APOLOGY, SILENT, WAITING, SimulatedChannel, SimulatedModel
from tests.simulation.rates import Setup, draw
from tests.simulation.service import Web, Workers
from tests.simulation.watcher import BrokenError, Watcher
from tests.simulation.wire import SimulatedRedis, Wire
from tests.simulation.world import World

#: How long everything may take to come to its end once nothing goes wrong any more.
DRAIN_MS_MAX = 4 * 3_600_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed; good if ``broken`` is empty."""

    seed: int
    setup: Setup
    history: tuple[Happening, ...]
    occurred: Counter[str]
    broken: tuple[str, ...]
    simulated_ms: int

    @property
    def digest(self) -> str:
        """Return what a replay of the seed must have too."""
        return digest(self.history)

    @property
    def accepted(self) -> int:
        """Return how many messages the day brought."""
        return len({event.word for event in self.history if isinstance(event, Accepted)})

    def tail(self, lines: int = 60) -> str:
        """Return what went wrong, the faults of the seed and the end of its history."""
        setup = {field.name: getattr(self.setup, field.name) for field in fields(self.setup)}
        for name in ("rates", "deeds"):
            setup[name] = " ".join(
                f"{it}={often:.3g}" for it, often in setup[name].items() if often
            )
        return "\n".join((
            f"seed {self.seed} {'BREAKS' if self.broken else 'holds'}, history {self.digest}",
            *(f"  {line}" for line in self.broken),
            "set up:",
            *(f"  {name}: {value}" for name, value in setup.items()),
            "history:",
            *(f"  {event}" for event in self.history[-lines:]),
            f"again: make simulate SEED={self.seed}",
        ))  # fmt: skip


def run(seed: int, client: redis.Redis) -> Outcome:
    """Run a seed on an empty server, which is emptied first: also of scripts, which take a call."""
    client.flushall()
    client.script_flush()
    rng = Random(seed)  # noqa: S311 - repeatable on purpose
    world = World(draw(rng), rng)
    began_ms = world.now_ms
    simulation = Simulation(world, client)
    broken: list[str] = []
    with _silent():
        try:
            simulation.live()
        except BrokenError as error:
            broken.append(str(error))
        except Exception:  # noqa: BLE001 - whatever the flow lets through is a fault of the flow
            broken.append(traceback.format_exc())
        finally:
            world.close()
    if not broken:
        broken = simulation.judge()
    return Outcome(
        seed, world.setup, tuple(world.history), world.occurred, tuple(broken),
        world.now_ms - began_ms,
    )  # fmt: skip


class Simulation:
    """All parts of one seed, put together."""

    def __init__(self, world: World, client: redis.Redis) -> None:
        setup = world.setup
        self.world = world
        own = Random(f"{setup.day_ms} ids")  # noqa: S311 - repeatable on purpose
        day = range(world.now_ms, world.now_ms + setup.day_ms)
        ids = Ids.draw(own, people(setup.customers), day)
        known = {
            (account, id_): customer
            for account, customer in people(setup.customers)
            for id_ in (ids_of(customer) if ids.several else (customer,))
        }
        self.watcher = Watcher(world, client, known)
        self.wire = Wire(world, self.watcher.look)
        carried = SimulatedRedis(
            connection_pool=client.connection_pool, single_connection_client=True
        )
        carried.wire = self.wire
        store = Store(
            carried, privacy_key="k", shards=setup.shards, timing=setup.timing, clock=world.clock
        )
        self.web = Web(world, store)
        calls = count(1)
        channels = {
            name: SimulatedChannel(world, self.web, name, tuple({*ACCOUNTS} - {name}))
            for name in ACCOUNTS
        }
        models = {name: SimulatedModel(world, name, calls) for name in ACCOUNTS}
        # One account has a second model, the other something to say without any.
        second, *_ = ACCOUNTS
        accounts = {
            name: Account(
                name, setup.limits[0], channel, models[name],
                "resend" if name in setup.resend else "alert",
                fallbacks=(SimulatedModel(world, name, calls),) if name == second else (),
                apology="" if name == second else APOLOGY,
                waiting=replace(WAITING, silent=name in SILENT),
            )
            for name, channel in channels.items()
        }  # fmt: skip
        self.workers = Workers(world, store, accounts)
        self.day = Day(world, self.web, self.watcher, self.wire, channels, models, client, ids)

    def live(self) -> None:
        """Go through the day, then let everything come to its end. Raise BrokenError."""
        world = self.world
        self.day.plan()
        self.workers.start()
        day_ends_ms = world.now_ms + world.setup.day_ms
        world.run(lambda: world.now_ms >= day_ends_ms)
        world.healed = True
        self.wire.away_until_ms = 0
        limit_ms = world.now_ms + DRAIN_MS_MAX
        world.run(lambda: self._quiet() or world.now_ms > limit_ms)
        if not self._quiet():
            raise BrokenError(
                f"not quiet: {self.watcher.busy} messages, {self.web.pending} deliveries, "
                f"tasks {list(world.alive)}"
            )
        self.watcher.audit()

    def _quiet(self) -> bool:
        return not (self.web.pending or self.watcher.busy or self.world.alive)

    def judge(self) -> list[str]:
        """Return what the history has to say against the run."""
        setup = self.world.setup
        self.watcher.dead_letters()
        self.world.occurred["draft discarded"] += self.watcher.discarded()
        max_attempts = max(limits.max_attempts for limits in setup.limits)
        return [
            *check(self.world.history, resend=setup.resend, max_attempts=max_attempts),
            *self._told_again(),
        ]

    def _told_again(self) -> Iterator[str]:
        """Yield where a person was alerted to an outage more than once."""
        for kind in sorted({of.alert for of in Dependency}):
            alerts, reasons = (
                self.world.occurred[f"{it} {kind}"] for it in ("alert", "reason for")
            )
            if alerts > reasons:
                yield f"{kind}: {alerts} alerts of {reasons} outages"


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the flow's log out of the way."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
