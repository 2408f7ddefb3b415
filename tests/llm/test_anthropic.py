"""What Anthropic's messages API is asked, and what each of its answers means."""

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from batching.errors import AdminError, TransientError
from batching.model import Exchange
from llm.anthropic import Anthropic, AnthropicModel
from llm.prompt import Prompt
from tests.fakes import NOON_MS
from tests.http_server import HttpServer, Reply
from tests.llm.refusals import OVERFLOWS, REFUSALS, outcome

PROMPT = Prompt(business="Haircut: 35 EUR", language="en", timezone="UTC")
KEY = "key-of-the-tests"
TURN = "Hi\ncan I book\nfor tomorrow 15:00?"


def message(text: str, stop_reason: object = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_invented",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def ask(
    http: httpx2.Client, server: HttpServer, history: Sequence[Exchange] = (), **settings: Any
) -> str:
    prompt = settings.pop("prompt", PROMPT)
    config = AnthropicModel(
        provider="anthropic",
        model="invented-2",
        base_url=server.url,
        api_key_env="KEY",
        timeout_ms=5_000,
    )
    # Not checked again: tests wait for less than an account may ask for.
    config = config.model_copy(update=settings)
    model = Anthropic(config=config, secrets={"KEY": KEY}, prompt=prompt, http=http)
    return model.answer(history, TURN, now_ms=NOON_MS)


def failure(http: httpx2.Client, server: HttpServer, **settings: Any) -> AdminError:
    with pytest.raises(AdminError) as caught:
        ask(http, server, **settings)
    return caught.value


def test_whole_request_is_system_text_history_in_order_and_the_turn_as_it_is(
    http: httpx2.Client, http_server: HttpServer, prompt: Prompt
) -> None:
    http_server.answer(Reply(200, message("Yes.")))

    answer = ask(http, http_server, [Exchange("Hello", "Hello!")], prompt=prompt, temperature=0.5)

    asked = http_server.requests[0]
    assert answer == "Yes."
    assert asked.json == {
        "model": "invented-2",
        "max_tokens": 800,
        "temperature": 0.5,
        "system": [
            {
                "type": "text",
                "text": prompt.standing(),
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "text", "text": prompt.moment(NOON_MS)},
        ],
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Hi\ncan I book\nfor tomorrow 15:00?"},
        ],
    }


def test_key_and_version_go_into_their_headers(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    http_server.answer(Reply(200, message("Yes.")))

    ask(http, http_server)

    asked = http_server.requests[0]
    assert (asked.method, asked.path) == ("POST", "/v1/messages")
    assert asked.headers["x-api-key"] == KEY
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    "body",
    [
        message("Yes."),
        message("Yes.", "stop_sequence"),
        message("Yes.")
        | {
            "content": [
                {"type": "thinking", "thinking": "Hm"},
                {"type": "text", "text": "Y"},
                {"type": "text", "text": "es."},
            ]
        },
    ],
)
def test_answer_is_the_text_of_all_blocks(
    http: httpx2.Client, http_server: HttpServer, body: object
) -> None:
    http_server.answer(Reply(200, body))

    assert ask(http, http_server) == "Yes."


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (message("We are open from", "max_tokens"), "model_truncated"),
        (message("We are open", "model_context_window_exceeded"), "model_truncated"),
        (message("I cannot", "refusal"), "model_refused"),
        (message("Let me look", "tool_use"), "model_unfinished"),
        (message("Let me look", "pause_turn"), "model_unfinished"),
        (message("Yes.", None), "model_malformed"),
        (message(""), "model_empty"),
        (message("Yes.") | {"content": []}, "model_empty"),
        (message("Yes.") | {"content": [None, {"type": "text"}, 3]}, "model_empty"),
        (message("Yes.") | {"content": "Yes."}, "model_malformed"),
        ({}, "model_malformed"),
        ([], "model_malformed"),
        (b"", "model_malformed"),
        (b"<html>busy</html>", "model_malformed"),
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


def test_overflow_is_asked_once_more_with_the_newest_of_the_history(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    http_server.answer(Reply(*OVERFLOWS["Anthropic"]), Reply(200, message("Yes.")))

    answer = ask(http, http_server, [Exchange(f"q{n}", f"a{n}") for n in range(6)])

    said = [[m["content"] for m in asked.json["messages"]] for asked in http_server.requests]
    assert answer == "Yes."
    assert said[1] == ["q4", "a4", "q5", "a5", TURN]
