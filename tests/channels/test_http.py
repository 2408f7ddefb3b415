"""What a failed call means for a send: the one question is whether the provider may have it."""

import httpx2
import pytest

import httpjson
from batching.errors import AdminError, AmbiguousError, PermanentError, TransientError
from channels.http import post_json
from httpjson import ANSWER_BYTES_MAX
from tests.http_server import Deed, HttpServer, Reply, closed_port, hang, reset, say

TOKEN = "token-of-the-tests"


def call(http: httpx2.Client, url: str, *, timeout_ms: int = 5_000) -> httpjson.Reply:
    return post_json(
        http,
        f"{url}/send/secret-path",
        {"text": "words of a customer"},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout_ms=timeout_ms,
        code_prefix="test",
    )


def failure(http: httpx2.Client, url: str, *, timeout_ms: int = 5_000) -> AdminError:
    with pytest.raises(AdminError) as caught:
        call(http, url, timeout_ms=timeout_ms)
    return caught.value


def test_call_brings_the_answer(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(Reply(429, {"id": "x1"}))

    reply = call(http, http_server.url)

    (asked,) = http_server.requests
    assert (reply.status, reply.body) == (429, {"id": "x1"})
    assert asked.json == {"text": "words of a customer"}
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


def test_what_certainly_did_not_leave_may_be_sent_again(http: httpx2.Client) -> None:
    error = failure(http, f"http://127.0.0.1:{closed_port()}")

    assert (type(error), str(error)) == (TransientError, "test_unreachable: ConnectError")


def test_address_that_cannot_be_called_is_permanent(http: httpx2.Client) -> None:
    error = failure(http, "http://[::bad")

    assert (type(error), str(error)) == (PermanentError, "test_request: InvalidURL")


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (reset, "test_broken"),
        (hang, "test_timeout"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_BYTES_MAX + 1)), "test_oversized"),
    ],
    ids=["reset", "silence", "huge"],
)
def test_what_may_have_left_is_ambiguous(
    http: httpx2.Client, http_server: HttpServer, deed: Deed, code: str
) -> None:
    http_server.answer(deed)

    error = failure(http, http_server.url, timeout_ms=300 if deed is hang else 5_000)

    assert (type(error), error.code) == (AmbiguousError, code)
