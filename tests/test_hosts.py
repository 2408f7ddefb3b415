"""Programs and units that the playbooks put on hosts: their very templates, filled in."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest
import yaml

from tests.batching.world import ANNA
from tests.repository import ROOT

ROLES = ROOT / "ansible" / "roles"
TEMPLATES = ROLES / "app" / "templates"
#: Notes each of its arguments on a line of its own.
SYSTEMD_RUN = '#!/bin/sh\nprintf "%s\\n" "$@" >"${0%/*}/said"\n'
#: Where a unit finds its deployment, and what else its template wants.
AT = "/opt/ai-admin/deployments/%i"
#: The role's own; what it computes stands as it is written, but for numbers.
UNITS = {
    kind: unit | {"stop_ms": 1}
    for kind, unit in yaml.safe_load((ROLES / "app/vars/main.yml").read_text())["app_units"].items()
}
UNIT = {
    "app_units": UNITS,
    "app_users": dict.fromkeys(UNITS, "ai-admin"),
    "app_memory_max": dict.fromkeys(UNITS, "1G"),
    "app_scheduler_watchdog_ms": 1,
    "app_web_sockets": ["ai-admin-web.socket"],
    "layout_root": "/opt/ai-admin",
    "layout_group": "ai-admin",
    "layout_drained": "/opt/ai-admin/drained",
    "inventory_hostname": "web-1",
}
#: Each kind of unit and the role whose rights and secrets it has.
ROLE_OF = [
    *(("web", "web"), ("worker", "worker"), ("scheduler", "scheduler"), ("candidate", "web")),
    *(("trial-web", "web"), ("trial-worker", "worker"), ("trial-scheduler", "scheduler")),
]


def template(name: str, **variables: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no page, but what a shell and systemd read
    )
    return environment.get_template(name).render(ansible_managed="by a test", **variables)


@pytest.fixture
def run_verb(tmp_path: Path) -> Callable[[], list[str]]:
    """Return what runs the operator's command, and returns what it tells systemd of its unit."""
    deployment = tmp_path / "deployments" / "r1.abc"
    deployment.mkdir(parents=True)
    run, systemd_run = tmp_path / "run", tmp_path / "systemd-run"
    users = {"candidate": "ai-admin"}
    text = template("run.j2", layout_root=tmp_path, layout_group="ai-admin", app_users=users)
    run.write_text(text)
    systemd_run.write_text(SYSTEMD_RUN)
    run.chmod(0o755)
    systemd_run.chmod(0o755)

    def traced() -> list[str]:
        subprocess.run(
            [run, "r1.abc", "python", "manage.py", "trace", "--customer", ANNA],
            env={"PATH": f"{tmp_path}:{os.defpath}"},
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=30,
        )
        said = (tmp_path / "said").read_text().splitlines()
        assert said[-2:] == ["--customer", ANNA]
        return said[: said.index("--")]

    return traced


@pytest.fixture
def run_options(run_verb: Callable[[], list[str]]) -> list[str]:
    """Return the options of a unit that traces a customer."""
    return run_verb()


def test_journal_gets_a_description_instead_of_the_command_line(run_options: list[str]) -> None:
    """Without one, systemd describes the unit by its command line, and logs that."""
    assert "--description=AI Admin: an operator's program (r1.abc)" in run_options
    assert [option for option in run_options if ANNA in option] == []


def test_no_service_can_read_the_secrets_of_another() -> None:
    """Systemd reads the file as root and hands it over: a process needs no right to it."""
    tasks = yaml.safe_load((ROLES / "deployment" / "tasks" / "main.yml").read_text())
    written = [it["ansible.builtin.template"] for it in tasks if "ansible.builtin.template" in it]
    kept = [it["ansible.builtin.file"] for it in tasks if it["name"] == "They are root's alone too"]

    rights = [(it["owner"], it["group"], it["mode"]) for it in (*written, *kept)]

    assert [Path(it["dest"]).name for it in written] == [
        *("env", "secrets-{{ item }}", "redis-{{ item }}")
    ]
    assert rights == [("root", "root", "0600")] * 4


@pytest.mark.parametrize(("kind", "role"), ROLE_OF)
def test_process_gets_the_ledger_of_its_role_where_each_has_a_user(kind: str, role: str) -> None:
    """A deployment of before has no such file, and its one address for all stands in ``env``."""
    unit = template("unit.service.j2", kind=kind, **UNIT)
    files = [it for it in unit.splitlines() if it.startswith("EnvironmentFile=")]

    assert files == [f"EnvironmentFile={AT}/env", f"EnvironmentFile=-{AT}/redis-{role}"]


@pytest.mark.parametrize(("kind", "role"), ROLE_OF)
def test_process_is_handed_the_secrets_of_its_role_and_starts_without_any(
    kind: str, role: str
) -> None:
    """Units are shared: without a default systemd would not start a deployment of before."""
    unit = template("unit.service.j2", kind=kind, **UNIT).splitlines()
    handed = [it for it in unit if "Credential" in it]

    assert handed == [f"LoadCredential=secrets:{AT}/secrets-{role}", "SetCredential=secrets:{}"]


@pytest.mark.parametrize(("kind", "role"), ROLE_OF)
def test_what_serves_customers_does_not_start_on_a_drained_host(kind: str, role: str) -> None:
    """What is tried before it is taken in does."""
    unit = template("unit.service.j2", kind=kind, **UNIT).splitlines()

    condition = "ConditionPathExists=!/opt/ai-admin/drained/web-1"
    assert (condition in unit) == (kind == role)


def test_verb_of_the_operator_gets_all_secrets_where_roles_have_their_own(
    run_verb: Callable[[], list[str]], tmp_path: Path
) -> None:
    former = run_verb()
    secrets = tmp_path / "deployments" / "r1.abc" / "secrets-operator"
    secrets.touch()

    assert [it for it in former if "Credential" in it] == []
    assert f"--property=LoadCredential=secrets:{secrets}" in run_verb()


def test_verb_of_the_operator_gets_the_ledger_of_the_operator(run_options: list[str]) -> None:
    files = [it for it in run_options if "EnvironmentFile=" in it]

    assert [it.rpartition("/")[2] for it in files] == ["env", "redis-operator"]
    assert files[-1].startswith("--property=EnvironmentFile=-")
