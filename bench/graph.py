"""A Graph API on the loopback that takes every message and remembers when it came."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Graph:
    """Answers as WhatsApp does when all is well. ``arrived_ms``: customer → when, wall clock."""

    def __init__(self) -> None:
        self.arrived_ms: dict[str, list[float]] = {}
        self._lock = threading.Lock()
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Return the address to configure as ``api_url``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, customer: str, now_ms: float) -> int:
        """Remember an arrival and return how many there were for this customer."""
        with self._lock:
            arrivals = self.arrived_ms.setdefault(customer, [])
            arrivals.append(now_ms)
            return len(arrivals)

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write for head and body: two would wait for each other's acknowledgement.
    wbufsize = -1
    timeout = 60
    server: "_Server"

    def do_POST(self) -> None:
        now_ms = time.time() * 1000
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        customer = str(body.get("to", ""))
        count = self.server.owner.take(customer, now_ms)
        answer = json.dumps({"messages": [{"id": f"wamid.out.{customer}.{count}"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: Graph) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)
