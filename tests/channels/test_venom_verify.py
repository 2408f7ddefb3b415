"""Whose webhook a gateway's is: a shared secret, or a signature of the whole request."""

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channels.provider import Request
from channels.venom.inbound import SKEW_MS_MAX, is_fresh, verify

RAW = b'{"text":"\\u0434\\u0430"}'
NOW_MS = 1_768_478_400_000
ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))


def gateway_signature(secret: str, *, timestamp: str = str(NOW_MS)) -> str:
    text = f"POST:/webhooks/venom/salon:{timestamp}:".encode() + RAW
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def gateway(signature: str, *, timestamp: str = str(NOW_MS), **changed: str) -> int | None:
    request = Request(
        method=changed.get("method", "POST"),
        path=changed.get("path", "/webhooks/venom/salon"),
        query={},
        headers={"x-timestamp": timestamp, "x-signature": signature},
        raw=changed.get("raw", RAW.decode()).encode(),
        received_ms=NOW_MS,
    )
    return verify(request, ["other", "secret"])


@given(ANY_TEXT, ANY_TEXT)
@example("\ud800", "\ud800")
def test_no_header_raises(signature: str, timestamp: str) -> None:
    assert gateway(signature, timestamp=timestamp) is None


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
