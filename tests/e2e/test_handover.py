"""One web release takes over from another on the socket that systemd holds for both.

The promise of a deploy: no request is refused or lost while one gunicorn after another is replaced.
"""

import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import redis

from batching.inspect import counters
from batching.store import Store
from demo.child import ROOT
from runtime.fleet import members
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually
from tests.web.conftest import environ_of, write_accounts
from tests.webhooks import body, change, post, text_message

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: As gunicorn.conf.py says.
WORKERS = 2
CUSTOMERS = 4
#: So many requests must have been answered around each step, or the test shows nothing.
REQUESTS_MIN = 50

#: Becomes a command with the given socket at the place, and with the words, of systemd's.
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""

Release = Callable[[str], OwnedProcess]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as held:
        yield held


@pytest.fixture
def settings(valkey: ValkeyServer, tmp_path: Path) -> dict[str, str]:
    return environ_of(valkey, write_accounts(tmp_path))


@pytest.fixture
def release(
    settings: dict[str, str],
    valkey: ValkeyServer,
    client: redis.Redis,  # noqa: ARG001 - an empty ledger
    listening: socket.socket,
    guard: Guard,
    tmp_path: Path,
) -> Iterator[Release]:
    """Return a starter of a release's gunicorn on the shared socket."""
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:application"]
    started = []

    def start(name: str) -> OwnedProcess:
        process = OwnedProcess(
            [sys.executable, "-c", AS_SYSTEMD, str(listening.fileno()), *gunicorn],
            log_path=tmp_path / f"{name}.log",
            guard=guard,
            environ=settings | {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RELEASE": name},
            cwd=ROOT,
            pass_fds=[listening.fileno()],
        )
        started.append(process)
        process.start()
        eventually(lambda: releases(valkey).count(name) == WORKERS, what=f"{name} to serve")
        return process

    yield start
    for process in started:
        process.kill()


def releases(valkey: ValkeyServer) -> list[str]:
    """Return the release of every web process in the fleet."""
    with valkey.client() as ledger:
        return [member.release for member in members(ledger)]


class Crowd:
    """Customers who write without a pause, each message over a connection of its own."""

    def __init__(self, url: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def answered(self) -> int:
        """Return how many messages were answered, whatever the answer."""
        return self.outcomes.total()

    def wait_for_more(self) -> None:
        """Wait until a good number of further messages was answered."""
        until = self.answered + REQUESTS_MIN
        eventually(lambda: self.answered >= until, what=f"{until} answers")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have all of them write while the body runs."""
        with ThreadPoolExecutor(CUSTOMERS) as pool:
            writers = [pool.submit(self._write, n) for n in range(CUSTOMERS)]
            try:
                yield
            finally:
                self._over.set()
        for writer in writers:
            writer.result()

    def _write(self, n: int) -> None:
        fresh = httpx2.Limits(max_keepalive_connections=0)
        with httpx2.Client(base_url=self._url, limits=fresh, trust_env=False) as http:
            sent = 0
            while not self._over.is_set():
                # A batch ends nowhere here: a conversation must not become full.
                customer = f"7999{n}{sent // 100:06}"
                try:
                    message = text_message(f"m{n}-{sent}", customer=customer)
                    outcome = str(post(http, body(change(message))).status_code)
                except httpx2.HTTPError as error:
                    outcome = type(error).__name__
                sent += 1
                with self._lock:
                    self.outcomes[outcome] += 1


def test_no_request_is_lost_while_one_release_after_another_takes_over(
    release: Release,
    settings: dict[str, str],
    listening: socket.socket,
    valkey: ValkeyServer,
    client: redis.Redis,
) -> None:
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    crowd, running = Crowd(url), release("r1")
    codes, left = [], []

    with crowd.writing(), httpx2.Client(base_url=url, trust_env=False) as idle:
        for name in ("r2", "r3"):
            crowd.wait_for_more()
            following = release(name)
            # A connection that is kept open must not hold up the end.
            idle.get("/livez")
            codes.append(running.terminate(deadline_s=40))
            left.append(set(releases(valkey)))
            crowd.wait_for_more()
            running = following

    assert (codes, left) == ([0, 0], [{"r2"}, {"r3"}])
    assert set(crowd.outcomes) == {"200"}
    shards = counters(Store(client, privacy_key=settings["PRIVACY_KEY"]))
    assert sum(shard.accepted for shard in shards) == crowd.answered
