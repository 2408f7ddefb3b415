"""Whose webhook it is: signatures and shared secrets, and headers made to break them."""

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channels.signature import (
    SKEW_MS_MAX,
    gateway_matches,
    is_fresh,
    secret_matches,
    sha256_matches,
)

RAW = b'{"text":"\\u0434\\u0430"}'
NOW_MS = 1_768_478_400_000
ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))


def signed(raw: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def gateway_signature(secret: str, *, timestamp: str = str(NOW_MS)) -> str:
    text = f"POST:/webhooks/venom/salon:{timestamp}:".encode() + RAW
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def gateway(signature: str, *, timestamp: str = str(NOW_MS), **changed: str) -> int | None:
    return gateway_matches(
        changed.get("raw", RAW.decode()).encode(),
        method=changed.get("method", "POST"),
        path=changed.get("path", "/webhooks/venom/salon"),
        timestamp=timestamp,
        signature=signature,
        secrets=["other", "secret"],
        now_ms=NOW_MS,
    )


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


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
@example("\ud800", "\ud800", "\ud800")
def test_no_header_raises(header: str, timestamp: str, secret: str) -> None:
    assert sha256_matches(RAW, header, [secret]) is None
    assert gateway(header, timestamp=timestamp) is None
    assert secret_matches(header, [secret]) == (0 if header == secret and secret else None)


def test_gateway_signature_names_the_secret_that_made_it() -> None:
    assert gateway(gateway_signature("secret")) == 1
    assert gateway(gateway_signature("other")) == 0


@pytest.mark.parametrize(
    "changed", [{"raw": "{}"}, {"method": "PUT"}, {"path": "/webhooks/venom/other"}]
)
def test_gateway_signature_covers_the_whole_request(changed: dict[str, str]) -> None:
    assert gateway(gateway_signature("secret"), **changed) is None


@pytest.mark.parametrize(
    ("offset_ms", "index"),
    [
        (0, 1),
        (SKEW_MS_MAX, 1),
        (-SKEW_MS_MAX, 1),
        (SKEW_MS_MAX + 1, None),
        (-SKEW_MS_MAX - 1, None),
    ],
)
def test_gateway_signature_is_good_for_five_minutes(offset_ms: int, index: int | None) -> None:
    timestamp = str(NOW_MS + offset_ms)

    assert gateway(gateway_signature("secret", timestamp=timestamp), timestamp=timestamp) == index


@pytest.mark.parametrize(
    "timestamp", ["", "now", "-1", "1e12", "١٧٦٨٤٧٨٤٠٠٠٠٠", "²", "9" * 5_000, f"{NOW_MS}.0"]
)
def test_timestamp_that_is_no_number_of_ms_is_not_fresh(timestamp: str) -> None:
    assert not is_fresh(timestamp, NOW_MS)
