"""Commands of the machine: run, and a failure told with what the command said."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from laboratory.places import LaboratoryError

#: What must be installed for a command to be there.
PACKAGES = {
    "age": "age",
    "apt-ftparchive": "apt-utils",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "zstd": "zstd",
}
#: With it debootstrap checks what it downloads.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SHOWN_MAX = 2_000


def run(command: Sequence[str | Path], *, timeout_s: float = 900.0) -> str:
    """Return what a command prints. Raise LaboratoryError if it fails or takes too long."""
    given = [str(part) for part in command]
    try:
        done = subprocess.run(
            given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise LaboratoryError(f"not over after {timeout_s:.0f} s: {shlex.join(given)}") from None
    if done.returncode:
        said = (done.stderr or done.stdout)[-_SHOWN_MAX:].strip()
        raise LaboratoryError(f"failed with {done.returncode}: {shlex.join(given)}\n{said}")
    return done.stdout


def attempt(command: Sequence[str | Path], timeout_s: float = 60.0) -> bool:
    """Return whether a command succeeds; what it says is nobody's concern."""
    given = [str(part) for part in command]
    try:
        done = subprocess.run(given, capture_output=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def wait_until(
    condition: Callable[[], object], otherwise: str, *, patience_s: float = 20.0
) -> None:
    """Return when a condition holds. Raise LaboratoryError with ``otherwise`` if it never does."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise LaboratoryError(otherwise)
        time.sleep(0.05)


def demand() -> None:
    """Raise LaboratoryError that names all that this machine lacks for a laboratory."""
    missing = sorted(
        {package for command, package in PACKAGES.items() if not shutil.which(command)}
    )
    if not KEYRING.exists():
        missing.append("debian-archive-keyring")
    if missing:
        raise LaboratoryError(
            f"a laboratory needs more of this machine: apt install {' '.join(missing)}"
        )
    if os.geteuid():
        raise LaboratoryError("a laboratory makes hosts and networks: run it as root")
