"""How much of the past a model is told."""

from hypothesis import given
from hypothesis import strategies as st

from batching.model import Exchange
from llm.prompt import window

WORDS = st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip()))
HISTORIES = st.lists(st.builds(Exchange, WORDS, WORDS), max_size=30)


def length(exchanges: list[Exchange]) -> int:
    return sum(len(exchange.customer) + len(exchange.answer) for exchange in exchanges)


@given(HISTORIES, st.integers(0, 12), st.integers(0, 400))
def test_window_is_the_longest_newest_part_that_fits_both_limits(
    history: list[Exchange], exchanges_max: int, characters_max: int
) -> None:
    kept = window(history, exchanges_max=exchanges_max, characters_max=characters_max)

    assert kept == history[len(history) - len(kept) :]
    assert len(kept) <= exchanges_max
    assert length(kept) <= characters_max
    one_more = history[len(history) - len(kept) - 1 :]
    full = len(kept) == exchanges_max or length(one_more) > characters_max
    assert full or kept == history


def test_default_limits_are_twenty_exchanges_and_eight_thousand_characters() -> None:
    short, long = [Exchange("q", "a")] * 25, [Exchange("q" * 2_500, "a" * 500)] * 5

    assert (len(window(short)), len(window(long))) == (20, 2)


def test_exchange_with_a_blank_side_is_left_out() -> None:
    """Anthropic refuses a whole request for one empty message."""
    told = [Exchange("Hi", "Hello"), Exchange(" \n", "?"), Exchange("?", ""), Exchange("Ok", "Ok")]

    assert window(told) == [told[0], told[3]]
