"""A worker under systemd, as a process: Dramatiq's master, and the child that notifies for it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notify_socket import NotifySocket
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture
def worker(
    demo_environ: dict[str, str],
    other_valkey: ValkeyServer,
    systemd: NotifySocket,
    guard: Guard,
    tmp_path: Path,
) -> Iterator[OwnedProcess]:
    changes = {"BROKER_URL": other_valkey.url(1), "NOTIFY_SOCKET": systemd.address}
    process = OwnedProcess(
        [sys.executable, "-m", "dramatiq", "actors:main", "-p", "1", "-t", "4"],
        log_path=tmp_path / "log",
        guard=guard,
        environ=demo_environ | changes,
        cwd=ROOT,
    )
    yield process
    process.kill()


def test_worker_is_ready_when_it_consumes_and_says_when_it_ends(
    worker: OwnedProcess, other_valkey: ValkeyServer, systemd: NotifySocket
):
    """Dramatiq's own word, "ready for action", comes before it has reached any broker."""
    worker.start()
    eventually(lambda: worker.log().count("Restarting consumer in") >= 3)
    before = systemd.received
    other_valkey.start()
    eventually(lambda: systemd.received == ["READY=1"])

    code = worker.terminate()

    assert "ready for action" in worker.log()
    assert (before, code) == ([], 0)
    assert systemd.received == ["READY=1", "STOPPING=1"]


def test_worker_that_cannot_start_never_says_that_it_is_ready(
    worker: OwnedProcess, systemd: NotifySocket
):
    worker._environ = dict(worker._environ or {}) | {"BATCH_LEASE_MS": "1"}

    worker.start()
    eventually(lambda: not worker.running)

    assert worker.terminate() != 0
    assert systemd.received == []
