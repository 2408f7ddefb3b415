"""The laboratory's network: one namespace for the controller, one for each guest, and a bridge."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from laboratory.places import CONTROLLER, LaboratoryError, Names
from laboratory.shell import attempt, run

_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000


def make_controller(names: Names) -> None:
    """Make the controller's namespace with the bridge that guests are plugged into."""
    controller = names.controller
    if (_NAMESPACES / controller).exists():
        raise LaboratoryError(
            f"laboratory {names.prefix} is up already: take it down first, or choose another prefix"
        )
    run(["ip", "netns", "add", controller])
    for command in (
        ["link", "set", "lo", "up"],
        ["link", "add", "br0", "type", "bridge"],
        ["addr", "add", f"{CONTROLLER}/24", "dev", "br0"],
        ["link", "set", "br0", "up"],
    ):
        run(["ip", "-n", controller, *command])


def plug_in(names: Names, host: str, address: str, address_6: str) -> None:
    """Make a guest's namespace and plug it into the bridge."""
    guest, controller = names.guest(host), names.controller
    run(["ip", "netns", "add", guest])
    port, far = port_of(host), ["peer", "name", "host0", "netns", guest]
    run(["ip", "-n", controller, "link", "add", port, "type", "veth", *far])
    run(["ip", "-n", controller, "link", "set", port, "master", "br0", "up"])
    run(["ip", "-n", guest, "addr", "add", f"{address}/24", "dev", "host0"])
    # Known to nobody else: there is no need to wait and see whether it is taken.
    run(["ip", "-n", guest, "addr", "add", f"{address_6}/64", "dev", "host0", "nodad"])
    for device in ("host0", "lo"):
        run(["ip", "-n", guest, "link", "set", device, "up"])


def port_of(host: str) -> str:
    """Return the device by which a guest is plugged into the controller's bridge."""
    return f"v-{host}"


def line(names: Names, host: str, *, is_up: bool) -> None:
    """Cut a guest's line, or mend it."""
    run(["ip", "-n", names.controller, "link", "set", port_of(host), "up" if is_up else "down"])


def remove_namespaces(names: Names) -> None:
    """Remove every namespace of the laboratory. Safe to run twice."""
    for namespace in _NAMESPACES.glob(f"{names.prefix}-*"):
        attempt(["ip", "netns", "del", namespace.name])


def end_processes(names: Names) -> None:
    """End what still runs for a laboratory: a playbook, or what Ansible keeps for its next one."""
    kept = f"{names.directory}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        # It may end while we look.
        with contextlib.suppress(OSError):
            if kept in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGTERM)


def enter(namespace: str) -> None:
    """Move this thread, and all that it starts from now on, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (_NAMESPACES / namespace).open() as handle:
        if libc.setns(handle.fileno(), _CLONE_NEWNET):
            raise LaboratoryError(f"cannot enter {namespace}: {os.strerror(ctypes.get_errno())}")


def inside(names: Names) -> list[str]:
    """Return what goes before a command so that it runs at the controller."""
    return ["nsenter", f"--net={_NAMESPACES / names.controller}", "--"]
