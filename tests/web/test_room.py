"""Honest webhooks find room among strangers' connections, and those take no more than their share.

Nothing is timed: how long the honest ones took is printed for the documents.
"""

import itertools
import re
import selectors
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import httpx2
import pytest

from tests.web.server import WebServer
from tests.webhooks import CLOUD, body, change, counts, post, text_message
from web.webhooks import BODIES_BYTES_MAX, BODY_BYTES_MAX

pytestmark = pytest.mark.slow

#: More than both worker processes take at a time.
CROWD = 2_100
#: As many hold bodies of nearly 3 MB.
HOLDERS = 200
HONEST = 10
#: How long the crowd rests between two looks at its connections, and how many looks an ended one
#: stays away, or it would take the processor.
PAUSE_S, AWAY = 0.1, 30
#: A worker process may grow by so much, MiB: a body is twice in memory when it is complete, and
#: 800 connections have a few KB each.
GROWTH_MAX = 2 * BODIES_BYTES_MAX // 2**20

END = b"\r\n\r\n"
LIVEZ = b"POST /livez HTTP/1.1\r\nHost: x\r\n"
HEAD = f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
LARGE_HEAD = HEAD + (b"X-A: " + b"a" * 4_000 + b"\r\n") * 45
#: Looks like a signature, and is nobody's.
SIGNED = HEAD + b"X-Hub-Signature-256: sha256=" + b"0f" * 32 + b"\r\n"
LONG = f"Content-Length: {BODY_BYTES_MAX}".encode() + END
CHUNKED = b"Transfer-Encoding: chunked" + END
NEARLY = b" " * (BODY_BYTES_MAX - 1)
ONE_CHUNK = CHUNKED + b"%x\r\n" % BODY_BYTES_MAX + NEARLY
WHOLE = NEARLY + b" "

_ids = itertools.count()


class EndedError(ConnectionError):
    """A connection was answered."""


class Crowd:
    """Connections that send one of ``firsts`` each and stay; one that is ended comes again.

    ``answers`` counts the statuses that they were answered with, "" for a connection that ended
    without one.
    """

    def __init__(self, port: int, count: int, firsts: list[bytes]) -> None:
        self.answers: Counter[str] = Counter()
        self._port, self._count = port, count
        self._firsts = itertools.cycle([memoryview(first) for first in firsts])
        self._away = 0
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        for _ in range(self._count):
            self._connect()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _connect(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)  # noqa: FBT003 - the library's signature
        connection.connect_ex(("127.0.0.1", self._port))
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        self._selector.register(connection, both, next(self._firsts))

    def _run(self) -> None:
        for look in itertools.count():
            if self._over.wait(PAUSE_S):
                return
            for key, events in self._selector.select(timeout=0):
                self._attend(key, events)
            while look % AWAY == 0 and self._away:
                self._away -= 1
                self._connect()

    def _attend(self, key: selectors.SelectorKey, events: int) -> None:
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        try:
            if events & selectors.EVENT_READ:
                self.answers[connection.recv(65_536)[9:12].decode()] += 1
                raise EndedError
            rest = key.data[connection.send(key.data) :] if key.data else key.data
            both = selectors.EVENT_READ | (selectors.EVENT_WRITE if rest else 0)
            self._selector.modify(connection, both, rest)
        except BlockingIOError:
            return
        except OSError as error:
            if not isinstance(error, EndedError):
                self.answers[""] += 1
            self._selector.unregister(connection)
            connection.close()
            self._away += 1


def honest(server: WebServer) -> tuple[list[tuple[int, object]], float]:
    """Post so many webhooks, each over a connection of its own; return answers and longest, s."""
    answers, longest = [], 0.0
    for _ in range(HONEST):
        begun = time.monotonic()
        with httpx2.Client(base_url=server.url, timeout=60, trust_env=False) as provider:
            answer = post(provider, body(change(text_message(f"wamid.{next(_ids)}"))))
        answers.append((answer.status_code, answer.json()))
        longest = max(longest, time.monotonic() - begun)
    return answers, longest


def workers(server: WebServer) -> list[Path]:
    """Return the directory in /proc of each worker process."""
    command = ["pgrep", "-P", str(server.process.group)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [Path("/proc", pid) for pid in printed.split()]


def memory(worker: Path, name: str) -> int:
    """Return what a worker has in memory, or had at most (VmRSS, VmHWM), MiB."""
    (kib,) = re.findall(rf"{name}:\s+(\d+)", (worker / "status").read_text())
    return int(kib) // 1024


@pytest.mark.parametrize(
    ("count", "firsts"),
    [
        pytest.param(
            CROWD,
            [
                *(b"", HEAD, LARGE_HEAD, HEAD + LONG, HEAD + CHUNKED, LIVEZ + LONG),
                *(SIGNED + LONG + b"{", SIGNED + CHUNKED + b"1\r\n{\r\n"),
            ],
            id="slow requests of all kinds",
        ),
        pytest.param(HOLDERS, [SIGNED + LONG + NEARLY], id="bodies that are held"),
        pytest.param(HOLDERS, [SIGNED + ONE_CHUNK], id="chunks that are held"),
        pytest.param(
            HOLDERS,
            [HEAD + LONG + NEARLY, HEAD + ONE_CHUNK, LIVEZ + LONG + NEARLY, LIVEZ + ONE_CHUNK],
            id="bodies that nobody reads",
        ),
        pytest.param(HOLDERS // 4, [SIGNED + LONG + WHOLE], id="forged bodies"),
    ],
)
def test_webhooks_are_taken_beside_a_crowd_that_takes_its_share_of_memory(
    server: WebServer, count: int, firsts: list[bytes], request: pytest.FixtureRequest
) -> None:
    honest(server)
    found = workers(server)
    before = [memory(worker, "VmRSS") for worker in found]
    for worker in found:
        (worker / "clear_refs").write_text("5")  # The peak begins anew.

    with Crowd(server.port, count, firsts) as crowd:
        answers, longest = honest(server)

    peaks = [memory(worker, "VmHWM") for worker in found]
    grown = max(peak - rss for peak, rss in zip(peaks, before, strict=True))
    figures = f"longest {longest:.2f} s, {grown} MiB more, {dict(crowd.answers)}"
    print(f"{request.node.callspec.id}: {figures}")  # noqa: T201 - for the documents
    assert answers == [(200, counts(accepted=1))] * HONEST
    assert grown <= GROWTH_MAX
