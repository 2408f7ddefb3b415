"""What a failed call of a model means: all but our own faults may pass."""

import socket

import httpx2
import pytest

import httpjson
from batching.errors import AdminError, PermanentError, TransientError
from httpjson import ANSWER_BYTES_MAX
from llm.client import Endpoint
from tests.http_server import Deed, HttpServer, Reply, closed_port, hang, reset, say

KEY = "key-of-the-tests"


def call(http: httpx2.Client, url: str, *, timeout_ms: int = 5_000) -> httpjson.Reply:
    headers = {"Authorization": f"Bearer {KEY}"}
    body = {"text": "words of a customer"}
    endpoint = Endpoint(f"{url}/secret-path", headers, http, timeout_ms)
    return endpoint.post(body, timeout_ms)


def failure(http: httpx2.Client, url: str, *, timeout_ms: int = 5_000) -> AdminError:
    with pytest.raises(AdminError) as caught:
        call(http, url, timeout_ms=timeout_ms)
    return caught.value


def told(error: AdminError) -> tuple[type[AdminError], str]:
    return type(error), error.code


def test_call_brings_the_answer(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(Reply(429, {"id": 1}))

    reply = call(http, http_server.url)

    (asked,) = http_server.requests
    assert (reply.status, reply.body) == (429, {"id": 1})
    assert asked.json == {"text": "words of a customer"}
    assert asked.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (reset, "model_connection"),
        (hang, "model_timeout"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (ANSWER_BYTES_MAX + 1)), "model_oversized"),
    ],
    ids=["reset", "silence", "huge"],
)
def test_call_that_is_not_answered_may_pass(
    http: httpx2.Client, http_server: HttpServer, deed: Deed, code: str
) -> None:
    http_server.answer(deed)

    error = failure(http, http_server.url, timeout_ms=300 if deed is hang else 5_000)

    assert told(error) == (TransientError, code)


def test_refused_connection_may_pass(http: httpx2.Client) -> None:
    error = failure(http, f"http://127.0.0.1:{closed_port()}")

    assert told(error) == (TransientError, "model_connection")


def test_connection_that_takes_too_long_is_a_timeout(http: httpx2.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(http, f"https://127.0.0.1:{silent.getsockname()[1]}", timeout_ms=50)

    assert told(error) == (TransientError, "model_timeout")


def test_url_that_cannot_be_asked_is_our_fault(http: httpx2.Client) -> None:
    assert told(failure(http, "127.0.0.1")) == (PermanentError, "model_request")
