"""An installation under a small steady load: ledger and broker apart, children to lose."""

import contextlib
import os
import threading
from collections.abc import Callable
from signal import Signals

import httpx2

from demo.child import SCHEDULER, web, worker
from tests.http_server import Answer, Reply, Request
from tests.outside import ModelApi, ProviderApi
from tests.processes import Guard
from tests.stack.accounts import SALON
from tests.stack.stack import Stack
from tests.valkey_server import ValkeyServer

#: How often a customer writes, and how often /metrics is asked, s.
WRITE_EVERY_S, SCRAPE_EVERY_S = 0.5, 1.0
#: How long systemd waits before it starts again what ended, s.
RESTART_S = 3.0
WORKER_PROCESSES = 2


class Model(ModelApi):
    """Can be ``down``."""

    down = False

    def respond(self, request: Request) -> Answer:
        return Reply(503) if self.down else super().respond(request)


class Provider(ProviderApi):
    """Can be ``down``."""

    down = False

    def respond(self, request: Request) -> Answer:
        return Reply(503) if self.down else super().respond(request)


class Site(Stack):
    """A stack with a broker of its own, whose processes have bugs that can be switched on."""

    def __init__(self, binary: str, guard: Guard) -> None:
        self.broker = ValkeyServer(binary, guard)
        self._model, self._provider = Model(), Provider()
        services = {"model": self._model, "provider": self._provider}
        super().__init__(binary, guard, **services, numbers=[SALON])  # type: ignore[arg-type]
        self._switch = self.directory / "bug"
        self.environ |= {"BROKER_URL": self.broker.url(0), "ALARMS_BUG": str(self._switch)}
        self.process("web", *web(self.port, "tests.alarms.faulty:application()"))
        self.process("worker", *worker("tests.alarms.faulty:worker", processes=WORKER_PROCESSES))
        self.process("scheduler", *SCHEDULER)
        self.restarts = False
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self.broker.start()
        super().start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        super().stop()
        self.broker.stop()

    def load(self, *, customers_write: bool, is_scraped: bool) -> None:
        """Have customers write, or /metrics asked, until the end."""
        if customers_write:
            self._repeat(self._write, WRITE_EVERY_S)
        if is_scraped:
            self._repeat(lambda: self.web.get("/metrics"), SCRAPE_EVERY_S)
        self._repeat(self._restart, 0.2)

    def bug(self, name: str) -> None:
        """Switch a bug on, "" for none."""
        fresh = self._switch.with_suffix(".new")
        fresh.write_text(name)
        fresh.rename(self._switch)

    def set_down(self, service: str, *, is_down: bool) -> None:
        """Have the "model" or the "provider" answer 503, or no longer."""
        (self._model if service == "model" else self._provider).down = is_down

    def signal_child(self, name: str, number: Signals) -> None:
        """Signal the oldest child of a process."""
        os.kill(self.processes[name].children[0], number)

    def _write(self) -> None:
        self.customer().delivers("Hi")

    def _restart(self) -> None:
        for process in self.processes.values():
            if self.restarts and not process.running:
                self._over.wait(RESTART_S)
                process.kill()
                process.start()

    def _repeat(self, action: Callable[[], object], every_s: float) -> None:
        def run() -> None:
            while not self._over.wait(every_s):
                with contextlib.suppress(httpx2.HTTPError):
                    action()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
