"""What restore.yml says of messages that are in no ledger, by the logs of hosts that answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

PLAYBOOKS = Path(__file__).parents[1]
COPIED_MS = 1_795_780_800_000
#: In place of journalctl: its oldest line is a minute older than the copy.
JOURNAL = f"""#!/bin/sh
case "$*" in
*--output=json*) echo '{{"__REALTIME_TIMESTAMP": "{COPIED_MS - 60_000}000"}}' ;;
*) cat "$LINES_OF_JOURNAL" ;;
esac
"""
PLAYED = """
- name: Sum it up
  hosts: web:workers:scheduler
  gather_facts: false
  tasks:
    - name: What the logs know
      ansible.builtin.include_role:
        name: restore
        tasks_from: missing.yml

    - name: What else the report needs
      ansible.builtin.set_fact:
        restore_dead: [a, b]
        restore_answered: [a]
        handover_failures: []
        handover_is_broken: false

    - name: Say it
      ansible.builtin.include_role:
        name: restore
        tasks_from: report.yml
      run_once: true
"""


def play(directory: Path, away: str) -> str:
    """Return what is printed of hosts of which ``away`` does not answer."""
    program = directory / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(JOURNAL)
    program.chmod(0o755)
    line = {
        "ts": "2026-11-27T12:00:01.000Z", "event": "message.appended", "status": "accepted",
        "account": "salon", "conversation": "c_1", "batch": "b1",
    }  # fmt: skip
    (directory / "lines").write_text(json.dumps(line) + "\n")
    variables = {
        "ansible_connection": "local", "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "restore_copied_ms": COPIED_MS, "restore_ledger": "0" * 32, "restore_copy": "none",
        "restore_erasures": "none", "deployment_id": "v1.12345678",
    }  # fmt: skip
    groups = {
        "ledger": ["h1"], "web": ["h2", "h3"], "workers": ["h3", "h4"], "scheduler": ["h3"],
    }  # fmt: skip
    children = {name: {"hosts": dict.fromkeys(hosts)} for name, hosts in groups.items()}
    unreachable = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": "1"}
    inventory = {"all": {"vars": variables, "hosts": {away: unreachable}, "children": children}}
    (directory / "hosts.json").write_text(json.dumps(inventory))
    (directory / "play.yml").write_text(PLAYED)
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", directory / "hosts.json",
         "-e", '{"ansible_become": false}', directory / "play.yml"],
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}",
             "LINES_OF_JOURNAL": str(directory / "lines"),
             "ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles"),
             "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_web_host_that_does_not_answer_makes_the_number_a_least(tmp_path: Path) -> None:
    """A host that is drained and off may have taken messages after the copy."""
    said = play(tmp_path, away="h2")

    assert "2026-11-27 12:00:01 UTC salon c_1:b1: 2" in said
    assert "by the logs of these hosts: 2." in said
    assert "The log of h2 (no log) does not reach back to 2026-11-27 12:00:00 UTC" in said
    assert "Nor is all known" not in said


def test_worker_host_that_does_not_answer_leaves_in_doubt_what_was_answered(
    tmp_path: Path,
) -> None:
    said = play(tmp_path, away="h4")

    assert "does not reach back" not in said
    assert "Nor is all known that was answered on h4 (no log)" in said
