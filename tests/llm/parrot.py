"""Parrot, an invented model API: a whole model in one file, as CONTRIBUTING's recipe has it.

POST /speak with ``{"model", "system", "messages", "limit"}`` answers ``{"speech": "Yes."}``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from batching.model import Answer
from config import EnvName
from llm import ModelProvider
from llm.client import HttpModel, RemoteModel, malformed


class ParrotModel(RemoteModel):
    """The keys of ``[account.model]``."""

    provider: Literal["parrot"]
    api_key_env: EnvName


class Parrot(HttpModel):
    """The dialect of parrots."""

    path = "/speak"

    def headers(self, key: str) -> Mapping[str, str]:
        """Return the header with the key."""
        return {"X-Parrot-Key": key}

    def request(self, messages: Sequence[Mapping[str, str]], now_ms: int) -> dict[str, Any]:
        """Return the body of a question."""
        return {
            "system": self.prompt.system(now_ms, tools=False),
            "messages": messages,
            "limit": self.config.output_tokens_max,
        }

    def read(self, body: object) -> Answer:
        """Return the text of a reply."""
        match body:
            case {"speech": str(text)}:
                return Answer(text)
        raise malformed("speech")


PARROT = ModelProvider(ParrotModel, Parrot)
