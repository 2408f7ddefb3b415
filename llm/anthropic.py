"""Anthropic's messages API."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import httpx2

from batching.errors import TransientError
from batching.model import Exchange
from config import EnvName, Url
from llm.client import Endpoint, RemoteModel, ask, clean, malformed, text_of
from llm.prompt import Prompt, dialogue

API_VERSION = "2023-06-01"

_WHOLE = frozenset({"end_turn", "stop_sequence"})
_ENDED_EARLY = {
    "max_tokens": "model_truncated",
    "model_context_window_exceeded": "model_truncated",
    "refusal": "model_refused",
}


class AnthropicModel(RemoteModel):
    """``base_url`` ends before ``/v1/messages``."""

    provider: Literal["anthropic"]
    base_url: Url = "https://api.anthropic.com"
    api_key_env: EnvName


class Anthropic:
    """Implements the Model port. ``secrets``: values by the name of their variable."""

    def __init__(
        self,
        *,
        config: AnthropicModel,
        secrets: Mapping[str, str],
        prompt: Prompt,
        http: httpx2.Client,
    ) -> None:
        self._prompt = prompt
        self._settings: dict[str, Any] = {
            "model": config.model,
            "max_tokens": config.output_tokens_max,
        }
        if config.temperature is not None:
            self._settings["temperature"] = config.temperature
        self._endpoint = Endpoint(
            url=f"{config.base_url.rstrip('/')}/v1/messages",
            headers={
                "x-api-key": secrets[config.api_key_env],
                "anthropic-version": API_VERSION,
            },
            http=http,
            timeout_ms=config.timeout_ms,
        )

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the model's answer, whole. Raise TransientError or PermanentError."""
        standing = {
            "type": "text",
            "text": self._prompt.standing(),
            # The same at every call: cached input costs a tenth.
            "cache_control": {"type": "ephemeral"},
        }
        system = [standing, {"type": "text", "text": self._prompt.moment(now_ms)}]

        def body_of(kept: Sequence[Exchange]) -> Mapping[str, Any]:
            return self._settings | {"system": system, "messages": dialogue(kept, turn)}

        return _read(ask(self._endpoint, history, body_of))


def _read(body: object) -> str:
    match body:
        case {"content": [*blocks], "stop_reason": str(reason)}:
            pass
        case _:
            raise malformed("content or stop_reason")
    if reason not in _WHOLE:
        raise TransientError(_ENDED_EARLY.get(reason, "model_unfinished"))
    return clean(text_of(blocks))
