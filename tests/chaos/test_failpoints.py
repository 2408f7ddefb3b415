"""A process ends, stands still or is not answered at each place where that could cost something.

Every message is answered once, or its batch is a dead letter of which a person is notified; the
counters agree with the content. The processes, the server and the provider are real; only the
moment is made.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx2
import pytest
import redis

from demo.child import web, worker
from tests.chaos.failpoints import DIRECTORY, Action, Failpoints, Point
from tests.chaos.judge import alert_in, all_delivered
from tests.outside import graph_error
from tests.processes import Guard
from tests.stack.customer import Customer
from tests.stack.stack import Stack, running
from tests.waiting import eventually, in_background

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

LEASE_MS = 1_000
#: As short as the settings allow: every case waits for a lease.
WINDOWS = {
    "BATCH_IDLE_MS": "100",
    "BATCH_LEASE_MS": str(LEASE_MS),
    "BATCH_WAKE_UP_MS": "500",
    # Longer than a pause: who was only slow is in time to say what became of a text.
    "BATCH_AMBIGUOUS_MS": "2500",
    "BATCH_MAX_ATTEMPTS": "5",
    # A canary would come to the points that are armed for a customer.
    "CANARY_URL": "",
}
#: Two, so that when one dies or stands still another is there to take over.
WORKERS = ("worker", "worker-2")
#: How long Meta waits for an answer here, in seconds, before it delivers again.
DELIVERY_S = 1.5


class FailingStack(Stack):
    """An installation whose processes fail where ``provoke`` arms a failpoint."""

    def __init__(self, binary: str, guard: Guard) -> None:
        super().__init__(binary, guard, WINDOWS)
        self.web.timeout = DELIVERY_S
        directory = self.directory / "failpoints"
        directory.mkdir()
        self.environ[DIRECTORY] = str(directory)
        self.failpoints = Failpoints(directory)
        self.process("scheduler", "tests.chaos.failpoints")
        for name in WORKERS:
            self.process(name, *worker("tests.chaos.failpoints:worker"))
        self.process("web", *web(self.port, "tests.chaos.failpoints:application()"))

    def events_of(self, customer: Customer) -> set[str]:
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
        self.failpoints.arm(point, action)
        with in_background(lambda: _deliver(customer)):
            pid = eventually(lambda: self.failpoints.hit_by(point), what=f"{point} to be hit")
            if action is Action.EXIT:
                # Until then it counts as running, and is not started again; a web child is anew.
                eventually(lambda: _state(pid) in ("", "Z"), what=f"process {pid} to end")
                is_web = point.startswith("web.")
                eventually(lambda: is_web or self._ended(), what=f"the master of {pid} to end")
            if action is Action.PAUSE:
                eventually(lambda: _state(pid) == "T", what=f"process {pid} to stand still")
                self.ledger.let_pass(2 * LEASE_MS)
                os.kill(pid, signal.SIGCONT)
        self._revive()

    def _ended(self) -> list[str]:
        return [name for name in (*WORKERS, "scheduler") if not self.processes[name].running]

    def _revive(self) -> None:
        """Start the processes that ended again, as systemd would."""
        for name in self._ended():
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case ends with: texts that reached the provider, and why the batch is dead, if so."""

    texts: int
    dead: str = ""


ANSWERED = Outcome(texts=1)
#: Nobody knows whether the text is with the customer: a person is notified, and it is not repeated.
IN_DOUBT = Outcome(texts=1, dead="ambiguous/no_status")
IN_DOUBT_UNSENT = Outcome(texts=0, dead="ambiguous/no_status")
REFUSED = Outcome(texts=1, dead="fatal_provider/cloud_131047")

#: Points on the way of a dead letter and its alert.
DROPPING = (Point.DROP_AFTER_DEAD_LETTER_BEFORE_ALERT, Point.ALERT_AFTER_POST_BEFORE_ACK)
#: Where the outcome is another than one answer. A pause is survived by everybody: who stood still
#: while sending says afterwards what became of the text.
OTHERWISE = {
    **dict.fromkeys(product(DROPPING, Action), REFUSED),
    (Point.SEND_AFTER_MARK_SENDING, Action.EXIT): IN_DOUBT_UNSENT,
    (Point.SEND_AFTER_WRITE, Action.EXIT): IN_DOUBT,
    (Point.SEND_AFTER_WRITE, Action.LOST): IN_DOUBT,
    (Point.SEND_AFTER_RESPONSE, Action.EXIT): IN_DOUBT,
}


@pytest.fixture(scope="module")
def stack(valkey_binary: str, guard: Guard) -> Iterator[FailingStack]:
    with running(FailingStack(valkey_binary, guard)) as installation:
        assert isinstance(installation, FailingStack)
        yield installation


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("point", Point)
def test_message_is_answered_once_or_a_person_is_notified(
    stack: FailingStack, point: Point, action: Action
) -> None:
    expected = OTHERWISE.get((point, action), ANSWERED)
    customer, ledger = stack.customer(), stack.ledger
    if expected is REFUSED:
        stack.provider.answer(graph_error(131047), to=customer.number)

    stack.provoke(point, action, customer)

    eventually(lambda: len(customer.replies) >= expected.texts, what="the text")
    ledger.wait_until_settled(customer)
    # A process that stood still may have a second copy of anything in hand.
    ledger.let_pass(LEASE_MS)
    dead = [f"{letter.reason}/{letter.detail}" for letter in ledger.dead_letters(customer)]
    assert customer.replies == [customer.line("Answer to: Hi")] * expected.texts
    assert dead == [expected.dead] * bool(expected.dead)
    assert ledger.alerts_of(customer) == [expected.dead.partition("/")[0]] * bool(expected.dead)
    if expected.dead:
        # However often it was posted: by its id it is one.
        eventually(lambda: stack.events_of(customer), what="an event at Sentry")
    assert len(stack.events_of(customer)) == bool(expected.dead)
    eventually(lambda: all_delivered(stack.ledger), what="the alert to be acknowledged")
    ledger.check_counters()


@pytest.mark.parametrize("point", [Point.GENERATE_AFTER_MODEL, Point.SEND_AFTER_RESPONSE])
def test_ledger_that_takes_no_writes_when_something_is_known_costs_nothing(
    stack: FailingStack, point: Point
) -> None:
    """It fails over between the provider's 200, or the model's, and the record of it."""
    customer, ledger = stack.customer(), stack.ledger
    stack.failpoints.arm(point, Action.PAUSE)
    with in_background(lambda: _deliver(customer)):
        pid = eventually(lambda: stack.failpoints.hit_by(point), what=f"{point} to be hit")
        eventually(lambda: _state(pid) == "T", what=f"process {pid} to stand still")
    ledger.client.replicaof("127.0.0.1", "1")
    os.kill(pid, signal.SIGCONT)
    refused = _refusals(ledger.client) + 5
    eventually(lambda: _refusals(ledger.client) >= refused, what="writes that are refused")
    ledger.client.replicaof("NO", "ONE")

    ledger.wait_until_settled(customer)
    assert customer.replies == [customer.line("Answer to: Hi")]
    assert customer.turns == [customer.line("Hi")]
    assert ledger.alerts_of(customer) == []
    ledger.check_counters()


def _refusals(client: redis.Redis) -> int:
    """Return how many writes a read-only server has refused."""
    stats: Any = client.info("errorstats")
    return int(dict(stats.get("errorstat_READONLY", {})).get("count", 0))
