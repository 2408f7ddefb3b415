"""One POST: what is sent, what is read of the answer, and what each failure leaves certain."""

import gzip
import socket
import threading
import time
from typing import Any

import httpx2
import pytest

import httpjson
from httpjson import ANSWER_BYTES_MAX, CallError, Calls, Failure, call_json
from tests.http_server import Deed, HttpServer, Reply, closed_port, drip, hang, hang_up, reset, say

TOKEN = "token-of-the-tests"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ZIPPED = b"Content-Encoding: gzip\r\n\r\n"
WORDS = {"text": "words of a customer"}


def call(
    http: httpx2.Client,
    url: str,
    body: object = WORDS,
    *,
    token: str = TOKEN,
    timeout_ms: int = 5_000,
    connect_ms_max: int = 5_000,
) -> httpjson.Reply:
    return call_json(
        http,
        f"{url}/send/secret-path",
        body,
        headers={"Authorization": f"Bearer {token}"},
        timeout_ms=timeout_ms,
        connect_ms_max=connect_ms_max,
    )


def failure(http: httpx2.Client, url: str, **how: Any) -> Failure:
    with pytest.raises(CallError) as caught:
        call(http, url, **how)
    error = caught.value
    shown = f"{error!r} {error} {error.__cause__!r} {error.detail}"
    # No error tells a URL, a token or a text.
    assert error.__suppress_context__ or error.__context__ is None
    assert not any(secret in shown for secret in (TOKEN, "secret-path", "words", "127.0.0.1"))
    return error.failure


