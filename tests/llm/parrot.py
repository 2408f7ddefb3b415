"""Parrot, an invented model API: a whole model in one file, as CONTRIBUTING's recipe has it.

POST /speak with ``{"system", "messages", "limit"}`` answers ``{"speech": "Yes."}``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import httpx2

from batching.model import Exchange
from config import EnvName, Url
from llm import ModelProvider
from llm.client import Endpoint, RemoteModel, ask, clean, malformed
from llm.prompt import Prompt, dialogue


class ParrotModel(RemoteModel):
    """The keys of ``[account.model]``."""

    provider: Literal["parrot"]
    base_url: Url
    api_key_env: EnvName


class Parrot:
    """Implements the Model port."""

    def __init__(
        self,
        *,
        config: ParrotModel,
        secrets: Mapping[str, str],
        prompt: Prompt,
        http: httpx2.Client,
    ) -> None:
        self._prompt = prompt
        self._limit = config.output_tokens_max
        headers = {"X-Parrot-Key": secrets[config.api_key_env]}
        self._endpoint = Endpoint(f"{config.base_url}/speak", headers, http, config.timeout_ms)

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the model's answer, whole. Raise TransientError or PermanentError."""

        def body_of(kept: Sequence[Exchange]) -> Mapping[str, Any]:
            messages = dialogue(kept, turn)
            return {
                "system": self._prompt.system(now_ms),
                "messages": messages,
                "limit": self._limit,
            }

        match ask(self._endpoint, history, body_of):
            case {"speech": str(text)}:
                return clean(text)
        raise malformed("speech")


PARROT = ModelProvider(ParrotModel, Parrot)
