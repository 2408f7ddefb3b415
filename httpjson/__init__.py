"""Call once for JSON, under one deadline, on one connection; report what is certain on failure.

The caller says by an ErrorMap what each Failure means to it. No error holds a URL, a header or a
body.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Self

import httpx2

#: The most that is read of an answer, bytes; a model's long one is some tens of kilobytes.
ANSWER_BYTES_MAX = 1_000_000
#: The longest wait taken from a Retry-After header, ms: an absurd one must not outlive a deadline.
RETRY_AFTER_MS_MAX = 3_600_000

#: The request cannot be sent as it is. UnicodeError: a host name that DNS cannot carry, or a header
#: that is not ASCII.
_UNSENDABLE = (
    httpx2.InvalidURL,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    UnicodeError,
)
_HEADERS = {
    "Content-Type": "application/json",
    # Compressed, a small answer could be a huge one.
    "Accept-Encoding": "identity",
    # The other side may close a kept connection just as we write: whether that request arrived
    # would be unknown. And the deadline ends a call by ending its connection, which must therefore
    # serve this call alone. A handshake costs less.
    "Connection": "close",
}
_NOT_CONNECTED = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
)
_DECIMAL = re.compile(r"\d+(\.\d+)?", re.ASCII)


class Failure(StrEnum):
    """Why a call brought no whole answer."""

    #: The URL or a header cannot be sent, now or later.
    REQUEST = "request"
    #: No connection was made, so the other side certainly has nothing.
    CONNECT_TIMEOUT = "connect_timeout"
    UNREACHABLE = "unreachable"
    #: A connection was made: the other side may have the request, and may have carried it out.
    TIMEOUT = "timeout"
    BROKEN = "broken"
    OVERSIZED = "oversized"
    #: Who asked does not want it any more, see Calls.
    CUT = "cut"


class CallError(Exception):
    """A call without a whole answer, where no ErrorMap says otherwise. ``detail`` may be logged."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.detail = detail


#: What to raise for each Failure: a class that takes a code and a detail, and the code.
ErrorMap = Mapping[Failure, tuple[Callable[[str, str], Exception], str]]


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
        """Return whether the status is a 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def call_json(
    client: httpx2.Client,
    url: str,
    body: object = None,
    *,
    headers: Mapping[str, str],
    timeout_ms: int,
    connect_ms_max: int,
    errors: ErrorMap | None = None,
) -> Reply:
    """POST ``body`` as JSON, or GET if it is None; return the whole answer, whatever its status.

    Bytes are sent as they are.
    No redirect is followed. ``timeout_ms`` bounds everything from connecting to the last byte,
    ``connect_ms_max`` the connection to each address of the host. Raise what ``errors`` has for the
    failure, CallError without it.
    """
    connect_ms = min(timeout_ms, connect_ms_max)
    try:
        with Deadline(timeout_ms) as deadline:
            return _exchange(
                client,
                url,
                deadline,
                # A lone surrogate has no bytes in UTF-8.
                content=body
                if body is None or isinstance(body, bytes)
                else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
                headers={**headers, **_HEADERS},
                timeout=httpx2.Timeout(timeout_ms / 1000, connect=connect_ms / 1000),
            )
    except CallError as error:
        if errors is None:
            raise
        error_class, code = errors[error.failure]
        raise error_class(code, error.detail) from None


class Calls:
    """The calls that a thread makes in this context: any thread may cut them off, for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_cut = False
        self._current: Deadline | None = None
        self._token: Token[Calls | None] | None = None

    def __enter__(self) -> Self:
        self._token = _CALLS.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _CALLS.reset(self._token)

    def cut(self) -> None:
        """End the call under way, and every further one as it begins. Safe to run twice."""
        with self._lock:
            self._is_cut = True
            if self._current is not None:
                self._current.cut()

    def note(self, call: "Deadline | None") -> None:
        """Note which call is under way, None for none."""
        with self._lock:
            self._current = call
            if call is not None and self._is_cut:
                call.cut()


#: Those of the context that this thread is in.
_CALLS: ContextVar[Calls | None] = ContextVar("calls", default=None)


class Deadline:
    """Ends the connection of a call after ``timeout_ms``; ``passed`` says that it did.

    A read timeout begins anew with each byte, so a slow drip would never end. ``is_cut``: it was
    ended sooner, because nobody wants the answer.
    """

    def __init__(self, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms
        self.passed = False
        self.is_cut = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(timeout_ms / 1000, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        if calls := _CALLS.get():
            calls.note(self)
        return self

    def __exit__(self, *_: object) -> None:
        if calls := _CALLS.get():
            calls.note(None)
        self._timer.cancel()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

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
            self._socket = stream.get_extra_info("socket").dup()

    def cut(self) -> None:
        """End the connection now, or as soon as it is made."""
        self.is_cut = True
        self._cut()

    def _cut(self) -> None:
        with self._lock:
            self.passed = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


def _exchange(client: httpx2.Client, url: str, deadline: Deadline, **request: Any) -> Reply:  # noqa: ANN401 - of httpx
    if deadline.is_cut:
        raise CallError(Failure.CUT, "before it began")
    try:
        with client.stream(
            "GET" if request["content"] is None else "POST",
            url,
            follow_redirects=False,
            extensions={"trace": deadline.watch},
            **request,
        ) as response:
            content = _content(response)
    except _UNSENDABLE as error:
        raise CallError(Failure.REQUEST, type(error).__name__) from None
    except httpx2.HTTPError as error:
        late = deadline.passed or isinstance(error, httpx2.TimeoutException)
        if deadline.is_cut:
            failure = Failure.CUT
        elif isinstance(error, _NOT_CONNECTED):
            failure = Failure.CONNECT_TIMEOUT if late else Failure.UNREACHABLE
        else:
            failure = Failure.TIMEOUT if late else Failure.BROKEN
        raise CallError(failure, type(error).__name__) from None
    # An answer that ends with its connection looks whole when the deadline ended it.
    if deadline.is_cut:
        raise CallError(Failure.CUT, "before its end")
    if deadline.passed:
        raise CallError(Failure.TIMEOUT, f"no whole answer in {deadline.timeout_ms} ms")
    return Reply(response.status_code, response.headers, _decoded(content))


def _content(response: httpx2.Response) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise CallError(Failure.OVERSIZED, f"answer longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(content)


def _decoded(content: bytes) -> Any:  # noqa: ANN401 - JSON is whatever it is
    """Return the JSON, also after blank lines: a loaded DeepSeek sends them to keep us waiting."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


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
            # Both dates are the server's, so its clock and ours need not agree.
            until, sent = (parsedate_to_datetime(date) for date in (wait, headers.get("date", "")))
            asked = (until - sent).total_seconds() * 1000
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0, int(min(asked, RETRY_AFTER_MS_MAX)))
