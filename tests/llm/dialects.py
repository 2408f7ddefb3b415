"""Both dialects of a model, asked on loopback: their requests, and their whole answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from batching.errors import AdminError
from batching.model import Exchange
from llm.anthropic import Anthropic, AnthropicModel
from llm.client import HttpModel, RemoteModel
from llm.handover import DESCRIPTION, NAME, PARAMETERS
from llm.openai_compatible import OpenAICompatible, OpenAICompatibleModel
from llm.prompt import Prompt
from tests.fakes import NOON_MS
from tests.http_server import Answer, HttpServer, Reply

PROMPT = Prompt(business="Haircut: 35 EUR", language="en", timezone="Europe/Berlin")
KEY = "key-of-the-tests"
TURN = "Hi\ncan I book\nfor tomorrow 15:00?"
#: What hands over, as both dialects name it.
TOOL = {"name": NAME, "description": DESCRIPTION}
#: Of a model; the base URL is put in when the server listens.
KEYS: Any = {"model": "invented-1", "api_key_env": "KEY", "timeout_ms": 5_000}


def completion(
    content: object, finish_reason: object = "stop", **message: object
) -> dict[str, Any]:
    """Return an answer of OpenAI's."""
    said = {"role": "assistant", "content": content, "refusal": None} | message
    return {
        "id": "chatcmpl-invented",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def message(text: object, stop_reason: object = "end_turn", **fields: object) -> dict[str, Any]:
    """Return an answer of Anthropic's."""
    return {
        "id": "msg_invented",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    } | fields


def openai_request(messages: Sequence[object]) -> dict[str, Any]:
    """Return what OpenAI is asked about ``messages``."""
    system = {"role": "system", "content": PROMPT.system(NOON_MS)}
    return {
        "model": "invented-1",
        "max_completion_tokens": 800,
        "messages": [system, *messages],
        "tools": [{"type": "function", "function": TOOL | {"parameters": PARAMETERS}}],
    }


def anthropic_request(messages: Sequence[object]) -> dict[str, Any]:
    """Return what Anthropic is asked about ``messages``."""
    standing = {
        "type": "text",
        "text": PROMPT.standing(),
        "cache_control": {"type": "ephemeral"},
    }
    return {
        "model": "invented-1",
        "max_tokens": 800,
        "system": [standing, {"type": "text", "text": PROMPT.moment(NOON_MS)}],
        "messages": list(messages),
        "tools": [TOOL | {"input_schema": PARAMETERS}],
    }


def dialogue(*texts: str) -> list[dict[str, str]]:
    """Return messages of the customer and the model in turns."""
    return [
        {"role": ("user", "assistant")[number % 2], "content": text}
        for number, text in enumerate(texts)
    ]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A model with the keys of its account, what it sends, and what it is answered."""

    model: type[HttpModel]
    config: RemoteModel
    path: str
    headers: Mapping[str, str]
    request: Callable[[Sequence[object]], dict[str, Any]]
    whole: Callable[[str], dict[str, Any]]


DIALECTS = {
    "openai": Dialect(
        OpenAICompatible,
        OpenAICompatibleModel(provider="openai_compatible", **KEYS),
        "/v1/chat/completions",
        {"authorization": f"Bearer {KEY}"},
        openai_request,
        completion,
    ),
    "anthropic": Dialect(
        Anthropic,
        AnthropicModel(provider="anthropic", **KEYS),
        "/v1/messages",
        {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
        anthropic_request,
        message,
    ),
}


@dataclass(frozen=True, slots=True)
class Api:
    """A server that speaks a dialect, and words for asking it."""

    dialect: Dialect
    http: httpx2.Client
    server: HttpServer

    def model(self, *, key: str = KEY, **settings: object) -> HttpModel:
        """Return a model that asks the server; ``settings`` are its keys in the accounts file."""
        base = self.dialect.path.removesuffix(self.dialect.model.path)
        # Not checked again: tests wait for less than an account may ask for.
        config = self.dialect.config.model_copy(
            update={"base_url": self.server.url + base} | settings
        )
        return self.dialect.model(
            config=config, secrets={"KEY": key}, prompt=PROMPT, http=self.http
        )

    def ask(
        self,
        *answers: Answer,
        history: Sequence[Exchange] = (),
        turn: str = TURN,
        **settings: Any,
    ) -> str:
        """Return what the model makes of these answers; without any, of a whole one."""
        self.server.answer(*answers or [Reply(200, self.dialect.whole("Yes."))])
        return self.model(**settings).answer(history, turn, now_ms=NOON_MS).text

    def failure(self, *answers: Answer, **asked: Any) -> tuple[type[AdminError], str, int | None]:
        """Return what the flow acts upon: the error's class, code and wait in ms."""
        with pytest.raises(AdminError) as caught:
            self.ask(*answers, **asked)
        error = caught.value
        return type(error), error.code, getattr(error, "retry_after_ms", None)

    def said(self) -> list[list[str]]:
        """Return the texts of each request, without the system's."""
        return [
            [one["content"] for one in asked.json["messages"] if one["role"] != "system"]
            for asked in self.server.requests
        ]
