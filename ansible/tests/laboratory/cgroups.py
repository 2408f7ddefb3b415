"""The control groups of the guests: one each, so that a whole guest can be stopped or killed."""

import contextlib
from pathlib import Path

from laboratory.places import LaboratoryError
from laboratory.shell import wait_until

_ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Return the hierarchies in which a guest needs a group, the unified one first.

    systemd's own is the other one, where the machine has not given it up.
    """
    unified = _ROOT if (_ROOT / "cgroup.procs").exists() else _ROOT / "unified"
    if not (unified / "cgroup.procs").exists():
        raise LaboratoryError(
            "this machine mounts no unified control groups (cgroup2) at /sys/fs/cgroup"
        )
    return [unified, *(path for path in [_ROOT / "systemd"] if path.is_dir())]


def make(name: str) -> list[Path]:
    """Return the groups of a guest, made if they were not there."""
    groups = [hierarchy / name for hierarchy in hierarchies()]
    for group in groups:
        group.mkdir(exist_ok=True)
    return groups


def set_frozen(name: str, *, frozen: bool) -> None:
    """Stop every process of a guest, or let them go on; return when it is so."""
    group = hierarchies()[0] / name
    (group / "cgroup.freeze").write_text(f"{frozen:d}")
    wait_until(
        lambda: f"frozen {frozen:d}" in (group / "cgroup.events").read_text(),
        f"{name} does not {'freeze' if frozen else 'thaw'}",
    )


def kill(name: str) -> None:
    """Kill every process of a guest at once and return when none is left. Safe to run twice."""
    group = hierarchies()[0] / name
    if not group.is_dir():
        return
    (group / "cgroup.kill").write_text("1")
    # A frozen group would be killed all the same, but is not empty before it has thawed.
    (group / "cgroup.freeze").write_text("0")
    wait_until(lambda: not is_populated(name), f"{name} has processes that cannot be killed")


def is_populated(name: str) -> bool:
    """Return whether a guest has processes."""
    events = hierarchies()[0] / name / "cgroup.events"
    return events.exists() and "populated 1" in events.read_text()


def remove(prefix: str) -> None:
    """Kill and remove every group of a laboratory. Safe to run twice."""
    for hierarchy in hierarchies():
        for group in hierarchy.glob(f"{prefix}-*"):
            kill(group.name)
            children = sorted(group.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
            for directory in (*children, group):
                with contextlib.suppress(OSError):
                    directory.rmdir()
