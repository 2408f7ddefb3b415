"""``make audit``: the locks against published advisories."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.http_server import HttpServer, Reply, Request
from tests.repository import ROOT
from tests.test_requirements import LOCKS, requirements

#: As OSV answers about a package with one advisory.
ADVISORY = {
    "id": "PYSEC-0000-1",
    "modified": "2026-01-01T00:00:00Z",
    "published": "2026-01-01T00:00:00Z",
    "summary": "An invented fault",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "falcon", "purl": "pkg:pypi/falcon"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            "versions": [],
        }
    ],
}


class Advisories(HttpServer):
    """Knows an advisory about each of ``faulty``."""

    faulty: frozenset[str] = frozenset()

    def default(self, request: Request) -> Reply:
        found = request.json["package"]["name"] in self.faulty
        return Reply(body={"vulns": [ADVISORY]} if found else {})


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    with closing(Advisories()) as it:
        yield it


def audit(url: str) -> subprocess.CompletedProcess[str]:
    """Run the target as it stands, with the environment as it is."""
    return subprocess.run(
        [
            "make",
            "--no-print-directory",
            "--old-file=.venv/.ready",
            "audit",
            f"ARGS=-s osv --osv-url {url}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_package_of_hosts_is_asked_about(advisories: Advisories) -> None:
    """Also what only a host's Python needs: pip-audit would leave it out on any other."""
    done = audit(advisories.url)

    assert done.returncode == 0
    assert done.stdout.endswith("No known vulnerabilities found\n")
    asked = {request.json["package"]["name"] for request in advisories.requests}
    assert {re.split(r"[\[=]", one)[0] for one in requirements(LOCKS[0])} - asked == set()
    assert {"ansible-core", "uv"} <= asked


def test_advisory_about_a_locked_package_fails(advisories: Advisories) -> None:
    advisories.faulty = frozenset({"falcon"})

    done = audit(advisories.url)

    assert done.returncode != 0
    assert "PYSEC-0000-1" in done.stdout
    assert "Nothing was audited" not in done.stderr


@pytest.mark.parametrize("reply", [Reply(503), Reply(body=b"<html>")])
def test_advisories_that_cannot_be_read_are_no_good_news(
    advisories: Advisories, reply: Reply
) -> None:
    advisories.answer(*[reply] * 1_000)

    done = audit(advisories.url)

    assert done.returncode != 0
    assert "Nothing was audited: the advisories could not be read" in done.stderr
