"""What OpenAI's form of API is asked, and what each of its answers means."""

import socket
import threading

import httpx2
import pytest

from batching.errors import PermanentError, TransientError
from batching.model import Exchange
from llm.prompt import Prompt
from tests.fakes import NOON_MS
from tests.http_server import HttpServer, Reply, say
from tests.llm.openai_asking import KEY, TURN, ask, completion, failure
from tests.llm.refusals import OVERFLOWS, REFUSALS, outcome


@pytest.fixture
def answered(http_server: HttpServer) -> HttpServer:
    http_server.answer(Reply(200, completion("At 15:00? Which service?")))
    return http_server


def test_whole_request_is_system_text_history_in_order_and_the_turn_as_it_is(
    http: httpx2.Client, answered: HttpServer, prompt: Prompt
) -> None:
    history = [Exchange("Hello", "Hello!"), Exchange("Open?", "Until 20:00.")]

    answer = ask(http, answered, history, prompt=prompt)

    assert answer == "At 15:00? Which service?"
    assert [asked.json for asked in answered.requests] == [
        {
            "model": "invented-1",
            "max_completion_tokens": 800,
            "messages": [
                {"role": "system", "content": prompt.system(NOON_MS)},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": "Open?"},
                {"role": "assistant", "content": "Until 20:00."},
                {"role": "user", "content": "Hi\ncan I book\nfor tomorrow 15:00?"},
            ],
        }
    ]


@pytest.mark.parametrize("base", ["/v1", "/v1/", "/v1beta/openai/"])
def test_path_is_below_the_base_url(http: httpx2.Client, answered: HttpServer, base: str) -> None:
    ask(http, answered, base_url=answered.url + base)

    assert answered.requests[0].path == f"{base.rstrip('/')}/chat/completions"


@pytest.mark.parametrize(("key", "header"), [(KEY, f"Bearer {KEY}"), ("", None)])
def test_key_goes_into_its_header_if_there_is_one(
    http: httpx2.Client, answered: HttpServer, key: str, header: str | None
) -> None:
    ask(http, answered, key=key)

    assert answered.requests[0].headers.get("authorization") == header


def test_settings_of_the_account_are_sent(http: httpx2.Client, answered: HttpServer) -> None:
    ask(http, answered, token_limit_field="max_tokens", output_tokens_max=50, temperature=0.0)

    sent = answered.requests[0].json
    del sent["messages"]
    assert sent == {"model": "invented-1", "max_tokens": 50, "temperature": 0.0}


def test_history_is_cut_to_the_window(http: httpx2.Client, answered: HttpServer) -> None:
    ask(http, answered, [Exchange(f"q{n}", f"a{n}") for n in range(30)])

    said = [message["content"] for message in answered.requests[0].json["messages"]]
    assert said[1:-1] == [text for n in range(10, 30) for text in (f"q{n}", f"a{n}")]


@pytest.mark.parametrize(
    "body",
    [
        completion("Yes."),
        completion("\n  Yes. \n"),
        completion("Yes.", None),
        completion("Yes.", "eos"),
        completion([{"type": "thinking", "text": "Hm"}, {"type": "text", "text": "Yes."}]),
        completion("Yes.", reasoning_content="The customer asks …"),
        completion("<think>The customer\nasks</think>\n\nYes."),
        completion("The customer asks</think>Yes."),
        completion("Y\x00e\x1bs."),
        {"choices": [*completion("Yes.")["choices"], *completion("No.")["choices"]]},
    ],
)
def test_answer_is_the_words_of_the_first_choice(
    http: httpx2.Client, http_server: HttpServer, body: object
) -> None:
    http_server.answer(Reply(200, body))

    assert ask(http, http_server) == "Yes."


def test_answer_after_blank_lines_is_read(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(Reply(200, b"\n\n\n" + Reply(200, completion("Yes.")).content))

    assert ask(http, http_server) == "Yes."


def test_lone_surrogate_does_not_reach_the_ledger(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    http_server.answer(Reply(200, completion("Yes\ud83d.")))

    assert ask(http, http_server) == "Yes?."


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (completion("We are open from", "length"), "model_truncated"),
        (completion("We are", "content_filter"), "model_filtered"),
        (completion("We are", "insufficient_system_resource"), "model_unfinished"),
        (completion(None, "tool_calls"), "model_unfinished"),
        (completion("<think>The customer"), "model_truncated"),
        (completion(None, refusal="I cannot help with that."), "model_refused"),
        (completion("x" * 16_001), "model_overlong"),
        (completion(""), "model_empty"),
        (completion(" \n\x00"), "model_empty"),
        (completion(None), "model_empty"),
        (completion([]), "model_empty"),
        (completion([None, 3, {"type": "image"}]), "model_empty"),
        (completion(5), "model_malformed"),
        (completion("Yes.", 5), "model_malformed"),
        ({"choices": []}, "model_malformed"),
        ({"choices": None}, "model_malformed"),
        ({"choices": [{"message": None}]}, "model_malformed"),
        ({"choices": [3]}, "model_malformed"),
        ({}, "model_malformed"),
        ([], "model_malformed"),
        (3, "model_malformed"),
        (b"", "model_malformed"),
        (b"<html>busy</html>", "model_malformed"),
        (b'{"choices": [{"mess', "model_malformed"),
    ],
)
def test_answer_that_is_not_whole_is_asked_for_again(
    http: httpx2.Client, http_server: HttpServer, body: object, code: str
) -> None:
    http_server.answer(Reply(200, body))

    assert outcome(failure(http, http_server)) == (TransientError, code, None)


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_says_whether_to_ask_again(
    http: httpx2.Client, http_server: HttpServer, name: str
) -> None:
    http_server.answer(REFUSALS[name].reply)

    assert outcome(failure(http, http_server)) == REFUSALS[name].expected
    assert len(http_server.requests) == 1


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

    assert outcome(failure(http, http_server)) == (PermanentError, "model_context", None)
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
