"""The hosts of a laboratory: made together, and taken away together with all they left behind."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from laboratory import cgroups, network
from laboratory.base import ensure_base
from laboratory.guest import Guest
from laboratory.places import NETWORK, Names
from laboratory.shell import attempt

_FIRST = 11


class Hosts:
    """The guests of the laboratory ``names``, by their names: h1, h2 and so on."""

    def __init__(self, names: Names, count: int) -> None:
        self.names = names
        numbers = range(1, count + 1)
        self.guests = {
            f"h{n}": Guest(names, f"h{n}", f"{NETWORK}.{_FIRST + n - 1}") for n in numbers
        }

    def up(self, known: Iterable[tuple[str, str]] = ()) -> None:
        """Make and start the guests. ``known``: further names and addresses for all of them."""
        rootfs = ensure_base()
        network.make_controller(self.names)
        everybody = [(guest.host, guest.address) for guest in self.guests.values()]
        for guest in self.guests.values():
            guest.make(rootfs, [*everybody, *known])
        for guest in self.guests.values():
            guest.start()


def down(names: Names) -> None:
    """Take a laboratory away, whatever state it is in. Safe to run twice."""
    cgroups.remove(names.prefix)
    network.remove_namespaces(names)
    guests = names.directory / "guests"
    for root in sorted(guests.glob("*/root")):
        if not attempt(["umount", root]):
            attempt(["umount", "--lazy", root])
    if not any(_is_mounted(root) for root in guests.glob("*/root")):
        shutil.rmtree(names.directory, ignore_errors=True)


def _is_mounted(root: Path) -> bool:
    return root.is_mount()
