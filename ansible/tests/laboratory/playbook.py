"""Runs a playbook from the controller, as an operator would, and keeps what came of it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from laboratory import network
from laboratory.inventory import Inventory
from laboratory.places import PLAYBOOKS, ROOT, LaboratoryError, Names

#: Many times what any playbook takes.
_TIMEOUT_S = 1_800.0
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a playbook. ``output`` holds standard output and error as they came."""

    playbook: str
    status: int
    output: str
    lasted_ms: int

    @property
    def changed(self) -> dict[str, int]:
        """Return how many tasks changed something, by host."""
        return {host: int(changed) for host, changed in _RECAP.findall(self.output)}

    def reasons(self) -> Iterator[str]:
        """Yield what failed tasks said."""
        for line in self.output.splitlines():
            if re.search(r"msg:|^fatal:|^Refused|^\[ERROR\]", line):
                yield line.strip()


class Controller:
    """Whoever deploys: runs playbooks with an inventory from the laboratory's own network."""

    def __init__(self, names: Names, inventory: Inventory) -> None:
        #: Whose playbooks are played.
        self.playbooks = PLAYBOOKS
        self._names = names
        self._inventory = inventory

    def play(self, playbook: str, *arguments: str, log: Path | None = None) -> Played:
        """Play it to its end and return what came of it, well or not."""
        began_ns = time.monotonic_ns()
        done = self._run(playbook, *arguments, into=subprocess.PIPE)
        if log:
            log.write_text(done.stdout)
        lasted_ms = (time.monotonic_ns() - began_ns) // 1_000_000
        return Played(playbook, done.returncode, done.stdout, lasted_ms)

    def show(self, playbook: str, arguments: Sequence[str]) -> int:
        """Play it on this terminal and return its exit status."""
        return self._run(playbook, *arguments).returncode

    def meanwhile(
        self,
        playbook: str,
        *arguments: str,
        at: str,
        do: Callable[[], None] | None = None,
        log: Path | None = None,
    ) -> Played:
        """Play it, and do something once a line begins with ``at``: None breaks it off by Ctrl-C.

        Raise LaboratoryError where no line does.
        """
        began_ns, lines, seen = time.monotonic_ns(), [], False
        with subprocess.Popen(
            self._command(playbook, *arguments),
            cwd=self.playbooks,
            env=self._environ(),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # As on a terminal of its own: Ctrl-C is for all of its processes.
            start_new_session=True,
        ) as process:
            for line in process.stdout or ():
                lines.append(line)
                if line.startswith(at) and not seen:
                    seen = True
                    do() if do else os.killpg(process.pid, signal.SIGINT)
        if log:
            log.write_text("".join(lines))
        if not seen:
            raise LaboratoryError(f"{playbook} never came to {at!r}")
        lasted_ms = (time.monotonic_ns() - began_ns) // 1_000_000
        return Played(playbook, process.returncode, "".join(lines), lasted_ms)

    def _run(
        self, playbook: str, *arguments: str, into: int | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._command(playbook, *arguments),
            cwd=self.playbooks,
            env=self._environ(),
            text=True,
            check=False,
            stdin=subprocess.DEVNULL if into else None,
            stdout=into,
            stderr=subprocess.STDOUT if into else None,
            timeout=_TIMEOUT_S,
        )

    def _command(self, playbook: str, *arguments: str) -> list[str]:
        vault = f"--vault-password-file={self._inventory.vault.password_file}"
        program = str(ROOT / ".venv/bin/ansible-playbook")
        play = [program, f"--inventory={self._inventory.path}", vault, playbook, *arguments]
        return [*network.inside(self._names), *play]

    def _environ(self) -> dict[str, str]:
        kept = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._names.connections)}
        return os.environ | kept | {"ANSIBLE_FORCE_COLOR": "0"}
