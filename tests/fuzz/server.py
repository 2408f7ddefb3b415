"""A real gunicorn under fuzz: raw requests, and what its workers weigh."""

import http.client
import socket
import subprocess
from statistics import median

from tests.fuzz.deliveries import Delivery
from tests.fuzz.judge import Answer
from tests.web.server import WebServer

#: Bodies are cut into pieces of so many bytes where they are sent in chunks.
CHUNK = 700
TIMEOUT_S = 60


def raw_request(delivery: Delivery) -> bytes:
    """Return the bytes of a request, odd headers and all."""
    query = f"?{delivery.query}" if delivery.query else ""
    headers = {"Host": "x", "Connection": "close"} | dict(delivery.headers)
    content = delivery.raw
    if delivery.chunked:
        headers["Transfer-Encoding"] = "chunked"
        pieces = [content[n : n + CHUNK] for n in range(0, len(content), CHUNK)]
        content = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    else:
        headers.setdefault("Content-Length", str(len(content)))
    lines = [f"{delivery.method} {delivery.path}{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + content


def talk(server: WebServer, raw: bytes, method: str = "POST") -> Answer | None:
    """Send bytes, end the sending side, return the answer; None if the server just closed."""
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        try:
            connection.sendall(raw)
            # A client that announced more than it sends is not waited for.
            connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            body = response.read()
        except (http.client.BadStatusLine, OSError):
            return None
        return Answer(
            response.status, {name.lower(): value for name, value in response.headers.items()}, body
        )


class Workers:
    """The worker processes of a server: who they are, and how their memory goes."""

    def __init__(self, server: WebServer) -> None:
        self._master = server.process.group
        self._weights: list[int] = []

    def pids(self) -> set[int]:
        """Return the workers' process ids."""
        return set(map(int, _printed("pgrep", "-P", str(self._master)).split()))

    def weigh(self) -> None:
        """Note the memory of all workers together, KiB."""
        printed = _printed("ps", "-o", "rss=", "-p", ",".join(map(str, self.pids())))
        self._weights.append(sum(map(int, printed.split())))

    def growth(self) -> tuple[float, float]:
        """Return the medians of an early and of the last tenth of the notes, KiB.

        The first fifth is the warming up.
        """
        tenth, warm = max(1, len(self._weights) // 10), len(self._weights) // 5
        return median(self._weights[warm : warm + tenth]), median(self._weights[-tenth:])


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
