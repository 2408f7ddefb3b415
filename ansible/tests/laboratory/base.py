"""The image that every guest starts from: Debian 12, made once, and a key to get in."""

import os
import shutil
from pathlib import Path

from laboratory.places import cache
from laboratory.shell import run

SUITE = "bookworm"
#: What a server has that was just installed, and what Ansible needs to talk to it.
INCLUDED = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libnss-systemd",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)
#: A guest's disk is thrown away: nothing has to survive the machine.
_UNSAFE = "force-unsafe-io\n"


def ensure_base() -> Path:
    """Return the directory with the image; the first time this downloads about 100 MB."""
    rootfs, made = cache() / "rootfs", cache() / "rootfs.made"
    if not made.exists():
        shutil.rmtree(rootfs, ignore_errors=True)
        rootfs.parent.mkdir(parents=True, exist_ok=True)
        # Without an address debootstrap takes Debian's own.
        mirror = [address for address in [os.environ.get("DEBIAN_MIRROR", "")] if address]
        include = f"--include={','.join(INCLUDED)}"
        run(["debootstrap", "--variant=minbase", include, SUITE, rootfs, *mirror])
        (rootfs / "etc/dpkg/dpkg.cfg.d/laboratory").write_text(_UNSAFE)
        made.touch()
    _let_in(rootfs)
    return rootfs


def key() -> Path:
    """Return the private key that opens every guest."""
    path = cache() / "id"
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "laboratory", "-f", path])
    return path


def _let_in(rootfs: Path) -> None:
    allowed = rootfs / "root/.ssh/authorized_keys"
    allowed.parent.mkdir(mode=0o700, exist_ok=True)
    public = key().with_suffix(".pub").read_text()
    if not allowed.exists() or allowed.read_text() != public:
        allowed.write_text(public)
        allowed.chmod(0o600)
