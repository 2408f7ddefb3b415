"""A demo as a process, and what of it is alive."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from signal import Signals
from typing import Any

import httpx2

from demo.child import ROOT
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import free_port
from tests.waiting import DEADLINE_S, eventually

READY = "AI Admin is running."
CUSTOMER = "79990000001"
#: Nothing else of the caller's environment may change what the demo does.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


class RunningDemo:
    """``python -m demo`` on a port and in a directory of its own, answering after 0.7 s."""

    def __init__(self, directory: Path, guard: Guard, *options: str) -> None:
        self.port = free_port()
        self.data = directory / "data"
        self.command = [*self.command_at(self.port), *options]
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self.environ = inherited | {"BATCH_IDLE_MS": "700"}
        self.process = OwnedProcess(
            self.command, log_path=directory / "log", guard=guard, environ=self.environ, cwd=ROOT
        )
        self.log = self.process.log

    def command_at(self, port: int) -> list[str]:
        """Return the command of a demo with this one's data."""
        return [sys.executable, "-m", "demo", "--port", str(port), "--data", str(self.data)]

    def start(self) -> None:
        """Start it and return when it says what to open."""
        self.process.log_path.unlink(missing_ok=True)
        self.process.start()
        eventually(lambda: READY in self.log() or not self.process.running)
        assert READY in self.log(), self.log()

    def end_with(self, number: Signals) -> int:
        """Send a signal as a terminal does, to the whole group; wait, return the exit code."""
        self.process.signal_group(number)
        return self.ended()

    def ended(self) -> int:
        """Return the exit code once it has ended by itself."""
        eventually(lambda: not self.process.running)
        return self.process.terminate()

    def run(self, command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a demo that ends by itself."""
        return subprocess.run(
            command,
            env=self.environ | environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def looking_inside(self) -> list[str]:
        """Return the command that the demo advises for looking inside."""
        (line,) = (line for line in self.log().splitlines() if line.startswith("  Look inside"))
        return shlex.split(line.removeprefix("  Look inside"))

    def write(self, message_id: str, text: str) -> None:
        """Write as the customer."""
        message = {"customer": CUSTOMER, "message_id": message_id, "text": text}
        url = f"http://127.0.0.1:{self.port}/webhooks/simulator/salon"
        httpx2.post(url, json=message).raise_for_status()

    def answers(self) -> list[dict[str, Any]]:
        """Return the answers that the page would show, oldest first."""
        return [message for message in self._state()["messages"] if message.get("answers")]

    def is_typing(self) -> bool:
        """Return whether the page would show that an answer is being written."""
        flight = self._state()["flight"]
        return bool(flight["count"]) and not flight["waiting"]

    def _state(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/simulator/state/salon/{CUSTOMER}"
        state: dict[str, Any] = httpx2.get(url).raise_for_status().json()
        return state


def live_processes() -> dict[int, tuple[int, str]]:
    """Return every process that is no zombie: its id → its parent and command line."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = (line.split(maxsplit=3) for line in listed.stdout.splitlines())
    return {int(pid): (int(ppid), args) for pid, ppid, stat, args in rows if stat[0] != "Z"}


def descendants(pid: int) -> dict[int, str]:
    """Return the live descendants of a process with their command lines, parents first."""
    table = live_processes()
    found: dict[int, str] = {}
    parents = {pid}
    while children := {it: args for it, (parent, args) in table.items() if parent in parents}:
        found |= children
        parents = set(children)
    return found
