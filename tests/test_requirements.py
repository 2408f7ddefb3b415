"""What is installed is what was locked: every file of every package by its digest."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from tests.repository import ROOT

LOCKS = ("requirements.txt", "requirements-traces.txt", "requirements-dev.txt")
PINNED = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,._-]+\])?==[^\s;]+( ;.*)?")
DIGEST = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def requirements(name: str) -> dict[str, list[str]]:
    """Return each requirement of a lock with the options that follow it."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = {}
    for line in filter(None, lines):
        requirement, *options = re.split(r"\s+(?=--)", line)
        found[requirement] = options
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_known_by_its_digests(lock: str) -> None:
    found = requirements(lock)

    assert len(found) > 20
    assert [one for one in found if not PINNED.fullmatch(one)] == []
    assert [one for one, digests in found.items() if not digests] == []
    assert {d for digests in found.values() for d in digests if not DIGEST.fullmatch(d)} == set()


@pytest.mark.parametrize(("narrow", "wide"), [*pairwise(LOCKS)])
def test_development_uses_the_packages_of_production(narrow: str, wide: str) -> None:
    ours, theirs = requirements(narrow), requirements(wide)
    versions = {one.partition(" ;")[0]: set(digests) for one, digests in theirs.items()}

    others = [
        one for one, digests in ours.items() if versions.get(one.partition(" ;")[0]) != set(digests)
    ]

    assert others == []


def test_every_installation_demands_digests() -> None:
    """One line without the option, and pip takes whatever is served under the name."""
    files = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "ansible").rglob("*.y*ml")]
    commands = [
        command
        for path in files
        for command in re.sub(r"\\\n|\n +--", " --", path.read_text()).splitlines()
        if re.search(r"\bpip\d? (install|sync)\b", command)
    ]

    assert commands
    assert [command for command in commands if "--require-hashes" not in command] == []


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a wheel of an invented package."""
    info = "parcel-1.0.dist-info"
    files = {
        "parcel.py": "WHOLE = True\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    path = tmp_path / "parcel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("tampered", "options", "said"),
    [
        pytest.param(False, "--hash=sha256:{digest}", "", id="of the locked digest"),
        pytest.param(True, "--hash=sha256:{digest}", "DO NOT MATCH THE HASHES", id="tampered with"),
        pytest.param(False, "", "Hashes are required", id="without a digest"),
    ],
)
def test_package_is_installed_only_as_it_was_locked(
    wheel: Path, options: str, said: str, *, tampered: bool
) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if tampered:
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("parcel_evil.py", "")
    lock, target = wheel.with_name("lock.txt"), wheel.with_name("target")
    lock.write_text(f"parcel==1.0 {options.format(digest=digest)}\n")

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"),
            *("--no-index", "--no-cache-dir", "--find-links", str(wheel.parent)),
            *("--target", str(target), "--require-hashes", "-r", str(lock)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    is_good = said == ""
    assert (target / "parcel.py").exists() is is_good
    assert (done.returncode == 0) is is_good
    assert said in done.stderr
    assert not (is_good and done.stderr)
