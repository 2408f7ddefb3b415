"""The whole product as real processes: Valkey, gunicorn, Dramatiq, scheduler, and three fakes.

customer ── signed webhook ──▶ web ──▶ Valkey ◀── scheduler, worker ──▶ fake model, fake Graph
All of them report to a fake Sentry.
"""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.accounts import SALON, SECRETS, BusinessNumber, accounts_toml
from tests.e2e.books import Books
from tests.e2e.customer import Customer
from tests.e2e.fake_graph import FakeGraph
from tests.e2e.fake_openai import FakeOpenAI
from tests.e2e.waiting import eventually
from tests.fake_sentry import FakeSentry
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import ValkeyServer, free_port

ROOT = Path(__file__).resolve().parents[2]
PRIVACY_KEY = "e2e-privacy-key-c41f"

#: The quiet period of every account that sets none of its own: long enough for a burst of
#: webhooks on a machine that is busy, short enough to be waited for in every test.
IDLE_MS = 1_000

#: Short windows, within the bounds that the settings allow.
WINDOWS = {
    "BATCH_IDLE_MS": str(IDLE_MS),
    "BATCH_MAX_ATTEMPTS": "3",
    "BATCH_LEASE_MS": "10000",
    "BATCH_WAKE_UP_MS": "1000",
    "BATCH_AMBIGUOUS_MS": "3000",
    "DEPLOY_GRACE_MS": "0",
}

#: Of each log, so many characters are shown beside a failure.
SHOWN_MAX = 6_000

#: The processes without which nothing is answered.
USUAL = ("web", "worker", "scheduler")

#: No number and no mark is ever used twice in a run, so that the fakes never mix two tests up.
_numbers = itertools.count(1)


