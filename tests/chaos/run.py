"""One run: an installation under load and under fire, then calm, then a verdict."""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batching.audit import audit
from batching.inspect import counters, dead_letters
from tests.chaos import verdict
from tests.chaos.assault import Assault
from tests.chaos.disk import SmallDisk
from tests.chaos.faults import Planned
from tests.chaos.load import BUSINESSES, CUSTOMER_PREFIX, Load
from tests.chaos.meta import Meta
from tests.chaos.outside import ChaosModel, ChaosProvider
from tests.chaos.record import Record
from tests.chaos.sink import Sink
from tests.chaos.site import WINDOWS, Site
from tests.chaos.verdict import Figures
from tests.chaos.wounds import Scene
from tests.processes import Guard
from tests.waiting import eventually

#: Longer than every backoff that a batch may still be in when the last fault is healed.
CALM_S = 420.0
#: What is logged where our own code failed: no fault of the world outside is an excuse for it.
OUR_FAULTS = frozenset({
    "request.failed", "doorbell.failed", "batch.crashed", "worker.stop_failed", "watch.failed",
})  # fmt: skip
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
        provider = ChaosProvider(self.record, rng, accounts, self.meta.tell)
        self.site = Site(binary, guard, model, provider)
        self._sink = Sink(
            self.site.ledger.client, self.site.ledger.store.keyring.shards, self.site.sentry
        )
        self._disk = SmallDisk(self.site.valkey.directory)
        self.meta.ports.append(self.site.port)
        self._scene = Scene(self.site, self.meta, model, provider, self._disk)
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
        letters, alerts = dead_letters(self.site.ledger.store), self._sink.alerts()
        history = verdict.whole(self.record.events, letters, alerts)
        max_attempts = int(WINDOWS["BATCH_MAX_ATTEMPTS"])
        problems += verdict.judge(history, resend=RESENDING, max_attempts=max_attempts)
        problems += [*self._books(), *self._logs(), *self._sink.undelivered_count()]
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
            books = counters(self.site.ledger.store)
            return [f"never came to rest: {self.meta.pending} deliveries left, {books}"]
        return []

    def _is_calm(self) -> bool:
        books = counters(self.site.ledger.store)
        rests = not any(book.open or book.flight for book in books)
        return rests and not self.meta.pending and self._sink.is_told()

    def _books(self) -> list[str]:
        """Hold the ledger's books against themselves and against what was seen from outside."""
        books = counters(self.site.ledger.store)
        problems = [f"books: {book}" for book in books if not book.holds or book.lost]
        problems += [f"audit: {line}" for line in audit(self.site.ledger.store).problems]
        accepted = sum(book.accepted for book in books)
        acknowledged = len(verdict.moments(self.record.events)[0])
        if accepted != acknowledged:
            problems.append(f"books: {accepted} accepted, {acknowledged} acknowledged")
        return problems

    def _logs(self) -> Iterator[str]:
        """Yield what our processes logged and must not have: our own faults, and customers."""
        for name, text in self.site.logs().items():
            for event in sorted(event for event in OUR_FAULTS if f'"{event}"' in text):
                yield f"log of {name}: {event}"
            if CUSTOMER_PREFIX in text:
                yield f"log of {name}: a customer's number"
        if CUSTOMER_PREFIX in self.site.sentry.text:
            yield "Sentry was told a customer's number"

    def _stats(self) -> dict[str, int]:
        books = self.site.ledger
        found: dict[str, int] = {}
        for shard in books.store.keyring.shards:
            kept: Any = books.client.hgetall(shard.stats)
            for name, value in kept.items():
                found[name.decode()] = found.get(name.decode(), 0) + int(value)
        return found
