"""An HTTP server for load and faults: answers, stays silent or breaks off, and notices who left."""

import base64
import contextlib
import json
import select
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.behaviours import Answer

_CLOSING_POLL_S = 0.05
_NO_LINGER = struct.pack("ii", 1, 0)


class Caller:
    """Whoever waits for an answer. ``name``: who that is, "" where it came without a name."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.name = name
        self._connection = connection

    def waits(self, seconds: float) -> bool:
        """Let time pass; return False as soon as the caller has hung up, or was killed."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([self._connection], [], [], left)
            if readable and not self._peek():
                return False
        return True

    def _peek(self) -> bytes:
        try:
            return self._connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return b""


class FakeServer:
    """Serves ``answer_to`` at ``address``, by default on the loopback; None resets the connection.

    Also serves as the HTTP proxy before itself: a process that is given ``proxy_for`` its name as
    HTTP_PROXY tells that name with each request.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._server = _Server(self, address)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": _CLOSING_POLL_S},
            daemon=True,
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Return the address of the server, without a slash at the end."""
        return f"http://{self._where}"

    def proxy_for(self, name: str) -> str:
        """Return the address by which the caller ``name`` reaches the server."""
        return f"http://{name}:-@{self._where}"

    @property
    def _where(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def answer_to(self, path: str, body: Any, caller: Caller) -> Answer | None:
        """Return the answer to a request, None to break off. ``path`` may be a whole URL."""
        raise NotImplementedError

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: "_Server"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        caller = Caller(self.connection, _name_in(self.headers.get("Proxy-Authorization", "")))
        answer = self.server.owner.answer_to(self.path, json.loads(raw), caller)
        self.close_connection = True
        if answer is None:
            linger = socket.SO_LINGER
            self.connection.setsockopt(socket.SOL_SOCKET, linger, _NO_LINGER)
            return
        payload = answer.payload()
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(payload)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


def _name_in(authorization: str) -> str:
    return base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, owner: FakeServer, address: tuple[str, int]) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def shutdown_request(self, request: Any) -> None:
        """Close without a polite end: where a reset was asked for, it would be one."""
        with contextlib.suppress(OSError):
            request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a caller that was killed leaves a broken pipe, as intended."""
