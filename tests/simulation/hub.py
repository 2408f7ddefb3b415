"""Simulated time and the tasks in it: one heap of moments, one task running at a time.

A task is a greenlet, so the flow runs in it unchanged and is suspended wherever one of its
effects asks for it. The order is decided by the heap alone: the same seed, the same order.
"""

import heapq
from collections.abc import Callable
from itertools import count

from greenlet import getcurrent, greenlet


class Crash(BaseException):
    """The process that runs this task ended at this line."""


class Task:
    """One thing that some process does. ``mortal`` tasks may crash and stand still."""

    def __init__(self, name: str, *, mortal: bool) -> None:
        self.name = name
        self.mortal = mortal
        #: When it will go on after it stood still, and what wakes it before.
        self.frozen_until_ms = 0
        self.wake: Callable[[], object] = lambda: None
        #: Whether it is in a call that can be cut off, and whether that was done.
        self.is_calling = self.is_cut = False

    def cut(self) -> None:
        """Have the call that it is in end now."""
        if self.is_calling and not self.is_cut:
            self.is_cut = True
            self.wake()


class Hub:
    """Runs tasks and actions at their moments."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        #: Tasks that have begun or will, by name, oldest first; daemons are not counted.
        self.alive: dict[str, Task] = {}
        self._moments: list[tuple[int, int, Callable[[], object]]] = []
        self._order = count()
        self._tasks: dict[greenlet, Task] = {}
        self._main = getcurrent()
        self._closed = False

    @property
    def task(self) -> Task | None:
        """Return the task that runs now, None outside of tasks."""
        return self._tasks.get(getcurrent())

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Have ``action`` called once, later, outside of any task."""
        moment = (self.now_ms + max(0, delay_ms), next(self._order), action)
        heapq.heappush(self._moments, moment)

    def spawn(
        self,
        name: str,
        body: Callable[[], object],
        *,
        delay_ms: int = 0,
        mortal: bool = True,
        daemon: bool = False,
        crashed: Callable[[], object] = lambda: None,
    ) -> None:
        """Start a task later. ``crashed`` is called when it crashes; daemons do not count."""
        task = Task(f"{name}-{next(self._order)}", mortal=mortal)

        def run() -> None:
            try:
                body()
            except Crash:
                if not self._closed:
                    crashed()
            finally:
                self._tasks.pop(getcurrent(), None)
                self.alive.pop(task.name, None)

        thread = greenlet(run, parent=self._main)
        self._tasks[thread] = task
        if not daemon:
            self.alive[task.name] = task
        self.after(delay_ms, thread.switch)

    def sleep(self, ms: int) -> None:
        """Suspend the task that runs now, for ``ms`` or until its ``wake`` is called."""
        thread, asleep = getcurrent(), True

        def wake() -> None:
            nonlocal asleep
            if asleep:
                asleep = False
                thread.switch()

        if self.task:
            self.task.wake = wake
        self.after(ms, wake)
        self._main.switch()

    def run(self, until: Callable[[], bool]) -> None:
        """Go from moment to moment until nothing is left to come or ``until`` says so."""
        while self._moments and not until():
            at_ms, _, action = heapq.heappop(self._moments)
            self.now_ms = max(self.now_ms, at_ms)
            action()

    def close(self) -> None:
        """End whatever is still under way, as if its process were killed."""
        self._closed = True
        for thread in list(self._tasks):
            if thread:  # it has begun
                thread.throw(Crash)
        self._tasks.clear()
