"""What all parsers share: proofs, fields that may hold anything, times, made ids, sentences."""

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batching.model import Kind
from channels.inbound import (
    ID_LENGTH_MAX,
    URL_LENGTH_MAX,
    at,
    clean,
    describe,
    epoch_ms,
    identifier,
    items,
    made_id,
    moment_ms,
    record,
    secret_matches,
    sha256_matches,
    text,
    url,
)

RAW = b'{"text":"\\u0434\\u0430"}'
ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))


def signed(raw: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def test_signature_known_from_the_standard_fits() -> None:
    """Test case 2 of RFC 4231."""
    header = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert sha256_matches(b"what do ya want for nothing?", header, ["Jefe"]) == 0


@pytest.mark.parametrize(
    ("header", "secrets", "index"),
    [
        (signed(RAW, "one"), ["one"], 0),
        (signed(RAW, "two"), ["one", "two"], 1),
        (signed(RAW, "one").upper(), ["one"], 0),
        (signed(RAW, "one"), ["two"], None),
        (signed(RAW, "one"), [], None),
        (signed(RAW, ""), [""], None),
        (signed(RAW, "one")[7:], ["one"], None),
        (signed(RAW, "one") + "0", ["one"], None),
        (signed(RAW, "one")[:-1], ["one"], None),
        (signed(RAW + b" ", "one"), ["one"], None),
        ("sha256=", ["one"], None),
        ("", ["one"], None),
    ],
)
def test_signature_names_the_secret_that_made_it(
    header: str, secrets: list[str], index: int | None
) -> None:
    assert sha256_matches(RAW, header, secrets) == index


@pytest.mark.parametrize(
    ("given", "secrets", "index"),
    [
        ("secret", ["secret"], 0),
        ("секрет", ["other", "секрет"], 1),
        ("secret ", ["secret"], None),
        ("Secret", ["secret"], None),
        ("", [""], None),
        ("", ["secret"], None),
    ],
)
def test_shared_secret_must_be_equal(given: str, secrets: list[str], index: int | None) -> None:
    assert secret_matches(given, secrets) == index


@given(ANY_TEXT, ANY_TEXT)
@example("\ud800", "\ud800")
def test_no_header_raises(header: str, secret: str) -> None:
    assert sha256_matches(RAW, header, [secret]) is None
    assert secret_matches(header, [secret]) == (0 if header == secret and secret else None)


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


@pytest.mark.parametrize(
    ("words", "cleaned"),
    [
        ("Привет 🙂\n\tраз", "Привет 🙂\n\tраз"),
        ("a\x00b\x07c\x1bd\x7f", "abcd"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\ud83db", "a\ufffdb"),
        ("\ud83d\ude42", "\ufffd\ufffd"),
        ("", ""),
    ],
)
def test_clean_removes_what_cannot_be_shown(words: str, cleaned: str) -> None:
    assert clean(words) == cleaned


@given(ANY_TEXT)
def test_cleaning_twice_changes_nothing_more(words: str) -> None:
    once = clean(words)

    assert clean(once) == once
    once.encode()  # raises for what is beyond UTF-8


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
