"""Webhooks of gateways: which proofs are accepted, and what becomes of the messages."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from tests.webhooks import (
    APP_SECRET,
    JSON,
    VENOM,
    VENOM_SECRET,
    Caller,
    code,
    counts,
    gateway_message,
)
from web.webhooks import BODY_BYTES_MAX

SECRET = VENOM_SECRET["X-Webhook-Secret"]
MESSAGE = gateway_message("3EB0A1B2C3D4", "Hi", "79990000001")
RAW = json.dumps(MESSAGE).encode()


def signed(raw: bytes, *, at_ms: int, path: str = VENOM) -> dict[str, str]:
    text = f"POST:{path}:{at_ms}:".encode() + raw
    mark = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    return {"X-Timestamp": str(at_ms), "X-Signature": mark}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def basic(user_and_password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user_and_password.encode()).decode()}


@pytest.mark.parametrize(
    "header",
    [
        VENOM_SECRET,
        {"Authorization": f"Bearer {SECRET}"},
        basic(f"wppconnect:{SECRET}"),
        basic(f":{SECRET}"),
    ],
)
def test_gateway_that_knows_the_secret_is_accepted(caller: Caller, header: dict[str, str]) -> None:
    result = caller.raw(VENOM, RAW, header)

    assert (result.status_code, result.json) == (200, counts(accepted=1))


def test_gateway_that_signs_is_accepted(caller: Caller) -> None:
    assert caller.raw(VENOM, RAW, signed(RAW, at_ms=now_ms())).json == counts(accepted=1)


@pytest.mark.parametrize(
    "tampered", [RAW + b" ", RAW.replace(b'"Hi"', b'"Ho"'), json.dumps(MESSAGE, indent=1).encode()]
)
def test_signature_of_another_body_is_refused(caller: Caller, tampered: bytes) -> None:
    result = caller.raw(VENOM, tampered, signed(RAW, at_ms=now_ms()))

    assert code(result) == (401, "secret")


@pytest.mark.parametrize("age_ms", [-400_000, 400_000])
def test_old_signature_is_refused(caller: Caller, age_ms: int) -> None:
    """A recorded signature must not be valid tomorrow."""
    result = caller.raw(VENOM, RAW, signed(RAW, at_ms=now_ms() - age_ms))

    assert code(result) == (401, "secret")


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"X-Webhook-Secret": ""},
        {"X-Webhook-Secret": "guess"},
        {"X-Webhook-Secret": "ключ".encode().decode("latin-1")},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Basic ключ".encode().decode("latin-1")},
        {"Authorization": "Basic ////"},
        basic(SECRET),
        basic(f"{SECRET}:"),
        basic("wppconnect:guess"),
        {"X-Timestamp": "soon", "X-Signature": "0" * 64},
        {"X-Timestamp": "9" * 400, "X-Signature": "0" * 64},
        signed(RAW, at_ms=1_768_478_400_000, path="/webhooks/venom/other"),
        {"X-Webhook-Secret": SECRET[:-1]},
        {"X-Webhook-Secret": f"{SECRET} {SECRET}"},
        {"X-Webhook-Secret": APP_SECRET},
    ],
)
def test_stranger_is_refused(caller: Caller, header: dict[str, str]) -> None:
    assert code(caller.raw(VENOM, RAW, header)) == (401, "secret")


@pytest.mark.parametrize(("header", "reports"), [(VENOM_SECRET, 1), ({}, 0)])
def test_message_too_large_to_be_read_is_reported(
    caller: Caller, caplog: pytest.LogCaptureFixture, header: dict[str, str], reports: int
) -> None:
    """The gateway posts once: what is refused of it does not come again."""
    raw = json.dumps(MESSAGE | {"body": "A" * BODY_BYTES_MAX}).encode()

    result = caller.raw(VENOM, raw, header)

    assert code(result) == (413, "body_too_large")
    events = [(record.message, record.levelname) for record in caplog.records]
    assert events == [("webhook.oversized", "ERROR")] * reports


@pytest.mark.parametrize("account", ["nobody", "salon", "demo", "%00", "a%2Fb"])
def test_account_that_is_no_venom_account_is_not_found(caller: Caller, account: str) -> None:
    result = caller.raw(f"/webhooks/venom/{account}", RAW, VENOM_SECRET)

    assert code(result)[0] == 404


def test_body_of_no_known_form_is_malformed(caller: Caller) -> None:
    assert caller.raw(VENOM, b"[]", VENOM_SECRET | JSON).status_code == 400
