"""A Sentry of our own: takes envelopes and marks of releases as the real one, forgets nothing."""

import gzip
import json
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Where releases are told of, and deploys of them.
RELEASES = re.compile(r"/api/0/organizations/[^/]+/releases/([^/]+/deploys/)?$")


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an envelope, such as an ``event`` or a ``check_in``; ``body``: its raw bytes."""

    kind: str
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """Return the item, decoded."""
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


@dataclass(frozen=True, slots=True)
class Mark:
    """One call of the interface by which releases and deploys are told of."""

    path: str
    authorization: str
    body: Any


class FakeSentry:
    """Listens at ``address``, by default a port of the loopback; ``dsn`` leads there.

    ``status`` is what every envelope is answered with. An envelope that is not answered with 200
    is not among ``items``, only in ``text``: it came.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.status = 200
        self.items: list[Item] = []
        self.marks: list[Mark] = []
        self._received: list[bytes] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(address, self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def dsn(self) -> str:
        """Return what goes into SENTRY_DSN."""
        host, port = self._server.server_address[:2]
        return f"http://public@{host!s}:{port}/1"

    @property
    def text(self) -> str:
        """Return all that ever came: paths, headers and bodies, unpacked."""
        with self._lock:
            return b"\n".join(self._received).decode("utf-8", "backslashreplace")

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the items of a kind, decoded, in the order in which they came."""
        with self._lock:
            return [item.json for item in self.items if item.kind == kind]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the events, in the order in which they came."""
        return self.of_kind("event")

    @property
    def messages(self) -> list[str]:
        """Return the message of each event: the constant name of what was logged."""
        return [str((event.get("logentry") or {}).get("message", "")) for event in self.events]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, head: bytes, raw: bytes) -> int:
        """Keep an envelope and return the status to answer with. Called by the handler alone."""
        with self._lock:
            self._received += [head, raw]
            if self.status == 200:
                self.items += items_of(raw)
            return self.status

    def mark(self, path: str, authorization: str, raw: bytes) -> int:
        """Keep what is told of a release and return the status. Called by the handler alone."""
        with self._lock:
            self.marks.append(Mark(path, authorization, json.loads(raw)))
        return 201

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sentry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    raw = gzip.decompress(raw)
                if self.path == "/api/1/envelope/":
                    status = sentry.take(f"{self.path}\n{self.headers}".encode(), raw)
                elif RELEASES.match(self.path):
                    told = self.headers.get("Authorization", "")
                    status = sentry.mark(self.path, told, raw)
                else:
                    status = 404
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def items_of(envelope: bytes) -> list[Item]:
    """Return the items of an envelope: after its own header, a header and a body for each."""
    items = []
    _, _, rest = envelope.partition(b"\n")
    while rest.strip():
        head, _, rest = rest.partition(b"\n")
        told = json.loads(head)
        length = told.get("length", len(rest.partition(b"\n")[0]))
        items.append(Item(str(told["type"]), rest[:length]))
        rest = rest[length:].removeprefix(b"\n")
    return items
