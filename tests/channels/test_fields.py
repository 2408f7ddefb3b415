"""Fields that may hold anything: what has the wrong type reads as absent."""

import pytest

from channels.fields import (
    ID_LENGTH_MAX,
    URL_LENGTH_MAX,
    at,
    identifier,
    items,
    moment_ms,
    record,
    text,
    url,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Hello", "Hello"),
        ("a\0b\ud800", "ab\ufffd"),
        (7, "7"),
        (-1, "-1"),
        (4.5, "4.5"),
        (10**18, ""),
        pytest.param(10**5000, "", id="endless"),
        (float("nan"), ""),
        (float("inf"), ""),
        (True, ""),
        (None, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_text_is_words_or_a_printable_number(value, expected):
    assert text({"name": value}, "name") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("wamid.1", "wamid.1"),
        (79990000001, "79990000001"),
        pytest.param("w" * ID_LENGTH_MAX, "w" * ID_LENGTH_MAX, id="longest"),
        pytest.param("w" * (ID_LENGTH_MAX + 1), "", id="too long"),
        (" \n", ""),
        ("\0", ""),
        ([], ""),
    ],
)
def test_identifier_is_neither_blank_nor_endless(value, expected):
    assert identifier({"id": value}, "id") == expected


@pytest.mark.parametrize(("length", "kept"), [(URL_LENGTH_MAX, True), (URL_LENGTH_MAX + 1, False)])
def test_address_that_holds_the_thing_itself_is_none(length, kept):
    address = "data:".ljust(length, "A")

    assert url({"url": address}, "url") == (address if kept else "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1768478400", 1_768_478_400_000),
        (1768478400, 1_768_478_400_000),
        ("1000000000", 1_000_000_000_000),
        ("9999999999", 9_999_999_999_000),
        ("999999999", 0),
        ("10000000000", 0),
        ("-1768478400", 0),
        ("1768478400.5", 0),
        ("\u0661" * 10, 0),
        ("²" * 10, 0),
        pytest.param("1" * 5000, 0, id="endless"),
        (True, 0),
        ([1768478400], 0),
    ],
)
def test_moment_is_plausible_seconds_or_none(value, expected):
    assert moment_ms({"timestamp": value}, "timestamp") == expected


@pytest.mark.parametrize("odd", [None, 7, "text", [], [{"b": 1}], True])
def test_path_through_what_is_no_object_leads_nowhere(odd):
    value = {"a": odd}

    assert (at(value, "a", "b"), record(value, "a"), text(value, "a", "b")) == (None, {}, "")


@pytest.mark.parametrize(
    ("value", "expected"), [([1, 2], [1, 2]), ({"a": 1}, [{"a": 1}]), ("x", ["x"]), (None, [])]
)
def test_one_thing_is_a_list_of_one(value, expected):
    assert items({"list": value}, "list") == expected
