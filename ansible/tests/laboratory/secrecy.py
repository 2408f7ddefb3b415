"""The laboratory's secrets, made at random: certificates, and a vault that its password opens."""

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from laboratory.places import PLAYBOOKS, ROOT
from laboratory.shell import run
from tests.stack.accounts import SECRETS

_PROGRAM = PLAYBOOKS / "roles/ledger/files/certificates.py"


class Authority:
    """Signs certificates by the program of the playbooks; all of it is in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.pem"

    def sign(self, **addresses: str) -> dict[str, str]:
        """Return the variables with a certificate and its key for each of ledger, broker, proxy."""
        wanted = [f"{name}={address}" for name, address in addresses.items()]
        run([sys.executable, _PROGRAM, self._directory, *wanted])
        made: dict[str, str] = yaml.safe_load((self._directory / "certificates.yml").read_text())
        return made


#: As the inventories have it.
SERVER_NAME = "webhooks.example.org"
SENTRY_TOKEN = "laboratory-sentry-token"


def _random() -> str:
    return secrets.token_hex(32)


def certificates_of(authority: Authority, addresses: Sequence[str]) -> dict[str, str]:
    """Return what ledger and broker need for TLS, wherever of ``addresses`` they are."""
    everywhere = ",".join(addresses)
    return authority.sign(ledger=everywhere, broker=everywhere)


def vault_of(authority: Authority, *, dsn: str) -> dict[str, Any]:
    """Return all variables that are secret wherever the servers are."""
    return {
        **authority.sign(proxy=SERVER_NAME),
        "ledger_web_password": _random(),
        "ledger_worker_password": _random(),
        "ledger_scheduler_password": _random(),
        "ledger_operator_password": _random(),
        "ledger_broker_password": _random(),
        "ledger_admin_password": _random(),
        "broker_password": _random(),
        "sentry_token": SENTRY_TOKEN,
        "deployment_secrets": {
            "PRIVACY_KEY": _random(),
            "CONSOLE_TOKEN": _random(),
            "SENTRY_DSN": dsn,
            **SECRETS,
        },
    }


class Vault:
    """The encrypted file ``path`` of variables; its password is in a file beside the inventory."""

    def __init__(self, path: Path, password_file: Path) -> None:
        self.path = path
        self.password_file = password_file

    def lock(self, variables: Mapping[str, Any]) -> None:
        """Write the variables as JSON, which is YAML too, encrypted."""
        self.password_file.write_text(_random())
        self.password_file.chmod(0o600)
        self.path.write_text(json.dumps(dict(variables)))
        self._command("encrypt")

    def open(self) -> dict[str, Any]:
        """Return the variables."""
        variables: dict[str, Any] = json.loads(self._command("view"))
        return variables

    def _command(self, verb: str) -> str:
        program = ROOT / ".venv/bin/ansible-vault"
        return run([program, verb, f"--vault-password-file={self.password_file}", self.path])
