"""A whole laboratory: hosts, their inventory, and the controller."""

from collections.abc import Iterator
from contextlib import contextmanager

from laboratory import hosts as all_hosts
from laboratory import network, shell
from laboratory.errors import LaboratoryError
from laboratory.guard import Guard
from laboratory.hosts import Hosts
from laboratory.inventory import Inventory
from laboratory.places import CONTROLLER, Names
from laboratory.playbook import Controller
from laboratory.pool import ensure_pool
from laboratory.releases import fetch_wheels
from laboratory.secrecy import SERVER_NAME
from laboratory.server import dismiss, serve
from laboratory.topologies import TOPOLOGIES, size

_TRUST = "/usr/local/share/ca-certificates/laboratory.crt"


@contextmanager
def passing(prefix: str, kind: str) -> Iterator["Site"]:
    """Have a laboratory up during the body; afterwards it is gone, however that went."""
    names = Names(prefix)
    all_hosts.down(names)
    guard = Guard(names)
    try:
        site = Site(prefix, kind)
        site.up()
        yield site
    finally:
        guard.close()


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
        serve(self.names)
        for guest in self.hosts.guests.values():
            (guest.root / _TRUST.lstrip("/")).write_text(trusted)
            guest.ssh("update-ca-certificates && apt-get -qq update")
        fetch_wheels(proxy.ssh("python3 --version").split()[1])

    def down(self) -> None:
        """Take all of it away."""
        dismiss(self.names)
        network.end_processes(self.names)
        all_hosts.down(self.names)
