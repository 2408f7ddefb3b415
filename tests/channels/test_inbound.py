"""What all parsers share: proofs, fields that may hold anything, times, made ids, sentences."""

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batching.model import Kind, Media
from channels.inbound import (
    ID_LENGTH_MAX,
    URL_LENGTH_MAX,
    at,
    clean,
    described,
    identifier,
    items,
    made_id,
    media_of,
    moment_ms,
    record,
    secret_matches,
    sha256_matches,
    text,
)
from channels.provider import Request
from channels.venom.inbound import SKEW_MS_MAX, verify

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


@pytest.mark.parametrize(
    ("length", "kept"), [(URL_LENGTH_MAX, URL_LENGTH_MAX), (URL_LENGTH_MAX + 1, 0)]
)
def test_address_that_holds_the_thing_itself_is_none(length: int, kept: int) -> None:
    address = "data:".ljust(length, "A")

    said = media_of(Kind.IMAGE, {"url": address}, "id", "mime_type", "url")

    assert said.media == Media("id", "", address[:kept])


NO_MOMENTS: list[object] = [
    *(0, -1_768_478_400, True, None, "", "soon", "nan", "²" * 10),
    *(float("inf"), 10**30, [1_768_478_400], {}),
]


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        ("1768478400", 1_768_478_400_000),
        (1_768_478_400, 1_768_478_400_000),
        (1_768_478_400_123, 1_768_478_400_123),
        ("1768478400123", 1_768_478_400_123),
        (1_768_478_400.853, 1_768_478_400_853),
        (1_000_000_000, 1_000_000_000_000),
        (9_999_999_999, 9_999_999_999_000),
        (999_999_999, 0),
        (10_000_000_000, 0),
        (99_999_999_999, 0),
        (999_999_999_999, 0),
        (10_000_000_000_000, 0),
        *((odd, 0) for odd in NO_MOMENTS),
        pytest.param("1" * 5_000, 0, id="endless text"),
        pytest.param(10**5_000, 0, id="endless number"),
    ],
)
def test_moment_is_plausible_seconds_or_ms(value: object, expected_ms: int) -> None:
    assert moment_ms({"timestamp": value}, "timestamp") == expected_ms


@given(st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.none()))
def test_no_moment_raises_or_is_negative(value: object) -> None:
    assert moment_ms(value) >= 0


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


def test_made_id_depends_on_every_part() -> None:
    ids = {made_id("a", "b"), made_id("ab", ""), made_id("", "ab"), made_id("a", "c"), made_id("a")}

    assert len(ids) == 5
    assert made_id("a", "b") == made_id("a", "b")
    assert made_id("\ud800")


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.TEXT])
def test_every_kind_has_a_sentence(kind: Kind) -> None:
    sentence = described(kind).text

    assert sentence.startswith("[The customer ")
    assert described(kind, "words").text == f"{sentence} words"


NOW_MS = 1_768_478_400_000
HOOK = "/webhooks/venom/salon"


def gateway(
    signature: str, timestamp: str, *, method: str = "POST", path: str = HOOK, raw: bytes = RAW
) -> int | None:
    headers = {"x-timestamp": timestamp, "x-signature": signature}
    return verify(Request(method, path, {}, headers, raw, NOW_MS), ["other", "secret"])


def gateway_signature(secret: str, timestamp: str) -> str:
    return signed(f"POST:{HOOK}:{timestamp}:".encode() + RAW, secret).removeprefix("sha256=")


@pytest.mark.parametrize(
    ("secret", "changed", "index"),
    [
        ("secret", {}, 1),
        ("other", {}, 0),
        ("guess", {}, None),
        ("secret", {"raw": b"{}"}, None),
        ("secret", {"method": "PUT"}, None),
        ("secret", {"path": "/webhooks/venom/other"}, None),
    ],
)
def test_gateway_signature_covers_the_whole_request(
    secret: str, changed: dict[str, Any], index: int | None
) -> None:
    signature = gateway_signature(secret, str(NOW_MS))

    assert gateway(signature, str(NOW_MS), **changed) == index


@pytest.mark.parametrize(
    ("timestamp", "index"),
    [
        *((str(NOW_MS + offset_ms), 1) for offset_ms in (-SKEW_MS_MAX, SKEW_MS_MAX)),
        *((str(NOW_MS + offset_ms), None) for offset_ms in (-SKEW_MS_MAX - 1, SKEW_MS_MAX + 1)),
        *((odd, None) for odd in ("", "now", "-1", "1e12", "١٧٦٨٤٧٨٤٠٠٠٠٠", "²", f"{NOW_MS}.0")),
        pytest.param("9" * 5_000, None, id="endless"),
    ],
)
def test_gateway_signature_is_good_for_five_minutes(timestamp: str, index: int | None) -> None:
    assert gateway(gateway_signature("secret", timestamp), timestamp) == index


@given(ANY_TEXT, ANY_TEXT)
@example("\ud800", "\ud800")
def test_no_header_of_a_gateway_raises(signature: str, timestamp: str) -> None:
    assert gateway(signature, timestamp) is None
