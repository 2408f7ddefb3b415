"""The watchdog, in processes of its own: it ends them."""

import subprocess
import sys

import pytest

PROGRAM = """
import threading
from scheduler.timer import Watchdog

watchdog = Watchdog(limit_ms=750)
watchdog.start()
pause = threading.Event()
{body}
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_hung_process_is_ended_and_says_why():
    ended = run("pause.wait()")

    assert (ended.returncode, ended.stderr) == (
        70,
        "scheduler: no tick ended for 750 ms; leaving\n",
    )


@pytest.mark.slow
def test_process_that_ticks_is_left_alone():
    ended = run("for _ in range(30): pause.wait(0.05); watchdog.alive()")

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_stopped_watchdog_ends_nothing():
    ended = run("watchdog.stop(); pause.wait(1.5)")

    assert ended.returncode == 0
