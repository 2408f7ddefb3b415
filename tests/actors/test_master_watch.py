"""A worker process whose master was killed, with Dramatiq's own command."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Guard, OwnedProcess
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent

#: A worker program with our broker and nothing else; its process writes its number when it boots.
PROGRAM = """
import os
from pathlib import Path

import dramatiq
from actors.broker import build_broker


def main():
    broker = build_broker({url!r}, client_name="test")
    dramatiq.actor(broker=broker, actor_name="flush", queue_name="flush")(lambda: None)
    dramatiq.set_broker(broker)
    Path({pid_file!r}).write_text(str(os.getpid()))
"""


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] not in {"", "Z"}


@pytest.mark.slow
def test_worker_leaves_when_its_master_is_killed(
    valkey: ValkeyServer, guard: Guard, tmp_path: Path
):
    """It would go on to consume, with old code and settings, where no supervisor sees it."""
    pid_file = tmp_path / "pid"
    program = PROGRAM.format(url=valkey.url(1), pid_file=str(pid_file))
    (tmp_path / "orphaned.py").write_text(program)
    master = OwnedProcess(
        [sys.executable, "-m", "dramatiq", "orphaned:main", "-p", "1", "-t", "1"],
        log_path=tmp_path / "log",
        guard=guard,
        environ={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
    )
    master.start()
    try:
        eventually(lambda: "ready for action" in master.log())
        worker = int(pid_file.read_text())

        master.signal(signal.SIGKILL)

        eventually(lambda: not is_alive(worker))
    finally:
        master.kill()