def test_body_goes_out_as_json_with_the_headers_given(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    call(http, http_server.url, {"text": "Здравствуйте 🙂"})

    asked = http_server.requests[0]
    assert (asked.method, asked.path) == ("POST", "/send/secret-path")
    assert asked.json == {"text": "Здравствуйте 🙂"}
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


def test_lone_surrogate_in_the_body_is_sent_as_a_question_mark(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    call(http, http_server.url, {"text": "a\ud800b"})

    assert http_server.requests[0].json == {"text": "a?b"}


@pytest.mark.parametrize("status", [200, 201, 299, 300, 307, 400, 401, 429, 500, 503])
def test_every_answer_is_returned_whatever_its_status(
    http: httpx2.Client, http_server: HttpServer, status: int
) -> None:
    headers = {"Retry-After": "7", "Location": "/elsewhere"}
    http_server.answer(Reply(status, {"id": "x1"}, headers))

    reply = call(http, http_server.url)

    assert (reply.status, reply.body, reply.headers["retry-after"]) == (status, {"id": "x1"}, "7")
    assert reply.is_success == (status < 300)
    assert len(http_server.requests) == 1


def test_each_call_has_a_connection_of_its_own(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    """A kept connection that breaks while it is written on would leave a send ambiguous."""
    call(http, http_server.url)
    call(http, http_server.url)

    assert [asked.headers["connection"] for asked in http_server.requests] == ["close", "close"]
    assert len({asked.client_port for asked in http_server.requests}) == 2


LONGEST = "x" * (ANSWER_BYTES_MAX - 2)
#: An answer, and the body that is read of it.
BODIES: dict[str, tuple[Reply, object]] = {
    # A loaded DeepSeek sends them while it waits.
    "after blank lines": (Reply(200, b"\n\n\r\n \n" * 500 + b'{"id": 1}\n'), {"id": 1}),
    "compressed though none was asked for": (
        Reply(200, gzip.compress(b'{"id": "x1"}'), {"Content-Encoding": "gzip"}),
        {"id": "x1"},
    ),
    "longest allowed": (Reply(200, LONGEST), LONGEST),
    "empty": (Reply(200, b""), None),
    "blank": (Reply(200, b"\n\n"), None),
    "html": (Reply(200, b"<html>busy</html>"), None),
    "half": (Reply(200, b'{"id": '), None),
    "two": (Reply(200, b'{"id": 1} {"id": 2}'), None),
    "no text": (Reply(200, b"\xff\xfe\xfd"), None),
    "deep": (Reply(200, b"[" * 100_000), None),
    "long number": (Reply(200, b"9" * 5_000), None),
}


@pytest.mark.parametrize("what", BODIES)
def test_body_is_the_json_of_the_answer_and_nothing_where_it_is_none(
    http: httpx2.Client, http_server: HttpServer, what: str
) -> None:
    answer, body = BODIES[what]
    http_server.answer(answer)

    reply = call(http, http_server.url)

    assert (reply.status, reply.body) == (200, body)


def test_what_cannot_be_connected_to_is_unreachable(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    no_listener = f"http://127.0.0.1:{closed_port()}"
    no_tls = http_server.url.replace("http:", "https:")

    failures = [failure(http, url) for url in (no_listener, "http://nobody.invalid", no_tls)]

    assert failures == [Failure.UNREACHABLE] * 3


def test_handshake_that_never_ends_is_a_connect_timeout(http: httpx2.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"

        assert failure(http, url, timeout_ms=50) == Failure.CONNECT_TIMEOUT


def test_connection_that_is_not_accepted_is_a_connect_timeout(http: httpx2.Client) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
    ):
        url = f"http://127.0.0.1:{full.getsockname()[1]}"

        assert failure(http, url, timeout_ms=50) == Failure.CONNECT_TIMEOUT


@pytest.mark.parametrize(("timeout_ms", "connect_ms_max"), [(2_000, 7_000), (7_000, 2_000)])
def test_connection_has_the_shorter_of_both_limits(timeout_ms: int, connect_ms_max: int) -> None:
    limits: list[dict[str, float]] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        limits.append(request.extensions["timeout"])
        return httpx2.Response(200)

    with httpx2.Client(transport=httpx2.MockTransport(note)) as http:
        call(http, "http://127.0.0.1", timeout_ms=timeout_ms, connect_ms_max=connect_ms_max)

    long_s = timeout_ms / 1000
    assert limits == [{"connect": 2.0, "read": long_s, "write": long_s, "pool": long_s}]


def test_full_pool_is_a_connect_timeout(http_server: HttpServer) -> None:
    limits = httpx2.Limits(max_connections=1)
    with httpx2.Client(trust_env=False, limits=limits) as http:
        http_server.answer(drip(HEAD + b"\r\n"))
        with http.stream("POST", http_server.url):
            assert failure(http, http_server.url, timeout_ms=50) == Failure.CONNECT_TIMEOUT


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1",
        "ftp://127.0.0.1",
        "http://",
        "http://[::bad",
        "http://host:notaport",
        f"http://{'a' * 64}.example",
    ],
)
def test_address_that_cannot_be_called_is_named_before_anything_leaves(
    http: httpx2.Client, url: str
) -> None:
    assert failure(http, url) == Failure.REQUEST


@pytest.mark.parametrize("token", ["line\nend", "ключ"])
def test_token_that_no_header_can_carry_is_named_before_anything_leaves(
    http: httpx2.Client, http_server: HttpServer, token: str
) -> None:
    assert failure(http, http_server.url, token=token) == Failure.REQUEST
    assert http_server.requests == []


UNPACKED = gzip.compress(b" " * 20 * ANSWER_BYTES_MAX)
#: What the server does once it has the request, and how the call ends.
ENDS: dict[str, tuple[Deed, Failure]] = {
    "reset": (reset, Failure.BROKEN),
    "hang up": (hang_up, Failure.BROKEN),
    "garbage": (say(b"garbage that is no HTTP\r\n\r\n"), Failure.BROKEN),
    "short": (say(HEAD + b"Content-Length: 50\r\n\r\n{"), Failure.BROKEN),
    "bad length": (say(HEAD + b"Content-Length: minus\r\n\r\n{}"), Failure.BROKEN),
    "bad gzip": (say(HEAD + ZIPPED + b"plain"), Failure.BROKEN),
    "long head": (say(HEAD + b"X: " + b"h" * 300_000 + b"\r\n\r\n"), Failure.BROKEN),
    "huge": (say(HEAD + b"\r\n" + b"x" * (ANSWER_BYTES_MAX + 1)), Failure.OVERSIZED),
    "huge when unpacked": (say(HEAD + ZIPPED + UNPACKED), Failure.OVERSIZED),
    # Each byte comes well within a read timeout: without a deadline these would run for hours.
    "silence": (hang, Failure.TIMEOUT),
    "status line": (drip(b""), Failure.TIMEOUT),
    "headers": (drip(b"HTTP/1.1 200 OK\r\nX-Slow: "), Failure.TIMEOUT),
    "body": (drip(HEAD + b"Content-Length: 500000\r\n\r\n", b" "), Failure.TIMEOUT),
    "body of unknown length": (drip(HEAD + b"\r\n{}", b" "), Failure.TIMEOUT),
}


@pytest.mark.parametrize("end", ENDS)
def test_call_without_a_whole_answer_says_how_it_ended(
    http: httpx2.Client, http_server: HttpServer, end: str
) -> None:
    """The other side may have carried out the request, so it is not made twice."""
    deed, expected = ENDS[end]
    http_server.answer(deed)
    timeout_ms = 150 if expected == Failure.TIMEOUT else 5_000

    assert failure(http, http_server.url, timeout_ms=timeout_ms) == expected
    assert len(http_server.requests) == 1


@pytest.mark.parametrize("kind", [httpx2.ReadTimeout, httpx2.WriteTimeout])
def test_timeout_that_comes_before_the_deadline_is_named_like_it(
    kind: type[httpx2.TimeoutException],
) -> None:
    """Both are set to the same moment, and either may win."""

    def time_out(_: httpx2.Request) -> httpx2.Response:
        raise kind("")

    with httpx2.Client(transport=httpx2.MockTransport(time_out)) as http:
        assert failure(http, "http://127.0.0.1") == Failure.TIMEOUT


# Cut off.


def cut_when_asked(http_server: HttpServer, calls: Calls) -> threading.Thread:
    """Return what cuts calls off from another thread once the server has been asked."""

    def cut() -> None:
        while not http_server.requests:
            time.sleep(0.001)
        calls.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "deed", [hang, drip(b"HTTP/1.1 200 OK\r\n\r\n", b"\n")], ids=["silent", "halfway"]
)
def test_call_that_nobody_wants_any_more_ends_at_once(
    http: httpx2.Client, http_server: HttpServer, deed: Deed
) -> None:
    http_server.answer(deed, Reply())
    began_s = time.monotonic()
    with Calls() as calls:
        thread = cut_when_asked(http_server, calls)

        assert failure(http, http_server.url, timeout_ms=30_000) is Failure.CUT

        thread.join()
        # A second call of the same question, too, and it is not made.
        assert failure(http, http_server.url) is Failure.CUT
    assert time.monotonic() - began_s < 5
    assert len(http_server.requests) == 1
    assert call(http, http_server.url).is_success


def test_calls_of_another_thread_are_not_cut_off(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    done: list[bool] = []
    with Calls() as calls:
        calls.cut()
        thread = threading.Thread(
            target=lambda: done.append(call(http, http_server.url).is_success)
        )
        thread.start()
        thread.join()

    assert done == [True]
