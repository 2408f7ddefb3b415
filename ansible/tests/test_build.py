"""What a release is built from: a commit that was signed, packages that are listed."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from laboratory.places import PLAYBOOKS
from laboratory.shell import run

BUILD = PLAYBOOKS / "roles/release/files/build.py"
OWNER = "owner@example.test"


def wheel(directory: Path, name: str) -> tuple[str, str]:
    """Make an invented package; return the line that locks it, and its digest."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {it: hashlib.sha256(text.encode()).digest() for it, text in files.items()}
    encoded = {it: base64.urlsafe_b64encode(d).rstrip(b"=").decode() for it, d in digests.items()}
    rows = [f"{it},sha256={encoded[it]},{len(text)}" for it, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}==1.0 \\\n    --hash=sha256:{digest}\n", digest


@dataclass
class Workshop:
    """A repository, two keys, of which one may sign, and an index of packages in a directory."""

    directory: Path
    digests: dict[str, str]

    @property
    def allowed(self) -> Path:
        return self.directory / "allowed"

    def git(self, *arguments: str, key: str = "") -> str:
        config = {"user.name": "x", "user.email": OWNER, "tag.gpgSign": "false"}
        config |= {"commit.gpgSign": "true" if key else "false", "gpg.format": "ssh"}
        config |= {"user.signingKey": str(self.directory / (key or "none"))}
        options = [word for name, value in config.items() for word in ("-c", f"{name}={value}")]
        return run(["git", "-C", self.directory / "repository", *options, *arguments]).strip()

    def commit(self, *, key: str = "") -> str:
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change", key=key)
        return self.git("rev-parse", "HEAD")

    def build(self, ref: str, *options: str) -> subprocess.CompletedProcess[str]:
        packages = str(self.directory / "packages")
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": packages, "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(
            [
                *(sys.executable, str(BUILD), f"--repository={self.directory / 'repository'}"),
                *(f"--ref={ref}", "--python=3.11.2", "--machine=x86_64", *options),
                f"--cache={self.directory / 'cache'}",
                f"--installer-lock={self.directory / 'installer.txt'}",
            ],
            env=dict(os.environ) | offline,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def build_signed(self, ref: str) -> subprocess.CompletedProcess[str]:
        return self.build(ref, f"--allowed-signers={self.allowed}")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    for name in ("repository", "packages"):
        (tmp_path / name).mkdir()
    parcel, pip = (wheel(tmp_path / "packages", name) for name in ("parcel", "pip"))
    it = Workshop(tmp_path, {"parcel": parcel[1], "pip": pip[1]})
    for key in ("owner", "stranger"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key])
    it.allowed.write_text(f"{OWNER} {(tmp_path / 'owner.pub').read_text()}")
    (tmp_path / "installer.txt").write_text(pip[0])
    it.git("init", "--quiet", "--initial-branch=main")
    (tmp_path / "repository" / "requirements.txt").write_text(parcel[0])
    it.git("add", ".")
    it.commit()
    return it


def test_release_says_where_it_is_from_and_what_is_in_it(workshop: Workshop) -> None:
    commit = workshop.commit(key="owner")
    workshop.git("tag", "--sign", "--message=v1", "v1", key="owner")

    built = workshop.build_signed("v1")

    assert built.stderr == ""
    told = json.loads(built.stdout)
    provenance = json.loads(Path(told["provenance"]).read_text())
    assert (told["release"], told["commit"], told["installer"]) == (
        *("v1", commit),
        "pip-1.0-py3-none-any.whl",
    )
    assert provenance.pop("signed_by").startswith(f"{OWNER} with ED25519 key SHA256:")
    files = {name: Path(told[name]).read_bytes() for name in ("archive", "sbom")}
    assert provenance == {
        "release": "v1",
        "ref": "v1",
        "commit": commit,
        "lock": told["lock"],
        "python": "3.11.2",
        "machine": "x86_64",
        **{f"{name}_sha256": hashlib.sha256(it).hexdigest() for name, it in files.items()},
    }
    sbom = json.loads(files["sbom"])
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["version"]) == ("CycloneDX", "v1")
    found = {it["purl"]: (it["hashes"][0]["content"], it["scope"]) for it in sbom["components"]}
    assert found == {
        "pkg:pypi/parcel@1.0": (workshop.digests["parcel"], "required"),
        "pkg:pypi/pip@1.0": (workshop.digests["pip"], "excluded"),
    }
    with tarfile.open(told["wheels"]) as tar:
        assert len(tar.getnames()) == len(found)


def lightweight(workshop: Workshop) -> str:
    workshop.commit(key="owner")
    workshop.git("tag", "v1")
    return "v1"


def annotated_only(workshop: Workshop) -> str:
    workshop.commit(key="owner")
    workshop.git("tag", "--annotate", "--message=v1", "v1")
    return "v1"


def of_a_stranger(workshop: Workshop) -> str:
    workshop.commit(key="stranger")
    workshop.git("tag", "--sign", "--message=v1", "v1", key="stranger")
    return "v1"


def old_under_a_new_name(workshop: Workshop) -> str:
    workshop.commit(key="owner")
    workshop.git("tag", "--sign", "--message=v1", "v1", key="owner")
    workshop.git("update-ref", "refs/tags/v2", workshop.git("rev-parse", "refs/tags/v1"))
    return "v2"


def unsigned_commit(workshop: Workshop) -> str:
    workshop.commit(key="owner")
    return workshop.commit()


def commit_of_a_stranger(workshop: Workshop) -> str:
    return workshop.commit(key="stranger")


