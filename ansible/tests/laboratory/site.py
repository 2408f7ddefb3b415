"""A whole laboratory: hosts, their inventory, and the controller."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from laboratory import network, shell, theirs
from laboratory.debian import SYSTEM, SYSTEMS, ensure_pool
from laboratory.guest import Guest
from laboratory.hosts import NEWER, SPARE, TOPOLOGIES, Hosts, Topology, down, size
from laboratory.inventory import Inventory
from laboratory.places import CONTROLLER, THEIR_NAMES, LaboratoryError, Names
from laboratory.playbook import Controller
from laboratory.releases import fetch_wheels
from laboratory.secrecy import SERVER_NAME
from laboratory.world import dismiss, serve


class Guard:
    """Watches over the laboratory ``names`` until it is closed, or until this process is gone."""

    def __init__(self, names: Names) -> None:
        command = [sys.executable, "-m", "laboratory.site", names.prefix]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """Have the laboratory taken away and return when it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


_TRUST = "/usr/local/share/ca-certificates/laboratory.crt"


@contextmanager
def passing(prefix: str, kind: str, system: str) -> Iterator["Site"]:
    """Have a laboratory up during the body; afterwards it is gone, however that went."""
    names = Names(prefix)
    down(names)
    guard = Guard(names)
    try:
        site = Site(prefix, kind, system)
        site.up()
        yield site
    finally:
        guard.close()


class Site:
    """The laboratory ``prefix``, which may be up or not."""

    def __init__(self, prefix: str, kind: str = "", system: str = "") -> None:
        self.names = Names(prefix)
        self._kind_file = self.names.directory / "kind"
        if not kind and not self._kind_file.exists():
            raise LaboratoryError(f"laboratory {prefix} is not up")
        self.kind, _, of = (kind or self._kind_file.read_text()).partition(" ")
        self.system = SYSTEMS[system or of or SYSTEM]
        self.hosts = Hosts(self.names, size(TOPOLOGIES[self.kind]) + SPARE.get(self.kind, 0))
        self.inventory = Inventory(self.hosts, TOPOLOGIES[self.kind])
        self.controller = Controller(self.names, self.inventory)

    @property
    def topology(self) -> Topology:
        """Return who does what by the inventory of now."""
        return self.inventory.topology

    @property
    def entrance(self) -> Guest:
        """Return the host to which the name leads that providers call."""
        return self.hosts.guests[self.topology.get("proxy", self.topology["web"])[0]]

    @property
    def ledger(self) -> Guest:
        """Return the host with the Redis that has the ledger, ours or not."""
        return self.hosts.guests[self.topology.get("ledger", (theirs.HOST,))[0]]

    def up(self) -> None:
        """Make hosts and inventory, and have the world served; nothing of ours is installed yet."""
        shell.demand()
        ensure_pool(self.system)
        known = [(SERVER_NAME, self.entrance.address), ("controller", CONTROLLER)]
        if "ledger" not in self.topology:
            known += [(name, self.ledger.address) for name in THEIR_NAMES]
        others = {host: SYSTEMS[suite] for host, suite in NEWER.get(self.kind, {}).items()}
        self.hosts.up(self.system, known, others)
        self._kind_file.write_text(f"{self.kind} {self.system.suite}")
        self.inventory.write()
        serve(self.names)
        for guest in self.hosts.guests.values():
            self.introduce(guest)
        fetch_wheels(self.entrance.ssh("python3 --version").split()[1])
        theirs.install(self.kind, self.hosts, self.inventory, self.controller)

    def introduce(self, guest: Guest) -> None:
        """Have a bare guest trust the world outside, and know its packages."""
        trusted = self.inventory.authority.certificate.read_text()
        (guest.root / _TRUST.lstrip("/")).write_text(trusted)
        guest.ssh("update-ca-certificates && apt-get -qq update")

    def down(self) -> None:
        """Take all of it away."""
        _take_away(self.names)


def _take_away(names: Names) -> None:
    dismiss(names)
    network.end_processes(names)
    down(names)


if __name__ == "__main__":
    # Ends when the other side of the pipe does, and never before.
    sys.stdin.read()
    _take_away(Names(sys.argv[1]))
