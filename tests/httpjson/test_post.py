"""One POST: what is sent, what is read of the answer, and what each failure leaves certain."""

import gzip
import socket

import httpx2
import pytest

import httpjson
from httpjson import ANSWER_BYTES_MAX, CallError, Failure, post_json
from tests.http_server import Deed, HttpServer, Reply, closed_port, drip, hang, hang_up, reset, say

TOKEN = "token-of-the-tests"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
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
    return post_json(
        http,
        f"{url}/send/secret-path",
        body,
        headers={"Authorization": f"Bearer {token}"},
        timeout_ms=timeout_ms,
        connect_ms_max=connect_ms_max,
    )


def failure(
    http: httpx2.Client,
    url: str,
    *,
    token: str = TOKEN,
    timeout_ms: int = 5_000,
) -> CallError:
    with pytest.raises(CallError) as caught:
        call(http, url, token=token, timeout_ms=timeout_ms)
    return caught.value


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


def test_blank_lines_before_the_answer_are_no_part_of_it(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    """A loaded DeepSeek sends them while it waits."""
    http_server.answer(Reply(200, b"\n\n\r\n \n" * 500 + b'{"id": 1}\n'))

    assert call(http, http_server.url).body == {"id": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"<html>busy</html>",
        b'{"id": ',
        b'{"id": 1} {"id": 2}',
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b"9" * 5_000,
    ],
    ids=["empty", "blank", "html", "half", "two", "no-text", "deep", "long-number"],
)
def test_what_is_no_json_has_no_body(
    http: httpx2.Client, http_server: HttpServer, content: bytes
) -> None:
    http_server.answer(Reply(200, content))

    reply = call(http, http_server.url)

    assert (reply.status, reply.body) == (200, None)


def test_compressed_answer_is_read_though_none_was_asked_for(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    packed = gzip.compress(b'{"id": "x1"}')
    http_server.answer(Reply(body=packed, headers={"Content-Encoding": "gzip"}))

    assert call(http, http_server.url).body == {"id": "x1"}


def test_longest_answer_allowed_is_read_whole(http: httpx2.Client, http_server: HttpServer) -> None:
    longest = "x" * (ANSWER_BYTES_MAX - 2)
    http_server.answer(Reply(body=longest))

    assert call(http, http_server.url).body == longest


def test_port_without_a_listener_is_unreachable(http: httpx2.Client) -> None:
    error = failure(http, f"http://127.0.0.1:{closed_port()}")

    assert error.failure == Failure.UNREACHABLE


def test_unknown_host_is_unreachable(http: httpx2.Client) -> None:
    error = failure(http, "http://nobody.invalid")

    assert error.failure == Failure.UNREACHABLE


def test_failed_tls_handshake_is_unreachable(http: httpx2.Client, http_server: HttpServer) -> None:
    error = failure(http, http_server.url.replace("http:", "https:"))

    assert error.failure == Failure.UNREACHABLE


def test_handshake_that_never_ends_is_a_connect_timeout(http: httpx2.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(http, f"https://127.0.0.1:{silent.getsockname()[1]}", timeout_ms=50)

    assert error.failure == Failure.CONNECT_TIMEOUT


def test_connection_that_is_not_accepted_is_a_connect_timeout(http: httpx2.Client) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
    ):
        error = failure(http, f"http://127.0.0.1:{full.getsockname()[1]}", timeout_ms=50)

    assert (error.failure, error.detail) == (Failure.CONNECT_TIMEOUT, "ConnectTimeout")


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
            error = failure(http, http_server.url, timeout_ms=50)

    assert error.failure == Failure.CONNECT_TIMEOUT


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
    assert failure(http, url).failure == Failure.REQUEST


@pytest.mark.parametrize("token", ["line\nend", "ключ"])
def test_token_that_no_header_can_carry_is_named_before_anything_leaves(
    http: httpx2.Client, http_server: HttpServer, token: str
) -> None:
    error = failure(http, http_server.url, token=token)

    assert error.failure == Failure.REQUEST
    assert http_server.requests == []


@pytest.mark.parametrize(
    "deed",
    [
        reset,
        hang_up,
        say(b"garbage that is no HTTP\r\n\r\n"),
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"),
        say(b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n{}"),
        say(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"),
        say(b"HTTP/1.1 200 OK\r\nX: " + b"h" * 300_000 + b"\r\n\r\n"),
    ],
    ids=["reset", "hang-up", "garbage", "short", "bad-length", "bad-gzip", "long-head"],
)
def test_connection_that_breaks_after_the_request_was_sent_is_broken(
    http: httpx2.Client, http_server: HttpServer, deed: Deed
) -> None:
    http_server.answer(deed)

    error = failure(http, http_server.url)

    assert error.failure == Failure.BROKEN
    assert len(http_server.requests) == 1


@pytest.mark.parametrize(
    "deed",
    [
        say(HEAD + b"\r\n" + b"x" * (ANSWER_BYTES_MAX + 1)),
        say(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 20 * ANSWER_BYTES_MAX)),
    ],
    ids=["huge", "huge-when-unpacked"],
)
def test_answer_has_a_greatest_size(
    http: httpx2.Client, http_server: HttpServer, deed: Deed
) -> None:
    http_server.answer(deed)

    assert failure(http, http_server.url).failure == Failure.OVERSIZED


@pytest.mark.parametrize(
    "deed",
    [
        hang,
        drip(b"", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        drip(HEAD + b"Content-Length: 500000\r\n\r\n", b" "),
        drip(HEAD + b"\r\n{}", b" "),
    ],
    ids=["silence", "status-line", "headers", "body", "body-of-unknown-length"],
)
def test_deadline_ends_an_answer_that_only_drips(
    http: httpx2.Client, http_server: HttpServer, deed: Deed
) -> None:
    """Each byte comes well within a read timeout; without one deadline this would run for hours."""
    http_server.answer(deed)

    error = failure(http, http_server.url, timeout_ms=150)

    assert error.failure == Failure.TIMEOUT


@pytest.mark.parametrize("kind", [httpx2.ReadTimeout, httpx2.WriteTimeout])
def test_timeout_that_comes_before_the_deadline_is_named_like_it(
    kind: type[httpx2.TimeoutException],
) -> None:
    """Both are set to the same moment, and either may win."""

    def time_out(_: httpx2.Request) -> httpx2.Response:
        raise kind("")

    with httpx2.Client(transport=httpx2.MockTransport(time_out)) as http:
        error = failure(http, "http://127.0.0.1")

    assert error.failure == Failure.TIMEOUT


@pytest.mark.parametrize("deed", [reset, hang, drip(HEAD), say(b"garbage\r\n\r\n")])
def test_error_tells_no_url_no_token_and_no_text(
    http: httpx2.Client, http_server: HttpServer, deed: Deed
) -> None:
    http_server.answer(deed)

    error = failure(http, http_server.url, timeout_ms=150)

    shown = f"{error!r} {error} {error.__cause__!r} {error.detail}"
    assert error.__suppress_context__ or error.__context__ is None
    assert not any(secret in shown for secret in (TOKEN, "secret-path", "words", "127.0.0.1"))
