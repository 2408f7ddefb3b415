"""What a model is asked in each dialect, and what each of its answers means."""

import socket
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from batching.errors import (
    ModelStoppedError,
    PermanentError,
    TransientError,
    UnusableAnswerError,
)
from batching.model import Exchange
from httpjson import ANSWER_BYTES_MAX
from llm.client import HARMLESS
from tests.http_server import Answer, Reply, closed_port, drip, hang, reset
from tests.llm.dialects import KEY, TURN, Api, completion, dialogue, message
from tests.llm.refusals import FILTERED, OVERFLOWS, STOPS, TRANSIENT, UNEXPLAINED, refusal

of_openai = pytest.mark.parametrize("api", ["openai"], indirect=True)
YES = Reply(200, completion("Yes."))
LONG = [Exchange("q", "a" * 2_000)]


def test_whole_request_is_system_text_history_in_order_and_the_turn_as_it_is(api: Api) -> None:
    history = [Exchange("Hello", "Hello!"), Exchange("Open?", "Until 20:00.")]

    answer = api.ask(history=history, temperature=0.5)

    (asked,) = api.server.requests
    assert answer == "Yes."
    assert (asked.method, asked.path) == ("POST", api.dialect.path)
    names = ("authorization", "x-api-key", "anthropic-version")
    assert {name: asked.headers[name] for name in names if name in asked.headers} == (
        api.dialect.headers
    )
    said = dialogue("Hello", "Hello!", "Open?", "Until 20:00.", TURN)
    assert asked.json == api.dialect.request(said) | {"temperature": 0.5}


@of_openai
@pytest.mark.parametrize("base", ["/v1", "/v1/", "/v1beta/openai/"])
def test_path_is_below_the_base_url(api: Api, base: str) -> None:
    api.ask(base_url=api.server.url + base)

    assert api.server.requests[0].path == f"{base.rstrip('/')}/chat/completions"


@of_openai
@pytest.mark.parametrize("without", [{"key": ""}, {"api_key_env": None}])
def test_without_a_key_there_is_no_header_for_it(api: Api, without: dict[str, Any]) -> None:
    api.ask(**without)

    assert "authorization" not in api.server.requests[0].headers


@of_openai
def test_limit_of_tokens_and_its_name_are_the_accounts(api: Api) -> None:
    api.ask(token_limit_field="max_tokens", output_tokens_max=50, temperature=0.0)

    sent = api.server.requests[0].json
    del sent["messages"], sent["tools"]
    assert sent == {"model": "invented-1", "max_tokens": 50, "temperature": 0.0}


def test_history_is_cut_to_the_window(api: Api) -> None:
    api.ask(history=[Exchange(f"q{n}", f"a{n}") for n in range(30)])

    assert api.said() == [[*(text for n in range(10, 30) for text in (f"q{n}", f"a{n}")), TURN]]


PARTS = [
    {"type": "thinking", "thinking": "Hm", "text": "Hm"},
    {"type": "text", "text": "Ye"},
    {"type": "text", "text": "s."},
]


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("openai", completion("\n  Yes. \n")),
        ("openai", completion("Yes.", None)),
        ("openai", completion("Yes.", "eos")),
        ("openai", completion(PARTS)),
        ("openai", completion("Yes.", reasoning_content="The customer asks …")),
        ("openai", completion("<think>The customer\nasks</think>\n\nYes.")),
        ("openai", completion("The customer asks</think>Yes.")),
        ("openai", completion("Y\x00e\x1bs.")),
        ("openai", {"choices": [*completion("Yes.")["choices"], *completion("No.")["choices"]]}),
        ("anthropic", message("Yes.", "stop_sequence")),
        ("anthropic", message("", content=PARTS)),
    ],
    indirect=["api"],
)
def test_answer_is_the_text_of_all_parts_of_the_first_choice(api: Api, body: object) -> None:
    assert api.ask(Reply(200, body)) == "Yes."


def test_lone_surrogate_does_not_reach_the_ledger(api: Api) -> None:
    assert api.ask(Reply(200, api.dialect.whole("Yes\ud83d."))) == "Yes?."


