"""A service under constant traffic, whatever is done to it meanwhile, and verdicts on it."""

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from laboratory import network
from laboratory.businesses import BUSINESSES, RESENDS
from laboratory.customers import Door, Traffic
from laboratory.judge import SessionJudge, Verdict
from laboratory.ledger import opened
from laboratory.pool import ensure_pool
from laboratory.server import dismiss
from laboratory.site import Site
from laboratory.world import World
from tests.chaos.load import Load
from tests.chaos.record import Healed, Record, Struck


@dataclass(frozen=True, slots=True)
class Rates:
    """How much customers write, in a second; what one guest of a small machine can answer."""

    bursts: float = 1.5
    reactions: float = 20.0


class Session:
    """Traffic on ``site`` in chapters, each with its verdict, from the moment its playbooks ran.

    Moves the whole process into the controller's network.
    """

    def __init__(self, site: Site, *, seed: int, rates: Rates = Rates()) -> None:
        rng = random.Random(seed)  # noqa: S311 - to repeat a run, no secret
        self.site = site
        self.record = Record()
        self._rng = rng
        self._rates = rates
        self._faults = itertools.count(1)
        # Another session may have been here before: its words are known to the ledger.
        self._words = itertools.count(time.time_ns() // 1_000_000_000 % 10_000_000 * 1_000)
        packages = ensure_pool()
        dismiss(site.names)
        network.enter(site.names.controller)
        proxy = site.hosts.guests[site.topology["proxy"][0]]
        self.meta = Door(self.record, rng, proxy.address, site.inventory.authority.certificate)
        self.world = World(packages, self.record, rng, self.meta.report)
        self._judge: SessionJudge | None = None

    @contextmanager
    def traffic(self) -> Iterator["Chapter"]:
        """Have customers write during the body; then let all come to rest, and judge."""
        with opened(self.site) as ledger:
            if self._judge is None:
                self._judge = SessionJudge(self.record, self.world.sentry, ledger, RESENDS)
        load = Load(
            self.meta,
            self._rng,
            bursts_per_s=self._rates.bursts,
            businesses=BUSINESSES,
            words=self._words,
        )
        traffic = Traffic(load, reactions_per_s=self._rates.reactions)
        chapter = Chapter(self, len(self.record.events))
        traffic.start()
        try:
            yield chapter
        finally:
            traffic.stop()
        with opened(self.site) as ledger:
            chapter.verdict = self._judge.judge(ledger, lambda: self.meta.pending, chapter.began)

    @contextmanager
    def hurting(self, kind: str) -> Iterator[None]:
        """Note that the body does something by which workers may lose leases."""
        number = next(self._faults)
        self.record.note(partial(Struck, number=number, kind=kind, unsettles=""))
        yield
        self.record.note(partial(Healed, number=number))

    def close(self, directory: Path) -> None:
        """End the world outside and keep the history in ``directory``."""
        self.meta.close()
        self.world.close()
        self.record.save(directory / "history.jsonl")


class Chapter:
    """One stretch of traffic; ``verdict`` is there when it is over."""

    def __init__(self, session: Session, began: int) -> None:
        self.began = began
        self.verdict: Verdict | None = None
        self._session = session

    def wait(self, seconds: float) -> None:
        """Let the customers write for a while."""
        time.sleep(seconds)
