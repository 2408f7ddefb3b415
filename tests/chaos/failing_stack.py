"""An installation whose processes fail where a test says."""

import os
import signal
import subprocess
from types import MappingProxyType

import httpx2

from demo.child import web, worker
from tests.chaos.failing import DIRECTORY
from tests.chaos.failpoints import Action, Failpoints, Point
from tests.chaos.judge import alert_in
from tests.processes import Guard
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually, in_background

LEASE_MS = 1_000
#: As short as the settings allow: every case waits for a lease.
WINDOWS = MappingProxyType(
    {
        "BATCH_IDLE_MS": "100",
        "BATCH_LEASE_MS": str(LEASE_MS),
        "BATCH_WAKE_UP_MS": "500",
        # Longer than a pause: who was only slow is in time to say what became of a text.
        "BATCH_AMBIGUOUS_MS": "2500",
        "BATCH_MAX_ATTEMPTS": "5",
    }
)
#: Two, so that when one dies or stands still another is there to take over.
WORKERS = ("worker", "worker-2")
#: How long Meta waits for an answer here, in seconds, before it delivers again.
DELIVERY_S = 1.5


class FailingStack(Stack):
    """``provoke`` has a customer write while a failpoint is armed."""

    def __init__(self, binary: str, guard: Guard) -> None:
        super().__init__(binary, guard, WINDOWS)
        directory = self.directory / "failpoints"
        directory.mkdir()
        self.environ[DIRECTORY] = str(directory)
        self.failpoints = Failpoints(directory)
        self.process("scheduler", "tests.chaos.failing")
        for name in WORKERS:
            self.process(name, *worker("tests.chaos.failing:worker"))
        self.process("web", *web(self.port, "tests.chaos.failing:application()"))
        self._meta = httpx2.Client(base_url=str(self.web.base_url), timeout=DELIVERY_S)

    def stop(self) -> None:
        self._meta.close()
        super().stop()

    def events_of(self, customer: Customer) -> set[str]:
        """Return the ids of Sentry's events about the customer's batches."""
        conversation_id = self.ledger.conversation_id(customer)
        return {
            str(event["event_id"])
            for event in self.sentry.events
            if alert_in(event).get("conversation") == conversation_id
        }

    def provoke(self, point: Point, action: Action, customer: Customer) -> None:
        """Have the customer write "Hi", let ``action`` happen at ``point``, and what it needs."""
        # A process that ended late in the last case may be gone only now.
        self._revive()
        customer.web = self._meta
        self.failpoints.arm(point, action)
        with in_background(lambda: _deliver(customer)):
            pid = eventually(lambda: self.failpoints.hit_by(point), what=f"{point} to be hit")
            if action is Action.EXIT:
                # Until then it counts as running, and is not started again.
                eventually(lambda: _state(pid) in ("", "Z"), what=f"process {pid} to end")
            if action is Action.PAUSE:
                eventually(lambda: _state(pid) == "T", what=f"process {pid} to stand still")
                self.ledger.let_pass(2 * LEASE_MS)
                os.kill(pid, signal.SIGCONT)
        self._revive()

    def _revive(self) -> None:
        """Start the processes that ended again, as systemd would."""
        for name in (*WORKERS, "scheduler"):
            if not self.processes[name].running:
                self.processes[name].kill()
                self.processes[name].start()


def _deliver(customer: Customer) -> None:
    """Deliver one message until it is acknowledged, as Meta does."""

    def acknowledged() -> bool:
        try:
            return customer.delivers(customer.line("Hi"), f"wamid.{customer.mark}").is_success
        except httpx2.TransportError:
            return False

    eventually(acknowledged, what="200", every_s=0.1)


def _state(pid: int) -> str:
    """Return the letter by which ps shows the state of a process, "" if there is none."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    return shown.stdout[:1].strip()
