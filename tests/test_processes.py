"""The tests leave no process behind, not even those of a run that is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Guard, OwnedProcess

#: Starts a process that starts another, tells their group, and waits for the end of the world.
RUN = """
import sys, time
from pathlib import Path
from tests.processes import Guard, OwnedProcess
family = [sys.executable, "-c", "import os, time; os.fork(); time.sleep(600)"]
process = OwnedProcess(family, log_path=Path(sys.argv[1]), guard=Guard())
process.start()
print(process.group, flush=True)
time.sleep(600)
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    watcher = Guard()
    yield watcher
    watcher.close()


def test_killed_run_takes_its_processes_with_it(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with run:
        group = int(run.stdout.readline()) if run.stdout else 0
        was_alive = is_alive(group)
        run.kill()

    assert was_alive
    assert ends(group)


def test_kill_reaches_children_that_outlive_their_parent(guard: Guard, tmp_path: Path) -> None:
    family = [sys.executable, "-c", "import os, time; os.fork() or time.sleep(600)"]
    process = OwnedProcess(family, log_path=tmp_path / "log", guard=guard)
    process.start()
    group = process.group
    while process.running:
        time.sleep(0.01)
    was_alive = is_alive(group)

    process.kill()

    assert was_alive
    assert ends(group)


def test_process_that_ignores_a_request_to_end_is_killed_and_reported(
    guard: Guard, tmp_path: Path
) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(600)"
    process = OwnedProcess([sys.executable, "-uc", deaf], log_path=tmp_path / "log", guard=guard)
    process.start()
    while not process.log():
        time.sleep(0.01)
    group = process.group

    with pytest.raises(TimeoutError, match="ignored SIGTERM"):
        process.terminate(deadline_s=0.2)

    assert ends(group)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return True


def ends(group: int) -> bool:
    """Return whether a group ends; the system may take a moment to dead_letter its dead."""
    deadline = time.monotonic() + 20
    while is_alive(group) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(group)
