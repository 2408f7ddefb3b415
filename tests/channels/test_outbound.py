"""Where a long text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.outbound import split, units

ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))
#: Text with many places where a careless cut would show.
TRICKY = st.lists(
    st.sampled_from(
        [
            *("a", "Ж", "слово", ".", "!", "»", " ", "  ", "\n", "\n\n", "\u00a0", "\t"),
            *("🙂", "👍🏽", "👩\u200d👩\u200d👧", "🇷🇺", "e\u0301", "각", "\u1100\u1161\u11a8"),
        ]
    ),
    max_size=60,
).map("".join)
LIMITS = st.integers(2, 40)


def visible(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(("text", "length"), [("", 0), ("Ж", 1), ("🙂", 2), ("a🙂b", 4)])
def test_length_is_counted_as_messengers_do(text: str, length: int) -> None:
    assert units(text) == length


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("", 10, [""]),
        ("as it is \n", 10, ["as it is \n"]),
        ("one two.\n\nthree four", 14, ["one two.", "three four"]),
        ("line one.\nsecond line", 14, ["line one.", "second line"]),
        ("One is. Two are. Three", 17, ["One is. Two are.", "Three"]),
        ("He said «yes.» Then he left", 18, ["He said «yes.»", "Then he left"]),
        ("word another thirdword", 14, ["word another", "thirdword"]),
        ("word another", 4, ["word", "anot", "her"]),
        ("ab word xx", 7, ["ab word", "xx"]),
        ("ab cd \u0301ef", 7, ["ab", "cd \u0301ef"]),
        ("a.b.c.d.e", 4, ["a.b.", "c.d.", "e"]),
        ("🙂🙂🙂", 5, ["🙂🙂", "🙂"]),
        ("🇷🇺🇰🇿🇬🇪", 6, ["🇷🇺", "🇰🇿", "🇬🇪"]),
        ("ab👍🏽cd", 5, ["ab", "👍🏽c", "d"]),
        ("ae\u0301b", 2, ["a", "e\u0301", "b"]),
        ("a\n\n" + "b" * 12, 10, ["a", "b" * 10, "bb"]),
        ("  \n long gap          here ", 10, ["long gap", "here"]),
    ],
)
def test_long_text_is_cut_where_it_shows_least(text: str, limit: int, parts: list[str]) -> None:
    assert split(text, limit) == parts


def test_paragraph_early_in_a_part_gives_way_to_a_later_sentence() -> None:
    """A short greeting would else cost a message of its own."""
    text = "Hi!\n\n" + "Yes we can. " * 10

    assert split(text, 100)[0].startswith("Hi!\n\nYes we can.")


def test_character_longer_than_the_limit_is_cut_all_the_same() -> None:
    tower = "a" + "\u0301" * 500

    parts = split(tower, 100)

    assert "".join(parts) == tower
    assert max(map(units, parts)) == 100


@pytest.mark.parametrize("limit", [1, 0, -5])
def test_limit_that_holds_no_character_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit={limit}: must be at least 2"):
        split("text", limit)


@given(st.one_of(ANY_TEXT, TRICKY), LIMITS)
def test_splitting_loses_nothing_visible_and_keeps_the_limit(text: str, limit: int) -> None:
    parts = split(text, limit)

    assert parts
    assert visible("".join(parts)) == visible(text)
    assert all(units(part) <= limit for part in parts)


@given(TRICKY, LIMITS)
def test_no_part_is_blank_unless_all_of_it_is(text: str, limit: int) -> None:
    assert all(part.strip() for part in split(text, limit)) or not text.strip()


@given(TRICKY, st.integers(8, 40))
def test_character_of_several_code_points_stays_whole(text: str, limit: int) -> None:
    """The longest in these texts has eight units."""
    for part in split(text, limit):
        assert part[:1] not in {"\u200d", "\u0301", "🏽", "\u1161", "\u11a8"}
        assert not part.endswith("\u200d")
        assert sum(letter in "🇷🇺" for letter in part) % 2 == 0
