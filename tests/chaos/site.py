"""The installation under fire: each process behind a proxy of its own, restarted when it ends."""

import contextlib
import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from demo.child import SCHEDULER, web, worker
from tests.chaos.load import BUSINESSES
from tests.chaos.proxy import Proxy
from tests.outside import ModelApi, ProviderApi
from tests.processes import Guard
from tests.stack.stack import Stack
from tests.valkey_server import free_port

WORKERS = ("worker", "worker-2")
SERVICES = ("web", *WORKERS, "scheduler")
#: A second release beside the first; started by a fault only.
OTHERS = ("other-web", "other-worker")

LEASE_MS = 3_000
WINDOWS = {
    "BATCH_IDLE_MS": "500",
    "BATCH_MAX_WAIT_MS": "3000",
    "BATCH_LEASE_MS": str(LEASE_MS),
    "BATCH_WAKE_UP_MS": "500",
    "BATCH_AMBIGUOUS_MS": "3000",
    "BATCH_MAX_ATTEMPTS": "8",
}
#: As delivered; only a customer's pause is short.
DEFAULTS = dict.fromkeys(WINDOWS, "") | {
    name: WINDOWS[name] for name in ("BATCH_IDLE_MS", "BATCH_MAX_WAIT_MS")
}
OTHER_WINDOWS = {"RELEASE": "other", "BATCH_IDLE_MS": "1200", "BATCH_MAX_MESSAGES": "2"}
#: More questions than a run asks.
BUDGETS = {
    "BUDGET_CONVERSATION_HOUR": "10000",
    "BUDGET_CONVERSATION_DAY": "10000",
    "BUDGET_ACCOUNT_DAY": "100000",
    "BUDGET_INSTALLATION_DAY": "100000",
}
#: How long children of a killed master run on before they are ended, s; systemd does the same.
ORPHANS_S = 1.0
_WATCH_S = 0.1


class Site(Stack):
    """A stack whose processes are started again when they end, and reach Redis by ``proxies``."""

    def __init__(
        self,
        binary: str,
        guard: Guard,
        model: ModelApi,
        provider: ProviderApi,
        windows: Mapping[str, str],
    ) -> None:
        super().__init__(binary, guard, windows, model=model, provider=provider, numbers=BUSINESSES)
        # These are reached without the proxy by which callers are known.
        self.environ["NO_PROXY"] = f"{self.sentry.address},127.0.0.1:{self.port}"
        self.environ |= BUDGETS
        self.proxies = {name: Proxy(self.valkey.port) for name in (*SERVICES, *OTHERS)}
        self.other_port = free_port()
        self.restarts = 0
        self._wanted: set[str] = set()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._systemd = threading.Thread(target=self._supervise, name="systemd", daemon=True)
        self._configure()

    def start(self) -> None:
        """Start everything, and restart from now on what ends."""
        self.valkey.start()
        for name in SERVICES:
            self.processes[name].start()
        self.wait_until_ready()
        self._wanted |= set(SERVICES)
        self._systemd.start()

    def stop(self) -> None:
        self._over.set()
        if self._systemd.is_alive():
            self._systemd.join()
        super().stop()
        for proxy in self.proxies.values():
            proxy.close()

    def children(self, name: str) -> list[int]:
        """Return the children of a service's first process, which must have been started."""
        return self.processes[name].children

    def signal(self, name: str, number: signal.Signals, rng: random.Random, *, child: bool) -> int:
        """Signal a service's first process, or one of its children; return which, 0 for none."""
        with self._lock:
            process = self.processes[name]
            found = sorted(self.children(name)) if child else [process.group]
            pid = rng.choice(found) if process.running and found else 0
            if pid:
                # It may have ended by itself: another fault was faster.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            return pid

    @contextmanager
    def unsupervised(self, *names: str) -> Iterator[None]:
        """Do not restart the services during the body."""
        with self._lock:
            before = self._wanted & set(names)
            self._wanted -= before
        try:
            yield
        finally:
            with self._lock:
                self._wanted |= before

    def _supervise(self) -> None:
        ended: set[str] = set()
        while not self._over.wait(ORPHANS_S if ended else _WATCH_S):
            with self._lock:
                for name in ended & self._wanted:
                    self.processes[name].kill()
                    self.processes[name].start()
                    self.restarts += 1
                ended = {name for name in self._wanted if not self.processes[name].running}

    def _configure(self) -> None:
        commands = {
            "web": web(self.port),
            "scheduler": SCHEDULER,
            **dict.fromkeys((*WORKERS, "other-worker"), worker()),
            "other-web": web(self.other_port),
        }
        for name, command in commands.items():
            port, other = self.proxies[name].port, OTHER_WINDOWS if name in OTHERS else {}
            environ = {
                "REDIS_URL": f"redis://127.0.0.1:{port}/0",
                "BROKER_URL": f"redis://127.0.0.1:{port}/1",
                "HTTP_PROXY": self.outside.proxy_url(name),
                **other,
            }
            self.process(name, *command, **environ)
