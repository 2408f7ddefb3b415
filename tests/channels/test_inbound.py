"""The readings that all parsers share: times, made ids, sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.model import Kind
from channels.inbound import describe, epoch_ms, made_id


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        (1_768_478_400, 1_768_478_400_000),
        ("1768478400", 1_768_478_400_000),
        (1_768_478_400_123, 1_768_478_400_123),
        ("1768478400123", 1_768_478_400_123),
        (1_768_478_400.853, 1_768_478_400_853),
        (0, 0),
        (-1, 0),
        (True, 0),
        (None, 0),
        ("soon", 0),
        ("nan", 0),
        (float("inf"), 0),
        (10**30, 0),
        (10**400, 0),
        ("9" * 5_000, 0),
        ({}, 0),
    ],
)
def test_timestamp_in_seconds_or_ms_is_read(value: object, expected_ms: int) -> None:
    assert epoch_ms(value) == expected_ms


@given(st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.none()))
def test_no_timestamp_raises_or_is_negative(value: object) -> None:
    assert epoch_ms(value) >= 0


def test_made_id_depends_on_every_part() -> None:
    ids = {made_id("a", "b"), made_id("ab", ""), made_id("", "ab"), made_id("a", "c"), made_id("a")}

    assert len(ids) == 5
    assert made_id("a", "b") == made_id("a", "b")
    assert made_id("\ud800")


@pytest.mark.parametrize("kind", set(Kind) - {Kind.TEXT})
def test_every_kind_has_a_sentence(kind: Kind) -> None:
    sentence = describe(kind)

    assert sentence.startswith("[The customer ")
    assert describe(kind, "words") == f"{sentence} words"
    assert (sentence == describe(Kind.UNSUPPORTED)) is (kind is Kind.UNSUPPORTED)
