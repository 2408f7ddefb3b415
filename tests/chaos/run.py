"""One run: an installation under load and under fire, then calm, then the judge."""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.assault import Assault
from tests.chaos.disk import SmallDisk
from tests.chaos.faults import Planned
from tests.chaos.judge import Judge
from tests.chaos.load import BUSINESSES, CUSTOMER_PREFIX, Load
from tests.chaos.meta import Meta
from tests.chaos.outside import ChaosModel, ChaosProvider
from tests.chaos.record import Record
from tests.chaos.report import Outcome, count, recoveries
from tests.chaos.site import WINDOWS, Site
from tests.chaos.wounds import Scene
from tests.processes import Guard

#: What is logged where our own code failed: no fault of the world outside is an excuse for it.
OUR_FAULTS = frozenset({
    "request.failed", "doorbell.failed", "batch.crashed", "worker.stop_failed", "watch.failed",
})  # fmt: skip
RESENDING = frozenset(b.account_id for b in BUSINESSES if "ambiguous" in b.extra)


class Run:
    """Sets everything up for one run with ``seed``; ``go`` it, then ``close`` it."""

    def __init__(self, binary: str, guard: Guard, seed: int, *, bursts_per_s: float) -> None:
        rng = random.Random(seed)  # noqa: S311 - to repeat a run, no secret
        self.record = Record()
        self.meta = Meta(self.record, rng, [])
        accounts = {b.phone_number_id: b.account_id for b in BUSINESSES}
        model = ChaosModel(self.record, rng)
        provider = ChaosProvider(self.record, rng, accounts, self.meta.report)
        self.site = Site(binary, guard, model, provider)
        self._disk = SmallDisk(self.site.valkey.directory)
        self.meta.ports.append(self.site.port)
        self._scene = Scene(self.site, self.meta, model, provider, self._disk)
        self._load = Load(self.meta, rng, bursts_per_s=bursts_per_s)

    def go(self, plan: Sequence[Planned]) -> Outcome:
        """Carry the plan out under load, let everything come to rest, and judge."""
        began_s = time.monotonic()
        self.site.start()
        judge = Judge(
            self.record.events,
            self.site.sentry,
            self.site.ledger,
            resend=RESENDING,
            max_attempts=int(WINDOWS["BATCH_MAX_ATTEMPTS"]),
        )
        self._load.start()
        assault = Assault(self._scene, self.record)
        assault.carry_out(plan)
        self._load.stop()
        healed_s = time.monotonic()
        problems = assault.failed + judge.judge(self.site.ledger, lambda: self.meta.pending)
        return Outcome(
            problems=[*problems, *self._logs()],
            figures=count(judge.history, self.record.events),
            stats=self._stats(),
            recoveries=recoveries(self.record.events),
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

    def _logs(self) -> Iterator[str]:
        """Yield what our processes logged and must not have: our own faults, and customers."""
        for name, text in self.site.logs().items():
            for event in sorted(event for event in OUR_FAULTS if f'"{event}"' in text):
                yield f"log of {name}: {event}"
            if CUSTOMER_PREFIX in text:
                yield f"log of {name}: a customer's number"
        if CUSTOMER_PREFIX in self.site.sentry.text:
            yield "Sentry: a customer's number"

    def _stats(self) -> dict[str, int]:
        ledger = self.site.ledger
        found: dict[str, int] = {}
        for shard in ledger.store.keyring.shards:
            kept: Any = ledger.client.hgetall(shard.stats)
            for name, value in kept.items():
                found[name.decode()] = found.get(name.decode(), 0) + int(value)
        return found
