"""An inventory as an operator writes it, for the hosts of a laboratory and its businesses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from laboratory.debian import key
from laboratory.guest import SSH_OPTIONS, Guest
from laboratory.hosts import SIX, Hosts, Topology, size
from laboratory.places import CONTROLLER, DSN, OUTSIDE_URL, ROOT, SENTRY_URL
from laboratory.secrecy import SERVER_NAME, Authority, Vault, certificates_of, vault_of
from tests.stack.accounts import BusinessNumber, accounts_toml

#: One tells a person of a text in doubt, the other sends it once more. Models take their time.
SALON = BusinessNumber("salon", "100001", {"timeout_ms": 5_000}, {"timeout_ms": 10_000})
RESENDING = BusinessNumber(
    "resending", "100006", {"ambiguous": "resend", "timeout_ms": 5_000}, {"timeout_ms": 10_000}
)
BUSINESSES = (SALON, RESENDING)
#: Of accounts that send a part in doubt once more.
RESENDS = frozenset({RESENDING.account_id})

_PROMPT = "# Invented salon\n\nHaircut: 30 EUR. Open 9:00-18:00.\n"


def write_accounts(directory: Path, outside_url: str) -> tuple[Path, Path]:
    """Write the accounts and their prompts; return the file and the directory."""
    prompts = directory / "prompts"
    prompts.mkdir(parents=True, exist_ok=True)
    (prompts / "salon.md").write_text(_PROMPT)
    accounts = directory / "accounts.toml"
    # The world outside is a program beside the hosts, without a certificate.
    allowed = f'allow_http_hosts = ["{CONTROLLER}"]'
    numbers = accounts_toml(outside_url, prompt_file="prompts/salon.md", numbers=BUSINESSES)
    accounts.write_text(f"{allowed}\n{numbers}")
    return accounts, prompts


ORGANIZATION, PROJECT = "laboratory", "ai-admin"
#: Short, so that much happens in a run; within what production allows.
SETTINGS: Mapping[str, str] = {
    "BATCH_IDLE_MS": "1500",
    "BATCH_MAX_WAIT_MS": "6000",
    "BATCH_LEASE_MS": "10000",
    "BATCH_WAKE_UP_MS": "1000",
    "BATCH_AMBIGUOUS_MS": "5000",
    "CANARY_EVERY_MS": "10000",
    "BUDGET_CONVERSATION_HOUR": "10000",
    "BUDGET_CONVERSATION_DAY": "10000",
    "BUDGET_ACCOUNT_DAY": "100000",
    "BUDGET_INSTALLATION_DAY": "100000",
}


class Inventory:
    """The inventory of a laboratory; ``path`` is what ansible-playbook is given."""

    def __init__(self, hosts: Hosts, topology: Topology) -> None:
        directory = hosts.names.directory
        self.path = directory / "inventory"
        self.authority = Authority(directory / "authority")
        self.vault = Vault(self.path / "group_vars/all/vault.yml", directory / "vault-password")
        self.topology = topology
        #: Where releases come from.
        self.repository = ROOT
        self._hosts = hosts
        self._directory = directory
        self._called: dict[str, str] = {}

    def write(self) -> None:
        """Write all of it."""
        (self.path / "group_vars/all").mkdir(parents=True)
        (self.path / "host_vars").mkdir()
        _dump(self.path / "group_vars/all/settings.yml", self._settings({}))
        self.vault.lock(vault_of(self.authority, dsn=DSN))
        self.place(self.topology)

    def place(self, topology: Topology) -> None:
        """Have ``topology`` be the inventory's, with the certificates that it needs."""
        self.topology = topology
        _dump(self.path / "hosts.yml", self._groups())
        if size(topology) > 1:
            self.certify_servers()

    def certify_servers(self) -> None:
        """Have certificates for servers, wherever they are; they stay, as an operator's would."""
        secrets = self.vault.open()
        if "ledger_tls_ca" not in secrets:
            everywhere = [self._private(guest) for guest in self._hosts.guests.values()]
            self.vault.lock(secrets | certificates_of(self.authority, everywhere))

    def rename(self, host: str, name: str) -> None:
        """Call a host by another name here, from the next inventory that is placed."""
        self._called[host] = name

    def set_settings(self, **changes: str) -> None:
        """Have the usual settings with ``changes``; none takes back what was changed."""
        _dump(self.path / "group_vars/all/settings.yml", self._settings(changes))

    def set_host(self, host: str, variables: Mapping[str, Any]) -> None:
        """Give a host variables of its own; none takes back what it had."""
        _dump(self.path / "host_vars" / f"{host}.yml", dict(variables))

    def certify(self, servers: Authority) -> None:
        """Have new certificates: the proxy's by the usual authority, those of servers by that."""
        ledger, broker = self._address("ledger"), self._address("broker", "ledger")
        proxy = self.authority.sign(proxy=SERVER_NAME)
        made = servers.sign(ledger=ledger, broker=broker)
        self.vault.lock({**self.vault.open(), **proxy, **made})

    def _address(self, *groups: str) -> str:
        """Return where the first host of the first group that has any is reached."""
        hosts = [host for group in groups for host in self.topology.get(group, ())]
        return self._private(self._hosts.guests[hosts[0]])

    def _private(self, guest: Guest) -> str:
        """Return where the other hosts reach one."""
        return guest.address_6 if self.topology is SIX else guest.address

    def _groups(self) -> dict[str, Any]:
        named = {host for members in self.topology.values() for host in members}
        guests = [guest for guest in self._hosts.guests.values() if guest.host in named]
        every = {
            self._name(guest.host): {
                "ansible_host": guest.address,
                "private_address": self._private(guest),
            }
            for guest in guests
        }
        children = {
            group: {"hosts": dict.fromkeys(map(self._name, members), None)}
            for group, members in self.topology.items()
        }
        return {"all": {"hosts": every, "children": children}}

    def _name(self, host: str) -> str:
        return self._called.get(host, host)

    def _settings(self, changes: Mapping[str, str]) -> dict[str, Any]:
        accounts, prompts = write_accounts(self._directory / "accounts", OUTSIDE_URL)
        return {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(key()),
            "ansible_ssh_common_args": " ".join(f"-o {option}" for option in SSH_OPTIONS),
            "release_repository": str(self.repository),
            "release": "HEAD",
            "deployment_settings": {**SETTINGS, "CANARY_URL": f"https://{SERVER_NAME}", **changes},
            "deployment_accounts_file": str(accounts),
            "deployment_prompts_directory": str(prompts),
            "proxy_server_name": SERVER_NAME,
            "topology_network_is_private": True,
            "sentry_url": SENTRY_URL,
            "sentry_organization": ORGANIZATION,
            "sentry_project": PROJECT,
        }


def _dump(path: Path, variables: Mapping[str, Any]) -> None:
    # JSON is YAML too.
    path.write_text(json.dumps(dict(variables), indent=2) + "\n")
