"""What all parts of a simulation share: time, chance, the history, and the perils of a step."""

from collections import Counter
from random import Random

from tests.fakes import NOON_MS
from tests.history.events import Happening, Paused
from tests.simulation.hub import Crash, Hub, Task
from tests.simulation.rates import Setup

STALL_MS = (5_000, 130_000)
#: After how long somebody else has taken over from who stands still: the leases, and a little.
REPLACED_MS = (10_500, 31_000)


class Moment(int):
    """A time of the server's clock. In a command it is told when the server carries that out."""


class World(Hub):
    """One seed's world. Once ``healed`` nothing goes wrong any more."""

    def __init__(self, setup: Setup, rng: Random) -> None:
        super().__init__(NOON_MS)
        self.setup = setup
        self.rng = rng
        self.history: list[Happening] = []
        #: How often each fault and each unusual step occurred.
        self.occurred: Counter[str] = Counter()
        self.healed = False
        #: How far the server's clock is from the time.
        self.offset_ms = 0
        self._frozen: dict[Task, int] = {}

    def clock(self) -> "Moment":
        """Return what the server's clock shows."""
        return Moment(self.now_ms + self.offset_ms)

    def add(self, event: Happening) -> None:
        """Note that something happened now."""
        self.history.append(event)

    def chance(self, name: str) -> bool:
        """Return whether a fault strikes now."""
        if self.healed or self.rng.random() >= self.setup.rates[name]:
            return False
        self.occurred[name] += 1
        return True

    def pause(self, task: Task | None = None) -> None:
        """Note that a task, the present one if none is named, may lose its lease unawares."""
        self.add(Paused(self.now_ms, task.name if task else self.worker))

    @property
    def worker(self) -> str:
        """Return the name of the present task, "" outside of tasks."""
        return self.task.name if self.task else ""

    def boundary(self) -> None:
        """Let the present task crash, stand still, or let others go first."""
        task = self.task
        if task is None or not task.mortal:
            return
        if self.chance("crash"):
            self.pause()
            raise Crash
        if self.chance("stall"):
            self._freeze(task)
        elif self.chance("interleave"):
            self.sleep(self.rng.randint(0, 50))

    def _freeze(self, task: Task) -> None:
        """Let a task stand still; it wakes by itself, or in the worst moment: see stay_in_call."""
        self.pause()
        stall_ms = self.rng.randint(*STALL_MS)
        task.frozen_until_ms = self.now_ms + stall_ms
        self._frozen[task] = self.now_ms + self.rng.choice(REPLACED_MS)
        self.sleep(stall_ms)
        self.pause()
        task.frozen_until_ms = self.now_ms
        del self._frozen[task]

    def stay_in_call(self, span: tuple[int, int]) -> None:
        """Stay in a call for some time of ``span``, ms.

        Who stood still may wake meanwhile, although the present task is perhaps their successor.
        """
        span_ms = self.rng.randint(*span)
        for task, replaced_ms in self._frozen.items():
            if replaced_ms <= self.now_ms and self.chance("ambush"):
                self.after(self.rng.randint(0, span_ms), task.wake)
        self.sleep(span_ms)
