"""The hosts of a laboratory and who does what: made together, and taken away with all they left."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence

import yaml

from laboratory import cgroups, network
from laboratory.debian import System, ensure_base, ensure_pool
from laboratory.guest import Guest
from laboratory.places import NETWORK, PLAYBOOKS, LaboratoryError, Names
from laboratory.shell import attempt

Topology = Mapping[str, Sequence[str]]


#: The inventories to copy, each a case.
INVENTORIES = PLAYBOOKS / "inventories"


def _topology(case: str) -> Topology:
    """Return who does what by a case."""
    groups = yaml.safe_load((INVENTORIES / case / "hosts.yml").read_text())["all"]["children"]
    return {group: tuple(members["hosts"]) for group, members in groups.items()}


_CASES = {path.name: _topology(path.name) for path in sorted(INVENTORIES.iterdir())}
ONE = _CASES["one"]
#: What grew from that: who takes the webhooks stays.
TWO: Topology = {**ONE, **dict.fromkeys(("web", "workers", "scheduler"), ("h1", "h2"))}
#: Servers on one host, the application on another, and IPv6 between them.
SIX: Topology = {
    "ledger": ("h1",),
    "broker": ("h1",),
    **dict.fromkeys(("web", "workers", "scheduler", "proxy"), ("h2",)),
}
#: Of ``four`` h3 and h4 can be hurt while others serve: h3 is a web host that is no proxy, h4 is
#: none at all. ``beside`` becomes ``beside-others`` once that was refused.
TOPOLOGIES: Mapping[str, Topology] = {**_CASES, "six": SIX, "beside": ONE, "newer": ONE}


def case_of(topology: Topology) -> str:
    """Return the case whose topology this is, "" if it is of none."""
    return next((case for case, its in _CASES.items() if its is topology), "")


#: Hosts that are up from the beginning, and in no inventory: not yet, or somebody else's.
SPARE: Mapping[str, int] = {"one": 1, "managed-redis": 1, "newer": 1}
#: Hosts that have another system than the others, with a Redis of another major version.
NEWER: Mapping[str, Mapping[str, str]] = {"newer": {"h2": "trixie"}}


def size(topology: Topology) -> int:
    """Return how many hosts a topology has."""
    return len({host for hosts in topology.values() for host in hosts})


_FIRST = 11
_POOL = "/var/pool"


class Hosts:
    """The guests of the laboratory ``names``, by their names: h1, h2 and so on."""

    def __init__(self, names: Names, count: int) -> None:
        self.names = names
        numbers = range(1, count + 1)
        self.guests = {
            f"h{n}": Guest(names, f"h{n}", f"{NETWORK}.{_FIRST + n - 1}") for n in numbers
        }

    def up(
        self,
        system: System,
        known: Iterable[tuple[str, str]] = (),
        others: Mapping[str, System] | None = None,
    ) -> None:
        """Make and start the guests. ``known``: further names and addresses for all of them.

        ``others``: by host, what has another system.
        """
        if (self.names.directory / "guests").exists():
            raise LaboratoryError(f"laboratory {self.names.prefix} is there already: down first")
        network.make_controller(self.names)
        everybody = [(guest.host, guest.address) for guest in self.guests.values()]
        for guest in self.guests.values():
            own = (others or {}).get(guest.host, system)
            guest.make(own, ensure_base(own), [*everybody, *known])
            if own != system:
                _bring_packages(guest, own)
        for guest in self.guests.values():
            guest.start()


def _bring_packages(guest: Guest, system: System) -> None:
    """Have a guest's apt find on its own disk what the controller serves for another system."""
    shutil.copytree(ensure_pool(system), guest.root / _POOL.lstrip("/"))
    source = f"deb [trusted=yes] file:{_POOL} {system.suite} main\n"
    (guest.root / "etc/apt/sources.list").write_text(source)


def down(names: Names) -> None:
    """Take a laboratory away, whatever state it is in. Safe to run twice."""
    cgroups.remove(names.prefix)
    network.remove_namespaces(names)
    guests = names.directory / "guests"
    for root in sorted(guests.glob("*/root")):
        if not attempt(["umount", root]):
            attempt(["umount", "--lazy", root])
    if any(root.is_mount() for root in guests.glob("*/root")):
        raise LaboratoryError(f"a disk below {guests} is in use: end what uses it, then try again")
    # Aside first: disks are large, and whoever makes the next laboratory need not wait for it.
    gone = names.directory.with_name(f".{names.prefix}.{os.getpid()}")
    if names.directory.exists():
        names.directory.rename(gone)
    for directory in names.directory.parent.glob(f".{names.prefix}.*"):
        shutil.rmtree(directory, ignore_errors=True)
