"""POST JSON once, under one deadline, and tell what is certain when the call fails."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2

from wire.deadline import Deadline
from wire.errors import Fault, UnansweredError, UnsendableError, UnsentError

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
