"""One process of the demo: started, followed, stopped; and the command lines of all three."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class DemoError(Exception):
    """The demo cannot go on; the message tells a newcomer why, and what to do."""


ROOT = Path(__file__).resolve().parent.parent
#: What is told of a process that died.
TAIL_LINES = 12
#: How long a process may take to end when asked to, s; then it is killed.
STOP_S_MAX = 10.0
_POLL_S = 0.05

#: The arguments of ``python -m`` for the scheduler; those of the others follow.
SCHEDULER = ("scheduler",)


def web(port: int, application: str = "wsgi:application") -> tuple[str, ...]:
    """Return the arguments of ``python -m`` that serve at ``port`` of the loopback."""
    config = str(ROOT / "gunicorn.conf.py")
    return ("gunicorn", "-c", config, "-b", f"127.0.0.1:{port}", application)


def worker(main: str = "actors:main", *, processes: int = 1, threads: int = 8) -> tuple[str, ...]:
    """Return the arguments of ``python -m`` for a worker."""
    return ("actors", main, "-p", str(processes), "-t", str(threads))


class Child:
    """A command in a process group of its own, so that Ctrl-C reaches the demo alone.

    ``environ`` is the whole environment. ``listen`` is given the name and each line of output.
    ``keep_open``: file descriptors that the process inherits.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        listen: Callable[[str, str], None],
        keep_open: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._listen = listen
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=keep_open,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"read-{name}", daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Return whether the process is alive."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise DemoError, with its last words, if the process has died."""
        if self.running:
            return
        self._reader.join(timeout=1)
        code = self._process.returncode
        said = "\n".join(f"  {line}" for line in self.tail) or "  (nothing)"
        raise DemoError(f"The {self.name} ended with code {code}. Its last words:\n{said}")

    def stop(self, hurried: Callable[[], bool]) -> None:
        """Ask the process to end, wait, and kill what is left of its group.

        ``hurried`` is asked again and again: True ends the wait. Safe to run twice.
        """
        if self.running:
            self._process.terminate()
        deadline = time.monotonic() + STOP_S_MAX
        while self.running and time.monotonic() < deadline and not hurried():
            time.sleep(_POLL_S)
        # Most often all of the group has ended by itself; macOS then says "not permitted".
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=1)

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as lines:
            for line in lines:
                self.tail.append(line.rstrip("\n"))
                self._listen(self.name, line.rstrip("\n"))
