"""What each refusal of OpenAI's form of API means, and how an overflow is met."""

import socket
import threading
from typing import Any

import httpx2
import pytest

from batching.errors import PermanentError, TransientError
from batching.model import Exchange
from tests.http_server import HttpServer, Reply, drip, hang, reset, say
from tests.llm.openai_asking import TURN, ask, completion, failure
from tests.llm.refusals import OVERFLOWS, REFUSALS, told


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_says_whether_to_ask_again(
    http: httpx2.Client, http_server: HttpServer, name: str
) -> None:
    http_server.answer(REFUSALS[name].reply)

    assert told(failure(http, http_server)) == REFUSALS[name].expected
    assert len(http_server.requests) == 1


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (hang, "model_timeout"),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n", b"\n"), "model_timeout"),
        (reset, "model_connection"),
    ],
)
def test_failure_of_the_network_may_pass(
    http: httpx2.Client, http_server: HttpServer, deed: Any, code: str
) -> None:
    http_server.answer(deed)

    assert told(failure(http, http_server, timeout_ms=300)) == (TransientError, code, None)


@pytest.mark.parametrize("name", OVERFLOWS)
def test_overflow_is_asked_once_more_with_the_newest_of_the_history(
    http: httpx2.Client, http_server: HttpServer, name: str
) -> None:
    status, body = OVERFLOWS[name]
    http_server.answer(Reply(status, body), Reply(200, completion("Yes.")))

    answer = ask(http, http_server, [Exchange(f"q{n}", f"a{n}") for n in range(6)])

    said = [[m["content"] for m in asked.json["messages"][1:]] for asked in http_server.requests]
    whole = [text for n in range(6) for text in (f"q{n}", f"a{n}")]
    assert answer == "Yes."
    assert said == [[*whole, TURN], ["q4", "a4", "q5", "a5", TURN]]


def test_overflow_twice_is_given_to_a_person(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(*[Reply(*OVERFLOWS["OpenAI"])] * 3)

    with pytest.raises(PermanentError, match=r"^model_context\b"):
        ask(http, http_server, [Exchange("q", "a" * 2_000)])

    assert len(http_server.requests) == 2


def test_overflow_without_history_is_not_asked_again(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    http_server.answer(*[Reply(*OVERFLOWS["OpenAI"])] * 2)

    assert told(failure(http, http_server)) == (PermanentError, "model_context", None)
    assert len(http_server.requests) == 1


def test_second_try_after_an_overflow_has_the_rest_of_the_time(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    def late(line: socket.socket, closed: threading.Event) -> None:
        closed.wait(2)
        say(b"HTTP/1.1 200 OK\r\n\r\n" + Reply(200, completion("Yes.")).content)(line, closed)

    http_server.answer(Reply(*OVERFLOWS["OpenAI"]), late)

    with pytest.raises(TransientError, match=r"^model_timeout\b"):
        ask(http, http_server, [Exchange("q", "a" * 2_000)], timeout_ms=500)

    assert len(http_server.requests) == 2


def test_error_holds_no_words_of_the_other_side(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    """Some servers repeat the request, and so the customer's words, in their errors."""
    repeated = {"error": {"message": f"cannot read: {TURN}", "code": TURN}}
    http_server.answer(Reply(400, repeated))

    assert str(failure(http, http_server)) == "model_400: status 400"
