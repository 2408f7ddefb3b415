"""Changes of the inventory, as the roles judge them: what is served on, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from laboratory.places import PLAYBOOKS

ROLES = PLAYBOOKS / "roles"
FILES = (
    *("topology/defaults", "layout/defaults", "addresses/defaults", "addresses/vars"),
    *("ledger/defaults", "ledger/vars", "broker/defaults", "broker/vars"),
)
#: Ansible's own templates, in a process of their own: the directory here has its name.
PROGRAM = """
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
given = json.load(sys.stdin)
loader, defaults = DataLoader(), {}
for path in given["files"]:
    defaults |= loader.load_from_file(path, trusted_as_template=True)
def said(variables, expressions):
    templar = Templar(loader, variables=defaults | variables)
    return {it: templar.template(trust_as_template("{{ %s }}" % it)) for it in expressions}
json.dump([said(*case) for case in given["cases"]], sys.stdout)
"""
ELSEWHERE, NO_CERTIFICATE = "addresses_elsewhere", "addresses_without_certificate"
#: On the ledger's host, in most of the table, and on the other.
EXPRESSIONS = {
    "one": ("ledger_listen", "ledger_has_door", "ledger_instances", ELSEWHERE, NO_CERTIFICATE),
    "two": (ELSEWHERE, NO_CERTIFICATE, "addresses_ledger_before", "broker_is_over"),
}
#: Where hosts are reached; one of them at two addresses.
HOSTS = {"one": ("10.0.0.1", "fd00::9"), "two": ("10.0.0.2",)}
ONE = dict.fromkeys(("ledger", "web", "workers", "scheduler"), ("one",))
TWO = ONE | dict.fromkeys(("web", "workers", "scheduler"), ("one", "two"))
MOVED = TWO | {"ledger": ("two",)}
RABBIT = TWO | {"broker": ("two",)}
PLAIN = ("REDIS_URL redis://127.0.0.1:6379", "BROKER_URL redis://127.0.0.1:6380")
TLS = ("REDIS_URL rediss://10.0.0.1:6379", "BROKER_URL rediss://10.0.0.1:6380")
OTHER = ("REDIS_URL rediss://[fd00::9]:6379",)
AMQP = ("REDIS_URL rediss://10.0.0.1:6379", "BROKER_URL amqps://10.0.0.2:5671")
THERE, GONE = ("REDIS_URL rediss://10.0.0.2:6379",), ("REDIS_URL rediss://10.0.0.8:6379",)
CERTIFICATE = ("ledger_tls_certificate", "broker_tls_certificate")
#: Where the server on host one listens itself, by TLS or not, and if a door stands at 127.0.0.1.
LOCAL = ("127.0.0.1", 6379, 0, False)
ENCRYPTED = ("10.0.0.1", 0, 6379, False)
DOOR = ("10.0.0.1", 0, 6379, True)
BOTH = ["ledger", "broker"]


class Change(NamedTuple):
    """``groups``: of the new inventory. What deployments on hosts ``one`` and ``two`` name.

    ``vault``: which certificates it has; ``serves``: how host one serves afterwards;
    ``instances``: which Redis; ``refused``: where, for lack of what; ``before``: from which host
    the data come; ``broker``: whether a RabbitMQ serves on that host two had before.
    """

    groups: Mapping[str, tuple[str, ...]]
    one: tuple[str, ...] = ()
    two: tuple[str, ...] = ()
    vault: tuple[str, ...] = CERTIFICATE
    serves: tuple[str, int, int, bool] = ENCRYPTED
    instances: list[str] = BOTH
    refused: tuple[str, str] = ("", "")
    before: str = ""
    broker: bool = False
    given: tuple[tuple[str, Any], ...] = ()

    def variables(self, host: str) -> dict[str, Any]:
        """Return what Ansible knows on a host."""
        named = {"one": self.one, "two": self.two}
        hosts = {
            name: {
                "inventory_hostname": name,
                "private_address": addresses[0],
                "addresses_mine": addresses,
                "addresses_named": named[name],
            }
            for name, addresses in HOSTS.items()
        }
        common = {"groups": self.groups, "hostvars": hosts, "ledger_instance": "ledger"}
        facts = {"ansible_facts": {"memtotal_mb": 1_000}}
        return common | facts | hosts[host] | dict.fromkeys(self.vault, "PEM") | dict(self.given)


PLAINLY = (("topology_ledger_is_encrypted", False),)
CHANGES = {
    "bare, one host": Change(ONE, vault=(), serves=LOCAL),
    "nothing": Change(ONE, PLAIN, vault=(), serves=LOCAL),
    "bare, two hosts": Change(TWO),
    "one host to two": Change(TWO, PLAIN, serves=DOOR),
    "one host to two, broken off": Change(TWO, PLAIN + TLS, TLS, serves=DOOR),
    "nothing of before may run again": Change(TWO, TLS, TLS),
    "two hosts to one": Change(ONE, TLS),
    "two hosts to one at once": Change(ONE, PLAIN + TLS, serves=DOOR),
    "a certificate for one host": Change(ONE, PLAIN, serves=DOOR),
    "TLS is not wanted any more": Change(ONE, TLS, serves=DOOR, given=PLAINLY),
    "nor named": Change(ONE, PLAIN, vault=(), serves=LOCAL),
    "another address of the host": Change(
        TWO, TLS, OTHER, serves=("10.0.0.1 fd00::9", 0, 6379, False)
    ),
    "RabbitMQ": Change(RABBIT, TLS, TLS),
    "RabbitMQ, and a host": Change(RABBIT, PLAIN, serves=DOOR),
    "RabbitMQ, one may go back": Change(RABBIT, AMQP + TLS, AMQP),
    "RabbitMQ, nobody names Redis": Change(RABBIT, AMQP, AMQP, instances=["ledger"]),
    "RabbitMQ, bare": Change(RABBIT, instances=["ledger"]),
    "RabbitMQ taken away": Change(TWO, AMQP, AMQP, broker=True),
    "RabbitMQ taken away, one may go back": Change(TWO, TLS + AMQP, TLS, broker=True),
    "RabbitMQ taken away, nobody names it": Change(TWO, TLS, TLS),
    "RabbitMQ on another host": Change(
        TWO | {"broker": ("one",)}, AMQP, AMQP, instances=["ledger"], broker=True
    ),
    "the ledger of one host moved": Change(MOVED, PLAIN, refused=("one", ELSEWHERE)),
    "the ledger moved": Change(MOVED, TLS, TLS, before="one"),
    "the ledger moved, and is handed over": Change(MOVED, TLS + THERE, THERE, before="one"),
    "nothing of before names it": Change(MOVED, THERE, THERE),
    "the ledger is nowhere": Change(TWO, GONE, TLS, refused=("one", ELSEWHERE)),
    "the ledger moved by hand": Change(
        MOVED, TLS, TLS, given=(("addresses_given_up", ["10.0.0.1"]),)
    ),
    "no certificate": Change(ONE, TLS, vault=(), serves=LOCAL, refused=("one", NO_CERTIFICATE)),
    "no certificate for RabbitMQ": Change(
        RABBIT, AMQP, AMQP, CERTIFICATE[:1], instances=["ledger"], refused=("two", NO_CERTIFICATE)
    ),
}


@pytest.fixture(scope="module")
def said() -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the roles' expressions come to, by change and host."""
    asked = {
        (what, host): (it.variables(host), EXPRESSIONS[host])
        for what, it in CHANGES.items()
        for host in HOSTS
    }
    return dict(zip(asked, templated([*asked.values()]), strict=True))


