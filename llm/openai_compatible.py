"""Any API of the form of OpenAI's chat completions: OpenAI, DeepSeek, vLLM, Ollama, Gemini."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import httpx2

from batching.errors import TransientError
from batching.model import Exchange
from llm.client import Endpoint, ask, malformed, whole, words
from llm.prompt import Prompt, dialogue

TokenLimitField = Literal["max_completion_tokens", "max_tokens"]

#: How an answer ends that is whole; some servers leave it out or have a word of their own.
#: Whatever else they say (length, content_filter, insufficient_system_resource) ended it early.
_WHOLE = frozenset({None, "", "stop", "eos", "eos_token", "end_turn", "stop_sequence"})
_ENDED_EARLY = {
    "length": "model_truncated",
    "max_tokens": "model_truncated",
    "content_filter": "model_filtered",
}


class OpenAICompatible:
    """Implements the Model port.

    ``base_url`` ends before ``/chat/completions``. An empty ``api_key`` sends none.
    ``token_limit_field``: OpenAI wants the first, DeepSeek, Ollama and older vLLM the second.
    ``temperature`` None leaves it to the model; reasoning models refuse it.
    """

    def __init__(
        self,
        *,
        prompt: Prompt,
        model: str,
        base_url: str,
        api_key: str,
        http: httpx2.Client,
        timeout_ms: int = 60_000,
        output_tokens_max: int = 800,
        token_limit_field: TokenLimitField = "max_completion_tokens",  # noqa: S107 - counts
        temperature: float | None = None,
    ) -> None:
        self._prompt = prompt
        self._settings: dict[str, Any] = {"model": model, token_limit_field: output_tokens_max}
        if temperature is not None:
            self._settings["temperature"] = temperature
        self._endpoint = Endpoint(
            url=f"{base_url.rstrip('/')}/chat/completions",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            http=http,
            timeout_ms=timeout_ms,
        )

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the model's answer, whole. Raise TransientError or PermanentError."""
        system = {"role": "system", "content": self._prompt.system(now_ms)}

        def body_of(told: Sequence[Exchange]) -> Mapping[str, Any]:
            return self._settings | {"messages": [system, *dialogue(told, turn)]}

        return _read(ask(self._endpoint, history, body_of))


def _read(body: object) -> str:
    match body:
        case {"choices": [{"message": {**message}, **choice}, *_]}:
            pass
        case _:
            raise malformed("choices[0].message")
    if message.get("refusal"):
        raise TransientError("model_refused")
    reason = choice.get("finish_reason")
    if not isinstance(reason, str | None):
        raise malformed("readable finish_reason")
    if reason not in _WHOLE:
        raise TransientError(_ENDED_EARLY.get(reason or "", "model_unfinished"))
    return whole(_text(message.get("content")))


def _text(content: object) -> str:
    """Return the words of a message, "" if it has none; some servers send them in parts."""
    match content:
        case str():
            return content
        case None:
            return ""
        case [*parts]:
            return words(parts)
    raise malformed("readable content")
