"""The whole product as real processes: Valkey, gunicorn, Dramatiq, scheduler, and fakes around it.

customer ── signed webhook ──▶ web ──▶ Valkey ◀── scheduler, worker ──▶ model, provider
All of them report to a fake Sentry, and send spans to a collector.
"""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from demo.child import ROOT, SCHEDULER, web, worker
from tests.collector import Collector
from tests.fake_sentry import FakeSentry
from tests.outside import ModelApi, Outside, ProviderApi
from tests.processes import Guard, OwnedProcess
from tests.stack.accounts import ALL, SALON, SECRETS, BusinessNumber, accounts_toml
from tests.stack.customer import Customer
from tests.stack.ledger import LedgerView
from tests.valkey_server import ValkeyServer, free_port
from tests.waiting import answers, eventually

PRIVACY_KEY = "e2e-privacy-key-c41f"

#: The quiet period of every account that sets none of its own: long enough for a burst of
#: webhooks on a machine that is busy, short enough to wait for in every test.
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

#: No number and no mark is used twice in a run, so that the fakes never mix two tests up.
_numbers = itertools.count(1)


class Stack:
    """One installation. ``start`` and ``stop`` it; ``environ`` goes over the usual settings.

    ``valkey``, ``model``, ``provider`` and the accounts, ``numbers``, may be given.
    ``roles``: role → settings that its process alone has.
    ``processes`` are web, worker and scheduler by name: a test kills and starts them as it likes.
    ``canaries``: further words of customers, such as names, that may stand in no log, report or
    key.
    """

    def __init__(
        self,
        binary: str,
        guard: Guard,
        environ: Mapping[str, str] | None = None,
        *,
        valkey: ValkeyServer | None = None,
        model: ModelApi | None = None,
        provider: ProviderApi | None = None,
        numbers: Sequence[BusinessNumber] = ALL,
        roles: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.directory = guard.new_directory("e2e")
        self.guard = guard
        self.model, self.provider = model or ModelApi(), provider or ProviderApi()
        self.sentry, self.collector = FakeSentry(), Collector()
        self.outside = Outside(self.model, self.provider)
        self.valkey = valkey or ValkeyServer(binary, guard, append_only=True)
        self.port = free_port()
        self.web = _client(self.port)
        self.environ = self._environ() | dict(environ or {})
        prompt = self.directory / "prompt.md"
        prompt.write_text("# Invented salon\n\nHaircut: 30 EUR. Open 9:00-18:00.\n")
        toml = accounts_toml(self.outside.url, prompt_file=str(prompt), numbers=numbers)
        Path(self.environ["ACCOUNTS_FILE"]).write_text(toml)
        self.processes: dict[str, OwnedProcess] = {}
        own = roles or {}
        self.process("web", *web(self.port), **own.get("web", {}))
        # Threads enough that a few calls which hang on purpose delay no other.
        self.process("worker", *worker(threads=16), **own.get("worker", {}))
        self.process("scheduler", *SCHEDULER, **own.get("scheduler", {}))
        self.customers: list[Customer] = []
        self.canaries: set[str] = set()
        self.ledger = LedgerView(
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
        self.ledger.client.close()
        self.outside.close()
        self.sentry.close()
        self.collector.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def wait_until_ready(self) -> None:
        """Wait until /healthz says so. Raise AssertionError once a process has died."""

        usual = [self.processes[name] for name in USUAL]
        eventually(
            lambda: _serves(self.web, *usual, path="/healthz"), what="/healthz to say that it works"
        )

    def customer(
        self,
        account: BusinessNumber = SALON,
        *,
        number: str = "",
        web: httpx2.Client | None = None,
    ) -> Customer:
        """Return a new customer.

        ``number``: that of another account's customer. ``web``: the process that Meta delivers to.
        """
        n = next(_numbers)
        known_as = number or f"7999{n:07}"
        person = Customer(account, known_as, f"Q{n:05}", web or self.web, self.model, self.provider)
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
            "spans": self.collector.text,
            "metrics": self.web.get("/metrics").text if self.processes["web"].running else "",
            "names of keys": names.decode("utf-8", "backslashreplace"),
            "wake-ups": b"\n".join(wake_ups).decode("utf-8", "backslashreplace"),
        }

    def shown(self) -> str:
        """Return the end of every log, for a person who looks for a fault."""
        return "\n".join(f"--- {name}\n{text[-SHOWN_MAX:]}" for name, text in self.logs().items())

    def process(self, name: str, *arguments: str, **environ: str) -> OwnedProcess:
        """Return ``python -m *arguments`` as a process of the installation, not started.

        It ends with the others. ``environ`` goes over their environment.
        """
        self.processes[name] = OwnedProcess(
            [sys.executable, "-m", *arguments],
            log_path=self.directory / f"{name}.log",
            guard=self.guard,
            environ=self.environ | environ,
            # Not in the checkout: a developer's .env there is not the tests'.
            cwd=self.directory,
        )
        return self.processes[name]

    @contextmanager
    def other_web(
        self, application: str = "wsgi:application", **environ: str
    ) -> Iterator[httpx2.Client]:
        """Serve by a further web process with settings of its own; return a client of it."""
        port = free_port()
        process = self.process("other web", *web(port, application), **environ)
        with _client(port) as client:
            process.start()
            try:
                eventually(lambda: _serves(client, process), what="the other web to serve")
                yield client
            finally:
                process.terminate()

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "PROMETHEUS_MULTIPROC_DIR": str(self.directory / "figures"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": self.valkey.url(0),
            "BROKER_URL": self.valkey.url(1),
            "ACCOUNTS_FILE": str(self.directory / "accounts.toml"),
            "ENVIRONMENT": "test",
            "PRIVACY_KEY": PRIVACY_KEY,
            "CANARY_URL": f"http://127.0.0.1:{self.port}",
            "SENTRY_DSN": self.sentry.dsn,
            "TRACES_URL": self.collector.traces_url,
            **WINDOWS,
            **SECRETS,
        }


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


def _serves(web: httpx2.Client, *processes: OwnedProcess, path: str = "/livez") -> bool:
    for process in processes:
        assert process.running, f"died: {process.log_path.stem}\n{process.log()[-SHOWN_MAX:]}"
    return answers(str(web.base_url), path)


def _client(port: int) -> httpx2.Client:
    """Return a client that keeps no connection: the server may close one as it is used again."""
    fresh = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=fresh)
