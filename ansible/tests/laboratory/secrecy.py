"""The laboratory's secrets, made at random: certificates, and a vault that its password opens."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from laboratory.places import ROOT
from laboratory.shell import run
from tests.stack.accounts import SECRETS

_DAYS = "30"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


class Authority:
    """Signs certificates; all of it is in ``directory``, made if it is not there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = directory / "ca.key"
        self.certificate = directory / "ca.crt"
        if not self.certificate.exists():
            directory.mkdir(parents=True, exist_ok=True)
            to = ["-keyout", str(self._key), "-out", str(self.certificate), "-days", _DAYS]
            run(["openssl", "req", "-x509", *_KEY, *to, "-subj", "/CN=laboratory"])

    def sign(self, name: str, *others: str) -> tuple[str, str]:
        """Return a certificate and its key as PEM, for a name and ``others``: IP:1.2.3.4, DNS:x."""
        key, request, certificate, extra = (
            self._directory / f"{name}.{end}" for end in ("key", "csr", "crt", "ext")
        )
        run(["openssl", "req", *_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}"])
        extra.write_text(f"subjectAltName={','.join([f'DNS:{name}', *others])}\n")
        by = ["-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial"]
        for_names = ["-extfile", str(extra), "-days", _DAYS]
        run(["openssl", "x509", "-req", "-in", request, *by, *for_names, "-out", certificate])
        return certificate.read_text(), key.read_text()


SERVER_NAME = "webhooks.test"
SENTRY_TOKEN = "laboratory-sentry-token"


def _random() -> str:
    return secrets.token_hex(32)


def vault_of(authority: Authority, *, ledger: str, broker: str, dsn: str) -> dict[str, Any]:
    """Return all variables that are secret. ``ledger`` and ``broker``: addresses of their hosts."""
    ledger_certificate, ledger_key = authority.sign("ledger", f"IP:{ledger}")
    broker_certificate, broker_key = authority.sign("broker", f"IP:{broker}")
    proxy_certificate, proxy_key = authority.sign(SERVER_NAME)
    return {
        "ledger_web_password": _random(),
        "ledger_worker_password": _random(),
        "ledger_scheduler_password": _random(),
        "ledger_operator_password": _random(),
        "ledger_broker_password": _random(),
        "ledger_admin_password": _random(),
        "ledger_tls_ca": authority.certificate.read_text(),
        "ledger_tls_certificate": ledger_certificate,
        "ledger_tls_key": ledger_key,
        "proxy_tls_certificate": proxy_certificate,
        "proxy_tls_key": proxy_key,
        "broker_password": _random(),
        "broker_tls_ca": authority.certificate.read_text(),
        "broker_tls_certificate": broker_certificate,
        "broker_tls_key": broker_key,
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
