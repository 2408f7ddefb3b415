"""Whole conversations with the demo's salon: what a customer asks is answered, and nothing else."""

import re
from itertools import chain
from pathlib import Path

import pytest

from batching.model import Exchange
from llm.prompt import Prompt
from llm.scripted import Scripted
from tests.fakes import NOON_MS
from tests.llm.transcripts import ENGLISH, RUSSIAN, Turn

EXAMPLE = Path(__file__).parents[2] / "prompts" / "example.md"
MODELS = {
    language: Scripted(
        prompt=Prompt(business=EXAMPLE.read_text(), language=language, timezone="Europe/Berlin")
    )
    for language in ("en", "ru")
}
TALKS = [("en", name) for name in ENGLISH] + [("ru", name) for name in RUSSIAN]
GREETINGS = ("Hello!", "Здравствуйте!", "Guten Tag!", "Вітаємо!")
#: The one way in which an answer may speak of a booking as made.
NOT_YET = ("until then it is not booked", "до этого запись не оформлена")


def faults(turn: Turn, answer: str, *, first: bool) -> list[str]:
    """Return what is wrong with an answer."""
    wrong = [f"lacks {words!r}" for words in turn.has if words not in answer]
    wrong += [f"has {words!r}" for words in turn.lacks if words in answer]
    if "EUR" in answer and not any("EUR" in words for words in turn.has):
        wrong.append("has a price")
    claim = answer
    for words in NOT_YET:
        claim = claim.replace(words, "")
    if re.search(r"\bbooked\b|\bзаписан[аы]?\b|оформлена", claim):
        wrong.append("says that it is booked")
    if not first and answer.startswith(GREETINGS):
        wrong.append("greets again")
    return wrong


@pytest.mark.parametrize(("language", "name"), TALKS)
def test_conversation_answers_what_is_asked(language: str, name: str) -> None:
    history: list[Exchange] = []
    wrong = []
    for turn in (ENGLISH if language == "en" else RUSSIAN)[name]:
        answer = MODELS[language].answer(history, turn.says, now_ms=NOON_MS)
        found = faults(turn, answer, first=not history)
        wrong += [(turn.says, answer, found)] if found else []
        history.append(Exchange(turn.says, answer))

    assert wrong == []


@pytest.mark.parametrize("talks", [ENGLISH, RUSSIAN])
def test_transcripts_have_forty_turns(talks: dict[str, tuple[Turn, ...]]) -> None:
    assert len(list(chain.from_iterable(talks.values()))) >= 40
