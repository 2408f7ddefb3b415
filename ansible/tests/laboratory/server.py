"""The process that serves the world outside while nobody plays scenarios."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from laboratory import network, shell
from laboratory.errors import LaboratoryError
from laboratory.places import CONTROLLER, Names
from laboratory.pool import PORT

_PATIENCE_S = 20.0
_PROBE = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)"


def serve(names: Names) -> None:
    """Have a process of its own serve the world outside until it is dismissed."""
    log = (names.directory / "world.log").open("ab")
    command = [sys.executable, "-m", "laboratory", "serve", f"--prefix={names.prefix}"]
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    _pid_file(names).write_text(str(server.pid))
    url = f"http://{CONTROLLER}:{PORT}/dists/"
    probe = [*network.inside(names), sys.executable, "-c", _PROBE, url]
    end = time.monotonic() + _PATIENCE_S
    while not shell.attempt(probe):
        if server.poll() is not None or time.monotonic() > end:
            raise LaboratoryError(f"the world outside does not serve: see {log.name}")


def dismiss(names: Names) -> None:
    """End that process and return when its ports are free. Safe to run twice."""
    if not _pid_file(names).exists():
        return
    pid = int(_pid_file(names).read_text())
    _pid_file(names).unlink()
    process = Path(f"/proc/{pid}")
    # After a crash the number may be somebody else's by now.
    if not process.exists() or b"laboratory" not in (process / "cmdline").read_bytes():
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _PATIENCE_S
    while process.exists() and b"Z" not in (process / "stat").read_bytes().split()[2:3]:
        if time.monotonic() > end:
            raise LaboratoryError(f"process {pid} serves on")
        time.sleep(0.02)


def _pid_file(names: Names) -> Path:
    return names.directory / "world.pid"
