"""Honest webhooks find room among strangers' connections.

Nothing is timed: the honest ones are taken before the server gave any slow body its last second.
"""

import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx2
import pytest
import redis

from tests.processes import Guard
from tests.valkey_server import ValkeyServer
from tests.web.conftest import environ_of, write_accounts
from tests.web.server import WebServer
from tests.webhooks import CLOUD, body, change, counts, post, text_message
from web.webhooks import BODY_BYTES_MAX

pytestmark = pytest.mark.slow

#: More than both worker processes take at a time.
CROWD = 2_100
HONEST = 10
#: How long the crowd rests between two looks at its connections.
PAUSE_S = 0.1

END = b"\r\n\r\n"
HEAD = f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
#: Looks like a signature, and is nobody's.
PLAUSIBLE = b"X-Hub-Signature-256: sha256=" + b"0f" * 32 + b"\r\n"
LONG = f"Content-Length: {BODY_BYTES_MAX}".encode() + END
CHUNKED = b"Transfer-Encoding: chunked" + END


class EndedError(ConnectionError):
    """A connection was answered."""


class Crowd:
    """Connections that send what they are told and stay; one that is given up comes again.

    ``answers`` counts the statuses that they were answered with, "" for a connection that ended
    without one.
    """

    def __init__(self, port: int, count: int, first: bytes) -> None:
        self.answers: Counter[str] = Counter()
        self._port, self._count, self._first = port, count, memoryview(first)
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
        self._selector.register(connection, both, self._first)

    def _run(self) -> None:
        # Those that were given up stay away for a while, or they would take the processor.
        while not self._over.wait(PAUSE_S):
            for key, events in self._selector.select(timeout=0):
                self._attend(key, events)

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
            self._connect()


@pytest.fixture
def fresh(
    valkey: ValkeyServer, client: redis.Redis, guard: Guard, tmp_path: Path
) -> Iterator[WebServer]:
    """Yield a server that has served nobody yet."""
    del client
    running = WebServer(environ_of(valkey, write_accounts(tmp_path)), tmp_path, guard)
    running.start()
    yield running
    running.process.kill()


def honest(server: WebServer) -> list[tuple[int, object]]:
    """Post so many webhooks, each over a connection of its own; return the answers."""
    answers = []
    for n in range(HONEST):
        with httpx2.Client(base_url=server.url, timeout=60, trust_env=False) as provider:
            answer = post(provider, body(change(text_message(f"wamid.{n}"))))
        answers.append((answer.status_code, answer.json()))
    return answers


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"", id="silence"),
        pytest.param(HEAD, id="heads that do not end"),
        pytest.param(HEAD + LONG, id="bodies without a signature"),
        pytest.param(HEAD + PLAUSIBLE + LONG + b"{", id="bodies that do not end"),
        pytest.param(HEAD + PLAUSIBLE + CHUNKED + b"1\r\n{\r\n", id="chunks that do not end"),
    ],
)
def test_webhooks_are_taken_beside_more_connections_than_there_are_places(
    fresh: WebServer, first: bytes
) -> None:
    with Crowd(fresh.port, CROWD, first) as crowd:
        answers = honest(fresh)
        given_up = crowd.answers["408"]

    assert answers == [(200, counts(accepted=1))] * HONEST
    # None waited for the end of a slow body's 20 s.
    assert given_up == 0
