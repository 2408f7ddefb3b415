"""The tests leave no process behind, not even those of a run that is killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Guard, OwnedProcess, processes_of
from tests.waiting import eventually

ROOT = Path(__file__).parents[1]
#: Starts a process that starts others, one in a session of its own, and a server that it does not
#: come to register: Valkey writes over its environment. Says the group and the guard's directory.
RUN = """
import subprocess, sys, time
from tests.processes import Guard, OwnedProcess
guard = Guard()
directory = guard.new_directory("run")
family = [
    sys.executable, "-c", "import os, time; os.fork() or os.fork() or os.setsid(); time.sleep(600)"
]
process = OwnedProcess(family, log_path=directory / "log", guard=guard)
process.start()
server = [sys.argv[1], "--port", "0", "--unixsocket", "s", "--logfile", "log"]
subprocess.Popen(server, cwd=directory, env=guard.environ, start_new_session=True)
print(process.group, guard.directory, flush=True)
time.sleep(600)
"""
#: A test that leaves a process and a directory behind.
LEAKING = """
import subprocess, tempfile

def test_leaks():
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    tempfile.mkdtemp()
"""


def test_killed_run_takes_its_processes_and_directory_with_it(
    guard: Guard, tmp_path: Path, valkey_binary: str
) -> None:
    command = [sys.executable, "-c", RUN, valkey_binary]
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = OwnedProcess(command, log_path=tmp_path / "log", guard=guard, environ=environ)
    run.start()
    group, directory = eventually(run.log, what="its group and directory").split()
    eventually(lambda: len(processes_of(Path(directory))) == 4, what="four processes")

    run.kill()

    eventually(lambda: not is_alive(int(group)))
    eventually(lambda: not processes_of(Path(directory)))
    eventually(lambda: not Path(directory).exists())


def test_run_that_leaves_something_behind_fails(tmp_path: Path) -> None:
    test = tmp_path / "test_leaks.py"
    test.write_text(LEAKING)
    options = ["-p", "tests.conftest", "-p", "no:randomly", "-W", "ignore", "-n", "1"]

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", *options, test],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, "1 passed" in run.stdout) == (1, True), run.stdout
    assert re.search(r"^process \d+: sleep 600\npath ", run.stdout, re.MULTILINE), run.stdout


def test_kill_reaches_children_that_outlive_their_parent(guard: Guard, tmp_path: Path) -> None:
    family = [sys.executable, "-c", "import os, time; os.fork() or time.sleep(600)"]
    process = OwnedProcess(family, log_path=tmp_path / "log", guard=guard)
    process.start()
    group = process.group
    eventually(lambda: not process.running, what="the parent to end")
    was_alive = is_alive(group)

    process.kill()

    assert was_alive
    eventually(lambda: not is_alive(group))


def test_process_that_ignores_a_request_to_end_is_killed_and_reported(
    guard: Guard, tmp_path: Path
) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(600)"
    process = OwnedProcess([sys.executable, "-uc", deaf], log_path=tmp_path / "log", guard=guard)
    process.start()
    eventually(process.log, what="a word of it")
    group = process.group

    with pytest.raises(TimeoutError, match="ignored SIGTERM"):
        process.terminate(deadline_s=0.2)

    eventually(lambda: not is_alive(group))


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return True
