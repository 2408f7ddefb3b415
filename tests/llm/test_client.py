"""What a failed call of a model means, and what of an answer is fit to be sent."""

import socket

import httpx2
import pytest

import httpjson
from batching.errors import AdminError, PermanentError, TransientError
from httpjson import ANSWER_BYTES_MAX
from llm.client import Endpoint, clean, visible
from tests.http_server import Deed, HttpServer, closed_port, drip, hang, reset, say

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


def outcome(error: AdminError) -> tuple[type[AdminError], str]:
    return type(error), error.code


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (reset, "model_connection"),
        (hang, "model_timeout"),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n", b"\n"), "model_timeout"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (ANSWER_BYTES_MAX + 1)), "model_oversized"),
    ],
    ids=["reset", "silence", "drip", "huge"],
)
def test_call_that_is_not_answered_may_pass(
    http: httpx2.Client, http_server: HttpServer, deed: Deed, code: str
) -> None:
    http_server.answer(deed)

    error = failure(http, http_server.url, timeout_ms=300 if code == "model_timeout" else 5_000)

    assert outcome(error) == (TransientError, code)


def test_refused_connection_may_pass(http: httpx2.Client) -> None:
    error = failure(http, f"http://127.0.0.1:{closed_port()}")

    assert outcome(error) == (TransientError, "model_connection")


def test_connection_that_takes_too_long_is_a_timeout(http: httpx2.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(http, f"https://127.0.0.1:{silent.getsockname()[1]}", timeout_ms=50)

    assert outcome(error) == (TransientError, "model_timeout")


def test_url_that_cannot_be_asked_is_our_fault(http: httpx2.Client) -> None:
    assert outcome(failure(http, "127.0.0.1")) == (PermanentError, "model_request")


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("a\x00b\x1b[31mc\x9bd", "ab[31mcd"),
        ("zero\u200b\u200c\u200d\u2060\ufeffwidth", "zerowidth"),
        ("\u202egnp.exe\u202c \u2066x\u2069\u200e\u200f", "gnp.exe x"),
        ("Hi\U000e0049\U000e0067\U000e006e", "Hi"),
        ("👍\U000e0100\U000e01ef", "👍"),
        ("soft\u00adhyphen\u034f\u3164", "softhyphen"),
        ("private\ue000\U0010fffd", "private"),
        ("a\u2028b\u2029c\r\nd\re\x85f", "a\nb\nc\nd\ne\nf"),
        ("evil\u200d.com, \u200dstart end\u200d", "evil.com, start end"),
        ("👩\u200d\u200d\u200d👧", "👩\u200d👧"),
    ],
)
def test_what_cannot_be_seen_goes(said: str, seen: str) -> None:
    assert visible(said) == seen
    assert visible(visible(said)) == seen


@pytest.mark.parametrize(
    "said",
    [
        "Tab\tand\nline",
        "👩\u200d👩\u200d👧, ❤\ufe0f, 1\ufe0f\u20e3",
        "می\u200cخواهم",
        "क्\u200dष",
        "Ünïcödé, привет, 你好, 안녕",
    ],
)
def test_what_scripts_and_emoji_need_stays(said: str) -> None:
    assert visible(said) == said


def test_answer_of_nothing_visible_is_empty() -> None:
    with pytest.raises(Exception, match="model_empty"):
        clean("\u200b\u2060\U000e0041 \u200d")
