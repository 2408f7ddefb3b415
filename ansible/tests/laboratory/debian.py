"""The system as every guest finds it: an image to start from, and the packages that roles install.

Guests have no way out, and yet ``ansible.builtin.apt`` must really work in them: the controller
serves the packages.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from laboratory.places import CONTROLLER, LaboratoryError, cache
from laboratory.shell import run

PORT = 3142


@dataclass(frozen=True, slots=True)
class System:
    """A system that hosts may have.

    ``suite``: what its archive and the laboratory call it. ``mirror``: that archive, "" for
    Debian's. ``keyring``: with which it is checked. ``python``: the package with its Python's
    library.
    """

    suite: str
    python: str
    components: str = "main"
    mirror: str = ""
    keyring: str = "debian-archive-keyring.gpg"

    @property
    def directory(self) -> Path:
        """Return where all that is made of it once is kept."""
        return cache() / self.suite

    @property
    def source(self) -> str:
        """Return what a guest's apt is told."""
        return f"deb [trusted=yes] http://{CONTROLLER}:{PORT} {self.suite} main\n"


_UBUNTU = "http://archive.ubuntu.com/ubuntu"
SYSTEMS: Mapping[str, System] = {
    system.suite: system
    for system in (
        System("bookworm", "libpython3.11"),
        System("trixie", "libpython3.13"),
        System("noble", "libpython3.12t64", "main,universe", _UBUNTU, "ubuntu-archive-keyring.gpg"),
    )
}
#: Where none is named.
SYSTEM = "bookworm"
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


def ensure_base(system: System) -> Path:
    """Return the directory with the image; the first time this downloads about 100 MB."""
    rootfs, made = system.directory / "rootfs", system.directory / "rootfs.made"
    if not made.exists():
        keyring = Path("/usr/share/keyrings") / system.keyring
        if not keyring.exists():
            raise LaboratoryError(f"{system.suite} cannot be checked: {keyring} is missing")
        shutil.rmtree(rootfs, ignore_errors=True)
        rootfs.parent.mkdir(parents=True, exist_ok=True)
        # Without an address debootstrap takes Debian's own.
        mirror = [it for it in [system.mirror or os.environ.get("DEBIAN_MIRROR", "")] if it]
        options = [f"--include={','.join(INCLUDED)}", f"--components={system.components}"]
        options += ["--variant=minbase", f"--keyring={keyring}"]
        run(["debootstrap", *options, system.suite, rootfs, *mirror])
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
    "age",
    "cron",
    "curl",
    "git",
    "lego",
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


def ensure_pool(system: System) -> Path:
    """Return the directory to serve; downloads what is missing once for each list of packages."""
    rootfs = ensure_base(system)
    names = (*PACKAGES, system.python)
    wanted = hashlib.sha256(" ".join(sorted(names)).encode()).hexdigest()[:12]
    pool, made = system.directory / "pool", system.directory / f"pool.{wanted}.made"
    if made.exists():
        return pool
    packages = pool / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    for package in _downloaded(rootfs, names):
        shutil.move(package, packages / package.name)
    _index(pool, system.suite)
    made.touch()
    return pool


def _downloaded(rootfs: Path, names: Sequence[str]) -> list[Path]:
    """Return the packages and all that they need beyond the image, downloaded by its own apt."""
    apt: list[str | Path] = ["chroot", rootfs, "apt-get", "-qq"]
    run([*apt, "update"])
    # Some exclude each other, such as the kinds of nginx: each is asked for by itself.
    for package in names:
        no_more = "APT::Install-Recommends=false"
        run([*apt, "-o", no_more, "--download-only", "--yes", "install", package])
    run(["rm", "-rf", *(rootfs / "var/lib/apt/lists").iterdir()])
    return sorted((rootfs / "var/cache/apt/archives").glob("*.deb"))


def _index(pool: Path, suite: str) -> None:
    index = pool / f"dists/{suite}/main/binary-amd64"
    index.mkdir(parents=True, exist_ok=True)
    # The names in the index must be those under which the server knows the files.
    listed = run(["env", "-C", pool, "apt-ftparchive", "packages", "packages"])
    _replace(index / "Packages", listed)
    release = pool / f"dists/{suite}/Release"
    options = [f"APT::FTPArchive::Release::{name}" for name in ("Suite", "Codename")]
    given = [part for option in options for part in ("-o", f"{option}={suite}")]
    given += ["-o", "APT::FTPArchive::Release::Components=main"]
    given += ["-o", "APT::FTPArchive::Release::Architectures=amd64"]
    # Usually it lists itself, too.
    given += ["-o", "APT::FTPArchive::Release::Default-Patterns=false"]
    given += ["-o", "APT::FTPArchive::Release::Patterns::=Packages"]
    _replace(release, run(["apt-ftparchive", *given, "release", release.parent]))


def _replace(path: Path, text: str) -> None:
    """Write at once: another laboratory may be served from there."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.rename(path)
