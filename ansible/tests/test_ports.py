"""Which port is for whom: what the inventory makes of it, and what the document says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from laboratory.places import PLAYBOOKS, ROOT

#: By group; `public`, `named` and `lost` are mistakes, each of another kind.
HOSTS: dict[str, tuple[dict[str, str], str]] = {
    "ledger": ({"private_address": "10.0.0.1"}, "ledger workers"),
    "web": ({"ansible_host": "192.168.0.2"}, "web scheduler"),
    "web6": ({"private_address": "fd00:db8::3"}, "web"),
    "proxy": ({"ansible_host": "203.0.113.9", "private_address": "10.0.0.4"}, "proxy"),
    "prometheus": ({"private_address": "10.0.0.5"}, "monitoring"),
    "public": ({"ansible_host": "203.0.113.1"}, "workers"),
    "named": ({"private_address": "worker.internal"}, "workers"),
    "lost": ({}, "web"),
}
GROUPS = ("ledger", "web", "workers", "scheduler", "proxy", "monitoring")
#: Of ports that the inventory may say otherwise.
DEFAULTS = {"web": "8000", "ledger": "6379", "second_redis": "6380"}
SOUND = ("ledger", "web", "web6", "proxy", "prometheus")
VARIABLES = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "ledger_exporter_password": "p" * 32,
    "ledger_broker_password": "b" * 32,
    "broker_password": "r" * 32,
    "topology_web_callers": ["10.9.0.0/24"],
    "topology_prometheus_callers": ["10.8.0.1"],
}


def inventory(names: Iterable[str]) -> dict[str, Any]:
    """Return the inventory of these hosts."""
    chosen = {name: HOSTS[name] for name in names}
    return {
        "all": {
            "vars": VARIABLES,
            "hosts": {name: variables for name, (variables, _) in chosen.items()},
            "children": {
                group: {"hosts": {name: {} for name in chosen if group in chosen[name][1].split()}}
                for group in GROUPS
            },
        }
    }


def played(directory: Path, names: Iterable[str], tasks: list[dict[str, Any]]) -> str:
    """Play tasks on these hosts, which all are this one, and return what is said."""
    play = {"hosts": "all", "gather_facts": False, "roles": ["topology"], "tasks": tasks}
    (directory / "hosts.yml").write_text(json.dumps(inventory(names)))
    (directory / "play.yml").write_text(json.dumps([play]))
    program, hosts = str(ROOT / ".venv/bin/ansible-playbook"), f"--inventory={directory}/hosts.yml"
    environ = {
        "ANSIBLE_LOCAL_TEMP": str(directory),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles"),
    }
    done = subprocess.run(
        [program, hosts, str(directory / "play.yml")],
        cwd=PLAYBOOKS,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with HOST.json, who may reach what there, and HOST.nft."""
    directory = tmp_path_factory.mktemp("ports")
    rules = PLAYBOOKS / "roles/topology/templates/firewall.nft.j2"
    contents = {
        "json": "{{ topology_allowed | to_json }}",
        "nft": f"{{{{ lookup('ansible.builtin.template', '{rules}') }}}}",
    }
    tasks = [
        {
            "ansible.builtin.copy": {
                "content": content,
                "dest": f"{directory}/{{{{ inventory_hostname }}}}.{end}",
                "mode": "0600",
            }
        }
        for end, content in contents.items()
    ]
    said = played(directory, SOUND, tasks)
    assert (directory / "web.json").exists(), said
    return directory


def test_each_port_is_for_those_who_need_it(made: Path) -> None:
    """A host that asks itself by its own address is one of them."""
    at_ledger = json.loads((made / "ledger.json").read_text())
    at_web = json.loads((made / "web.json").read_text())

    clients = ["localhost", "10.0.0.1", "192.168.0.2", "fd00:db8::3"]
    assert at_ledger["ledger"] == at_ledger["second_redis"] == clients
    assert at_ledger["broker"] == ["localhost"]
    assert at_ledger["exporter"] == ["localhost", "10.0.0.1", "10.0.0.5"]
    assert at_web["web"] == ["localhost", "10.0.0.4", "10.0.0.5", "10.9.0.0/24", "192.168.0.2"]
    assert json.loads((made / "prometheus.json").read_text())["prometheus"] == [
        "localhost",
        "10.0.0.5",
        "10.8.0.1",
    ]


@pytest.mark.parametrize(
    ("host", "closed"),
    [
        ("ledger", {"6379", "6380", "9121"}),
        ("web", {"8000"}),
        ("web6", {"8000"}),
        ("proxy", set()),
        ("prometheus", {"9090"}),
    ],
)
def test_nftables_close_our_ports_and_no_other(made: Path, host: str, closed: set[str]) -> None:
    rules = made / f"{host}.nft"

    assert set(re.findall(r"tcp dport (\d+) drop", rules.read_text())) == closed
    assert re.findall(r"^(?:delete )?table (.+?)[\s{]*$", rules.read_text(), re.MULTILINE) == [
        "inet ai_admin",
        "inet ai_admin",
        "inet ai_admin",
    ]
    if not shutil.which("nft") or os.geteuid():
        pytest.skip("nftables is not installed, or only root may ask it")
    checked = subprocess.run(
        ["unshare", "--net", "nft", "--check", "--file", rules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_host_that_would_listen_in_public_is_refused(tmp_path: Path) -> None:
    tasks = [{"ansible.builtin.include_role": {"name": "topology", "tasks_from": "addresses.yml"}}]

    said = played(tmp_path, HOSTS, tasks)

    failed = dict(re.findall(r"^(\S+) +: ok=.*failed=(\d)", said, re.MULTILINE))
    assert {host for host, count in failed.items() if count != "0"} == {*HOSTS} - {*SOUND}, said
    assert "Refused: public has no private_address, and 203.0.113.1 is" in said
    assert "worker.internal, is a name" in said


def test_document_has_the_table_of_ports() -> None:
    """Each port of the playbooks, with the groups that it is for."""
    ports = yaml.safe_load((PLAYBOOKS / "roles/topology/vars/main.yml").read_text())
    text = (ROOT / "docs/deploy.md").read_text()
    table = text[text.index("| Port | ") :].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| [^|]+ \| ([^|]*)\| ([^|]*)\|$", table, re.MULTILINE)

    told = {
        name: (port, set(re.findall(r"`(\w+)`", f"{groups} {others}")))
        for name, port, groups, others in rows
    }
    assert {name: groups for name, (_, groups) in told.items()} == {
        name: {*port["from"], *re.findall(r"topology_\w+_callers", str(port["others"]))}
        for name, port in ports["topology_ports"].items()
    }
    assert {name: port for name, (port, _) in told.items()} == {
        name: re.findall(r"\d{4}", str(port["port"]) + DEFAULTS.get(name, ""))[0]
        for name, port in ports["topology_ports"].items()
    }
