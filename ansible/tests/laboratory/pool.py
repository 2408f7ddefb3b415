"""Debian's packages as the guests find them: all that the roles install, served by the controller.

Guests have no way out, and yet ``ansible.builtin.apt`` must really work in them.
"""

import hashlib
import shutil
from pathlib import Path

from laboratory.base import SUITE, ensure_base
from laboratory.places import CONTROLLER, cache
from laboratory.shell import run

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
