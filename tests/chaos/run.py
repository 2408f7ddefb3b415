"""One run: an installation under load and under fire, then calm, then a verdict."""

import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import verdict
from tests.chaos.assault import Assault
from tests.chaos.disk import SmallDisk
from tests.chaos.faults import Planned
from tests.chaos.graph import ChaosGraph
from tests.chaos.load import BUSINESSES, Load
from tests.chaos.meta import Meta
from tests.chaos.model import ChaosModel
from tests.chaos.outside import Outside
from tests.chaos.record import Record
from tests.chaos.site import WINDOWS, Site
from tests.chaos.verdict import Alert, Figures
from tests.chaos.wounds import Scene
from tests.e2e.waiting import eventually
from tests.processes import Guard

#: Longer than every backoff that a batch may still be in when the last fault is healed.
CALM_S = 420.0
RESENDING = frozenset(b.account_id for b in BUSINESSES if "resend" in b.extra)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run; ``problems`` must be empty."""

    problems: list[str]
    figures: Figures
    stats: dict[str, int]
    recoveries: dict[str, list[int]]
    skipped: dict[str, str]
    restarts: int
    lasted_s: int
    calm_s: int


class Run:
    """Sets everything up for one run with ``seed``; ``go`` it, then ``close`` it."""

    def __init__(self, binary: str, guard: Guard, seed: int, *, bursts_per_s: float) -> None:
        rng = random.Random(seed)  # noqa: S311 - to repeat a run, no secret
        self.record = Record()
        self.meta = Meta(self.record, rng, [])
        accounts = {b.phone_number_id: b.account_id for b in BUSINESSES}
        model = ChaosModel(self.record, rng)
        graph = ChaosGraph(self.record, rng, accounts, self.meta.tell)
        self._outside = Outside(model, graph)
        self.site = Site(binary, guard, self._outside)
        self._disk = SmallDisk(self.site.valkey.directory)
        self.meta.ports.append(self.site.port)
        self._scene = Scene(self.site, self.meta, model, graph, self._disk)
        self._load = Load(self.meta, rng, bursts_per_s=bursts_per_s)

    def go(self, plan: Sequence[Planned]) -> Outcome:
        """Carry the plan out under load, let everything come to rest, and judge."""
        began_s = time.monotonic()
        self.site.start()
        self._load.start()
        assault = Assault(self._scene, self.record)
        assault.carry_out(plan)
        self._load.stop()
        healed_s = time.monotonic()
        problems = assault.failed + self._calm_down()
        letters, alerts = self.site.books.operations.dead_letters(), self._alerts()
        history = verdict.whole(self.record.events, letters, alerts)
        attempts_max = int(WINDOWS["BATCH_MAX_ATTEMPTS"])
        problems += verdict.judge(history, resend=RESENDING, attempts_max=attempts_max)
        problems += self._books()
        return Outcome(
            problems=problems,
            figures=verdict.count(history, self.record.events),
            stats=self._stats(),
            recoveries=verdict.recoveries(self.record.events),
            skipped=assault.skipped,
            restarts=self.site.restarts,
            lasted_s=int(time.monotonic() - began_s),
            calm_s=int(time.monotonic() - healed_s),
        )

    def close(self) -> None:
        """End everything and leave nothing behind."""
        self.meta.close()
        self.site.stop()
        self._outside.close()
        self._disk.remove()

    def keep(self, directory: Path) -> None:
        """Write the history and every log to ``directory``."""
        directory.mkdir(parents=True, exist_ok=True)
        self.record.save(directory / "history.jsonl")
        for log in (*self.site.directory.glob("*.log"), self.site.valkey.directory / "log"):
            shutil.copy(log, directory / f"{log.stem}.log")

    def _calm_down(self) -> list[str]:
        """Wait until all is delivered and nothing is open or in flight; say if that never is."""
        try:
            eventually(self._is_calm, what="calm", deadline_s=CALM_S, every_s=0.1)
        except AssertionError:
            books = self.site.books.operations.balance()
            return [f"never came to rest: {self.meta.pending} deliveries left, {books}"]
        return []

    def _is_calm(self) -> bool:
        books = self.site.books.operations.balance()
        return not self.meta.pending and not any(book.open or book.flight for book in books)

    def _books(self) -> list[str]:
        """Hold the ledger's books against themselves and against what was seen from outside."""
        operations = self.site.books.operations
        books = operations.balance()
        problems = [f"books: {book}" for book in books if not book.holds or book.lost]
        problems += [f"audit: {line}" for line in operations.audit()]
        accepted = sum(book.accepted for book in books)
        acknowledged = len(verdict.moments(self.record.events)[0])
        if accepted != acknowledged:
            problems.append(f"books: {accepted} accepted, {acknowledged} acknowledged")
        return problems

    def _stats(self) -> dict[str, int]:
        books = self.site.books
        found: dict[str, int] = {}
        for shard in books.store.keyring.shards:
            kept: Any = books.client.hgetall(shard.stats)
            for name, value in kept.items():
                found[name.decode()] = found.get(name.decode(), 0) + int(value)
        return found

    def _alerts(self) -> list[Alert]:
        """Return every alert that the ledger holds for a person."""
        found = []
        for shard in self.site.books.store.keyring.shards:
            entries: Any = self.site.books.client.xrange(shard.alerts)
            for _, fields in entries:
                told = {name.decode(): value.decode() for name, value in fields.items()}
                batch = f"{told['conversation']}:{told['batch']}" if "batch" in told else ""
                found.append(Alert(told["kind"], batch))
        return found
