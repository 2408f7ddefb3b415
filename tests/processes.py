"""The processes and directories of a test run: one place starts, registers and removes them.

Run as a program, this file is the process that cleans up behind a run that was killed.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Protocol, TypeVar

#: How long a process that was asked to end may take before it counts as left behind, s.
LEFTOVERS_DEADLINE_S = 5.0


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


class LeftBehindError(Exception):
    """Processes or files were left behind; the message lists them. They are gone by now."""


class Guard:
    """The owner of every process and temporary directory of a run.

    Its process kills and removes them as soon as this process is gone, even by ``kill -9``.
    A process belongs to it by its process group, by ``TMPDIR`` in its environment, and by its
    working directory: children of children keep these, also in a session of their own. Without
    /proc only groups are found.
    """

    def __init__(self) -> None:
        # Short: the path of a unix socket below it may have some 100 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="aa-"))
        self.environ = {"TMPDIR": str(self.directory)}
        # With an empty environment it is not found as a process of an outer guard.
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(self.directory)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={},
        )

    def new_directory(self, name: str) -> Path:
        """Return an empty directory; what is left of it at the end counts as left behind."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory))

    def watch(self, group: int) -> None:
        self._write(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Forget a group that has ended; its number may be given to another process."""
        self._write(f"-{group}\n")

    def close(self) -> None:
        """Kill and remove what is left. Raise LeftBehindError if there was anything.

        Safe to run twice.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            return
        leftovers = self._leftovers()
        self._process.stdin.close()
        self._process.wait()
        if leftovers:
            raise LeftBehindError("left behind:\n" + "\n".join(leftovers))

    def _leftovers(self) -> list[str]:
        """List processes and files; what was asked to end may take until the deadline."""
        deadline = time.monotonic() + LEFTOVERS_DEADLINE_S
        while True:
            processes = processes_of(self.directory)
            found = [f"process {pid}: {command}" for pid, command in processes.items()]
            found += [f"path {path}" for path in sorted(self.directory.iterdir())]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def _write(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.write(line)
            self._process.stdin.flush()


def processes_of(directory: Path) -> dict[int, str]:
    """Return the live processes that belong to a guard's directory: their id → command."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        # It ended meanwhile, or is another user's.
        with contextlib.suppress(OSError):
            if _belongs(process, os.fsencode(directory)):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(process.name)] = command.decode(errors="replace").strip()
    return found


def _belongs(process: Path, directory: bytes) -> bool:
    environ = (process / "environ").read_bytes().split(b"\0")
    # Valkey writes its title over its environment.
    places = [*environ, b"TMPDIR=" + os.fsencode((process / "cwd").readlink())]
    mark = b"TMPDIR=" + directory
    return any(place == mark or place.startswith(mark + b"/") for place in places)


class OwnedProcess:
    """One command in a process group of its own, started and ended as often as a test likes.

    Its output, standard and error, is appended to ``log_path``. ``environ`` is the whole
    environment, to which the guard's is added; ``pass_fds`` are files that it inherits. Signals go
    to the first process unless a method says otherwise.
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
        self._environ = dict(os.environ if environ is None else environ) | guard.environ
        self._cwd = cwd
        self._pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def group(self) -> int:
        """Return the id of the process group, 0 before the start and after the end."""
        return self._process.pid if self._process is not None else 0

    @property
    def children(self) -> list[int]:
        """Return the children of the first process, the oldest first."""
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
        return sorted(pid for pid, parent in pairs if parent == self.group)

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

    def stop(self) -> None:
        """End it as `started` does with a server."""
        self.kill()

    def log(self) -> str:
        """Return what the command wrote so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


def _clean_up(directory: Path) -> None:
    """Read group ids from standard input, "+7" to add and "-7" to forget; at its end kill them.

    Kills every process of ``directory`` as well, and removes it.
    """
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, SIGKILL)
    # A process that is killed may just have started another.
    deadline = time.monotonic() + LEFTOVERS_DEADLINE_S
    while (found := processes_of(directory)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _clean_up(Path(sys.argv[1]))
