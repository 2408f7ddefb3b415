"""Real processes for tests: each in a group of its own, its output in a file, none left behind."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Protocol, TypeVar

#: Reads group ids from its standard input, "+7" to add and "-7" to forget, and kills those that it
#: still knows when the input ends: also when the test run itself was killed and cleaned nothing up.
GUARD = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    group = int(line[1:])
    (groups.add if line[0] == "+" else groups.discard)(group)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Server(Protocol):
    """What can be started and ended."""

    def start(self) -> None:
        """Start it and return once it serves."""

    def stop(self) -> None:
        """End it, however far it came."""


ServerT = TypeVar("ServerT", bound=Server)


@contextmanager
def started(server: ServerT) -> Iterator[ServerT]:
    """Have a server run during the body."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Guard:
    """Kills the process groups it was told of, as soon as this process is gone."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", GUARD], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def watch(self, group: int) -> None:
        """Add a group."""
        self._write(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Forget a group that has ended; its number may be given to somebody else."""
        self._write(f"-{group}\n")

    def close(self) -> None:
        """Kill what is left and end the guard. Safe to run twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _write(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.write(line)
            self._process.stdin.flush()


class OwnedProcess:
    """One command in a process group of its own, started and ended as often as a test likes.

    Its output, standard and error, is appended to ``log_path``. ``environ`` is the whole
    environment, ``pass_fds`` are files that it inherits. Signals go to the first process unless a
    method says otherwise.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_path: Path,
        guard: Guard,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.command = list(command)
        self.log_path = log_path
        self._guard = guard
        self._environ = environ
        self._cwd = cwd
        self._pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Return whether the first process of the group is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def group(self) -> int:
        """Return the id of the process group, 0 before the start and after the end."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start the command. Raise RuntimeError if it already runs."""
        if self.running:
            raise RuntimeError(f"{self.command[0]} already runs")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
                cwd=self._cwd,
                pass_fds=self._pass_fds,
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)

    def signal(self, number: Signals) -> None:
        """Send a signal to the first process; nothing happens where it does not run."""
        if self._process is not None:
            self._process.send_signal(number)

    def signal_group(self, number: Signals) -> None:
        """Send a signal to every process of the group; nothing happens where none runs."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def terminate(self, *, deadline_s: float = 20) -> int:
        """Ask to end, wait, and return the exit code. Kill and raise TimeoutError if it stays."""
        if self._process is None:
            return 0
        self.signal(SIGTERM)
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.command[0]} ignored SIGTERM for {deadline_s} s") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End the whole group as a power cut would. Safe to run twice."""
        if self._process is None:
            return
        # Every process of the group may have ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, SIGKILL)
        self._process.wait()
        self._guard.forget(self._process.pid)
        self._process = None

    def log(self) -> str:
        """Return what the command wrote so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
