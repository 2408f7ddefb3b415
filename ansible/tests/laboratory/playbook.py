"""Runs a playbook from the controller, as an operator would, and keeps what came of it."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from laboratory import network
from laboratory.inventory import Inventory
from laboratory.places import PLAYBOOKS, ROOT, Names

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
            if (
                "msg:" in line
                or "stderr:" in line
                or line.startswith(("fatal:", "[ERROR]", "ERROR!"))
            ):
                yield line.strip()


class Controller:
    """Whoever deploys: runs playbooks with an inventory from the laboratory's own network."""

    def __init__(self, names: Names, inventory: Inventory) -> None:
        #: Whose playbooks are played.
        self.playbooks = PLAYBOOKS
        self._names = names
        self._inventory = inventory

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """Return the command that plays ``playbook``, seen from anywhere."""
        vault = f"--vault-password-file={self._inventory.vault.password_file}"
        program = str(ROOT / ".venv/bin/ansible-playbook")
        play = [program, f"--inventory={self._inventory.path}", vault, playbook, *arguments]
        return [*network.inside(self._names), *play]

    def environ(self) -> dict[str, str]:
        """Return the environment of it."""
        return {
            **os.environ,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._names.connections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
        }

    def play(self, playbook: str, *arguments: str, log: Path | None = None) -> Played:
        """Play it to its end and return what came of it, well or not."""
        began_ns = time.monotonic_ns()
        done = subprocess.run(
            self.command(playbook, *arguments),
            cwd=self.playbooks,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
        if log:
            log.write_text(done.stdout)
        lasted_ms = (time.monotonic_ns() - began_ns) // 1_000_000
        return Played(playbook, done.returncode, done.stdout, lasted_ms)

    def show(self, playbook: str, arguments: Sequence[str]) -> int:
        """Play it on this terminal and return its exit status."""
        environ = self.environ() | {"ANSIBLE_NOCOLOR": "0", "ANSIBLE_FORCE_COLOR": "0"}
        command = self.command(playbook, *arguments)
        return subprocess.run(command, cwd=self.playbooks, env=environ, check=False).returncode