def templated(cases: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> list[dict[str, Any]]:
    """Return what expressions come to for Ansible, each with its variables beside the roles'."""
    files = [str(ROLES / part / "main.yml") for part in FILES]
    command = [sys.executable, "-I", "-c", PROGRAM]
    text = json.dumps({"files": files, "cases": cases})
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: list[dict[str, Any]] = json.loads(done.stdout)
    return said


def tasks_of(file: str) -> dict[str, Any]:
    """Return the tasks of a file of the role ``ledger`` by their names, those of blocks too."""
    listed = yaml.safe_load((ROLES / "ledger/tasks" / file).read_text())
    return {it["name"]: it for task in listed for it in (task, *task.get("block", ()))}


def test_ledger_that_moves_is_asked_by_its_own_socket() -> None:
    """Elsewhere a loop says which Redis is meant."""
    task = tasks_of("main.yml")["It has the data of the host where the ledger was"]

    [said] = templated([(task.get("vars", {}), ["ledger_cli"])])

    assert said["ledger_cli"][-1] == "/run/redis-ledger/redis.sock"


@pytest.mark.parametrize(
    ("before", "after", "may"),
    [("7.0.15", "7.0.15", True), ("7.0.15", "8.0.2", True), ("8.0.2", "7.0.15", False),
     ("7.2.4", "7.0.15", False), ("9.0.1", "10.0.0", True)],
)  # fmt: skip
def test_ledger_moves_to_no_redis_that_is_older(before: str, after: str, *, may: bool) -> None:
    task = tasks_of("move.yml")["It is no older than that of before"]
    versions = f"({task['vars']['ledger_versions'].strip()[2:-2]})"
    expression = task["ansible.builtin.assert"]["that"].replace("ledger_versions", versions)
    servers = {
        name: {"stdout": f"PONG\nOK\n# Server\nredis_version:{version}\nredis_mode:standalone\n"}
        for name, version in (("ledger_source", before), ("ledger_target", after))
    }

    [said] = templated([(servers, [expression])])

    assert said[expression] is may


#: What `ai-admin fleet --json` printed → who is not in the inventory.
FLEETS: dict[str, tuple[str, list[str]]] = {
    "one of ours, one of nobody's, one that is dead": (
        json.dumps({"members": [
            {"host": "one", "is_alive": True}, {"host": "three", "is_alive": True},
            {"host": "four", "is_alive": False},
        ]}), ["three"],
    ),
    "the ledger does not answer": (json.dumps({"error": "ledger_away"}), []),
    "a release of before": ("unknown verb", []),
}  # fmt: skip


def test_who_works_and_is_not_in_the_inventory_is_known_where_the_ledger_answers() -> None:
    ours = CHANGES["bare, two hosts"].variables("one")
    hosts = {name: {"ansible_facts": {"hostname": name}} for name in HOSTS}

    said = templated(
        [
            (ours | {"hostvars": hosts, "addresses_fleet": {"stdout": it}}, ["addresses_strangers"])
            for it, _ in FLEETS.values()
        ]
    )

    assert [it["addresses_strangers"] for it in said] == [hosts for _, hosts in FLEETS.values()]


@pytest.mark.parametrize("what", CHANGES)
def test_what_deployments_name_is_served_or_the_change_is_refused(
    what: str, said: dict[tuple[str, str], dict[str, Any]]
) -> None:
    change, one = CHANGES[what], said[what, "one"]
    listen = one["ledger_listen"]

    refused = {
        (host, lack)
        for host in HOSTS
        for lack in (ELSEWHERE, NO_CERTIFICATE)
        if said[what, host][lack]
    }

    if change.refused[0]:
        assert change.refused in refused
        return
    assert refused == set()
    assert said[what, "two"]["addresses_ledger_before"] == change.before
    has_broker = change.groups.get("broker") == ("two",) or change.broker
    assert said[what, "two"]["broker_is_over"] is not has_broker
    if change.groups["ledger"] == ("one",):
        ports = int(listen["port"]), int(listen["tls-port"])
        assert (listen["bind"], *ports, one["ledger_has_door"]) == change.serves
        assert one["ledger_instances"] == change.instances


def test_what_deployments_name_is_read_without_their_passwords(tmp_path: Path) -> None:
    """The program runs on hosts as they are: bare, with one user, with one for each role."""
    deployments = tmp_path / "deployments"
    program = [ROLES / "addresses/files/named", tmp_path]

    def named() -> list[str]:
        environ = os.environ | {"SYSTEMD_OFFLINE": "1"}
        done = subprocess.run(program, capture_output=True, text=True, check=True, env=environ)
        return done.stdout.splitlines()

    assert named() == []
    for deployment, files in {
        "r1.0": {"env": 'RELEASE="r1"\nREDIS_URL="redis://app:p%40w@127.0.0.1:6379/0"\n'},
        "r2.0": {
            "env": 'BROKER_URL="amqps://ai-admin:pw@[fd00::1]:5671/ai-admin?ssl_options=x"\n',
            "redis-web": 'REDIS_URL="rediss://web:pw@10.0.0.1:6379/0?ssl_ca_certs=/etc/ca.pem"\n',
        },
        "r3.0": {"env": 'REDIS_URL="redis://app:pw@10.0.0.3:6379/0"\n'},
    }.items():
        (deployments / deployment).mkdir(parents=True)
        for name, text in files.items():
            (deployments / deployment / name).write_text(text)
    (deployments / "previous").symlink_to("r1.0")
    (deployments / "current").symlink_to("r2.0")

    assert named() == [
        "BROKER_URL amqps://[fd00::1]:5671",
        "REDIS_URL redis://127.0.0.1:6379",
        "REDIS_URL rediss://10.0.0.1:6379",
    ]
