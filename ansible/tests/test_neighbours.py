"""What the playbooks refuse to run into on a host that is not bare, and what they live beside."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from laboratory.places import PLAYBOOKS

ROLES = PLAYBOOKS / "roles"
LOOK = ROLES / "neighbours/files/look.py"


def program() -> ModuleType:
    """Return the program that looks, as a module."""
    spec = importlib.util.spec_from_file_location("look", LOOK)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["look"] = module
    spec.loader.exec_module(module)
    return module


look = program()
Listener, Server, Found = look.Listener, look.Server, look.Found

ANY = "0.0.0.0"  # noqa: S104 - nothing is bound
#: nginx with two sites of somebody else, as ``nginx -T`` prints it.
SITES = """# configuration file /etc/nginx/nginx.conf:
http {
    include /etc/nginx/conf.d/*.conf;
    include sites-enabled/*;
}
# configuration file /etc/nginx/sites-enabled/shop:
server { server_name_in_redirect off;
    listen 443 ssl;
    server_name shop.example.org www.shop.example.org;
}
# configuration file /etc/nginx/conf.d/any.conf:
server {
    listen 80;
    server_name _;
}
"""
OURS = """# configuration file /etc/nginx/conf.d/ai-admin.conf:
# AI Admin: webhooks
    server_name webhooks.example.org;
"""
SITE = {
    "kind": "site",
    "name": "webhooks.example.org",
    "listen": ["443"],
    "site_file": "/etc/nginx/conf.d/ai-admin.conf",
}
WHOLE = {"proxy": {**SITE, "kind": "whole"}, "servers": ["nginx"]}
LEDGER = {"servers": ["redis-server"], "instances": ["ledger", "broker"]}


def port(number: int, address: str = "127.0.0.1") -> dict[str, Any]:
    return {"at": [f"{address}:{number}"], "for": "the ledger", "do": "set ledger_port"}


def redis_at(unit: str, address: str = "127.0.0.1", number: int = 6379) -> Any:
    return Found(listeners=(Listener(address, number, unit),))


def nginx(**what: Any) -> Any:
    text = what.pop("told", SITES)
    fault = what.pop("fault", "")
    return Found(servers={"nginx": Server(**what)}, nginx=text, nginx_fault=fault)


def has(package: str, **what: Any) -> Any:
    return Found(servers={package: Server(**what)})


#: What is wanted, what is there, and a word of each refusal.
TABLE: Mapping[str, tuple[Mapping[str, Any], Any, list[str]]] = {
    "bare": ({**LEDGER, **WHOLE, "places": [port(6379)]}, Found(), []),
    # Ports.
    "redis runs": ({"places": [port(6379)]}, redis_at("redis-server.service"), ["set ledger_port"]),
    "redis of docker": ({"places": [port(6379)]}, redis_at("docker.service", ANY), ["docker"]),
    "dual stack": ({"places": [port(6379)]}, redis_at("valkey-server.service", "*"), ["valkey"]),
    "IPv6 alone": ({"places": [port(6379)]}, redis_at("redis-server.service", "::1"), []),
    "any IPv6": ({"places": [port(6379)]}, redis_at("redis-server.service", "::"), []),
    "another address": ({"places": [port(6379)]}, redis_at("x.service", "192.0.2.1"), []),
    "we want every address": (
        {"places": [port(443, "*")]},
        redis_at("x.service", "::", 443),
        ["x.s"],
    ),
    "another port": ({"places": [port(6390)]}, redis_at("redis-server.service"), []),
    "our ledger": ({"places": [port(6379)]}, redis_at("redis-server@ledger.service"), []),
    "another's instance": (
        {"places": [port(6379)]},
        redis_at("redis-server@shop.service"),
        ["shop"],
    ),
    "our socket": ({"places": [port(8000)]}, redis_at("ai-admin-web.socket", number=8000), []),
    "every address, by its port": (
        {"places": [{"at": [443, "/run/web.sock"], "for": "it", "do": "set it"}]},
        redis_at("x.service", "::", 443),
        ["x.service has port 443"],
    ),
    "by hand": (
        {"places": [port(8000)]},
        redis_at("ai-admin-web.service", number=8000),
        ["ai-admin-web.service has port 8000"],
    ),
    "stopped for today": (
        {"places": [port(6379)]},
        has("redis-server", has=("dump.rdb",)),
        ["6379"],
    ),
    "switched off long ago": (
        {"places": [port(6379)]},
        has("redis-server", off=True, changed=True, has=("dump.rdb",)),
        [],
    ),
    "installed just now": ({"places": [port(6379)]}, has("redis-server"), []),
    "their port": (
        {"places": [port(6390)]},
        Found(servers={"redis-server": Server(changed=True)}, redis_port=6390),
        ["redis-server.service has port 6390"],
    ),
    "caddy before us": (
        {**WHOLE, "places": [port(443, "*")]},
        redis_at("caddy.service", "*", 443),
        ["caddy.service has port 443"],
    ),
    # nginx.
    "their nginx": (WHOLE, nginx(changed=True), ["shop.example.org, www.shop.example.org, /etc"]),
    "their pages": (WHOLE, nginx(has=("about.html",)), ["proxy_kind: site"]),
    "nginx that shows its own page": (WHOLE, nginx(running=True), []),
    "nginx that only came along has a port of ours": (
        {**WHOLE, "places": [port(80, "*")]},
        Found(
            listeners=(Listener(ANY, 80, "nginx.service"),),
            servers={"nginx": Server(running=True)},
        ),
        [],
    ),
    "nginx of ours": (WHOLE, nginx(ours=True, changed=True, running=True), []),
    "nginx just installed": (WHOLE, nginx(), []),
    "no proxy here": ({}, nginx(changed=True, running=True), []),
    "site": ({"proxy": SITE}, nginx(changed=True, running=True), []),
    "site again": ({"proxy": SITE}, nginx(changed=True, told=SITES + OURS), []),
    "site and no nginx": ({"proxy": SITE}, Found(), ["there is no nginx"]),
    "site and ours": ({"proxy": SITE}, nginx(ours=True), ["nginx.conf is ours"]),
    "site and a fault": ({"proxy": SITE}, nginx(fault="[emerg] unknown"), ["unknown"]),
    "site that is not read": (
        {"proxy": {**SITE, "site_file": "/srv/ours.conf"}},
        nginx(changed=True),
        ["/etc/nginx/sites-enabled/*"],
    ),
    "a name that is taken": (
        {"proxy": {**SITE, "name": "shop.example.org"}},
        nginx(changed=True),
        ["is a site of its nginx already"],
    ),
    "an address of its own": (
        {"proxy": SITE},
        nginx(changed=True, told=SITES + "server {\n    listen 192.0.2.7:443 ssl;\n}\n"),
        ['proxy_listen: ["192.0.2.7:443"]'],
    ),
    "an address of its own, told": (
        {"proxy": {**SITE, "listen": ["192.0.2.7:443"]}},
        nginx(changed=True, told=SITES + "server {\n    listen 192.0.2.7:443 ssl;\n}\n"),
        [],
    ),
    "site beside them on 443": (
        {"proxy": SITE, "places": [port(443, "*")]},
        Found(
            listeners=(Listener(ANY, 443, "nginx.service"),),
            servers={"nginx": Server(running=True, changed=True)},
            nginx=SITES,
        ),
        [],
    ),
    # The others.
    "their rabbitmq": (
        {"servers": ["rabbitmq-server"]},
        has("rabbitmq-server", has=("rabbit@host",)),
        ["deployment_broker_url"],
    ),
    "rabbitmq of ours": ({"servers": ["rabbitmq-server"]}, has("rabbitmq-server", ours=True), []),
    "their prometheus": (
        {"servers": ["prometheus"]},
        has("prometheus", running=True),
        ["group monitoring"],
    ),
    "their exporter": (
        {"servers": ["prometheus-redis-exporter"]},
        has("prometheus-redis-exporter", running=True),
        ["ledger_exporter_password"],
    ),
    "held": ({"packages": ["nginx"]}, Found(held=frozenset({"nginx", "vim"})), ["unhold nginx"]),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_is_somebody_elses_is_refused_or_lived_beside(case: str) -> None:
    wanted, found, words = TABLE[case]

    refusals = list(look.judge(wanted, found))

    assert len(refusals) == len(words), refusals
    for refusal, word in zip(refusals, words, strict=True):
        assert word in refusal


TOLD = """\
LISTEN 0 511  127.0.0.1:6379    0.0.0.0:*  users:(("redis-server",pid=7,fd=6))
LISTEN 0 128  [::]:22           [::]:*     users:(("sshd",pid=8,fd=4))
LISTEN 0 4096 *:443             *:*        users:(("caddy",pid=9,fd=4),("caddy",pid=9,fd=5))
LISTEN 0 4096 127.0.0.1:8000    0.0.0.0:*  users:(("gunicorn",pid=8,fd=3),("systemd",pid=1,fd=40))
LISTEN 0 4096 127.0.0.53%lo:53  0.0.0.0:*
"""


def test_who_listens_is_named_by_the_unit() -> None:
    units = {7: "redis-server.service", 8: "ssh.service"}

    told = look.listeners(TOLD, lambda pid: units.get(pid, ""), {8000: "ai-admin-web.socket"})

    assert list(told) == [
        Listener("127.0.0.1", 6379, "redis-server.service"),
        Listener("::", 22, "ssh.service"),
        Listener("*", 443, "caddy"),
        Listener("127.0.0.1", 8000, "ai-admin-web.socket"),
        Listener("127.0.0.53", 53, "a program"),
    ]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, []),
        ({"opt/ai-admin/bin/run": "", "opt/ai-admin/deployments/current": ""}, []),
        ({"opt/ai-admin/app/manage.py": ""}, ["set layout_root to another"]),
        ({"etc/redis/redis-ledger.conf": "port 1\naclfile /etc/redis/ledger.acl\n"}, []),
        ({"etc/redis/redis-broker.conf": "port 1\n"}, ["redis-server@broker.service"]),
        ({"usr/local/bin/ai-admin": "#!/bin/sh\nrun manage.py\n"}, []),
        ({"usr/local/bin/ai-admin": "#!/bin/sh\necho\n"}, ["/usr/local/bin/ai-admin"]),
    ],
)
def test_what_has_a_name_of_ours_is_ours_or_refused(
    tmp_path: Path, files: dict[str, str], words: list[str]
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    found = list(
        look.strange(tmp_path, {"root": "/opt/ai-admin", "instances": ["ledger", "broker"]})
    )

    assert [word in it for word, it in zip(words, found, strict=True)] == [True] * len(words)


def test_user_with_a_home_is_somebody_elses() -> None:
    (refusal,) = look.strange(Path("/nowhere"), {"users": ["root"]})

    assert "the user root is somebody else's" in refusal


def test_program_looks_at_this_very_host() -> None:
    """Whatever is on it: what it prints can be read, and a port that nobody has is free."""
    wanted = json.dumps({"places": [port(1)]})
    command = [sys.executable, str(LOOK), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    told = json.loads(done.stdout)

    assert (told["refusals"], type(told["redis_is_somebodys"])) == ([], bool)


def test_defaults_that_are_read_before_the_roles_run_are_theirs() -> None:
    told = {
        name: default
        for text in yaml.safe_load((ROLES / "neighbours/defaults/main.yml").read_text()).values()
        for it in (text.values() if isinstance(text, dict) else [text])
        for name, default in re.findall(r"\{\{ (\w+) \| default\((.+)\) \}\}", it)
    }
    given = {
        name: value
        for role in ("proxy", "monitoring")
        for name, value in yaml.safe_load((ROLES / role / "defaults/main.yml").read_text()).items()
    }

    assert {name: yaml.safe_load(default) for name, default in told.items()} == {
        name: given[name] for name in told
    }
