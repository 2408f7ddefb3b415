"""The model itself: reads the facts once, then answers each burst by itself."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from batching.model import Exchange
from config import Table, Whole
from llm.prompt import Prompt
from llm.scripted.answers import Desk
from llm.scripted.burst import understand
from llm.scripted.facts import read_facts
from llm.scripted.phrases import ENGLISH, RUSSIAN, Phrases
from llm.scripted.words import CYRILLIC, LATIN, without_note

#: How many earlier turns are looked at for the language.
EARLIER_MAX = 5


class ScriptedModel(Table):
    """``pause_ms``: how long an answer takes, so that people see it typing."""

    provider: Literal["scripted"]
    pause_ms: Annotated[int, Whole(0, 10_000)] = 0


class Scripted:
    """Implements the Model port. Calls nobody, never fails, same question same answer.

    ``sleep`` is for tests.
    """

    def __init__(
        self,
        *,
        prompt: Prompt,
        config: ScriptedModel | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **_: Any,  # noqa: ANN401 - secrets and http, of which it has no need
    ) -> None:
        self._prompt = prompt
        self._pause_s = config.pause_ms / 1000 if config else 0
        self._sleep = sleep
        self._facts = read_facts(prompt.facts())

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return one answer to all lines of ``turn``."""
        if self._pause_s:
            self._sleep(self._pause_s)
        now = self._prompt.local(now_ms)
        desk = Desk(self._facts, self._phrases(history, turn), now)
        return desk.answer(understand(turn, self._facts, now.date()), history)

    def _phrases(self, history: Sequence[Exchange], turn: str) -> Phrases:
        """Return the words to answer in: the customer's language as far as it can be told."""
        earlier = [exchange.customer for exchange in history[-EARLIER_MAX:]]
        for text in (turn, *reversed(earlier)):
            words = "\n".join(without_note(line) for line in text.splitlines())
            cyrillic, latin = len(CYRILLIC.findall(words)), len(LATIN.findall(words))
            if cyrillic or latin:
                return RUSSIAN if cyrillic >= latin else ENGLISH
        return RUSSIAN if self._prompt.language.partition("-")[0] == "ru" else ENGLISH
