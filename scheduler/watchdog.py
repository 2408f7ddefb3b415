"""Ends a process that hangs, so that its supervisor starts a fresh one."""

import os
import threading

#: EX_SOFTWARE of sysexits.h: the supervisor's log shows that this was no ordinary end.
EXIT_HUNG = 70
CHECK_MS = 250


class Watchdog:
    """Ends the process when ``alive`` was not called for ``limit_ms``.

    Time is counted in checks of its own thread, not read from a clock: a process that was stopped
    and continued, or a clock that was set, is not a process that hangs.
    """

    def __init__(self, *, limit_ms: int) -> None:
        self._checks_max = limit_ms // CHECK_MS
        self._limit_ms = limit_ms
        self._checks = 0
        self._over = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def alive(self) -> None:
        """Say that the work goes on."""
        self._checks = 0

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(CHECK_MS / 1000):
            self._checks += 1
            if self._checks >= self._checks_max:
                # Not through logging: what hangs may hold its lock.
                line = f"scheduler: no tick ended for {self._limit_ms} ms; leaving\n"
                os.write(2, line.encode())
                os._exit(EXIT_HUNG)
