"""Builds a release on the controller: what git has of a commit, and the wheels of its lock.

Prints JSON: ``{"release", "archive", "wheels", "lock"}``: its name, the two archives for the
hosts, and the digest of the lock that names the wheels. What is built already is not built again.

The hosts install from the wheels alone, by the hashes of the lock. Wheels are chosen for the
hosts' Python and machine, whatever the controller is: pip would evaluate the lock's markers for
its own interpreter (pip issue 11664), so uv does that first.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

#: The name becomes that of directories and systemd instances.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
#: Of the C library of the oldest host, Debian 12: the newest wheels that it can load.
GLIBC_MINOR_MAX = 36
#: What no host runs.
LEFT_OUT = ("ansible", "bench", "demo", "docs", "tests")


class BuildError(Exception):
    """The release cannot be built; the text says why, in plain words."""


def main() -> None:
    """Build what the arguments name, or exit with one line that says why not."""
    parser = argparse.ArgumentParser(description="Build a release of AI Admin.")
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--ref", required=True, help="a tag, a branch or a commit")
    parser.add_argument("--python", required=True, help="the hosts' Python, such as 3.11.2")
    parser.add_argument("--machine", required=True, help="the hosts' machine, such as x86_64")
    parser.add_argument("--cache", type=Path, required=True)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    try:
        release = _name(given.repository, given.ref)
        lock = _run(["git", "-C", str(given.repository), "show", f"{given.ref}:requirements.txt"])
        digest = hashlib.sha256(f"{given.python} {given.machine} {lock}".encode()).hexdigest()[:12]
        archive = _archive(given.repository, given.ref, given.cache / f"{release}.tar.gz")
        wheels = given.cache / f"wheels-{digest}.tar"
        if not wheels.exists():
            _download(lock, wheels, python=given.python, machine=given.machine)
    except BuildError as error:
        sys.exit(str(error))
    told = {"release": release, "archive": str(archive), "wheels": str(wheels), "lock": digest}
    print(json.dumps(told))  # noqa: T201 - a command line prints


def _name(repository: Path, ref: str) -> str:
    """Return what the commit is called: its tag, or the tag before it with the commit, or that."""
    git = ["git", "-C", str(repository)]
    try:
        commit = _run([*git, "rev-parse", "--verify", f"{ref}^{{commit}}"]).strip()
    except BuildError as error:
        raise BuildError(f"{ref!r} is no commit of {repository} ({error})") from None
    name = _run([*git, "describe", "--tags", "--always", commit]).strip()
    if not NAME.fullmatch(name):
        raise BuildError(f"{name!r} is no name for it: 1..40 letters, digits or ._- are allowed")
    return name


def _archive(repository: Path, ref: str, target: Path) -> Path:
    """Pack what git has of the commit: nothing that only lies about on the controller."""
    # Always anew: a tag may have been moved.
    to_file = ["archive", "--format=tar.gz", f"--output={target}"]
    left_out = [f":(exclude){name}" for name in LEFT_OUT]
    _run(["git", "-C", str(repository), *to_file, ref, "--", ".", *left_out])
    return target


def _download(lock: str, target: Path, *, python: str, machine: str) -> None:
    """Fetch the lock's wheels, by its hashes, and pack them."""
    directory = target.with_suffix("")
    directory.mkdir(exist_ok=True)
    (directory / "universal.txt").write_text(lock)
    chosen = directory / "chosen.txt"
    platform = f"{machine}-manylinux_2_{GLIBC_MINOR_MAX}"
    _run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps"),
            # A company's own authority is in the system's store, where pip looks too.
            "--system-certs",
            *("--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"),
            *("--python-version", python, "--python-platform", platform),
            *("--output-file", str(chosen), str(directory / "universal.txt")),
        ]
    )
    minor = ".".join(python.split(".")[:2])
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


def _run(command: Sequence[str]) -> str:
    """Return what a command printed. Raise BuildError with its own words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{command[0]} failed: {error.stderr.strip()}") from None
    return done.stdout


if __name__ == "__main__":
    main()
