"""Chooses how much a model is told of what was said, and tells it as what it is: data.

What a customer writes stands in messages of the user's role, alone, and nowhere else.
"""

import re
from collections.abc import Sequence

from batching.model import Exchange

EXCHANGES_MAX = 20
CHARACTERS_MAX = 8_000
#: The most that one batch may bring. What is more is left out of the middle, and the model is told.
TURN_CHARACTERS_MAX = 16_000

#: Servers that put messages into a template read tags of it, such as <|im_start|>, in any message:
#: a customer could speak as the system. Hearts and sums keep their sign.
_TAG = re.compile("<(?=[A-Za-z/|\uff5c<_!])")


def window(
    history: Sequence[Exchange],
    *,
    exchanges_max: int = EXCHANGES_MAX,
    characters_max: int = CHARACTERS_MAX,
) -> list[Exchange]:
    """Return the newest exchanges that fit both limits, oldest first, each whole.

    The first that does not fit ends the window: a gap in the middle would mislead. Exchanges
    with a blank side are left out, because some APIs refuse empty messages.
    """
    kept: list[Exchange] = []
    room = characters_max
    for exchange in reversed(history):
        if not exchange.customer.strip() or not exchange.answer.strip():
            continue
        room -= len(exchange.customer) + len(exchange.answer)
        if room < 0 or len(kept) == exchanges_max:
            break
        kept.append(exchange)
    return kept[::-1]


def dialogue(told: Sequence[Exchange], turn: str) -> list[dict[str, str]]:
    """Return the exchanges and the customer's turn as messages, in the form all APIs take."""
    messages = []
    for exchange in told:
        messages.append({"role": "user", "content": untagged(exchange.customer)})
        messages.append({"role": "assistant", "content": untagged(exchange.answer)})
    return [*messages, {"role": "user", "content": untagged(bounded(turn))}]


def bounded(turn: str) -> str:
    """Return ``turn``, without its middle where it is longer than TURN_CHARACTERS_MAX.

    The square brackets of the sentence that stands there instead are never a customer's.
    """
    left_out = len(turn) - TURN_CHARACTERS_MAX
    if left_out <= 0:
        return turn
    half = TURN_CHARACTERS_MAX // 2
    gap = f"[{left_out} characters of what the customer wrote are left out here]"
    return f"{turn[:half]}\n{gap}\n{turn[-half:]}"


def untagged(text: str) -> str:
    """Return ``text`` with nothing in it that a chat template could take for its own tags."""
    return _TAG.sub("\u2039", text)
