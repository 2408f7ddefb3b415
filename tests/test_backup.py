"""Copies of the ledger: the very program of the role, on a ledger with the deployment's users."""

import json
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from batching.keys import BACKUP, ERASED
from batching.store import Store
from tests.conftest import needed
from tests.guarded_server import PASSWORDS, GuardedServer
from tests.processes import Guard, started
from tests.repository import ROOT
from tests.valkey_server import ValkeyServer

ROLE = ROOT / "ansible" / "roles" / "backup"
PROGRAM = ROLE / "files" / "ai-admin-backup"
KEY = "k"
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Site:
    """A ledger with somebody's message, and where its copies go."""

    server: GuardedServer
    store: Store
    home: Path

    @property
    def copies(self) -> list[str]:
        return sorted(it.name for it in (self.home / "copies").glob("*.age"))

    @property
    def noted(self) -> dict[str, str]:
        with self.server.admin() as client:
            kept: Any = client.hgetall(BACKUP)
        return {name.decode(): value.decode() for name, value in kept.items()}

    def back_up(
        self, verb: str = "copy", /, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        """Run the program as its unit does."""
        told = {
            "cli": [needed("redis-cli"), "-s", self.server.socket, "--user", "backup"],
            "server": self.server.binary,
            "check": needed("redis-check-rdb"),
            "age": needed("age"),
            "directory": str(self.home / "copies"),
            "kept": 3,
            "kept_days": 30,
            "stale_s": 60,
            "send": "",
            "fetch": "",
        }
        (self.home / "given" / "settings").write_text(json.dumps(told | settings))
        return subprocess.run(
            [sys.executable, PROGRAM, verb],
            env=os.environ | {"CREDENTIALS_DIRECTORY": str(self.home / "given")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def server(guard: Guard) -> Iterator[GuardedServer]:
    """Return Debian's Redis, whose programs make and check the copies."""
    with started(GuardedServer(needed("redis-server"), guard, "app")) as running:
        with running.admin() as client:
            # It waits for further readers, of which there are none.
            client.config_set("repl-diskless-sync-delay", 0)
        yield running


@pytest.fixture
def site(server: GuardedServer, tmp_path: Path) -> Iterator[Site]:
    """Return a ledger that is new."""
    (tmp_path / "copies").mkdir()
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "password").write_text(PASSWORDS["backup"] + "\n")
    generated = ["-o", str(tmp_path / "identity")]
    subprocess.run([needed("age-keygen"), *generated], check=True, capture_output=True)
    shown = [needed("age-keygen"), "-y", str(tmp_path / "identity")]
    public = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    (tmp_path / "given" / "recipients").write_text(public)
    with server.admin() as client:
        client.flushall()
    with server.client() as client:
        store = Store(client, privacy_key=KEY)
        store.open()
        yield Site(server, store, tmp_path)


def opened(site: Site, name: str, guard: Guard) -> ValkeyServer:
    """Return a server, not started, on a directory with a copy that its recipient opened."""
    other = ValkeyServer(site.server.binary, guard)
    target = str(other.directory / "dump.rdb")
    key = ["--identity", str(site.home / "identity")]
    copied = str(site.home / "copies" / name)
    subprocess.run([needed("age"), "--decrypt", *key, "--output", target, copied], check=True)
    return other


def test_copy_is_the_ledger_for_its_recipient_and_nothing_for_anybody_else(
    site: Site, guard: Guard
) -> None:
    with site.server.admin() as client:
        client.hset("aa:figures", "what-a-customer-wrote", "invented")

    done = site.back_up()

    assert (done.returncode, done.stderr) == (0, "")
    (name,) = site.copies
    assert re.fullmatch(r"ledger-\d{8}T\d{6}Z\.rdb\.age", name)
    assert f"{name}: " in done.stdout
    assert b"what-a-customer-wrote" not in (site.home / "copies" / name).read_bytes()
    with started(opened(site, name, guard)) as other, other.client() as client:
        assert client.hget("aa:meta", "identity") == site.store.ledger_id().encode()
        assert client.hget("aa:figures", "what-a-customer-wrote") == b"invented"
    noted = site.noted
    assert noted["failed"] == ""
    assert (int(noted["stale_ms"]), int(noted["kept_ms"])) == (60_000, 30 * DAY_MS)
    assert abs(int(noted["made_ms"]) - time.time_ns() // 1_000_000) < 60_000
    assert sorted(it.name for it in (site.home / "copies").iterdir()) == ["erasures", name]


#: What fails: settings, and what the line and the ledger name.
FAILURES: dict[str, tuple[dict[str, object], str]] = {
    "redis-check-rdb finds a fault": ({"check": "/bin/false"}, "check"),
    "no server loads it": ({"server": "/bin/false"}, "check"),
    "nothing to encrypt with": ({"age": "/nowhere/age"}, "encrypt"),
    "it cannot be encrypted": ({"age": "/bin/false"}, "encrypt"),
    "it does not arrive": ({"send": "echo no route to host >&2; exit 7"}, "send"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_failure_is_told_by_its_step_and_leaves_the_last_copy_the_last(
    site: Site, what: str
) -> None:
    settings, step = FAILURES[what]

    done = site.back_up(**settings)

    assert done.returncode == 1
    assert done.stderr.startswith(f"ai-admin-backup: {step}: ")
    assert "Traceback" not in done.stderr
    assert site.noted["failed"] == step
    assert "made_ms" not in site.noted


def test_ledger_that_does_not_answer_and_one_that_is_none_are_told(site: Site) -> None:
    gone = site.back_up(cli=[needed("redis-cli"), "-s", str(site.home / "nobody")])
    with site.server.admin() as client:
        client.flushall()
    empty = site.back_up()

    assert (gone.returncode, empty.returncode) == (1, 1)
    assert gone.stderr.startswith("ai-admin-backup: ask: ")
    assert "there is no ledger in this Redis yet" in empty.stderr
    assert site.copies == []


#: kept, kept_days, ages of the copies that are there → ages of those that stay beside the new one.
KEPT = {
    "by count": (3, 30, [1, 2, 3, 4], [1, 2]),
    "by age": (9, 30, [1, 29, 31, 40], [1, 29]),
    "by both": (2, 30, [31, 1, 2], [1]),
    "all but the newest": (1, 1, [5, 6], []),
}


@pytest.mark.parametrize("way", KEPT)
def test_old_copies_go_by_count_and_by_age_and_the_new_one_never(tmp_path: Path, way: str) -> None:
    kept, kept_days, ages, stay = KEPT[way]
    now_s = time.time()
    for days in [0, *ages]:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s - days * 86_400))
        path = tmp_path / f"ledger-{stamp}.rdb.age"
        path.write_text(str(days))
        os.utime(path, (now_s - days * 86_400,) * 2)
    (tmp_path / ".ledger-of-a-try.part").touch()
    (tmp_path / "erasures").touch()

    runpy.run_path(str(PROGRAM))["forget"](tmp_path, kept, kept_days)

    left = sorted(int(it.read_text()) for it in tmp_path.glob("ledger-*"))
    assert left == [0, *stay]
    assert {it.name for it in tmp_path.iterdir()} >= {"erasures"}
    assert not list(tmp_path.glob(".*"))


def test_copies_and_erasures_are_sent_elsewhere(site: Site) -> None:
    elsewhere = site.home / "elsewhere"
    elsewhere.mkdir()
    send = f"cp -- * {elsewhere}/"
    with site.server.admin() as client:
        client.zadd(ERASED, {"c_0123": 7})

    site.back_up(send=send)
    with site.server.admin() as client:
        client.zadd(ERASED, {"c_4567": 9})
    site.back_up("erasures", send=send)
    again = site.back_up("erasures", send="false")

    assert (elsewhere / "erasures").read_text() == "7 c_0123\n9 c_4567\n"
    assert (elsewhere / site.copies[0]).exists()
    # Nothing is sent where nothing is new.
    assert again.returncode == 0


def test_new_host_takes_over_the_copies_of_the_one_before(site: Site) -> None:
    """Elsewhere is made the same as here: its first copy would else take those away."""
    now_ms, elsewhere = time.time_ns() // 1_000_000, site.home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ledger-20261127T120000Z.rdb.age").write_text("of before")
    (elsewhere / "erasures").write_text(f"{now_ms} c_0123\n")
    fetch = f"cp -- {elsewhere}/* ."
    send = f'test "$DELETE" = --delete && rm {elsewhere}/* && cp -- * {elsewhere}/'

    for verb in ("erasures", "copy"):
        done = site.back_up(verb, send=send, fetch=fetch)
        assert (done.returncode, done.stderr) == (0, "")

    found = sorted(it.name for it in elsewhere.iterdir())
    assert found == ["erasures", "ledger-20261127T120000Z.rdb.age", site.copies[-1]]
    assert len(site.copies) == 2
    assert (elsewhere / "erasures").read_text() == f"{now_ms} c_0123\n"


def test_nothing_is_deleted_elsewhere_until_it_was_seen(site: Site) -> None:
    """A directory that is not there yet cannot be fetched, nor one that may only be written."""
    sent, told = site.home / "sent", "echo no such place >&2; exit 23"
    send = f'echo "[$DELETE]" >> {sent}'

    first = site.back_up(send=send, fetch=told)
    second = site.back_up(send=send, fetch=told)
    seen = site.back_up(send=send, fetch="true")
    last = site.back_up(send=send, fetch="false")

    assert [it.returncode for it in (first, second, seen, last)] == [0] * 4
    assert "fetch: /bin/sh ended with 23: no such place" in first.stderr
    assert (seen.stderr, last.stderr) == ("", "")
    assert sent.read_text().split() == ["[]", "[]", "[--delete]", "[--delete]"]


def test_erasures_stay_listed_as_long_as_copies_do_though_the_ledger_is_a_new_one(
    site: Site,
) -> None:
    """It knows of none, and the one that is lost is still to be restored."""
    now_ms = time.time_ns() // 1_000_000
    listed = site.home / "copies" / "erasures"
    lines = {now_ms - 31 * DAY_MS: "c_0123", now_ms - 29 * DAY_MS: "c_4567", now_ms: "c_89ab"}
    listed.write_text("".join(f"{at} {conversation}\n" for at, conversation in lines.items()))

    done = site.back_up("erasures")

    assert (done.returncode, done.stderr) == (0, "")
    assert listed.read_text() == f"{now_ms - 29 * DAY_MS} c_4567\n{now_ms} c_89ab\n"


def variables() -> dict[str, Any]:
    """Return the role's defaults."""
    found: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    return found


def test_documents_name_the_paths_and_the_limits_of_the_roles() -> None:
    """A path that is none was documented once, and nobody could have restored by it."""
    conf = (ROOT / "ansible/roles/ledger/templates/redis.conf.j2").read_text()
    settings = dict(
        it.split(maxsplit=1) for it in conf.splitlines() if it.startswith(("dir ", "app"))
    )
    data = settings["dir"].replace("{{ ledger_instance }}", "ledger")
    restore = ROOT / "ansible/roles/restore"
    load = (restore / "tasks/load.yml").read_text()
    restored = yaml.safe_load((restore / "vars/main.yml").read_text())
    deploy, runbook = ((ROOT / "docs" / it).read_text() for it in ("deploy.md", "runbook.md"))
    given = variables()

    assert f"`{data}/{settings['appenddirname']}`" in deploy
    assert f"`{given['backup_directory']}`" in deploy
    assert f"`{data}`" in runbook
    assert f"`appendonlydir` is called `{settings['appenddirname']}`" in runbook
    assert f"/{settings['appendfilename']}.1.base.rdb" in runbook
    assert f"`{data}.before-" in runbook
    assert restored["restore_data"] == data
    assert f"{{{{ restore_data }}}}/{settings['appenddirname']}/" in load
    assert f"/{settings['appendfilename']}.1.base.rdb" in load
    assert (
        f"`backup_kept` {given['backup_kept']}, `backup_kept_days` {given['backup_kept_days']}"
        in deploy
    )
    assert f"`backup_kept_days` ({given['backup_kept_days']})" in runbook
    assert (given["backup_stale_s"], "two and a half hours" in deploy) == (9_000, True)
    assert (given["backup_erasures_every_s"], "five minutes" in runbook) == (300, True)


@pytest.mark.parametrize("unit", ["ai-admin-backup", "ai-admin-erasures"])
def test_systemd_takes_the_units_and_timers(unit: str, tmp_path: Path) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no page, but what systemd reads
    )
    told: dict[str, Any] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    when = environment.from_string(told["backup_units"][unit]["when"]).render(variables())
    given = variables() | told | {"ansible_managed": "by a test"}
    given["backup_unit"] = told["backup_units"][unit] | {"when": when}
    for kind in ("service", "timer"):
        text = environment.get_template(f"{kind}.j2").render(given)
        (tmp_path / f"{unit}.{kind}").write_text(
            text.replace("/usr/local/sbin/ai-admin-backup", "/bin/true")
        )

    done = subprocess.run(
        [needed("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no",
         *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


def test_rsync_is_given_a_command_with_the_key_and_the_host_that_systemd_hands_over(
    tmp_path: Path,
) -> None:
    """The shell must fill them in: rsync takes the command apart by itself.

    Ansible itself fills the template in: of a backslash it makes another thing than Jinja does.
    """
    given = variables() | {"backup_target": "backup@store.example.org:ai-admin/"}
    given |= yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    (tmp_path / "given.yml").write_text(yaml.safe_dump(given))
    printed = subprocess.run(
        [Path(sys.executable).with_name("ansible"), "localhost", "--module-name=debug",
         "--args=msg={{ [backup_send, backup_fetch] }}", f"--extra-vars=@{tmp_path / 'given.yml'}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    commands: list[str] = json.loads(printed.partition("=>")[2])["msg"]
    (tmp_path / "rsync").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "rsync").chmod(0o755)

    said = [
        subprocess.run(
            ["/bin/sh", "-c", command],
            env={"PATH": f"{tmp_path}:{os.defpath}", "CREDENTIALS_DIRECTORY": "/run/given",
                 "DELETE": "--delete"},
            capture_output=True, text=True, check=True,
        ).stdout.splitlines()
        for command in commands
    ]  # fmt: skip

    for words in said:
        (rsh,) = [it for it in words if it.startswith("--rsh=ssh ")]
        assert " -i /run/given/id " in rsh
        assert " -o UserKnownHostsFile=/run/given/known_hosts " in rsh
    sent, fetched = said
    assert "--delete" in sent
    assert "--delete" not in fetched
    assert sent[-2:] == ["./", "backup@store.example.org:ai-admin/"]
    assert fetched[-2:] == ["backup@store.example.org:ai-admin/", "./"]
