"""The wrapper of APScheduler; and the watchdog, in processes of its own: it ends them."""

import json
import logging
import subprocess
import sys
import threading

import pytest

from scheduler.timer import Timer

DEADLINE_S = 10.0
PROGRAM = """
import logging, threading
from runtime.logs import start_logging
from scheduler.timer import Watchdog

start_logging(role="scheduler", release="r1", level="INFO")
watchdog = Watchdog(limit_ms=750)
watchdog.start()
pause = threading.Event()
{body}
"""


def test_action_is_repeated_never_twice_at_a_time_and_no_run_is_logged(caplog):
    """A slow action is waited for; the runs missed meanwhile are one."""
    caplog.set_level(logging.DEBUG)
    running, together = threading.Lock(), threading.Event()
    runs = threading.Semaphore(0)
    pause = threading.Event()

    def action() -> None:
        if not running.acquire(blocking=False):
            together.set()
            return
        pause.wait(0.05)
        runs.release()
        running.release()

    timer = Timer()
    timer.every(5, action)

    timer.start()
    repeated = [runs.acquire(timeout=DEADLINE_S) for _ in range(3)]
    timer.stop()

    assert repeated == [True, True, True]
    assert not together.is_set()
    assert caplog.records == []


def test_stop_returns_after_the_last_run():
    begun, ended = threading.Event(), threading.Event()

    def action() -> None:
        begun.set()
        threading.Event().wait(0.1)
        ended.set()

    timer = Timer()
    timer.every(10, action)

    timer.start()
    began = begun.wait(DEADLINE_S)
    timer.stop()

    assert (began, ended.is_set()) == (True, True)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        # Nor can whoever holds the lock of the log keep it from leaving, or from saying so.
        pytest.param(
            "logging.getLogger().handlers[0].acquire(); pause.wait()",
            *(70, ["process.hung scheduler r1 750"]),
            id="hangs",
        ),
        pytest.param(
            "for _ in range(30): pause.wait(0.05); watchdog.alive()",
            *(0, []),
            id="ticks",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "watchdog.stop(); pause.wait(1.5)", 0, [], id="stopped", marks=pytest.mark.slow
        ),
    ],
)
def test_watchdog_ends_a_process_that_hangs(body, code, said):
    program = [sys.executable, "-c", PROGRAM.format(body=body)]

    ended = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)

    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (code, "")
    assert [f"{it['event']} {it['role']} {it['release']} {it['limit_ms']}" for it in lines] == said