@pytest.mark.parametrize(
    ("api", "body", "code"),
    [
        ("openai", completion("We are open from", "length"), "truncated"),
        ("openai", completion("We are", "content_filter"), "filtered"),
        ("openai", completion(None, "tool_calls"), "unfinished"),
        ("openai", completion("<think>The customer"), "truncated"),
        ("openai", completion(None, refusal="I cannot help with that."), "refused"),
        ("openai", completion("x" * 16_001), "overlong"),
        ("openai", completion(""), "empty"),
        ("openai", completion(" \n\x00"), "empty"),
        ("openai", completion(None), "empty"),
        ("openai", completion([]), "empty"),
        ("openai", completion([None, 3, {"type": "image"}]), "empty"),
        ("openai", completion("We are", "SAFETY"), "unfinished"),
        ("anthropic", message("We are open from", "max_tokens"), "truncated"),
        ("anthropic", message("We are open", "model_context_window_exceeded"), "truncated"),
        ("anthropic", message("I cannot", "refusal"), "refused"),
        ("anthropic", message("Let me look", "tool_use"), "unfinished"),
        ("anthropic", message("Let me look", "pause_turn"), "unfinished"),
        ("anthropic", message(""), "empty"),
        ("anthropic", message("", content=[]), "empty"),
        ("anthropic", message("", content=[None, {"type": "text"}, 3]), "empty"),
    ],
    indirect=["api"],
)
def test_answer_that_cannot_be_used_is_seldom_asked_for_again(
    api: Api, body: object, code: str
) -> None:
    """Each is paid for, and a customer may have caused it."""
    assert api.failure(Reply(200, body)) == (UnusableAnswerError, f"model_{code}", None)


@pytest.mark.parametrize(
    ("api", "body", "code"),
    [
        ("openai", completion("We are", "insufficient_system_resource"), "unfinished"),
        ("openai", completion("We are", "error"), "unfinished"),
        ("openai", completion("We are", "abort"), "unfinished"),
        ("openai", completion(5), "malformed"),
        ("openai", completion("Yes.", 5), "malformed"),
        ("openai", {"choices": []}, "malformed"),
        ("openai", {"choices": None}, "malformed"),
        ("openai", {"choices": [{"message": None}]}, "malformed"),
        ("openai", {"choices": [3]}, "malformed"),
        ("openai", b'{"choices": [{"mess', "malformed"),
        ("anthropic", message("Yes.", None), "malformed"),
        ("anthropic", message("", content="Yes."), "malformed"),
    ],
    indirect=["api"],
)
def test_answer_that_a_fault_of_the_server_spoiled_may_pass(
    api: Api, body: object, code: str
) -> None:
    assert api.failure(Reply(200, body)) == (TransientError, f"model_{code}", None)


@pytest.mark.parametrize("body", [{}, [], 3, b"", b"<html>busy</html>"], ids=repr)
def test_answer_of_no_known_form_is_asked_for_again(api: Api, body: object) -> None:
    assert api.failure(Reply(200, body)) == (TransientError, "model_malformed", None)


@pytest.mark.parametrize("name", STOPS)
def test_refusal_of_the_account_stops_its_model(api: Api, name: str) -> None:
    reply, code = STOPS[name]

    assert api.failure(reply) == (ModelStoppedError, code, None)
    assert len(api.server.requests) == 1


@pytest.mark.parametrize("name", FILTERED)
def test_refusal_of_a_customers_words_stops_nobody_else(api: Api, name: str) -> None:
    assert api.failure(FILTERED[name]) == (PermanentError, "model_filtered", None)
    assert len(api.server.requests) == 1


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_refusal_without_a_reason_is_the_accounts_if_a_harmless_question_is_refused(
    api: Api, name: str
) -> None:
    """No customer can stop an account by what they write."""
    reply, code = UNEXPLAINED[name]
    past = [Exchange("q", "a")]

    assert api.failure(reply, reply, history=past) == (ModelStoppedError, code, None)
    whole = Reply(200, api.dialect.whole("Hello!"))
    error, same, _ = api.failure(reply, whole, history=past)
    assert (issubclass(error, PermanentError), same) == (True, code)
    assert api.said() == [["q", "a", TURN], [HARMLESS]] * 2


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        (refusal(503), (TransientError, "model_503", None)),
        (refusal(429, "insufficient_quota"), (ModelStoppedError, "model_quota", None)),
    ],
)
def test_harmless_question_that_fails_otherwise_says_why(
    api: Api, second: Reply, outcome: tuple[type[Exception], str, None]
) -> None:
    assert api.failure(refusal(400), second) == outcome


