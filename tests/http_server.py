"""A small real HTTP server that answers as it is told and remembers what it was asked.

The fixtures at the end become those of a folder where its conftest imports them.
"""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

#: A client sees this pause between bytes; it ends at once when the server closes.
DRIP_S = 0.02


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    client_port: int

    @property
    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: ``body`` is sent as it is if bytes, else as JSON."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """Return the bytes of the body."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


#: What to do with the connection instead of answering; the event is set when the server closes.
Deed = Callable[[socket.socket, threading.Event], None]


def hang(_line: socket.socket, closed: threading.Event) -> None:
    """Never answer."""
    closed.wait()


def reset(line: socket.socket, _closed: threading.Event) -> None:
    """Break the connection without a word."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Duplicates of the socket would keep the connection open.
    line.close()


def hang_up(line: socket.socket, _closed: threading.Event) -> None:
    """Close the connection politely, without an answer."""
    line.shutdown(socket.SHUT_RDWR)


def say(raw: bytes) -> Deed:
    """Send ``raw`` as it is and hang up."""

    def deed(line: socket.socket, closed: threading.Event) -> None:
        line.sendall(raw)
        hang_up(line, closed)

    return deed


def drip(raw: bytes, filler: bytes = b"x") -> Deed:
    """Send ``raw``, then ``filler`` byte by byte for as long as somebody listens."""

    def deed(line: socket.socket, closed: threading.Event) -> None:
        try:
            line.sendall(raw)
            while not closed.wait(DRIP_S):
                line.sendall(filler)
        except OSError:
            return

    return deed


class HttpServer:
    """Listens on a loopback port. ``url`` has no slash at its end."""

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self.closed = threading.Event()
        self._script: list[Reply | Deed] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, *script: Reply | Deed) -> None:
        """Answer the coming requests with these, in order; afterwards with 200 and ``{}``."""
        self._script.extend(script)

    def next(self) -> Reply | Deed:
        """Return what to do with the request that just came."""
        return self._script.pop(0) if self._script else Reply()

    def close(self) -> None:
        """Stop listening and let go of whoever still waits."""
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(length)
                port = self.client_address[1]
                server.requests.append(Asked(self.command, self.path, headers, body, port))
                match server.next():
                    case Reply() as reply:
                        self._reply(reply)
                    case deed:
                        self.close_connection = True
                        deed(self.connection, server.closed)

            def _reply(self, reply: Reply) -> None:
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.content)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    """Return a server on loopback; ``.answer(...)`` scripts it, ``.requests`` is what it got."""
    server = HttpServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """Return one client for all, as in production; it ignores the machine's proxies."""
    with httpx2.Client(trust_env=False) as client:
        yield client


def closed_port() -> int:
    """Return a port of loopback at which nobody listens."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port
