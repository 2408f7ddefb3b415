"""Anthropic's messages API."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from batching.errors import UnusableAnswerError
from batching.model import Answer
from config import EnvName, Url
from llm.client import HttpModel, RemoteModel, malformed, text_of
from llm.handover import DESCRIPTION, NAME, PARAMETERS, of_call

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


class Anthropic(HttpModel):
    """The dialect of Anthropic."""

    path = "/v1/messages"

    def headers(self, key: str) -> Mapping[str, str]:
        """Return the key's and the version's header."""
        return {"x-api-key": key, "anthropic-version": API_VERSION}

    def request(self, messages: Sequence[Mapping[str, str]], now_ms: int) -> dict[str, Any]:
        """Return a body whose system text has two parts."""
        standing = {
            "type": "text",
            "text": self.prompt.standing(tools=self.tools),
            # The same at every call: cached input costs a tenth.
            "cache_control": {"type": "ephemeral"},
        }
        tool = {"name": NAME, "description": DESCRIPTION, "input_schema": PARAMETERS}
        return {
            "max_tokens": self.config.output_tokens_max,
            "system": [standing, {"type": "text", "text": self.prompt.moment(now_ms)}],
            "messages": messages,
        } | ({"tools": [tool]} if self.tools else {})

    def read(self, body: object) -> Answer:
        """Return the text of all blocks, and the hand-over if one calls for it."""
        match body:
            case {"content": [*blocks], "stop_reason": str(reason)}:
                pass
            case _:
                raise malformed("content or stop_reason")
        # There is no other tool, whatever its name, and however the rest ended.
        for block in blocks:
            if isinstance(block, dict) and block.get("type") == "tool_use":
                return Answer(text_of(blocks), of_call(block.get("input")))
        if reason not in _WHOLE:
            raise UnusableAnswerError(_ENDED_EARLY.get(reason, "model_unfinished"))
        return Answer(text_of(blocks))