@pytest.mark.parametrize(
    ("reply", "is_free"),
    [(refusal(503), True), (refusal(401), True), (refusal(200, "oops"), False)],
)
def test_question_that_was_refused_is_free(api: Api, reply: Reply, *, is_free: bool) -> None:
    with pytest.raises(TransientError) as caught:
        api.ask(reply)

    assert caught.value.free is is_free


@pytest.mark.parametrize("name", TRANSIENT)
def test_refusal_for_now_may_pass(api: Api, name: str) -> None:
    reply, code = TRANSIENT[name]

    assert api.failure(reply) == (TransientError, code, None)
    assert len(api.server.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers", "wait_ms"),
    [
        (429, {"Retry-After": "7"}, 7_000),
        (429, {"Retry-After": "soon"}, None),
        (503, {"Retry-After": "3"}, 3_000),
    ],
)
def test_refusal_for_now_says_how_long_to_wait(
    api: Api, status: int, headers: dict[str, str], wait_ms: int | None
) -> None:
    outcome = api.failure(refusal(status, **headers))

    assert outcome == (TransientError, f"model_{status}", wait_ms)


@of_openai
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(reset, "connection", id="reset"),
        pytest.param(hang, "timeout", id="silence"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n\r\n", b"\n"), "timeout", id="drip"),
        pytest.param(Reply(200, b" " * (ANSWER_BYTES_MAX + 1)), "oversized", id="huge"),
    ],
)
def test_call_that_is_not_answered_may_pass(api: Api, answer: Answer, code: str) -> None:
    timeout_ms = 300 if code == "timeout" else 5_000

    outcome = api.failure(answer, timeout_ms=timeout_ms)

    assert outcome == (TransientError, f"model_{code}", None)


@of_openai
def test_refused_connection_may_pass(api: Api) -> None:
    outcome = api.failure(base_url=f"http://127.0.0.1:{closed_port()}")

    assert outcome == (TransientError, "model_connection", None)


@of_openai
def test_connection_that_takes_too_long_is_a_timeout(api: Api) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        outcome = api.failure(base_url=url, timeout_ms=50)

    assert outcome == (TransientError, "model_timeout", None)


@of_openai
def test_url_that_cannot_be_asked_is_our_fault(api: Api) -> None:
    assert api.failure(base_url="127.0.0.1") == (ModelStoppedError, "model_request", None)


@pytest.mark.parametrize("name", OVERFLOWS)
def test_overflow_is_asked_once_more_with_the_newest_of_the_history(api: Api, name: str) -> None:
    whole = Reply(200, api.dialect.whole("Yes."))

    answer = api.ask(OVERFLOWS[name], whole, history=[Exchange(f"q{n}", f"a{n}") for n in range(6)])

    everything = [text for n in range(6) for text in (f"q{n}", f"a{n}")]
    assert answer == "Yes."
    assert api.said() == [[*everything, TURN], [*everything[-4:], TURN]]


def test_overflow_twice_is_given_to_a_person(api: Api) -> None:
    outcome = api.failure(*[OVERFLOWS["OpenAI"]] * 3, history=LONG)

    assert outcome == (PermanentError, "model_context", None)
    assert len(api.server.requests) == 2


def test_overflow_without_history_is_not_asked_again(api: Api) -> None:
    outcome = api.failure(*[OVERFLOWS["OpenAI"]] * 2)

    assert outcome == (PermanentError, "model_context", None)
    assert len(api.server.requests) == 1


@of_openai
def test_second_try_after_an_overflow_has_the_rest_of_the_time(api: Api) -> None:
    limits: list[float] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        limits.append(request.extensions["timeout"]["read"])
        reply = OVERFLOWS["OpenAI"] if len(limits) == 1 else YES
        return httpx2.Response(reply.status, content=reply.content)

    with httpx2.Client(transport=httpx2.MockTransport(note)) as http:
        answer = replace(api, http=http).ask(history=LONG, timeout_ms=5_000)

    assert answer == "Yes."
    assert limits[0] == 5.0
    assert 0 < limits[1] < 5.0


def test_error_holds_no_words_of_the_other_side(api: Api) -> None:
    """Some servers repeat the request, and so the customer's words, in their errors."""
    with pytest.raises(PermanentError) as caught:
        api.ask(refusal(400, TURN, message=f"cannot read: {TURN} {KEY}"))

    assert str(caught.value) == "model_400: status 400"
