"""POST JSON once, under one deadline, on one connection, and tell what is certain when it fails.

    WireError
    ├── UnsendableError   the URL or a header cannot be sent, and will not be next time
    ├── UnsentError       nothing left, for no connection came about
    └── UnansweredError   the other side may have the request

No error holds a URL, a header or a body. Whoever calls says what a failure means.
"""

import json
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx2


class Fault(StrEnum):
    """What went wrong."""

    REQUEST = "request"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    OVERSIZED = "oversized"


class WireError(Exception):
    """A call that brought no whole answer. ``detail`` may be logged."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


class UnsendableError(WireError):
    """The request cannot be sent as it is; always Fault.REQUEST."""


class UnsentError(WireError):
    """Certainly not sent: Fault.TIMEOUT or Fault.BROKEN, before a connection stood."""


class UnansweredError(WireError):
    """Perhaps sent, and perhaps carried out: Fault.TIMEOUT, BROKEN or OVERSIZED."""


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


#: The most that is read of an answer, bytes; a model's long one is some tens of kilobytes.
ANSWER_BYTES_MAX = 1_000_000

#: No connection is at fault in these cases. The last is a host name that DNS cannot carry.
_UNSENDABLE = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeError)
#: Nothing has left in these cases.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names may be asked for in any case.

    ``body`` is the decoded JSON, None where it is not JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def is_success(self) -> bool:
        """Say whether the status is a 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def post_json(
    client: httpx2.Client,
    url: str,
    body: object,
    *,
    headers: Mapping[str, str],
    timeout_ms: int,
    connect_ms_max: int,
) -> Reply:
    """POST ``body`` as JSON and return the whole answer, whatever its status; follow no redirect.

    ``timeout_ms`` bounds everything from connecting to the last byte, ``connect_ms_max`` the
    connection to each address of the host. Raise UnsendableError, UnsentError or UnansweredError.
    """
    connect_ms = min(timeout_ms, connect_ms_max)
    timeout = httpx2.Timeout(timeout_ms / 1000, connect=connect_ms / 1000)
    request = _request(client, url, body, headers, timeout)
    with Deadline(timeout_ms) as deadline:
        request.extensions["trace"] = deadline.watch
        try:
            reply = _exchange(client, request)
        except _UNSENDABLE as error:
            raise UnsendableError(Fault.REQUEST, type(error).__name__) from None
        except httpx2.HTTPError as error:
            certainty = UnsentError if isinstance(error, _UNSENT) else UnansweredError
            late = deadline.passed or isinstance(error, httpx2.TimeoutException)
            fault = Fault.TIMEOUT if late else Fault.BROKEN
            raise certainty(fault, type(error).__name__) from None
        # An answer that ends with its connection looks whole when the deadline ended it.
        if deadline.passed:
            raise UnansweredError(Fault.TIMEOUT, f"no whole answer in {timeout_ms} ms")
        return reply


def _request(
    client: httpx2.Client,
    url: str,
    body: object,
    headers: Mapping[str, str],
    timeout: httpx2.Timeout,
) -> httpx2.Request:
    own = {
        "Content-Type": "application/json",
        # Compressed, a small answer could be a huge one.
        "Accept-Encoding": "identity",
        # A kept connection may be closed by the other side just as we write: nobody would know
        # whether that request arrived. And the deadline ends a call by ending its connection,
        # which must therefore be of this call alone. A handshake costs less.
        "Connection": "close",
    }
    try:
        return client.build_request(
            "POST",
            url,
            # A lone surrogate has no bytes in UTF-8.
            content=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
            headers={**headers, **own},
            timeout=timeout,
        )
    except (ValueError, httpx2.InvalidURL) as error:
        raise UnsendableError(Fault.REQUEST, type(error).__name__) from None


def _exchange(client: httpx2.Client, request: httpx2.Request) -> Reply:
    response = client.send(request, stream=True, follow_redirects=False)
    try:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > ANSWER_BYTES_MAX:
                raise UnansweredError(
                    Fault.OVERSIZED, f"answer longer than {ANSWER_BYTES_MAX} bytes"
                )
    finally:
        response.close()
    return Reply(response.status_code, response.headers, _decoded(bytes(content)))


def _decoded(content: bytes) -> Any:  # noqa: ANN401 - JSON is whatever it is
    """Return the JSON, also after blank lines: a loaded DeepSeek sends them to keep us waiting."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


#: The longest wait that an answer can impose, ms: an absurd header must not outlive a deadline.
RETRY_AFTER_MS_MAX = 3_600_000

_DECIMAL = re.compile(r"\d+(\.\d+)?", re.ASCII)


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """Return how long the answer asks to wait, ms; None where it does not say so readably.

    It may say so in ms, in seconds or as a date. ``headers`` are asked for lower-case names.
    """
    exact = headers.get("retry-after-ms", "").strip()
    wait = headers.get("retry-after", "").strip()
    if _DECIMAL.fullmatch(exact):
        asked = float(exact)
    elif _DECIMAL.fullmatch(wait):
        asked = float(wait) * 1000
    else:
        try:
            # Both dates are the server's, so that its clock and ours need not agree.
            until, sent = (parsedate_to_datetime(date) for date in (wait, headers.get("date", "")))
            asked = (until - sent).total_seconds() * 1000
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0, int(min(asked, RETRY_AFTER_MS_MAX)))
