"""Debian 12 as every guest finds it: an image to start from, and the packages that roles install.

Guests have no way out, and yet ``ansible.builtin.apt`` must really work in them: the controller
serves the packages.
"""

import hashlib
import os
import shutil
from pathlib import Path

from laboratory.places import CONTROLLER, cache
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


#: All that roles install, by whatever host. What these need comes along by itself.
PACKAGES = (
    "acl",
    "cron",
    "curl",
    "git",
    "libpython3.11",
    "logrotate",
    "nftables",
    "nginx",
    "nginx-light",
    "openssl",
    "python3-cryptography",
    "python3-packaging",
    "python3-pip",
    "python3-redis",
    "python3-venv",
    "rabbitmq-server",
    "redis-server",
    "redis-tools",
    "rsync",
    "socat",
    "zstd",
)
PORT = 3142
SOURCE = f"deb [trusted=yes] http://{CONTROLLER}:{PORT} {SUITE} main\n"
_INDEX = f"dists/{SUITE}/main/binary-amd64"


def ensure_pool() -> Path:
    """Return the directory to serve; downloads what is missing once for each list of packages."""
    rootfs = ensure_base()
    wanted = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    pool, made = cache() / "pool", cache() / f"pool.{wanted}.made"
    if made.exists():
        return pool
    packages = pool / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    for package in _downloaded(rootfs):
        shutil.move(package, packages / package.name)
    _index(pool)
    made.touch()
    return pool


def _downloaded(rootfs: Path) -> list[Path]:
    """Return the packages and all that they need beyond the image, downloaded by its own apt."""
    apt: list[str | Path] = ["chroot", rootfs, "apt-get", "-qq"]
    run([*apt, "update"])
    # Some exclude each other, such as the kinds of nginx: each is asked for by itself.
    for package in PACKAGES:
        no_more = "APT::Install-Recommends=false"
        run([*apt, "-o", no_more, "--download-only", "--yes", "install", package])
    run(["rm", "-rf", *(rootfs / "var/lib/apt/lists").iterdir()])
    return sorted((rootfs / "var/cache/apt/archives").glob("*.deb"))


def _index(pool: Path) -> None:
    index = pool / _INDEX
    index.mkdir(parents=True, exist_ok=True)
    # The names in the index must be those under which the server knows the files.
    listed = run(["env", "-C", pool, "apt-ftparchive", "packages", "packages"])
    (index / "Packages").write_text(listed)
    release = pool / f"dists/{SUITE}/Release"
    release.unlink(missing_ok=True)
    options = [f"APT::FTPArchive::Release::{name}" for name in ("Suite", "Codename")]
    given = [part for option in options for part in ("-o", f"{option}={SUITE}")]
    given += ["-o", "APT::FTPArchive::Release::Components=main"]
    given += ["-o", "APT::FTPArchive::Release::Architectures=amd64"]
    release.write_text(run(["apt-ftparchive", *given, "release", release.parent]))
