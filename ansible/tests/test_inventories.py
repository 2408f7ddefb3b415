"""The inventories to copy: complete, silent, and what the laboratory plays."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from laboratory.places import PLAYBOOKS, ROOT
from laboratory.secrecy import Authority, certificates_of, vault_of

CASES = sorted(path.parent.name for path in PLAYBOOKS.glob("inventories/*/hosts.yml"))
PLAYS = sorted(
    path.name for path in PLAYBOOKS.glob("*.yml") if "import_playbook" in path.read_text()
)


def ansible(program: str, *arguments: str) -> str:
    """Run one of Ansible's programs beside the playbooks; return all that it printed."""
    done = subprocess.run(
        [ROOT / ".venv/bin" / program, *arguments],
        cwd=PLAYBOOKS, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def operator(tmp_path: Path) -> Callable[[str], Path]:
    """Return what copies a case, with all that an operator puts beside it."""

    def copy(case: str) -> Path:
        inventory = shutil.copytree(PLAYBOOKS / "inventories" / case, tmp_path / "inventory")
        shutil.copy(ROOT / "accounts.example.toml", inventory / "accounts.toml")
        shutil.copytree(ROOT / "prompts", inventory / "prompts")
        (inventory / "allowed_signers").write_text("owner@example.test ssh-ed25519 AAAA\n")
        return inventory

    return copy


@pytest.mark.parametrize("case", CASES)
def test_nothing_beside_the_inventory_is_read_as_one(
    operator: Callable[[str], Path], case: str
) -> None:
    """Accounts, prompts and keys once were: as hosts, or with a warning."""
    inventory = operator(case)

    printed = [ansible("ansible-inventory", f"-i{path}", "--graph")
               for path in (inventory, inventory / "hosts.yml")]  # fmt: skip

    assert "WARNING" not in printed[0]
    assert "ungrouped:\n  |--@" in printed[0]
    assert printed[0] == printed[1]


@pytest.mark.parametrize("case", ["one", "managed-redis"])
def test_playbooks_are_silent_of_groups_that_an_inventory_has_not(
    operator: Callable[[str], Path], case: str
) -> None:
    printed = ansible("ansible-playbook", f"-i{operator(case)}", "--list-hosts", *PLAYS)

    assert "WARNING" not in printed
    assert printed.count("play #") >= len(PLAYS)


@pytest.mark.parametrize("case", CASES)
def test_inventory_asks_for_no_secret_that_a_proven_one_lacks(case: str, tmp_path: Path) -> None:
    """What the playbooks were proved with is what an operator is asked for."""
    path = PLAYBOOKS / "inventories" / case / "group_vars/all/vault.yml"
    asked = yaml.safe_load(path.read_text())

    authority = Authority(tmp_path)
    proven = vault_of(authority, dsn="") | certificates_of(authority, ["10.0.0.1"])

    assert {*asked} - {*proven} == set()
    assert {"PRIVACY_KEY", "SENTRY_DSN"} <= {*asked["deployment_secrets"]}


def included(tasks: Any) -> Iterator[dict[str, Any]]:
    """Yield every task of a file that includes others, those in blocks as well."""
    for task in tasks or []:
        blocks = [task.get(name) for name in ("block", "rescue", "always", "tasks", "pre_tasks")]
        yield from included([inner for block in blocks for inner in block or []])
        if any(name.startswith("ansible.builtin.include_") for name in task):
            yield task


def test_no_loop_over_tasks_hides_the_item_of_theirs() -> None:
    """Ansible warns of it while it plays, and variables made of it are those of the inner loop."""
    files = [*PLAYBOOKS.glob("*.yml"), *PLAYBOOKS.glob("plays/*.yml"),
             *PLAYBOOKS.glob("roles/*/tasks/*.yml")]  # fmt: skip

    looping = [
        (path.name, task["name"], task.get("loop_control", {}).get("loop_var", "item"))
        for path in files
        if isinstance(read := yaml.safe_load(path.read_text()), list)
        for task in included(read)
        if "loop" in task
    ]

    assert len(looping) > 3
    assert [each for each in looping if each[-1] == "item"] == []


def test_roles_are_a_collection(tmp_path: Path) -> None:
    """For playbooks of somebody else: no role reaches for what is not in it."""
    roles = [f"ai_admin.service.{path.name}" for path in (PLAYBOOKS / "roles").iterdir()]
    playbook = tmp_path / "theirs.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "roles": roles}]))

    built = ansible("ansible-galaxy", "collection", "build", ".", f"--output-path={tmp_path}")
    archive = next(tmp_path.glob("ai_admin-service-*.tar.gz"))
    into = tmp_path / "collections"
    ansible("ansible-galaxy", "collection", "install", f"-p{into}", "--offline", str(archive))
    files = [path.relative_to(into) for path in into.rglob("*") if path.is_file()]

    assert "Created collection" in built
    assert not [path for path in files if {"inventories", "inventory", "tests"} & {*path.parts}]
    assert {"alerts.yml", "recording.yml"} <= {path.name for path in files}


def test_collection_has_the_version_of_the_service() -> None:
    version = yaml.safe_load((PLAYBOOKS / "galaxy.yml").read_text())["version"]

    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
