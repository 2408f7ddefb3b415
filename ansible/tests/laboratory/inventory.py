"""An inventory as an operator writes it, for the hosts of a laboratory and its businesses."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from laboratory.debian import key
from laboratory.guest import SSH_OPTIONS, Guest
from laboratory.hosts import INVENTORIES, SIX, Hosts, Topology, case_of, size
from laboratory.places import CONTROLLER, DSN, OUTSIDE_URL, ROOT, SENTRY_URL, THEIR_NAMES
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


_SETTINGS, _VAULT = "group_vars/all/settings.yml", "group_vars/all/vault.yml"
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
#: How the variables of the certificates of servers begin.
_OF_SERVERS = ("ledger_tls_", "broker_tls_")


class Inventory:
    """The inventory of a laboratory; ``path`` is what ansible-playbook is given.

    That of a case of ``ansible/inventories`` has its files as they are. What a laboratory has
    otherwise, such as addresses, stands in files of its own beside them.
    """

    def __init__(self, hosts: Hosts, topology: Topology) -> None:
        directory = hosts.names.directory
        self._of = directory / "inventory"
        self.path = self._of / "hosts.yml"
        self.authority = Authority(directory / "authority")
        self.vault = Vault(self._of / _VAULT, directory / "vault-password")
        self.topology = topology
        #: Where releases come from.
        self.repository = ROOT
        self._hosts = hosts
        self._called: dict[str, str] = {}

    def write(self) -> None:
        """Write all of it."""
        for part in ("group_vars/all", "host_vars"):
            (self._of / part).mkdir(parents=True)
        write_accounts(self._of, OUTSIDE_URL)
        self.set_settings()
        for host in self._hosts.guests:
            self.set_host(host, {})
        secrets = self._secrets()
        if case := case_of(self.topology):
            asked = yaml.safe_load((INVENTORIES / case / _VAULT).read_text())
            # What a case asks for is enough. The laboratory reads the ledger, whosever that is.
            asked["ledger_admin_password"] = ""
            secrets = {name: secrets[name] for name in asked}
        self.vault.lock(secrets)
        self._write_groups()

    def place(self, topology: Topology) -> None:
        """Have ``topology`` be the inventory's, with the secrets that it needs beside the others.

        They stay, as an operator's would.
        """
        self.topology = topology
        self._write_groups()
        if size(topology) > 1:
            self.certify_servers()

    def certify_servers(self) -> None:
        """Have secrets for every kind of server, wherever they are, beside those that there are."""
        self.vault.lock(self._secrets() | self.vault.open())

    def _write_groups(self) -> None:
        case = case_of(self.topology)
        # Of no case, but of several hosts: their settings are those of two.
        shutil.copyfile(INVENTORIES / (case or "two") / _SETTINGS, self._of / _SETTINGS)
        if case:
            shutil.copyfile(INVENTORIES / case / "hosts.yml", self.path)
            return
        children = {
            group: {"hosts": dict.fromkeys(map(self._name, members), None)}
            for group, members in self.topology.items()
        }
        _dump(self.path, {"all": {"children": children}})

    def uncertify(self) -> None:
        """Have no certificates of servers any more, as with one host from the beginning."""
        secrets = self.vault.open()
        kept = {name: it for name, it in secrets.items() if not name.startswith(_OF_SERVERS)}
        self.vault.lock(kept)

    def rename(self, host: str, name: str) -> None:
        """Call a host by another name here, from the next inventory that is placed."""
        self._called[host] = name
        self.set_host(host, {})

    def set_settings(self, **changes: str) -> None:
        """Have the usual settings with ``changes``; none takes back what was changed."""
        _dump(self._of / "group_vars/all/zz-laboratory.yml", self._settings(changes))

    def set_host(self, host: str, variables: Mapping[str, Any]) -> None:
        """Give a host variables of its own; none takes back what it had."""
        guest = self._hosts.guests[host]
        reached = {"ansible_host": guest.address, "private_address": self._private(guest)}
        _dump(self._of / "host_vars" / f"{self._name(host)}.yml", {**reached, **variables})

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

    def _secrets(self) -> dict[str, Any]:
        """Return all secrets that any inventory asks for, with certificates for all hosts."""
        everywhere = [self._private(guest) for guest in self._hosts.guests.values()]
        made = certificates_of(self.authority, [*everywhere, *THEIR_NAMES])
        return made | vault_of(self.authority, dsn=DSN)

    def _name(self, host: str) -> str:
        return self._called.get(host, host)

    def _settings(self, changes: Mapping[str, str]) -> dict[str, Any]:
        """Return what a laboratory has otherwise than the files of a case."""
        return {
            "ansible_ssh_private_key_file": str(key()),
            "ansible_ssh_common_args": " ".join(f"-o {option}" for option in SSH_OPTIONS),
            "release_repository": str(self.repository),
            "release": "HEAD",
            "deployment_settings": {**SETTINGS, "CANARY_URL": f"https://{SERVER_NAME}", **changes},
            "sentry_url": SENTRY_URL,
        }


def _dump(path: Path, variables: Mapping[str, Any]) -> None:
    # JSON is YAML too.
    path.write_text(json.dumps(dict(variables), indent=2) + "\n")
