"""Anthropic's messages API."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from batching.errors import TransientError
from batching.model import Exchange
from llm.client import Endpoint, ask, malformed, whole, words
from llm.prompt import Prompt, dialogue

API_VERSION = "2023-06-01"

_WHOLE = frozenset({"end_turn", "stop_sequence"})
_ENDED_EARLY = {
    "max_tokens": "model_truncated",
    "model_context_window_exceeded": "model_truncated",
    "refusal": "model_refused",
}


class Anthropic:
    """Implements the Model port. ``base_url`` ends before ``/v1/messages``.

    ``temperature`` None leaves it to the model.
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
        temperature: float | None = None,
    ) -> None:
        self._prompt = prompt
        self._settings: dict[str, Any] = {"model": model, "max_tokens": output_tokens_max}
        if temperature is not None:
            self._settings["temperature"] = temperature
        self._endpoint = Endpoint(
            url=f"{base_url.rstrip('/')}/v1/messages",
            headers={"x-api-key": api_key, "anthropic-version": API_VERSION},
            http=http,
            timeout_ms=timeout_ms,
        )

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the model's answer, whole. Raise TransientError or PermanentError."""
        system = [
            # The same at every call: what is cached of it costs a tenth.
            {
                "type": "text",
                "text": self._prompt.standing(),
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "text", "text": self._prompt.moment(now_ms)},
        ]

        def body_of(told: Sequence[Exchange]) -> Mapping[str, Any]:
            return self._settings | {"system": system, "messages": dialogue(told, turn)}

        return _read(ask(self._endpoint, history, body_of))


def _read(body: object) -> str:
    match body:
        case {"content": [*blocks], "stop_reason": str(reason)}:
            pass
        case _:
            raise malformed("content or stop_reason")
    if reason not in _WHOLE:
        raise TransientError(_ENDED_EARLY.get(reason, "model_unfinished"))
    return whole(words(blocks))
