"""Addresses of IPv6, wherever the playbooks write one: whoever reads them understands them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pika
import pytest
import redis

from laboratory.places import PLAYBOOKS, ROOT

LEDGER, WEB = "fd00:db8::1", "fd00:db8::2"
INVENTORY = {
    "all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "hosts": {"one": {"private_address": LEDGER}, "two": {"ansible_host": WEB}},
        "children": {
            **{name: {"hosts": {"one": None}} for name in ("ledger", "broker", "proxy")},
            **{name: {"hosts": {"two": None}} for name in ("web", "workers", "scheduler")},
        },
    }
}
ROLES = ("topology", "layout", "addresses", "ledger", "broker", "proxy", "monitoring", "app")
#: What is rendered, and for which host.
TEMPLATES = {
    "one": (
        *("ledger/templates/redis.conf.j2", "ledger/templates/exporter.service.j2"),
        *("broker/templates/rabbitmq.conf.j2", "proxy/templates/nginx.conf.j2"),
        "monitoring/templates/prometheus.yml.j2",
    ),
    "two": ("app/templates/web.socket.j2",),
}
VALUES = ("topology_redis_url", "topology_second_redis_url", "topology_amqp_url")
VARIABLES = {
    "ledger_instance": "ledger",
    "ledger_maxmemory_bytes": 1,
    "monitoring_redis_address": "{{ topology_ledger_place }}",
    "proxy_server_name": "webhooks.test",
    "proxy_listen": ["443", f"[{LEDGER}]:443"],
    "app_web_allow": [LEDGER],
    "topology_network_is_private": True,
    **dict.fromkeys(("ledger_tls_certificate", "broker_tls_certificate"), "PEM"),
    **{f"{name}_password": "p" * 32 for name in ("broker", "ledger_app", "ledger_broker")},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what Ansible makes of templates, by their names, and of variables."""
    directory = tmp_path_factory.mktemp("addresses")
    roles = [ROOT / "ansible/roles" / role for role in ROLES]
    paths = [role / kind / "main.yml" for role in roles for kind in ("defaults", "vars")]
    files = [str(path) for path in paths if path.exists()]
    plays = [
        {
            "hosts": host,
            "gather_facts": False,
            "vars_files": files,
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": _json_of(host),
                        "dest": f"{directory}/{host}",
                        "mode": "0600",
                    }
                }
            ],
        }
        for host in TEMPLATES
    ]
    for name, content in (("hosts.yml", INVENTORY), ("play.yml", plays), ("vars.yml", VARIABLES)):
        (directory / name).write_text(json.dumps(content))
    done = subprocess.run(
        [
            str(ROOT / ".venv/bin/ansible-playbook"),
            f"--inventory={directory}/hosts.yml",
            f"--extra-vars=@{directory}/vars.yml",
            str(directory / "play.yml"),
        ],
        cwd=PLAYBOOKS,
        env=os.environ | {"ANSIBLE_LOCAL_TEMP": str(directory), "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads((directory / host).read_text()) for host in TEMPLATES]
    return {name: value for each in found for name, value in each.items()}


def _json_of(host: str) -> str:
    """Return an expression of what is rendered for a host, by its name."""
    parts = [f"'{name}': {name}" for name in VALUES]
    for template in TEMPLATES[host]:
        path = f"{ROOT}/ansible/roles/{template}"
        parts.append(f"'{Path(template).stem}': lookup('ansible.builtin.template', '{path}')")
    return "{{ {" + ", ".join(parts) + "} | to_json }}"


def test_clients_find_the_ledger_and_the_broker(rendered: dict[str, Any]) -> None:
    ledger, second, amqp = (rendered[name] for name in VALUES)
    clients = [redis.Redis.from_url(it).get_connection_kwargs() for it in (ledger, second)]
    broker = pika.URLParameters(amqp.partition("?")[0])

    assert [(it["host"], it["port"]) for it in clients] == [(LEDGER, 6379), (LEDGER, 6380)]
    assert (broker.host, broker.port) == (LEDGER, 5671)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("redis.conf", f'bind "{LEDGER}"'),
        ("exporter.service", f" -web.listen-address [{LEDGER}]:9121"),
        ("rabbitmq.conf", f"listeners.ssl.private1 = {LEDGER}:5671"),
        ("nginx.conf", f"        listen [{LEDGER}]:443 ssl;"),
        ("nginx.conf", f"        server [{WEB}]:8000 "),
        ("prometheus.yml", f'      - {{targets: ["[{WEB}]:8000"]}}'),
        ("prometheus.yml", f'    static_configs: [{{targets: ["[{LEDGER}]:9121"]}}]'),
        ("web.socket", f"ListenStream=[{WEB}]:8000"),
        ("web.socket", f"IPAddressAllow={LEDGER}"),
    ],
)
def test_address_stands_in_brackets_before_a_port(
    rendered: dict[str, Any], file: str, line: str
) -> None:
    """Redis and RabbitMQ have forms of their own."""
    assert line in rendered[file]


def test_prometheus_takes_its_configuration(rendered: dict[str, Any], tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed")
    (tmp_path / "token").write_text("t")
    for name in ("recording.yml", "alerts.yml"):
        (tmp_path / name).write_text("groups: []\n")
    text = rendered["prometheus.yml"].replace("/etc/prometheus/ai-admin", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(text)

    checked = subprocess.run(
        [promtool, "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
