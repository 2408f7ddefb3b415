"""The wrapper of APScheduler."""

import logging
import threading

from scheduler.timer import Timer

DEADLINE_S = 10.0


def test_action_never_runs_twice_at_a_time():
    """A slow tick is waited for; the ones missed meanwhile are one."""
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


def test_action_is_repeated_and_no_run_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    runs = threading.Semaphore(0)
    timer = Timer()
    timer.every(10, runs.release)

    timer.start()
    repeated = [runs.acquire(timeout=DEADLINE_S) for _ in range(3)]
    timer.stop()

    assert repeated == [True, True, True]
    assert caplog.records == []
