"""A Sentry of our own on the loopback: keeps every byte it was sent, and can be away."""

import gzip
import json
from typing import Any

from tests.http_server import HttpServer, Reply


class FakeSentry:
    """Takes envelopes at ``dsn``. ``close`` it in the end."""

    def __init__(self) -> None:
        self._server = HttpServer()
        self.dsn = self._server.url.replace("http://", "http://public@") + "/1"

    def refuse(self, *statuses: int) -> None:
        """Answer the coming requests with these statuses."""
        self._server.answer(*(Reply(status=status) for status in statuses))

    def close(self) -> None:
        """Be away for good."""
        self._server.close()

    @property
    def text(self) -> str:
        """Return all that was sent, headers too, for a search."""
        return "\n".join(
            f"{request.headers} {raw.decode(errors='replace')}"
            for request, raw in zip(self._server.requests, self._bodies(), strict=True)
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return every error event, in the order in which they came, refused ones too."""
        return self.items("event")

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Return the payloads of a kind: event, check_in, client_report, session …"""
        return [payload for name, payload in self._items() if name == kind]

    def _bodies(self) -> list[bytes]:
        return [
            gzip.decompress(request.body)
            if request.headers.get("content-encoding") == "gzip"
            else request.body
            for request in self._server.requests
        ]

    def _items(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for raw in self._bodies():
            _, _, rest = raw.partition(b"\n")
            while rest.strip():
                header_line, _, rest = rest.partition(b"\n")
                header = json.loads(header_line)
                length = header.get("length", rest.find(b"\n"))
                payload, rest = rest[:length], rest[length + 1 :]
                if payload.startswith(b"{"):
                    found.append((header["type"], json.loads(payload)))
        return found
