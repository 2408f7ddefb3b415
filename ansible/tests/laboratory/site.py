"""A whole laboratory: hosts, inventory, and who serves the world outside at the moment."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from laboratory import hosts as all_hosts
from laboratory import network, shell
from laboratory.errors import LaboratoryError
from laboratory.hosts import Hosts
from laboratory.inventory import Inventory
from laboratory.places import CONTROLLER, Names
from laboratory.playbook import Controller
from laboratory.pool import PORT, ensure_pool
from laboratory.secrecy import SERVER_NAME
from laboratory.topologies import TOPOLOGIES, size

_TRUST = "/usr/local/share/ca-certificates/laboratory.crt"
_PATIENCE_S = 20.0


class Site:
    """The laboratory ``prefix``, which may be up or not."""

    def __init__(self, prefix: str, kind: str = "") -> None:
        self.names = Names(prefix)
        self._kind_file = self.names.directory / "kind"
        if not kind and not self._kind_file.exists():
            raise LaboratoryError(f"laboratory {prefix} is not up")
        self.kind = kind or self._kind_file.read_text()
        self.topology = TOPOLOGIES[self.kind]
        self.hosts = Hosts(self.names, size(self.topology))
        self.inventory = Inventory(self.hosts, self.topology)
        self.controller = Controller(self.names, self.inventory)

    def up(self) -> None:
        """Make hosts and inventory, and have the world served; nothing is installed yet."""
        shell.demand()
        ensure_pool()
        proxy = self.hosts.guests[self.topology["proxy"][0]]
        self.hosts.up([(SERVER_NAME, proxy.address), ("controller", CONTROLLER)])
        self._kind_file.write_text(self.kind)
        self.inventory.write()
        trusted = self.inventory.authority.certificate.read_text()
        self.serve()
        for guest in self.hosts.guests.values():
            (guest.root / _TRUST.lstrip("/")).write_text(trusted)
            guest.ssh("update-ca-certificates && apt-get -qq update")

    def serve(self) -> None:
        """Have a process of its own serve the world outside, until the laboratory is down."""
        log = (self.names.directory / "world.log").open("ab")
        command = [sys.executable, "-m", "laboratory", "serve", f"--prefix={self.names.prefix}"]
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._pid_file.write_text(str(server.pid))
        url = f"http://{CONTROLLER}:{PORT}/dists/"
        probe = [*network.inside(self.names), sys.executable, "-c", _PROBE, url]
        end = time.monotonic() + _PATIENCE_S
        while not shell.attempt(probe):
            if server.poll() is not None or time.monotonic() > end:
                raise LaboratoryError(f"the world outside does not serve: see {log.name}")

    def dismiss(self) -> None:
        """End the process that serves the world outside, if there is one."""
        if self._pid_file.exists():
            with suppress(ProcessLookupError):
                os.kill(int(self._pid_file.read_text()), signal.SIGTERM)
            self._pid_file.unlink()

    def down(self) -> None:
        """Take all of it away."""
        self.dismiss()
        network.end_connections(self.names)
        all_hosts.down(self.names)

    @property
    def _pid_file(self) -> Path:
        return self.names.directory / "world.pid"


_PROBE = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)"
