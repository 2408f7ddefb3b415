"""A model without a network: answers from the prompt file by rules, for demos and tests."""

import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from batching.model import Exchange
from config import Table, Whole
from llm.prompt import Prompt
from llm.scripted.facts import Facts
from llm.scripted.language import load
from llm.scripted.talk import Talk

#: So many earlier turns are read for the language.
EARLIER_MAX = 3


class ScriptedModel(Table):
    """``pause_ms``: how long an answer takes, so that people see it typing."""

    provider: Literal["scripted"]
    pause_ms: Annotated[int, Whole(0, 10_000)] = 0


class Scripted:
    """Implements the Model port. Calls nobody, never fails; same question, same answer.

    ``languages``: the folder of the languages' files, ours if None. ``sleep`` is for tests.
    """

    def __init__(
        self,
        *,
        prompt: Prompt,
        config: ScriptedModel | None = None,
        languages: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **_: Any,  # noqa: ANN401 - secrets and http, which it does not need
    ) -> None:
        self._prompt, self._sleep = prompt, sleep
        self._pause_s = config.pause_ms / 1000 if config else 0
        self._languages = load(languages or Path(str(files(__name__) / "languages")))
        self._facts = Facts(prompt.facts(), self._languages)

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return one answer to all lines of ``turn``."""
        if self._pause_s:
            self._sleep(self._pause_s)
        said = [turn, *(exchange.customer for exchange in reversed(history[-EARLIER_MAX:]))]
        language = self._languages.of(said, self._prompt.language.partition("-")[0])
        now = self._prompt.local(now_ms)
        return Talk(self._facts, self._languages, language, history, now).answer(turn)
