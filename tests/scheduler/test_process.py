"""``python -m scheduler`` as a process."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.notify_socket import NotifySocket
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import ValkeyServer, free_port
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

Schedulers = Callable[..., OwnedProcess]


@pytest.fixture
def schedulers(demo_environ: dict[str, str], guard: Guard, tmp_path: Path) -> Iterator[Schedulers]:
    """Return a starter of schedulers on the tests' server, which is empty."""
    started: list[OwnedProcess] = []

    def start(**settings: str) -> OwnedProcess:
        process = OwnedProcess(
            [sys.executable, "-m", "scheduler"],
            log_path=tmp_path / f"log{len(started)}",
            guard=guard,
            environ=demo_environ | settings,
            cwd=ROOT,
        )
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def queues(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """Return a client of the broker's database."""
    with valkey.client(1) as connection:
        yield connection


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_scheduler_rings_and_leaves_quietly(
    schedulers: Schedulers, queues: redis.Redis, number: signal.Signals
):
    scheduler = schedulers()
    eventually(lambda: queues.llen("dramatiq:flush") == 1)

    scheduler.signal(number)
    eventually(lambda: not scheduler.running)

    assert scheduler.terminate() == 0
    assert "Traceback" not in scheduler.log()


def test_two_schedulers_have_one_flush_outstanding(
    schedulers: Schedulers, client: redis.Redis, queues: redis.Redis
):
    first, second = schedulers(), schedulers()
    eventually(lambda: client.hlen("aa:fleet") == 2)
    eventually(lambda: queues.llen("dramatiq:flush") == 1)

    codes = [first.terminate(), second.terminate()]

    assert codes == [0, 0]
    assert queues.llen("dramatiq:flush") == 1


def test_mistaken_settings_are_told_without_a_traceback(schedulers: Schedulers):
    scheduler = schedulers(FLUSH_TICK_MS="soon", BATCH_LEASE_MS="500")
    eventually(lambda: not scheduler.running)

    assert scheduler.terminate() != 0
    assert sorted(scheduler.log().splitlines()) == [
        "BATCH_LEASE_MS=500: must be 1000..600000",
        "FLUSH_TICK_MS=soon: must be 10..5000",
    ]


def test_scheduler_outlives_a_broker_that_is_away(schedulers: Schedulers):
    scheduler = schedulers(BROKER_URL=f"redis://127.0.0.1:{free_port()}/1")
    eventually(lambda: "flush.hindered" in scheduler.log())

    assert scheduler.running
    assert scheduler.log().count("flush.hindered") == 1


def test_scheduler_is_ready_when_it_reached_the_broker_and_says_when_it_ends(
    schedulers: Schedulers, systemd: NotifySocket, other_valkey: ValkeyServer
):
    scheduler = schedulers(NOTIFY_SOCKET=systemd.address, BROKER_URL=other_valkey.url(1))
    eventually(lambda: "flush.hindered" in scheduler.log())
    before = systemd.received
    other_valkey.start()
    eventually(lambda: systemd.received == ["READY=1"])

    code = scheduler.terminate()

    assert (before, code) == ([], 0)
    assert systemd.received == ["READY=1", "STOPPING=1"]


def test_watchdog_of_systemd_is_fed_while_the_ledger_is_away(
    schedulers: Schedulers, systemd: NotifySocket, other_valkey: ValkeyServer
):
    """Ending the scheduler would not bring Redis back, and costs the time of a start."""
    other_valkey.start()
    scheduler = schedulers(
        NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="400000", REDIS_URL=other_valkey.url(0)
    )
    eventually(lambda: systemd.received.count("WATCHDOG=1") > 1)
    other_valkey.kill()
    eventually(lambda: "flush.hindered" in scheduler.log())
    systemd.forget()

    eventually(lambda: systemd.received.count("WATCHDOG=1") > 1)

    assert scheduler.running
