"""OpenAI's chat completions API, which DeepSeek, Gemini, vLLM, Ollama and others offer too."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import httpx2

from batching.errors import TransientError
from batching.model import Exchange
from config import EnvName, Url
from llm.client import Endpoint, RemoteModel, ask, clean, malformed, text_of
from llm.prompt import Prompt, dialogue

#: The reasons with which a whole answer ends; some servers send none, or a word of their own.
#: With any other (length, content_filter, insufficient_system_resource) it ended early.
_WHOLE = frozenset({None, "", "stop", "eos", "eos_token", "end_turn", "stop_sequence"})
_ENDED_EARLY = {
    "length": "model_truncated",
    "max_tokens": "model_truncated",
    "content_filter": "model_filtered",
}


class OpenAICompatibleModel(RemoteModel):
    """``base_url`` ends before ``/chat/completions``. Without ``api_key_env`` no key is sent.

    ``token_limit_field``: OpenAI wants the first; DeepSeek, Ollama and older vLLM the second.
    """

    provider: Literal["openai_compatible"]
    base_url: Url = "https://api.openai.com/v1"
    api_key_env: EnvName | None = None
    token_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"  # noqa: S105 - counts, opens nothing


class OpenAICompatible:
    """Implements the Model port. ``secrets``: values by the name of their variable."""

    def __init__(
        self,
        *,
        config: OpenAICompatibleModel,
        secrets: Mapping[str, str],
        prompt: Prompt,
        http: httpx2.Client,
    ) -> None:
        self._prompt = prompt
        self._settings: dict[str, Any] = {
            "model": config.model,
            config.token_limit_field: config.output_tokens_max,
        }
        if config.temperature is not None:
            self._settings["temperature"] = config.temperature
        key = secrets[config.api_key_env] if config.api_key_env else ""
        self._endpoint = Endpoint(
            url=f"{config.base_url.rstrip('/')}/chat/completions",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            http=http,
            timeout_ms=config.timeout_ms,
        )

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the model's answer, whole. Raise TransientError or PermanentError."""
        system = {"role": "system", "content": self._prompt.system(now_ms)}

        def body_of(kept: Sequence[Exchange]) -> Mapping[str, Any]:
            return self._settings | {"messages": [system, *dialogue(kept, turn)]}

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
    match message.get("content"):
        case str(text):
            return clean(text)
        case None:
            return clean("")
        case [*parts]:
            # Some servers send the text in parts.
            return clean(text_of(parts))
    raise malformed("readable content")
