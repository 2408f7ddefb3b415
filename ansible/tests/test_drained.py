"""Who is drained, as every playbook finds it out: from what the hosts that can be reached say."""

import json
import os
import subprocess
import sys
from pathlib import Path

PLAYBOOKS = Path(__file__).parents[1]
SINCE = "2026-11-27T23:50:00Z"
TOLD = """
- name: What was asked for
  ansible.builtin.import_playbook: {plays}/asked.yml
  vars:
    asked_tags: []

- name: Tell
  hosts: web:workers:scheduler:!drained
  gather_facts: false
  tasks:
    - name: It is so
      ansible.builtin.copy:
        content: "{{{{ {{'in service': ansible_play_hosts_all, 'drained':
          groups.drained | zip(groups.drained | map('extract', hostvars, 'drained_since'))
          | map('join', ' ') }} | to_json }}}}"
        dest: "{told}"
        mode: "0600"
      delegate_to: localhost
      run_once: true
"""


def play(directory: Path, unreachable: str) -> subprocess.CompletedProcess[str]:
    """Play what every playbook begins with on hosts with a directory each below this."""
    hosts = {
        name: {"ansible_connection": "local", "layout_drained": str(directory / name / "drained")}
        for name in ("web-1", "web-2", "web-22", "web-3")
    }
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": "1"}
    if unreachable:
        hosts[unreachable] |= away
    groups = {group: {"hosts": dict.fromkeys(hosts)} for group in ("web", "workers", "scheduler")}
    groups["ledger"] = {"hosts": {"web-1": None}}
    secrets = {"ledger_broker_password": "none", "broker_password": "none"}
    inventory = {"all": {"hosts": hosts, "children": groups, "vars": secrets}}
    (directory / "hosts.json").write_text(json.dumps(inventory))
    told, playbook = directory / "told.json", directory / "told.yml"
    playbook.write_text(TOLD.format(plays=PLAYBOOKS / "plays", told=told))
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", directory / "hosts.json",
         "-e", f"ansible_python_interpreter={sys.executable}", playbook],
        cwd=PLAYBOOKS,
        env={**os.environ, "ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles"),
             "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_drained_hosts_are_those_of_which_any_host_says_so(tmp_path: Path) -> None:
    """One that is switched off is among them, and one whose name only begins like theirs is not."""
    for host, others in {"web-1": ["web-2", "web-3"], "web-2": ["web-2"]}.items():
        (tmp_path / host / "drained").mkdir(parents=True)
        for other in others:
            (tmp_path / host / "drained" / other).write_text(f"{SINCE}\n")

    done = play(tmp_path, unreachable="web-3")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    told: dict[str, list[str]] = json.loads((tmp_path / "told.json").read_text())
    assert told["in service"] == ["web-1", "web-22"]
    assert sorted(told["drained"]) == [f"web-2 {SINCE}", f"web-3 {SINCE}"]


def test_host_that_the_inventory_calls_otherwise_by_now_stays_drained(tmp_path: Path) -> None:
    """Others may have had that name; the host itself knows which one was its own."""
    for host, marks in {
        "web-1": {"old-3": SINCE, "gone": SINCE},
        "web-3": {"old-3": SINCE, "gone": SINCE, ".self": "old-3"},
        # It was drained once, and taken in again.
        "web-22": {"old-3": SINCE, ".self": "old-22"},
    }.items():
        (tmp_path / host / "drained").mkdir(parents=True)
        for name, text in marks.items():
            (tmp_path / host / "drained" / name).write_text(f"{text}\n")

    done = play(tmp_path, unreachable="")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    told: dict[str, list[str]] = json.loads((tmp_path / "told.json").read_text())
    assert sorted(told["in service"]) == ["web-1", "web-2", "web-22"]
    assert told["drained"] == [f"web-3 {SINCE}"]


def test_host_that_is_not_drained_must_answer(tmp_path: Path) -> None:
    (tmp_path / "web-1" / "drained").mkdir(parents=True)
    (tmp_path / "web-1" / "drained" / "web-2").write_text(f"{SINCE}\n")

    done = play(tmp_path, unreachable="web-3")

    assert done.returncode == 2
    assert "Refused: web-3 cannot be reached" in done.stdout.partition("PLAY RECAP")[2]
