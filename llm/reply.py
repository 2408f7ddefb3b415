"""Makes sure that what a model said is whole, and is text, before a customer may see it."""

import re
from collections.abc import Iterable

from batching.errors import TransientError

#: Four messages of WhatsApp; what is longer is a model that does not stop.
ANSWER_CHARACTERS_MAX = 16_000

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
#: Reasoning that servers without a parser for it leave in the answer.
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
#: Templates that open the reasoning in the prompt leave only its end in the answer.
_THOUGHT_END = re.compile(r"\A.*</think>", re.DOTALL)


def whole(text: str) -> str:
    """Return the answer fit to be sent: no reasoning, no control characters, valid Unicode.

    Raise TransientError: ``model_empty``, ``model_truncated`` where only reasoning came,
    ``model_overlong``.
    """
    text = _THOUGHT_END.sub("", _THOUGHT.sub("", text))
    if text.lstrip().startswith("<think>"):
        raise TransientError("model_truncated", "reasoning without an end")
    text = _CONTROL.sub("", text).encode("utf-8", "replace").decode().strip()
    if not text:
        raise TransientError("model_empty")
    if len(text) > ANSWER_CHARACTERS_MAX:
        raise TransientError(
            "model_overlong", f"{len(text)} characters: must be 1..{ANSWER_CHARACTERS_MAX}"
        )
    return text


def words(parts: Iterable[object]) -> str:
    """Return the words of an answer that came in parts; what is no text has none."""
    return "".join(_text(part) for part in parts)


def malformed(missing: str) -> TransientError:
    """Return the error for an answer without the documented form; ``missing`` names the part."""
    return TransientError("model_malformed", f"no {missing}")


def _text(part: object) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
    return ""
