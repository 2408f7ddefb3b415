"""Asks OpenAI's form of API on loopback, as the tests of it do."""

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from batching.errors import AdminError
from batching.model import Exchange
from llm.openai_compatible import OpenAICompatible, OpenAICompatibleModel
from llm.prompt import Prompt
from tests.fakes import NOON_MS
from tests.http_server import HttpServer

PROMPT = Prompt(business="Haircut: 35 EUR", language="en", timezone="UTC")
KEY = "key-of-the-tests"
TURN = "Hi\ncan I book\nfor tomorrow 15:00?"


def completion(
    content: object, finish_reason: object = "stop", **message: object
) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, "refusal": None} | message
    return {
        "id": "chatcmpl-invented",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def model(http: httpx2.Client, server: HttpServer, **settings: Any) -> OpenAICompatible:
    """Return a model; ``settings`` are its keys in the accounts file, ``prompt`` and ``key``."""
    prompt = settings.pop("prompt", PROMPT)
    secrets = {"KEY": settings.pop("key", KEY)}
    config = OpenAICompatibleModel(
        provider="openai_compatible",
        model="invented-1",
        base_url=f"{server.url}/v1",
        api_key_env="KEY",
        timeout_ms=5_000,
    )
    # Not checked again: tests wait for less than an account may ask for.
    config = config.model_copy(update=settings)
    return OpenAICompatible(config=config, secrets=secrets, prompt=prompt, http=http)


def ask(
    http: httpx2.Client, server: HttpServer, history: Sequence[Exchange] = (), **settings: Any
) -> str:
    return model(http, server, **settings).answer(history, TURN, now_ms=NOON_MS)


def failure(http: httpx2.Client, server: HttpServer, **settings: Any) -> AdminError:
    with pytest.raises(AdminError) as caught:
        ask(http, server, **settings)
    return caught.value
