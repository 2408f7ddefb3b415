"""The end of a call, however slowly its bytes come."""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx2


class Deadline:
    """Ends the connection of a call when ``timeout_ms`` are over; ``passed`` says that it did.

    A read timeout begins anew with each byte, so that a slow drip would never end.
    """

    def __init__(self, timeout_ms: int) -> None:
        self.passed = False
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._timer = threading.Timer(timeout_ms / 1000, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the socket as soon as it is connected (the transport's ``trace`` extension)."""
        # Of the connection itself, or of one through a SOCKS proxy.
        if not event.endswith(".connect_tcp.complete"):
            return
        stream = info["return_value"]
        with self._lock:
            if self.passed:
                stream.close()
                raise httpx2.ConnectTimeout("connected after the deadline")
            # A copy, because TLS moves the original into a socket of its own.
            self._line = stream.get_extra_info("socket").dup()

    def _cut(self) -> None:
        with self._lock:
            self.passed = True
            if self._line is not None:
                with suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)
