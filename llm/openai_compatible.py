"""OpenAI's chat completions API, which DeepSeek, Gemini, vLLM, Ollama and others offer too."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from batching.errors import TransientError, UnusableAnswerError
from batching.model import Answer, Handover
from config import Url
from llm.client import HttpModel, RemoteModel, malformed, text_of
from llm.handover import DESCRIPTION, NAME, PARAMETERS, of_call

#: The reasons with which a whole answer ends; some servers send none, or a word of their own.
#: With any other (length, content_filter) it ended early.
_WHOLE = frozenset({None, "", "stop", "eos", "eos_token", "end_turn", "stop_sequence"})
#: The reasons of a server that could not go on (DeepSeek, OpenRouter, vLLM): that may pass.
_SERVER_FAILED = frozenset({"insufficient_system_resource", "error", "abort"})
_ENDED_EARLY = {
    "length": "model_truncated",
    "max_tokens": "model_truncated",
    "content_filter": "model_filtered",
}


class OpenAICompatibleModel(RemoteModel):
    """``base_url`` ends before ``/chat/completions``.

    ``token_limit_field``: OpenAI wants the first; DeepSeek, Ollama and older vLLM the second.
    """

    provider: Literal["openai_compatible"]
    base_url: Url = "https://api.openai.com/v1"
    token_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"  # noqa: S105 - counts, opens nothing


class OpenAICompatible(HttpModel):
    """The dialect of OpenAI."""

    path = "/chat/completions"
    config: OpenAICompatibleModel

    def headers(self, key: str) -> Mapping[str, str]:
        """Return the header with the key."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def request(self, messages: Sequence[Mapping[str, str]], now_ms: int) -> dict[str, Any]:
        """Return a body whose first message is the system text."""
        system = self.prompt.system(now_ms, tools=self.tools)
        tool = {"name": NAME, "description": DESCRIPTION, "parameters": PARAMETERS}
        return {
            self.config.token_limit_field: self.config.output_tokens_max,
            "messages": [{"role": "system", "content": system}, *messages],
        } | ({"tools": [{"type": "function", "function": tool}]} if self.tools else {})

    def read(self, body: object) -> Answer:
        """Return the text of the first choice, and the hand-over if it calls for one."""
        match body:
            case {"choices": [{"message": {**message}, **choice}, *_]}:
                pass
            case _:
                raise malformed("choices[0].message")
        if message.get("refusal"):
            raise UnusableAnswerError("model_refused")
        if calls := message.get("tool_calls"):
            # However the rest of it ended: a person is to go on.
            text = message.get("content")
            return Answer(text if isinstance(text, str) else "", _called(calls))
        reason = choice.get("finish_reason")
        if not isinstance(reason, str | None):
            raise malformed("readable finish_reason")
        if reason in _SERVER_FAILED:
            raise TransientError("model_unfinished")
        if reason not in _WHOLE:
            raise UnusableAnswerError(_ENDED_EARLY.get(reason or "", "model_unfinished"))
        match message.get("content"):
            case str(text):
                return Answer(text)
            case None:
                return Answer("")
            case [*parts]:
                # Some servers send the text in parts.
                return Answer(text_of(parts))
        raise malformed("readable content")


def _called(calls: object) -> Handover:
    """Return the hand-over of the first call: there is no other tool, whatever its name."""
    match calls:
        case [{"function": {"arguments": arguments}}, *_]:
            return of_call(arguments)
    return Handover()
