"""Servers with the users that the deployment gives them: its very template, filled in."""

import hashlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import redis

from tests.processes import Guard
from tests.valkey_server import ValkeyServer

TEMPLATES = Path(__file__).parents[1] / "ansible" / "roles" / "ledger" / "templates"
PASSWORDS = {
    "app": "password-of-the-app-/?#@:%",
    "web": "password-of-the-web-77b0",
    "worker": "password-of-the-worker-5e1a",
    "scheduler": "password-of-the-scheduler-9c24",
    "operator": "password-of-the-operator-13fd",
    "broker": "password-of-the-broker-b41c",
    "exporter": "password-of-the-exporter-2a6c",
    "backup": "password-of-the-backup-6f08",
    "admin": "password-of-the-admin-d0e7",
}


def users(
    instance: str,
    passwords: Mapping[str, str] = PASSWORDS,
    *,
    waits: bool = True,
    simulates: bool = False,
) -> str:
    """Return the users of an instance, "ledger" or "broker", as the deployment writes them.

    ``waits``: for a server that can wait for its disk; ``simulates``: not for production.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no page, but what Redis reads
    )
    environment.filters["hash"] = lambda text, name: hashlib.new(name, text.encode()).hexdigest()
    return environment.get_template("users.acl.j2").render(
        ledger_instance=instance,
        ledger_has_waitaof=waits,
        ledger_has_simulator=simulates,
        **{f"ledger_{name}_password": passwords.get(name, "") for name in PASSWORDS},
        **{f"ledger_{name}_password_previous": "" for name in PASSWORDS},
    )


def commands(user: str, *, waits: bool = True) -> set[str]:
    instance = "broker" if user == "broker" else "ledger"
    lines = users(instance, waits=waits).splitlines()
    (line,) = [line for line in lines if line.startswith(f"user {user} ")]
    return {word[1:].rstrip(")") for word in line.split() if word.startswith("+")}


class GuardedServer(ValkeyServer):
    """A server whose address carries ``user`` and password; nothing connects without one."""

    def __init__(self, binary: str, guard: Guard, user: str, *, simulates: bool = False) -> None:
        self.user = user
        told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
        #: Whether it can wait for its disk, which Redis learned with 7.2.
        self.waits = int(re.findall(r" v=(\d+\.\d+)", told.stdout)[0].replace(".", "")) >= 72
        self._simulates = simulates
        super().__init__(binary, guard, append_only=True)

    def url(self, db: int = 0, *, user: str = "") -> str:
        """Return the TCP address of database ``db`` with the password, as the deployment does.

        ``user``: another than the server's own.
        """
        password = "".join(f"%{byte:02X}" for byte in PASSWORDS[user or self.user].encode())
        return f"redis://{user or self.user}:{password}@127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 0, *, user: str = "") -> redis.Redis:
        """Return a client of the user's, or of ``user``'s; for another database the admin's.

        The caller closes it.
        """
        return self.admin(db) if db else self._client(user or self.user)

    def admin(self, db: int = 0) -> redis.Redis:
        """Return a client of the admin's; the caller closes it."""
        return self._client("admin", db)

    def refusals(self) -> set[tuple[str, ...]]:
        """Return what the server refused since its start: who, why and what."""
        with self.admin() as client:
            entries: Any = client.acl_log()
        names = ("username", "reason", "object")
        return {tuple(_text(entry[name]) for name in names) for entry in entries}

    def _client(self, user: str, db: int = 0) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=self.socket,
            username=user,
            password=PASSWORDS[user],
            db=db,
            protocol=2,
            driver_info=None,
        )

    def _command(self) -> list[str]:
        path = self.directory / "users.acl"
        instance = "broker" if self.user == "broker" else "ledger"
        path.write_text(users(instance, waits=self.waits, simulates=self._simulates))
        return [*super()._command(), "--aclfile", str(path)]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
