"""Which hosts are refused before anything is changed, and in which words."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from laboratory.places import PLAYBOOKS

#: What is found on a host, and what is said of it; "" for nothing.
HOSTS = {
    "bookworm": ("Debian", "12.11", "3.11.2", "systemd 252 (252.39-1~deb12u1)", ""),
    "trixie": ("Debian", "13.1", "3.13.5", "systemd 257 (257.8-1~deb13u1)", ""),
    "noble": ("Ubuntu", "24.04", "3.12.3", "systemd 255 (255.4-1ubuntu8)", ""),
    "bullseye": ("Debian", "11.11", "3.9.2", "systemd 247 (247.3-7)", "Debian 11, Python 3.9.2"),
    "forky": ("Debian", "14", "3.14.0", "systemd 260 (260-1)", "Debian 14, Python 3.14.0"),
    "jammy": ("Ubuntu", "22.04", "3.10.12", "systemd 249 (249.11)", "Ubuntu 22.04, Python 3.10"),
    "oracular": ("Ubuntu", "24.10", "3.12.7", "systemd 256 (256.5)", "Ubuntu 24.10"),
    "fedora": ("Fedora", "42", "3.13.7", "systemd 257 (257.9)", "Fedora 42"),
    "old-python": ("Debian", "12.1", "3.10.1", "systemd 252 (252.6)", "Python 3.10.1"),
    "old-systemd": ("Debian", "12.1", "3.11.2", "systemd 247 (247.3)", "systemd 247"),
    "no-systemd": ("Debian", "12.1", "3.11.2", "", "no systemd"),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what the role says of all HOSTS."""
    directory = tmp_path_factory.mktemp("systems")
    hosts = {}
    for name, (distribution, version, python, systemd, _) in HOSTS.items():
        program = directory / name / "systemctl"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho '{systemd}'\n" if systemd else "#!/bin/sh\nexit 127\n")
        program.chmod(0o755)
        facts = {"distribution": distribution, "distribution_version": version}
        hosts[name] = {
            "ansible_facts": facts | {"python_version": python},
            "path": f"{program.parent}:{os.environ['PATH']}",
        }
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
            },
            "hosts": hosts,
        }
    }
    known = {"ansible.builtin.include_role": {"name": "system", "tasks_from": "known.yml"}}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "environment": {"PATH": "{{ path }}"},
        "tasks": [
            {"ansible.builtin.set_fact": {"ansible_facts": "{{ found }}"}},
            known,
        ],
    }
    for variables in hosts.values():
        variables["found"] = variables.pop("ansible_facts")
    (directory / "hosts.yml").write_text(json.dumps(inventory))
    (directory / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"--inventory={directory}/hosts.yml",
            str(directory / "play.yml"),
        ],
        cwd=PLAYBOOKS,
        env=os.environ
        | {"ANSIBLE_ROLES_PATH": str(PLAYBOOKS / "roles"), "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("host", HOSTS)
def test_host_that_is_not_known_is_refused_in_one_sentence(said: str, host: str) -> None:
    *_, expected = HOSTS[host]
    text = re.sub(r"\s+", " ", said)
    found = re.findall(rf"Refused, nothing was changed: {host} has ([^;]*);", text)

    assert bool(found) is bool(expected), said
    assert all(expected in it for it in found)
    assert re.search(rf"{host} : ok=\d+ changed=0 .* failed={int(bool(expected))}", text)
