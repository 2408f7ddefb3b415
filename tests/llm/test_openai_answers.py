"""What each answer of OpenAI's form of API means."""

import httpx2
import pytest

from batching.errors import TransientError
from tests.http_server import HttpServer, Reply
from tests.llm.openai_asking import ask, completion, failure
from tests.llm.refusals import told


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

    assert told(failure(http, http_server)) == (TransientError, code, None)
