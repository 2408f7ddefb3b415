"""Models that answer customers: one adapter for each API, and the registry of them.

To add one, write a module with a ``Table`` of its keys and a class that is a
``batching.ports.Model``, and name both in ``MODELS``.
"""

from collections.abc import Callable
from dataclasses import dataclass

from batching.ports import Model
from config import Table
from llm.anthropic import Anthropic, AnthropicModel
from llm.openai_compatible import OpenAICompatible, OpenAICompatibleModel
from llm.scripted import Scripted, ScriptedModel


@dataclass(frozen=True, slots=True)
class ModelProvider:
    """How an account gets its model.

    ``config`` is the table ``[account.model]``, whose ``provider`` is the key in ``MODELS``.
    ``build`` is called with the keywords ``config``, ``secrets`` (values by the name of their
    environment variable), ``prompt`` and ``http``. ``free``: calls cost nothing, so no budget
    applies.
    """

    config: type[Table]
    build: Callable[..., Model]
    free: bool = False


#: Models by the name that accounts give in ``[account.model] provider``.
MODELS: dict[str, ModelProvider] = {
    "scripted": ModelProvider(ScriptedModel, Scripted, free=True),
    "openai_compatible": ModelProvider(OpenAICompatibleModel, OpenAICompatible),
    "anthropic": ModelProvider(AnthropicModel, Anthropic),
}