def on_a_signed_one(workshop: Workshop) -> str:
    workshop.commit(key="owner")
    workshop.commit()
    return "main"


def replaced(workshop: Workshop) -> str:
    """A commit that is nobody's, for which the repository shows a signed one."""
    bad = workshop.commit()
    workshop.git("reset", "--quiet", "--hard", "HEAD^")
    workshop.git("replace", bad, workshop.commit(key="owner"))
    return bad


def trusted_by_configuration(workshop: Workshop) -> str:
    """The repository's own configuration allows whoever asks."""
    everybody = workshop.directory / "everybody"
    everybody.write_text(f"* {(workshop.directory / 'stranger.pub').read_text()}")
    workshop.git("config", "gpg.ssh.allowedSignersFile", str(everybody))
    workshop.git("config", "gpg.minTrustLevel", "never")
    return workshop.commit(key="stranger")


def by_another_kind_of_key(workshop: Workshop) -> str:
    """A program of the deployer's finds every OpenPGP signature good."""
    program = workshop.directory / "gpg"
    good = "[GNUPG:] GOODSIG 0123456789ABCDEF x\\n[GNUPG:] TRUST_ULTIMATE 0 pgp\\n"
    key = 'Good \\"git\\" signature for owner with ED25519 key SHA256:x\\n'
    program.write_text(f'#!/bin/sh\ncat >/dev/null\nprintf "\\n{good}"\nprintf "{key}" >&2\n')
    program.chmod(0o755)
    workshop.git("config", "gpg.program", str(program))
    commit = workshop.git("cat-file", "-p", workshop.commit())
    header, _, message = commit.partition("\n\n")
    lines = ["-----BEGIN PGP SIGNATURE-----", "", "AAAA", "-----END PGP SIGNATURE-----"]
    forged = workshop.directory / "forged"
    forged.write_text(f"{header}\ngpgsig " + "\n ".join(lines) + f"\n\n{message}\n")
    return workshop.git("hash-object", "-t", "commit", "-w", str(forged))


@pytest.mark.parametrize(
    "made",
    [
        *(lightweight, annotated_only, of_a_stranger, old_under_a_new_name, unsigned_commit),
        *(commit_of_a_stranger, on_a_signed_one, replaced, trusted_by_configuration),
        by_another_kind_of_key,
    ],
)
def test_what_no_allowed_key_signed_is_refused(
    workshop: Workshop, made: Callable[[Workshop], str]
) -> None:
    built = workshop.build_signed(made(workshop))

    assert (built.returncode, built.stdout) == (1, "")
    assert "is not signed" in built.stderr
    assert not (workshop.directory / "cache").exists()


def test_signed_commit_will_do_where_no_tag_is_named(workshop: Workshop) -> None:
    commit = workshop.commit(key="owner")

    built = [json.loads(workshop.build_signed(ref).stdout) for ref in (commit, "main", "HEAD")]

    assert {it["commit"] for it in built} == {commit}


def test_missing_list_of_signers_allows_nobody(workshop: Workshop) -> None:
    commit = workshop.commit(key="owner")
    workshop.allowed.unlink()

    built = workshop.build_signed(commit)

    assert built.returncode == 1
    assert "there is no file" in built.stderr


def test_without_a_list_of_signers_an_unsigned_commit_is_built(workshop: Workshop) -> None:
    built = workshop.build("main")

    assert json.loads(Path(json.loads(built.stdout)["provenance"]).read_text())["signed_by"] == ""


@pytest.mark.parametrize("name", ["parcel", "pip"])
def test_package_that_was_tampered_with_is_not_taken(workshop: Workshop, name: str) -> None:
    """The installer is one: it would run as root on every host."""
    with zipfile.ZipFile(workshop.directory / f"packages/{name}-1.0-py3-none-any.whl", "a") as it:
        it.writestr("evil.py", "")

    built = workshop.build("main")

    assert (built.returncode, built.stdout) == (1, "")
    assert "DO NOT MATCH THE HASHES" in built.stderr


def test_what_no_build_used_for_long_is_gone_and_what_one_used_is_kept(workshop: Workshop) -> None:
    """Packages of a release that runs are used whenever a host is added: they stay."""
    workshop.build("HEAD")
    cache, long_ago = workshop.directory / "cache", 86_400 * 91
    (cache / "wheels-of-long-ago").mkdir()
    for name in ("v0.1.tar.gz", "v0.1.json", "wheels-0.tar", "wheels-of-long-ago/a.whl"):
        (cache / name).touch()
    for path in cache.iterdir():
        os.utime(path, (path.stat().st_mtime - long_ago,) * 2)
    (cache / "wheels-of-another-build.part").touch()

    again = workshop.build("HEAD")

    built = json.loads(again.stdout)
    used = {Path(built[it]).name for it in ("archive", "wheels", "sbom", "provenance")}
    assert {it.name for it in cache.iterdir()} == used | {"wheels-of-another-build.part"}


def test_tag_of_another_commit_leaves_what_was_built_before_alone(workshop: Workshop) -> None:
    """Two installations deployed at one time from two repositories got each other's ``v1``."""
    built = []
    for _ in range(2):
        commit = workshop.commit()
        workshop.git("tag", "--force", "v1")
        built.append((commit, json.loads(workshop.build("v1").stdout)))

    said = [json.loads(Path(it["provenance"]).read_text()) for _, it in built]

    assert [it["commit"] for it in said] == [commit for commit, _ in built]
    assert len({it["archive"] for _, it in built}) == 2
