"""Carries out a plan of faults: each at its time, none while another has the same in hand."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.faults import Planned
from tests.chaos.record import Healed, Record, Struck
from tests.chaos.wounds import Scene


class Assault:
    """Strikes the scene; ``skipped`` says which kinds could not be, and why."""

    def __init__(self, scene: Scene, record: Record) -> None:
        self.skipped: dict[str, str] = {}
        self.failed: list[str] = []
        self._scene = scene
        self._record = record
        self._holds: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def carry_out(self, plan: Sequence[Planned]) -> None:
        """Return when the last fault is healed."""
        began_s = time.monotonic()
        threads = []
        for planned in plan:
            time.sleep(max(0.0, began_s + planned.at_s - time.monotonic()))
            if planned.kind.name == "disk full" and self._scene.disk.missing:
                self.skipped[planned.kind.name] = self._scene.disk.missing
                continue
            # Taken hold of here, in order: a fault waits for the one before it, and the plan too.
            holds = [self._holds[target] for target in planned.targets]
            for hold in holds:
                hold.acquire()
            threads.append(threading.Thread(target=self._strike, args=(planned, holds)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _strike(self, planned: Planned, holds: Sequence[threading.Lock]) -> None:
        rng = random.Random(planned.seed)  # noqa: S311 - to repeat a run, no secret
        number, name, who = planned.number, planned.kind.name, planned.unsettles
        self._record.note(lambda at_ms: Struck(at_ms, number, name, who))
        try:
            with planned.kind.wound(planned.victim, self._scene, rng):
                time.sleep(planned.hold_s)
        except Exception as error:  # noqa: BLE001 - reported; the other faults go on
            self.failed.append(f"fault {number} ({name}): {type(error).__name__}: {error}")
        finally:
            self._record.note(lambda at_ms: Healed(at_ms, number))
            for hold in holds:
                hold.release()
