"""What OpenAI's form of API is asked."""

import httpx2
import pytest

from batching.model import Exchange
from llm.prompt import Prompt
from tests.fakes import NOON_MS
from tests.http_server import HttpServer, Reply
from tests.llm.openai_asking import KEY, ask, completion


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


def test_words_of_the_customer_stand_in_no_other_role(
    http: httpx2.Client, answered: HttpServer
) -> None:
    ask(http, answered, [Exchange("words of before", "Yes")])

    roles = {
        message["role"]
        for message in answered.requests[0].json["messages"]
        if "words of before" in message["content"] or "can I book" in message["content"]
    }
    assert roles == {"user"}


def test_history_is_cut_to_the_window(http: httpx2.Client, answered: HttpServer) -> None:
    ask(http, answered, [Exchange(f"q{n}", f"a{n}") for n in range(30)])

    said = [message["content"] for message in answered.requests[0].json["messages"]]
    assert said[1:-1] == [text for n in range(10, 30) for text in (f"q{n}", f"a{n}")]
