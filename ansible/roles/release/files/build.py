"""Builds a release on the controller: what git has of a commit, and the wheels of its lock.

Prints JSON: ``{"release", "commit", "archive", "wheels", "lock", "installer", "sbom",
"provenance"}``: its name and commit, the two archives for the hosts, the digest of the lock that
names the wheels, which of them is pip, and two files for the release's directory: its packages as
CycloneDX, and where it is from. What is built already is not built again.

The hosts install from the wheels alone, by the hashes of the lock. Wheels are chosen for the
hosts' Python and machine, whatever the controller is: pip would evaluate the lock's markers for
its own interpreter (pip issue 11664), so that is done first.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

#: The name becomes that of directories and systemd instances.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
#: Of the C library of the oldest host, Debian 12: the newest wheels that it can load.
GLIBC_MINOR_MAX = 36
#: Of the playbooks that install the release, whatever lock that has itself.
INSTALLER_LOCK = Path(__file__).parents[4] / "requirements-dev.txt"
#: An object that stands in for another would be built under the other's digest.
_GIT = ("git", "--no-replace-objects", "-C")
#: How long what is built is kept after it was used last, s.
KEPT_S = 90 * 86_400
#: What no host runs.
LEFT_OUT = ("ansible", "bench", "demo", "docs", "tests")


class BuildError(Exception):
    """The release cannot be built; the text says why, in plain words."""


@dataclass(frozen=True, slots=True)
class Source:
    """The commit that a release is built from, known by its digest: names may move meanwhile."""

    repository: Path
    ref: str
    commit: str
    release: str
    signed_by: str

    def show(self, path: str) -> str:
        """Return the text of a file of the commit. Raise BuildError."""
        return _git(self.repository, "show", f"{self.commit}:{path}")


def main() -> None:
    """Build what the arguments name, or exit with one line that says why not."""
    parser = argparse.ArgumentParser(description="Build a release of AI Admin.")
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--ref", required=True, help="a tag, a branch or a commit")
    parser.add_argument("--allowed-signers", type=Path, help="who may sign it, as ssh-keygen(1)")
    parser.add_argument("--python", required=True, help="the hosts' Python, such as 3.11.2")
    parser.add_argument("--machine", required=True, help="the hosts' machine, such as x86_64")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--lock", default="requirements.txt", help="which lock of the commit")
    parser.add_argument("--installer-lock", type=Path, default=INSTALLER_LOCK, help="pins pip")
    given = parser.parse_args()
    try:
        told = _build(given)
    except BuildError as error:
        sys.exit(str(error))
    print(json.dumps(told))  # noqa: T201 - a command line prints


def _build(given: argparse.Namespace) -> dict[str, str]:
    source = _source(given.repository, given.ref, given.allowed_signers)
    given.cache.mkdir(parents=True, exist_ok=True)
    # Two repositories may have a tag in common, and be deployed at one time.
    built, lock = f"{source.release}-{source.commit[:12]}", source.show(given.lock)
    wanted = f"{lock}\n{_installer(given.installer_lock)}"
    digest = hashlib.sha256(f"{given.python} {given.machine} {wanted}".encode()).hexdigest()[:12]
    archive = given.cache / f"{built}.tar.gz"
    _pack(source, archive)
    wheels = given.cache / f"wheels-{digest}.tar"
    if not wheels.exists():
        _download(wanted, wheels, python=given.python, machine=given.machine)
    packages = _packages(wheels)
    sbom = given.cache / f"{built}.cdx.json"
    sbom.write_text(_sbom(source, packages))
    provenance = given.cache / f"{built}.json"
    facts = {"release": source.release, "commit": source.commit, "lock": digest}
    more = {"ref": source.ref, "signed_by": source.signed_by}
    more |= {"python": given.python, "machine": given.machine}
    more |= {"archive_sha256": _digest(archive), "sbom_sha256": _digest(sbom)}
    provenance.write_text(json.dumps(facts | more, indent=2) + "\n")
    paths = {"archive": archive, "wheels": wheels, "sbom": sbom, "provenance": provenance}
    # Packages that are used again are as good as new.
    os.utime(wheels)
    _prune(given.cache)
    (installer,) = [name for name in packages if name.startswith("pip-")]
    return {**facts, "installer": installer, **{name: str(path) for name, path in paths.items()}}


def _prune(cache: Path) -> None:
    """Remove what no build has used for long: it would be built again."""
    oldest_s = time.time() - KEPT_S
    for path in cache.iterdir():
        if path.stat().st_mtime < oldest_s:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _source(repository: Path, ref: str, allowed: Path | None) -> Source:
    """Return the commit and what it is called: its tag, or that before it with the commit.

    With ``allowed`` it must be signed. Raise BuildError.
    """
    try:
        commit = _git(repository, "rev-parse", "--verify", f"{ref}^{{commit}}").strip()
    except BuildError as error:
        raise BuildError(f"{ref!r} is no commit of {repository} ({error})") from None
    name = _git(repository, "describe", "--tags", "--always", commit).strip()
    if not NAME.fullmatch(name):
        raise BuildError(f"{name!r} is no name for it: 1..40 letters, digits or ._- are allowed")
    signed_by = _signer(repository, ref, commit, allowed) if allowed else ""
    return Source(repository, ref, commit, name, signed_by)


def _signer(repository: Path, ref: str, commit: str, allowed: Path) -> str:
    """Return who signed a tag, or a commit that was named otherwise. Raise BuildError if nobody.

    A tag must be signed as such, under its own name: whoever can move tags could else lead a new
    one to an old release.
    """
    if not allowed.is_file():
        raise BuildError(f"there is no file {allowed} of those who may sign")
    what, verb, signed = f"commit {commit[:12]}", "verify-commit", commit
    full = _git(repository, "rev-parse", "--symbolic-full-name", ref).strip()
    if full.startswith("refs/tags/"):
        what, verb = f"tag {full.removeprefix('refs/tags/')}", "verify-tag"
        signed = _git(repository, "rev-parse", full).strip()
        header = _git(repository, "cat-file", "-p", signed).partition("\n\n")[0]
        if (
            f"\n{what}\n" not in header
            or _git(repository, "rev-parse", f"{signed}^{{commit}}").strip() != commit
        ):
            raise BuildError(f"the {what} is not signed under this name")
    # No keyring, program or leniency of the deployer's own configuration has a say in it.
    only = {"gpg.ssh.allowedSignersFile": str(allowed.absolute()), "gpg.minTrustLevel": "fully"}
    only |= {"gpg.ssh.program": "ssh-keygen", "gpg.program": "false"}
    only |= {"gpg.openpgp.program": "false", "gpg.x509.program": "false"}
    options = [word for name, value in only.items() for word in ("-c", f"{name}={value}")]
    done = _done([*_GIT, str(repository), *options, verb, "--raw", signed])
    good = re.search(r'^Good "git" signature for (.+ key \S+)$', done.stderr, re.MULTILINE)
    if done.returncode or not good:
        raise BuildError(f"the {what} is not signed by one of {allowed}")
    return good.group(1)


def _pack(source: Source, target: Path) -> None:
    """Pack what git has of the commit: nothing that only lies about on the controller."""
    # Always anew: a tag may have been moved.
    to_file = ["archive", "--format=tar.gz", f"--output={target}"]
    left_out = [f":(exclude){name}" for name in LEFT_OUT]
    _git(source.repository, *to_file, source.commit, "--", ".", *left_out)


def _installer(lock: Path) -> str:
    """Return the lines of a lock that pin pip: it comes with the playbooks, not the release."""
    found = re.search(
        r"^pip==[^\n]*(?<=\\)\n(?:[^\n]*\\\n)*[^\n]*$", lock.read_text(), re.MULTILINE
    )
    if not found:
        raise BuildError(f"{lock} pins no pip")
    return found.group()


def _packages(wheels: Path) -> dict[str, str]:
    """Return the SHA-256 of each wheel, by its name."""
    found = {}
    with tarfile.open(wheels) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content:
                found[member.name] = hashlib.sha256(content.read()).hexdigest()
    return found


def _sbom(source: Source, packages: Mapping[str, str]) -> str:
    """Return the release's packages as CycloneDX, each with the digest of what is installed."""
    bom = Bom()
    ours = Component(name="ai-admin", version=source.release, type=ComponentType.APPLICATION)
    bom.metadata.component = ours
    for wheel, digest in packages.items():
        name, version, _, _ = parse_wheel_filename(wheel)
        bom.components.add(
            Component(
                name=name,
                version=str(version),
                purl=PackageURL("pypi", name=name, version=str(version)),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
                # It installs the others, and no process imports it.
                scope=ComponentScope.EXCLUDED if name == "pip" else ComponentScope.REQUIRED,
            )
        )
    bom.register_dependency(ours, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _chosen(lock: str, *, python: str, machine: str) -> str:
    """Return the lines of a lock that are for the hosts, with its hashes, without its markers."""
    hosts = {"os_name": "posix", "platform_system": "Linux", "sys_platform": "linux"}
    hosts |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    hosts |= {"platform_machine": machine, "python_version": _minor(python)}
    hosts |= {"python_full_version": python, "implementation_version": python}
    lines = []
    for entry in lock.replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.lstrip().startswith("#"):
            stated, *hashes = entry.split(" --hash=")
            wanted = Requirement(stated)
            if wanted.marker is None or wanted.marker.evaluate(hosts):
                wanted.marker = None
                lines.append(" --hash=".join([str(wanted), *map(str.strip, hashes)]))
    return "\n".join(lines) + "\n"


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _download(lock: str, target: Path, *, python: str, machine: str) -> None:
    """Fetch the lock's wheels, by its hashes, and pack them."""
    directory = target.with_suffix("")
    directory.mkdir(exist_ok=True)
    chosen = directory / "chosen.txt"
    chosen.write_text(_chosen(lock, python=python, machine=machine))
    minor = _minor(python)
    platforms = [f"manylinux_2_{glibc}_{machine}" for glibc in range(5, GLIBC_MINOR_MAX + 1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    _run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--implementation", "cp"),
            *("--python-version", minor, "--abi", f"cp{minor.replace('.', '')}"),
            *("--abi", "abi3", "--abi", "none"),
            *(option for name in platforms for option in ("--platform", name)),
            *("--dest", str(directory / "wheels"), "--requirement", str(chosen)),
        ]
    )
    packed = target.with_suffix(".part")
    with tarfile.open(packed, "w") as tar:
        for wheel in sorted((directory / "wheels").iterdir()):
            tar.add(wheel, arcname=wheel.name)
    packed.rename(target)
    shutil.rmtree(directory)


def _git(repository: Path, *arguments: str) -> str:
    return _run([*_GIT, str(repository), *arguments])


def _run(command: Sequence[str]) -> str:
    """Return what a command printed. Raise BuildError with its own words."""
    done = _done(command)
    if done.returncode:
        raise BuildError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _done(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Return how a command ended. Raise BuildError if there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from None


if __name__ == "__main__":
    main()
