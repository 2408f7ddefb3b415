"""Scheduler and worker as processes: what they tell systemd, and how they end."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis

from batching.keys import FLEET
from demo.child import ROOT, SCHEDULER, worker
from tests.notify_socket import NotifySocket
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

WORKER = worker(threads=4)
Processes = Callable[..., OwnedProcess]


@pytest.fixture
def start(demo_environ: dict[str, str], guard: Guard, tmp_path: Path) -> Iterator[Processes]:
    """Return a starter of processes on the tests' server, which is empty."""
    started: list[OwnedProcess] = []

    def start_one(arguments: Sequence[str], **settings: str) -> OwnedProcess:
        process = OwnedProcess(
            [sys.executable, "-m", *arguments],
            log_path=tmp_path / f"log{len(started)}",
            guard=guard,
            environ=demo_environ | settings,
            cwd=ROOT,
        )
        started.append(process)
        process.start()
        return process

    yield start_one
    for process in started:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_scheduler_enqueues_a_flush_and_leaves_quietly(
    start: Processes, valkey: ValkeyServer, number: signal.Signals
):
    scheduler = start(SCHEDULER)
    with valkey.client(1) as queues:
        eventually(lambda: queues.llen("dramatiq:flush") == 1)

    scheduler.signal(number)
    eventually(lambda: not scheduler.running)

    assert scheduler.terminate() == 0
    assert "Traceback" not in scheduler.log()


@pytest.mark.parametrize("arguments", [SCHEDULER, WORKER], ids=["scheduler", "worker"])
def test_process_that_cannot_start_says_why_and_never_that_it_is_ready(
    start: Processes, systemd: NotifySocket, arguments: Sequence[str]
):
    mistakes = {"FLUSH_TICK_MS": "soon", "BATCH_LEASE_MS": "500"}
    process = start(arguments, NOTIFY_SOCKET=systemd.address, **mistakes)
    eventually(lambda: not process.running)

    assert process.terminate() != 0
    assert {
        "BATCH_LEASE_MS=500: must be 1000..600000",
        "FLUSH_TICK_MS=soon: must be 10..5000",
    } <= set(process.log().splitlines())
    assert "Traceback" not in process.log()
    assert systemd.received == []


@pytest.mark.parametrize(
    ("arguments", "waits", "times"),
    [
        pytest.param(SCHEDULER, "flush.hindered", 1, id="scheduler"),
        pytest.param(WORKER, "broker.unreachable", 3, id="worker"),
    ],
)
def test_process_is_ready_when_it_reached_the_broker_and_says_when_it_ends(
    start: Processes,
    systemd: NotifySocket,
    other_valkey: ValkeyServer,
    arguments: Sequence[str],
    waits: str,
    times: int,
):
    """Dramatiq's own word, `worker.started`, comes before it has reached any broker."""
    process = start(arguments, NOTIFY_SOCKET=systemd.address, BROKER_URL=other_valkey.url(1))
    eventually(lambda: process.log().count(waits) >= times)
    before = systemd.received
    other_valkey.start()
    eventually(lambda: systemd.received == ["READY=1"])

    code = process.terminate()

    assert (before, code, systemd.received) == ([], 0, ["READY=1", "STOPPING=1"])


def test_watchdog_of_systemd_is_fed_while_the_ledger_is_away(
    start: Processes, systemd: NotifySocket, other_valkey: ValkeyServer
):
    """Ending the scheduler would not bring Redis back, and costs the time of a start."""
    other_valkey.start()
    watched = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
    scheduler = start(SCHEDULER, REDIS_URL=other_valkey.url(0), **watched)
    eventually(lambda: systemd.received.count("WATCHDOG=1") > 1)
    other_valkey.kill()
    eventually(lambda: "flush.hindered" in scheduler.log())
    systemd.forget()

    eventually(lambda: systemd.received.count("WATCHDOG=1") > 1)

    assert scheduler.running


def test_worker_leaves_when_its_master_is_killed(start: Processes, client: redis.Redis):
    """It would go on to consume, with old code and settings, where no supervisor sees it."""
    master = start(WORKER)
    eventually(lambda: "worker.started" in master.log())
    announced = eventually(lambda: client.hlen(FLEET))

    master.signal(signal.SIGKILL)

    eventually(lambda: client.hlen(FLEET) == 0, what="the worker to say that it leaves")
    assert announced == 1
