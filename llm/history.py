"""Chooses how much of the past a model is told, and tells it."""

from collections.abc import Sequence

from batching.model import Exchange

EXCHANGES_MAX = 20
CHARACTERS_MAX = 8_000


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
        messages.append({"role": "user", "content": exchange.customer})
        messages.append({"role": "assistant", "content": exchange.answer})
    return [*messages, {"role": "user", "content": turn}]
