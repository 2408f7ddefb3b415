"""A real HTTP server on the loopback that records every request and answers as it was told."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.behaviours import Answer, Behaviour, Drip, Hang, Hold, Request, Reset


class RecordingServer:
    """Answers each request with the next behaviour scripted for its key, else with the default.

    ``key_of`` reads the key out of a request; ``default`` makes the answer where nothing is
    scripted. Requests of one key are answered in the order in which they were scripted.
    """

    def __init__(
        self, key_of: Callable[[Request], str], default: Callable[[Request], Answer]
    ) -> None:
        self.requests: list[Request] = []
        self._key_of = key_of
        self._default = default
        self._scripts: dict[str, list[Behaviour]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Return the address of the server, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def script(self, key: str, *behaviours: Behaviour) -> None:
        """Add behaviours for the coming requests of ``key``."""
        with self._lock:
            self._scripts.setdefault(key, []).extend(behaviours)

    def requests_of(self, key: str) -> list[Request]:
        """Return the requests of ``key``, in the order in which they came."""
        with self._lock:
            return [request for request in self.requests if self._key_of(request) == key]

    def close(self) -> None:
        """Let everybody go who waits, and end the server."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_behaviour(self, request: Request) -> Behaviour:
        """Record the request and return what to do with it. Called by the handler alone."""
        with self._lock:
            self.requests.append(request)
            scripted = self._scripts.get(self._key_of(request))
            return scripted.pop(0) if scripted else self._default(request)

    def wait_for(self, hold: Hold) -> bool:
        """Wait until the hold is released; False if the server closes first."""
        while not hold.released.wait(0.02):
            if self._closing.is_set():
                return False
        return True

    def wait_for_close(self, seconds: float | None = None) -> bool:
        """Wait for the server to close, at most so long; return whether it does."""
        return self._closing.wait(seconds)

    def default_answer(self, request: Request) -> Answer:
        """Return what the server answers where nothing is scripted."""
        return self._default(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A caller that keeps its connection must not keep a thread for ever.
    timeout = 120
    server: "_Server"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(self.path, dict(self.headers), _json_or_none(raw))
        behaviour = self.server.owner.next_behaviour(request)
        try:
            self._act(behaviour, request)
        finally:
            request.done_ns = time.monotonic_ns()

    def _act(self, behaviour: Behaviour, request: Request) -> None:
        owner = self.server.owner
        match behaviour:
            case Answer():
                self._answer(behaviour)
            case Hold() if owner.wait_for(behaviour):
                self._answer(behaviour.answer or owner.default_answer(request))
            case Hold() | Hang():
                owner.wait_for_close()
                self.close_connection = True
            case Reset():
                self._reset()
            case Drip():
                self._drip()

    def _answer(self, answer: Answer) -> None:
        payload = answer.payload()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def _reset(self) -> None:
        self.close_connection = True
        on_with_no_time_to_linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on_with_no_time_to_linger)

    def _drip(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.owner.wait_for_close(0.05):
                self.wfile.write(b" ")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: the requests are recorded."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, owner: RecordingServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def shutdown_request(self, request: Any) -> None:
        """Close without a FIN where a reset was asked for: close() alone obeys the linger."""
        if request.fileno() >= 0 and _resets(request):
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a caller that was killed leaves a broken pipe, as intended."""


def _resets(connection: socket.socket) -> bool:
    linger = connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.calcsize("ii"))
    return bool(struct.unpack("ii", linger)[0])


def _json_or_none(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