class Stack:
    """One installation. ``start`` and ``stop`` it; ``environ`` goes over the usual settings.

    ``valkey``: the server of the ledger, where it is not the usual one. ``processes`` are web,
    worker and scheduler by name: a test kills and starts them as it likes.
    """

    def __init__(
        self,
        binary: str,
        guard: Guard,
        environ: Mapping[str, str] | None = None,
        *,
        valkey: ValkeyServer | None = None,
    ) -> None:
        self.directory = guard.new_directory("e2e")
        self.guard = guard
        self.graph, self.openai, self.sentry = FakeGraph(), FakeOpenAI(), FakeSentry()
        self.valkey = valkey or ValkeyServer(binary, guard, append_only=True)
        self.port = free_port()
        self.web = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.environ = self._environ() | dict(environ or {})
        self.processes = self._processes()
        self.customers: list[Customer] = []
        #: Further words of customers that must stand nowhere, such as their names.
        self.canaries: set[str] = set()
        self.books = Books(
            self.valkey.client(),
            privacy_key=PRIVACY_KEY,
            shards=int(self.environ.get("BATCH_SHARDS", "1")),
        )

    def start(self) -> None:
        """Start everything and return once a message would be answered."""
        self.valkey.start()
        for process in self.processes.values():
            process.start()
        self.wait_until_ready()

    def stop(self) -> None:
        """End everything and remove what it wrote."""
        for process in self.processes.values():
            process.kill()
        self.valkey.stop()
        self.web.close()
        self.books.client.close()
        self.graph.close()
        self.openai.close()
        self.sentry.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def wait_until_ready(self) -> None:
        """Wait until /readyz says so; not any longer once a process has died."""

        def ready_or_dead() -> bool:
            dead = [name for name in USUAL if not self.processes[name].running]
            assert not dead, f"died: {', '.join(dead)}"
            return self._readiness() == HTTPStatus.OK

        eventually(ready_or_dead, what="/readyz to say ready")

    def customer(
        self,
        account: BusinessNumber = SALON,
        *,
        number: str = "",
        web: httpx2.Client | None = None,
    ) -> Customer:
        """Return a customer that nobody knows.

        ``number``: that of another account's customer. ``web``: the process that Meta delivers to.
        """
        n = next(_numbers)
        known_as = number or f"7999{n:07}"
        person = Customer(account, known_as, f"Q{n:05}", web or self.web, self.graph, self.openai)
        self.customers.append(person)
        return person

    def logs(self) -> dict[str, str]:
        """Return what each process wrote, the server included."""
        logs = {name: process.log() for name, process in self.processes.items()}
        return logs | {"valkey": self.valkey.log()}

    def traces(self) -> dict[str, str]:
        """Return all that others may read: logs, reports, metrics, names of keys, wake-ups."""
        with self.valkey.client(0) as ledger, self.valkey.client(1) as broker:
            names = b"\n".join([*ledger.scan_iter(count=1_000), *broker.scan_iter(count=1_000)])
            wake_ups: list[bytes] = []
            for key in broker.scan_iter("*.msgs", count=1_000):
                kept: Any = broker.hvals(key)
                wake_ups += kept
        return self.logs() | {
            "Sentry": self.sentry.text,
            "metrics": self.web.get("/metrics").text if self.processes["web"].running else "",
            "names of keys": names.decode("utf-8", "backslashreplace"),
            "doorbells": b"\n".join(wake_ups).decode("utf-8", "backslashreplace"),
        }

    def shown(self) -> str:
        """Return the end of every log, for a person who looks for a fault."""
        return "\n".join(f"--- {name}\n{text[-SHOWN_MAX:]}" for name, text in self.logs().items())

    def process(self, name: str, *arguments: str, **environ: str) -> OwnedProcess:
        """Return a further process of the installation, not started; it ends with the others."""
        process = self._process(name, [sys.executable, "-m", *arguments], self.environ | environ)
        self.processes[name] = process
        return process

    def _processes(self) -> dict[str, OwnedProcess]:
        commands = {
            "web": web_arguments(self.port),
            # Threads enough that a few calls which hang on purpose hold nobody else up.
            "worker": ("dramatiq", "actors:main", "-p", "1", "-t", "16"),
            "scheduler": ("scheduler",),
        }
        return {
            name: self._process(name, [sys.executable, "-m", *arguments], self.environ)
            for name, arguments in commands.items()
        }

    def _process(self, name: str, command: list[str], environ: Mapping[str, str]) -> OwnedProcess:
        log_path = self.directory / f"{name}.log"
        # Not in the checkout: a developer's .env there is none of the tests' business.
        return OwnedProcess(
            command, log_path=log_path, guard=self.guard, environ=environ, cwd=self.directory
        )

    def _environ(self) -> dict[str, str]:
        accounts, prompt = self.directory / "accounts.toml", self.directory / "prompt.md"
        prompt.write_text("# Invented salon\n\nHaircut: 30 EUR. Open 9:00-18:00.\n")
        accounts.write_text(
            accounts_toml(
                graph_url=self.graph.url, model_url=self.openai.base_url, prompt_file=str(prompt)
            )
        )
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": self.valkey.url(0),
            "BROKER_URL": self.valkey.url(1),
            "ACCOUNTS_FILE": str(accounts),
            "ENVIRONMENT": "test",
            "PRIVACY_KEY": PRIVACY_KEY,
            "CANARY_URL": f"http://127.0.0.1:{self.port}",
            "SENTRY_DSN": self.sentry.dsn,
            **WINDOWS,
            **SECRETS,
        }

    def _readiness(self) -> int:
        try:
            return self.web.get("/readyz").status_code
        except httpx2.TransportError:
            return 0


def web_arguments(port: int) -> tuple[str, ...]:
    """Return the command line of gunicorn on ``port``, after ``python -m``."""
    config = str(ROOT / "gunicorn.conf.py")
    return ("gunicorn", "-c", config, "-b", f"127.0.0.1:{port}", "wsgi:application")


@contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """Start an installation for the body and stop it; its logs are shown if it does not start."""
    try:
        try:
            stack.start()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{stack.shown()}") from error
        yield stack
    finally:
        stack.stop()
