"""Makes sure that what a model said is whole, and is text, before a customer may see it."""

import re
from collections.abc import Iterable

from batching.errors import TransientError

#: Four messages of WhatsApp; what is longer is a model that does not stop.
ANSWER_CHARACTERS_MAX = 16_000

_LINE_END = re.compile("\r\n?|[\u2028\u2029\x85]")
#: What no reader sees and a program may obey: controls, zero widths, marks of direction, fillers,
#: private use, tags and variation selectors that can spell out a hidden text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ue000-\uf8ff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
#: Emoji and some scripts need joiners between two of their signs; nothing else does.
_IDLE_JOINER = re.compile(
    "(?<![^\x00-\x7f\\s\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]++(?![^\x00-\x7f\\s\u200c\u200d])"
    "|(?<=[\u200c\u200d])[\u200c\u200d]+"
)
#: Reasoning that servers without a parser for it leave in the answer.
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
#: Templates that open the reasoning in the prompt leave only its end in the answer.
_THOUGHT_END = re.compile(r"\A.*</think>", re.DOTALL)


def whole(text: str) -> str:
    """Return the answer fit to be sent: no reasoning, nothing invisible, valid Unicode.

    Raise TransientError: ``model_empty``, ``model_truncated`` where only reasoning came,
    ``model_overlong``.
    """
    text = _THOUGHT_END.sub("", _THOUGHT.sub("", text))
    if text.lstrip().startswith("<think>"):
        raise TransientError("model_truncated", "reasoning without an end")
    text = visible(text).encode("utf-8", "replace").decode().strip()
    if not text:
        raise TransientError("model_empty")
    if len(text) > ANSWER_CHARACTERS_MAX:
        raise TransientError(
            "model_overlong", f"{len(text)} characters: must be 1..{ANSWER_CHARACTERS_MAX}"
        )
    return text


def visible(text: str) -> str:
    """Return ``text`` without what cannot be seen. Safe to run twice."""
    return _IDLE_JOINER.sub("", _INVISIBLE.sub("", _LINE_END.sub("\n", text)))


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
