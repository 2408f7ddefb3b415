"""A real HTTP server that answers by script and records what it was asked.

Every fake API of the tests is one: alone (`HttpServer`), or several services behind one address.
The fixtures at the end become those of a folder where its conftest imports them.
"""

import base64
import json
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

LOOPBACK = ("127.0.0.1", 0)
#: The pause between the bytes of a dripping answer, s.
DRIP_S = 0.02
#: How long an idle connection is kept, s: longer than our clients keep theirs.
IDLE_S = 120
_POLL_S = 0.02


@dataclass(slots=True)
class Request:
    """A request as it arrived. Times are ns of the monotonic clock.

    ``headers``: by lower-case name. ``done_ns``: 0 until the answer is sent. ``path``: a whole URL
    where the server was asked as a proxy, see ``HttpServer.proxy_url``. ``client_port``: the
    caller's end of the connection.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: socket.socket
    client_port: int
    came_ns: int = field(default_factory=time.monotonic_ns)
    done_ns: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def caller(self) -> str:
        """Return the name that the caller gave to the proxy, "" if none."""
        credentials = self.headers.get("proxy-authorization", "").removeprefix("Basic ")
        return base64.b64decode(credentials).decode().partition(":")[0]

    def wait(self, seconds: float) -> bool:
        """Let time pass; return False as soon as the caller has hung up or was killed."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], left)
            if readable and not self._peek():
                return False
        return True

    def _peek(self) -> bytes:
        try:
            return self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: ``body`` is sent as it is if bytes, else as JSON."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the caller waiting until ``released`` is set; then the default answer."""

    released: threading.Event = field(default_factory=threading.Event)


#: What to do with the connection instead of answering; the event is set when the server closes.
Deed = Callable[[socket.socket, threading.Event], None]
Answer = Reply | Hold | Deed


def hang(_line: socket.socket, closed: threading.Event) -> None:
    closed.wait()


def reset(line: socket.socket, _closed: threading.Event) -> None:
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Duplicates of the socket would keep the connection open.
    line.close()


def hang_up(line: socket.socket, _closed: threading.Event) -> None:
    """Close the connection in good order, without an answer."""
    line.shutdown(socket.SHUT_RDWR)


def say(raw: bytes) -> Deed:
    """Send ``raw`` as it is and hang up."""

    def deed(line: socket.socket, closed: threading.Event) -> None:
        line.sendall(raw)
        hang_up(line, closed)

    return deed


def drip(raw: bytes, filler: bytes = b"x") -> Deed:
    """Send ``raw``, then ``filler`` byte by byte until the caller hangs up."""

    def deed(line: socket.socket, closed: threading.Event) -> None:
        try:
            line.sendall(raw)
            while not closed.wait(DRIP_S):
                line.sendall(filler)
        except OSError:
            return

    return deed


class Service:
    """Answers each request with the next answer scripted for its key, else with the default.

    A subclass says what the key of a request is, and what the default answer.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._scripts: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()

    def key_of(self, _request: Request) -> str:
        """Return the key by which scripts are chosen; must not raise."""
        return ""

    def default(self, _request: Request) -> Reply:
        """Return the answer to a request for which nothing is scripted."""
        return Reply()

    def answer(self, *script: Answer, to: str = "") -> None:
        """Answer the coming requests of the key ``to`` with these, in order."""
        with self._lock:
            self._scripts.setdefault(to, []).extend(script)

    def requests_of(self, key: str) -> list[Request]:
        with self._lock:
            return [request for request in self.requests if self.key_of(request) == key]

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def respond(self, request: Request) -> Answer:
        """Return how to answer a request. Called by the server, in the request's own thread."""
        with self._lock:
            scripted = self._scripts.get(self.key_of(request))
            answer = scripted.pop(0) if scripted else None
        return answer or self.default(request)


class HttpServer(Service):
    """Listens at ``address``, by default on a free port of the loopback, until it is closed."""

    def __init__(self, address: tuple[str, int] = LOOPBACK) -> None:
        super().__init__()
        self.closed = threading.Event()
        self._server = _Server(self, address)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,))
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    @property
    def url(self) -> str:
        """Return the address of the server, without a slash at the end."""
        return f"http://{self.address}"

    def proxy_url(self, name: str) -> str:
        """Return what a process has as HTTP_PROXY to be known as ``name``: ``Request.caller``."""
        return f"http://{name}:-@{self.address}"

    def service(self, _request: Request) -> Service:
        """Return what answers a request; a subclass may choose among several."""
        return self

    def close(self) -> None:
        """Stop listening and end the wait of every caller."""
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    # Head and body in one write: two would wait for each other's acknowledgement.
    wbufsize = -1
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        port = self.client_address[1]
        request = Request(self.command, self.path, headers, body, self.connection, port)
        service = self.server.owner.service(request)
        service.record(request)
        closed = self.server.owner.closed
        try:
            answer = service.respond(request)
            if isinstance(answer, Hold):
                while not answer.released.wait(_POLL_S):
                    if closed.is_set():
                        self.close_connection = True
                        return
                answer = service.default(request)
            if isinstance(answer, Reply):
                self._reply(answer)
            else:
                self.close_connection = True
                answer(self.connection, closed)
        finally:
            request.done_ns = time.monotonic_ns()

    do_GET = do_POST  # noqa: N815 - the standard library's name

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(reply.content)))
        for name, value in ({"Content-Type": "application/json"} | dict(reply.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are recorded."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, owner: HttpServer, address: tuple[str, int]) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report faults of the tests; a caller that was killed leaves a broken pipe, as meant."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


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
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port
