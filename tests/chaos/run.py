"""One run: an installation under load and under fire, then calm, then the judge."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.faults import Assault, Planned, Scene, SmallDisk
from tests.chaos.judge import Judge
from tests.chaos.load import BUSINESSES, CUSTOMER_PREFIX, Load
from tests.chaos.meta import Meta
from tests.chaos.outside import SLOW_S, THINKS_S, ChaosModel, ChaosProvider
from tests.chaos.record import Record
from tests.chaos.report import Outcome, count, recoveries, waits
from tests.chaos.site import DEFAULTS, WINDOWS, Site
from tests.processes import Guard

#: What is logged where our own code failed: no fault of the world outside is an excuse for it.
OUR_FAULTS = frozenset({
    "request.failed", "doorbell.failed", "batch.crashed", "worker.stop_failed", "watch.failed",
})  # fmt: skip
RESENDING = frozenset(b.account_id for b in BUSINESSES if "ambiguous" in b.extra)


class Run:
    """Everything for one run with ``seed``, set up: ``go`` it, once.

    ``defaults``: with the times of production, and a model that takes as long as one does.
    """

    def __init__(
        self, binary: str, guard: Guard, seed: int, *, bursts_per_s: float, defaults: bool = False
    ) -> None:
        rng = random.Random(seed)  # noqa: S311 - to repeat a run, no secret
        self.record = Record()
        self.meta = Meta(self.record, rng, [])
        accounts = {b.phone_number_id: b.account_id for b in BUSINESSES}
        model = ChaosModel(self.record, rng, thinks_s=SLOW_S if defaults else THINKS_S)
        provider = ChaosProvider(self.record, rng, accounts, self.meta.report)
        self.site = Site(binary, guard, model, provider, DEFAULTS if defaults else WINDOWS)
        self.meta.ports.append(self.site.port)
        self.disk = SmallDisk(self.site.valkey.directory)
        self._scene = Scene(self.site, self.meta, model, provider, self.disk)
        self._load = Load(self.meta, rng, bursts_per_s=bursts_per_s)

    def go(self, plan: Sequence[Planned]) -> Outcome:
        """Carry the plan out under load, let everything come to rest, and judge."""
        began_s = time.monotonic()
        self.site.start()
        events, ledger = self.record.events, self.site.ledger
        attempts = int(WINDOWS["BATCH_MAX_ATTEMPTS"])
        judge = Judge(events, self.site.sentry, ledger, resend=RESENDING, max_attempts=attempts)
        self._load.start()
        assault = Assault(self._scene, self.record)
        assault.carry_out(plan)
        self._load.stop()
        healed_s = time.monotonic()
        problems = assault.failed + judge.judge(ledger, lambda: self.meta.pending)
        return Outcome(
            problems=[*problems, *self._logs()],
            figures=count(judge.history, events),
            stats=self._stats(),
            recoveries=recoveries(events),
            waits=waits(events),
            skipped=assault.skipped,
            restarts=self.site.restarts,
            lasted_s=int(time.monotonic() - began_s),
            calm_s=int(time.monotonic() - healed_s),
        )

    def keep(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.record.save(directory / "history.jsonl")
        for log in (*self.site.directory.glob("*.log"), self.site.valkey.directory / "log"):
            shutil.copy(log, directory / f"{log.stem}.log")

    def _logs(self) -> Iterator[str]:
        """Yield what our processes logged and must not have: our own faults, and customers."""
        for name, text in self.site.logs().items():
            yield from (f"log of {name}: {e}" for e in sorted(OUR_FAULTS) if f'"{e}"' in text)
        for name, text in (self.site.logs() | {"Sentry": self.site.sentry.text}).items():
            if CUSTOMER_PREFIX in text:
                yield f"{name}: a customer's number"

    def _stats(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for shard in self.site.ledger.store.keyring.shards:
            kept: Any = self.site.ledger.client.hgetall(shard.stats)
            found.update({name.decode(): int(value) for name, value in kept.items()})
        return found


@contextmanager
def prepared(
    binary: str, guard: Guard, seed: int, *, bursts_per_s: float, defaults: bool = False
) -> Iterator[Run]:
    """Yield a run that leaves nothing behind."""
    run = Run(binary, guard, seed, bursts_per_s=bursts_per_s, defaults=defaults)
    try:
        yield run
    finally:
        run.meta.close()
        run.site.stop()
        run.disk.remove()
