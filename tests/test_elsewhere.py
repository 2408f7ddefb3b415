"""A Redis of somebody else as the ledger: the inventory to copy, and the rights it is given."""

import json
import subprocess
from pathlib import Path

import pytest
import redis

from tests.guarded_server import PASSWORDS
from tests.processes import Guard, started
from tests.repository import ROOT
from tests.test_users import REFUSAL
from tests.valkey_server import ValkeyServer

PLAYBOOKS = ROOT / "ansible"
ROLES = ("web", "worker", "scheduler", "operator")
#: What the roles make of the inventory, for one of its hosts.
TOLD = """
- hosts: h1
  connection: local
  gather_facts: false
  roles: [layout]
  tasks:
    - ansible.builtin.copy:
        content: >-
          {{ {'url': topology_redis_scheme ~ 'ROLE' ~ topology_redis_place,
          'local': topology_is_local, 'second': topology_has_second_redis,
          'listen': layout_web_listen} | to_json }}
        dest: "{{ told }}"
        mode: "0600"
      vars: {ansible_python_interpreter: /usr/bin/python3, ansible_become: false}
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the playbook for rights wrote, and what the inventory comes to."""
    directory = tmp_path_factory.mktemp("elsewhere")
    (directory / "told.yml").write_text(TOLD)
    given = {f"ledger_{name}_password": PASSWORDS[name] for name in (*ROLES, "broker")}
    given |= {"rights_file": str(directory / "acl"), "told": str(directory / "told")}
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-iinventories/managed-redis"]
    command += ["-e", json.dumps(given), "rights.yml", str(directory / "told.yml")]
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "LANG": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=PLAYBOOKS, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def test_redis_of_somebody_else_is_reached_by_tls_under_its_name(played: Path) -> None:
    """Without an authority of its own among the secrets it is known by those of the system."""
    told = json.loads((played / "told").read_text())

    assert told == {
        "url": "rediss://ROLE@redis.example.net:6379/0",
        "local": False,
        "second": False,
        "listen": "10.0.0.1:8000",
    }


def test_rights_are_what_a_redis_of_somebody_else_takes(
    played: Path, valkey_binary: str, guard: Guard
) -> None:
    lines = (played / "acl").read_text().splitlines()
    with started(ValkeyServer(valkey_binary, guard)) as server:
        with redis.Redis.from_url(server.url(0), protocol=2, driver_info=None) as client:
            answers = [client.execute_command(*line.split()) for line in lines]
        for role in (*ROLES, "broker"):
            with redis.Redis.from_url(
                server.url(0), username=role, password=PASSWORDS[role], protocol=2, driver_info=None
            ) as client:
                assert client.ping()
                with pytest.raises(redis.ResponseError, match=REFUSAL):
                    client.flushall()

    assert [line.split()[2] for line in lines] == [*ROLES, "broker"]
    assert answers == [b"OK"] * len(lines)
