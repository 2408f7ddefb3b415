"""What a process reports to systemd."""

import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.settings import systemd_environment
from runtime.systemd import Systemd
from tests.fakes import FakeClock
from tests.notify_socket import NotifySocket


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    listening = NotifySocket(
        tmp_path / "notify" if request.param == "path" else f"@ai-admin-{uuid.uuid4()}"
    )
    yield listening
    listening.close()


def test_ready_and_stopping_are_reported(systemd: NotifySocket) -> None:
    process = Systemd({"NOTIFY_SOCKET": systemd.address})

    process.ready()
    process.alive()
    process.stopping()

    assert systemd.received == ["READY=1", "STOPPING=1"]


def test_watchdog_gets_a_sign_several_times_within_its_limit(
    systemd: NotifySocket, clock: FakeClock
) -> None:
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2000000"}
    process = Systemd(environ | {"WATCHDOG_PID": str(os.getpid())}, clock)

    counts = []
    for step_ms in (0, 499, 1, 100, 400):
        clock.advance_ms(step_ms)
        process.alive()
        counts.append(len(systemd.received))

    assert counts == [1, 1, 2, 2, 3]
    assert set(systemd.received) == {"WATCHDOG=1"}


def test_watchdog_of_another_process_gets_no_sign_from_this_one(systemd: NotifySocket) -> None:
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}

    Systemd(environ).alive()

    assert systemd.received == []


def test_without_systemd_nothing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    process = Systemd({})

    process.ready()
    process.alive()
    process.stopping()

    assert caplog.messages == []


def test_systemd_that_is_away_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    Systemd({"NOTIFY_SOCKET": str(tmp_path / "absent")}).ready()

    (record,) = caplog.records
    assert record.message == "supervisor.unreachable"
    assert vars(record)["error"] == "FileNotFoundError"


def test_env_file_cannot_name_a_notify_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systemd: NotifySocket
) -> None:
    (tmp_path / ".env").write_text("NOTIFY_SOCKET=/nowhere\nWATCHDOG_USEC=1\n")
    monkeypatch.chdir(tmp_path)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)

    assert systemd_environment() == {}
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    assert systemd_environment() == {"NOTIFY_SOCKET": systemd.address}
