"""One web release takes over from another on the socket that systemd holds for both.

The promise of a deploy: no request is refused or lost while one gunicorn after another is replaced.
"""

import random
import socket
import sys
from collections.abc import Iterator

import httpx2
import pytest

from demo.child import ROOT
from runtime.fleet import members
from tests.chaos.judge import accepted_count
from tests.chaos.load import Load
from tests.chaos.meta import Meta
from tests.chaos.record import Record, Refused, accepted_ms
from tests.processes import Guard, OwnedProcess
from tests.stack.accounts import SALON
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: As gunicorn.conf.py says.
WORKERS = 2
BURSTS_PER_S = 40.0
#: So many messages must have been accepted around each step, or the test shows nothing.
MESSAGES_MIN = 50

#: Becomes a command with the given socket at the place, and with the words, of systemd's.
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(scope="module")
def stack(valkey_binary: str, guard: Guard) -> Iterator[Stack]:
    """Return an installation of which the ledger alone runs."""
    installation = Stack(valkey_binary, guard)
    installation.valkey.start()
    yield installation
    installation.stop()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as held:
        yield held


def release(stack: Stack, listening: socket.socket, name: str) -> OwnedProcess:
    """Start a release's gunicorn on the shared socket; return it when it serves."""
    config, descriptor = str(ROOT / "gunicorn.conf.py"), listening.fileno()
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", config, "wsgi:application"]
    process = stack.processes[name] = OwnedProcess(
        [sys.executable, "-c", AS_SYSTEMD, str(descriptor), *gunicorn],
        log_path=stack.directory / f"{name}.log",
        guard=stack.guard,
        environ=stack.environ | {"RELEASE": name},
        cwd=stack.directory,
        pass_fds=[descriptor],
    )
    process.start()
    eventually(lambda: releases(stack).count(name) == WORKERS, what=f"{name} to serve")
    return process


def releases(stack: Stack) -> list[str]:
    """Return the release of every web process in the fleet."""
    return [member.release for member in members(stack.ledger.client)]


def wait_for_more(record: Record) -> None:
    """Wait until a good number of further messages was accepted."""
    until = len(accepted_ms(record.events)) + MESSAGES_MIN
    eventually(lambda: len(accepted_ms(record.events)) >= until, what=f"{until} messages")


def test_no_request_is_lost_while_one_release_after_another_takes_over(
    stack: Stack, listening: socket.socket
) -> None:
    port: int = listening.getsockname()[1]
    running = release(stack, listening, "r1")
    record, rng = Record(), random.Random(1)  # noqa: S311 - no secret
    meta = Meta(record, rng, [port])
    load = Load(meta, rng, bursts_per_s=BURSTS_PER_S, businesses=[SALON])
    codes, left = [], []

    load.start()
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as idle:
        for name in ("r2", "r3"):
            wait_for_more(record)
            following = release(stack, listening, name)
            # A connection that is kept open must not hold up the end.
            idle.get("/livez")
            codes.append(running.terminate(deadline_s=40))
            left.append(set(releases(stack)))
            wait_for_more(record)
            running = following
    load.stop()
    eventually(lambda: not meta.pending, what="every webhook to be answered")
    meta.close()

    assert (codes, left) == ([0, 0], [{"r2"}, {"r3"}])
    assert [event for event in record.events if isinstance(event, Refused)] == []
    assert accepted_count(stack.ledger) == len(accepted_ms(record.events))
