"""Webhooks of all providers: which proofs are accepted, and what becomes of the messages."""

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import falcon.testing
import pytest

from batching.inspect import counters, total
from batching.model import Timing
from channels.provider import Request
from channels.venom import VENOM as VENOM_PROVIDER
from runtime.build import Runtime, build
from tests.web.conftest import COMMON, accepted
from tests.webhooks import (
    APP_SECRET,
    BARBER_NUMBER,
    CLOUD,
    JSON,
    NEXT_SECRET,
    OTHER_SECRET,
    VENOM,
    VENOM_SECRET,
    Caller,
    body,
    change,
    code,
    counts,
    gateway_message,
    signature,
    text_message,
)
from web import create_app
from web.webhooks import BODY_BYTES_MAX

VERIFY = {
    "hub.mode": "subscribe",
    "hub.verify_token": "c4d8a1f7e2b90365c4d8a1f7e2b90365",
    "hub.challenge": "1158201444",
}
RAW = json.dumps(body(change(text_message()))).encode()
#: What Meta's older header would carry: a true sum, by an algorithm that is not trusted any more.
SHA1 = "sha1=" + hmac.new(APP_SECRET.encode(), RAW, hashlib.sha1).hexdigest()

SECRET = VENOM_SECRET["X-Webhook-Secret"]
MESSAGE = gateway_message("3EB0A1B2C3D4", "Hi", "79990000001")
GATEWAY_RAW = json.dumps(MESSAGE).encode()
NOW = time.time_ns() // 1_000_000
DAYS_MS = 86_400_000


def cloud(mark: str) -> dict[str, str]:
    return {"X-Hub-Signature-256": mark}


def gateway(raw: bytes, *, at_ms: int | None = None, path: str = VENOM) -> dict[str, str]:
    """Return the headers of a gateway that signs, ``at_ms`` or now."""
    at_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    text = f"POST:{path}:{at_ms}:".encode() + raw
    mark = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    return {"X-Timestamp": str(at_ms), "X-Signature": mark}


def basic(user_and_password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user_and_password.encode()).decode()}


@pytest.mark.parametrize(
    ("path", "raw", "header"),
    [
        pytest.param(CLOUD, RAW, cloud(signature(RAW)), id="cloud"),
        # Meta signs with the new secret from one moment to the next: both must be known before.
        pytest.param(CLOUD, RAW, cloud(signature(RAW, NEXT_SECRET)), id="cloud, second secret"),
        pytest.param(VENOM, GATEWAY_RAW, VENOM_SECRET, id="gateway"),
        pytest.param(VENOM, GATEWAY_RAW, {"Authorization": f"Bearer {SECRET}"}, id="bearer"),
        pytest.param(VENOM, GATEWAY_RAW, basic(f"wppconnect:{SECRET}"), id="basic"),
        pytest.param(VENOM, GATEWAY_RAW, basic(f":{SECRET}"), id="basic without a user"),
        pytest.param(VENOM, GATEWAY_RAW, None, id="gateway that signs"),
    ],
)
def test_proven_message_is_in_the_ledger_when_it_is_acknowledged_and_counted_once(
    caller: Caller, runtime: Runtime, path: str, raw: bytes, header: dict[str, str] | None
) -> None:
    header = gateway(raw) if header is None else header

    results = [caller.raw(path, raw, header) for _ in range(2)]

    assert [result.status_code for result in results] == [200, 200]
    assert [result.json for result in results] == [counts(accepted=1), counts(duplicate=1)]
    assert accepted(runtime) == 1


@pytest.mark.parametrize(
    "header",
    [
        {},
        cloud(""),
        cloud("sha256=" + "0" * 64),
        cloud("sha1=" + "0" * 40),
        cloud("sha256=é"),
        cloud("sha256="),
        cloud(signature(RAW)[:-1]),
        cloud(signature(RAW) + "0"),
        cloud(signature(RAW).removeprefix("sha256=")),
        cloud(signature(RAW, "a secret of nobody's")),
        cloud(signature(RAW, "")),
        cloud(signature(RAW + b" ")),
        {"X-Hub-Signature": SHA1},
        cloud(SHA1),
    ],
)
def test_body_without_a_valid_signature_is_refused(
    caller: Caller, runtime: Runtime, header: dict[str, str]
) -> None:
    result = caller.raw(CLOUD, RAW, header)

    assert code(result) == (401, "signature")
    assert accepted(runtime) == 0


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"X-Webhook-Secret": ""},
        {"X-Webhook-Secret": "guess"},
        {"X-Webhook-Secret": "ключ".encode().decode("latin-1")},
        {"X-Webhook-Secret": SECRET[:-1]},
        {"X-Webhook-Secret": f"{SECRET} {SECRET}"},
        {"X-Webhook-Secret": APP_SECRET},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": "Basic ключ".encode().decode("latin-1")},
        {"Authorization": "Basic ////"},
        basic(SECRET),
        basic(f"{SECRET}:"),
        basic("wppconnect:guess"),
        {"X-Timestamp": "soon", "X-Signature": "0" * 64},
        {"X-Timestamp": "9" * 400, "X-Signature": "0" * 64},
        gateway(GATEWAY_RAW, path="/webhooks/venom/other"),
        gateway(GATEWAY_RAW.replace(b'"Hi"', b'"Ho"')),
        gateway(json.dumps(MESSAGE, indent=1).encode()),
        gateway(GATEWAY_RAW, at_ms=NOW - DAYS_MS),
        gateway(GATEWAY_RAW, at_ms=NOW + DAYS_MS),
    ],
)
def test_stranger_is_no_gateway(caller: Caller, runtime: Runtime, header: dict[str, str]) -> None:
    """Nor is who recorded a signature: it is not valid tomorrow."""
    assert code(caller.raw(VENOM, GATEWAY_RAW, header)) == (401, "secret")
    assert accepted(runtime) == 0


def test_signature_is_of_the_bytes_as_received(caller: Caller) -> None:
    """Meta escapes what a serialiser of ours would not: only the raw bytes give the same sum."""
    raw = rb'{ "entry" : [ ] , "object":"\u00e4\u0436" }'

    assert caller.cloud(raw).status_code == 200


def test_signature_of_the_same_json_written_otherwise_is_refused(
    caller: Caller, runtime: Runtime
) -> None:
    """Equal JSON, other bytes: who signs what we would have written has not seen the body."""
    raw = json.dumps(body(change(text_message(text="grüße 🙂"))), ensure_ascii=False).encode()
    rewritten = json.dumps(json.loads(raw)).encode()

    result = caller.raw(CLOUD, raw, cloud(signature(rewritten)))

    assert json.loads(rewritten) == json.loads(raw)
    assert code(result) == (401, "signature")
    assert accepted(runtime) == 0


@pytest.mark.parametrize(
    "token", ["c4d8a1f7e2b90365c4d8a1f7e2b90365", "d5e9b2a8f3c01476d5e9b2a8f3c01476"]
)
def test_challenge_is_returned_for_the_verify_token_of_any_account(
    http: falcon.testing.TestClient, token: str
) -> None:
    result = http.simulate_get(CLOUD, params=VERIFY | {"hub.verify_token": token})

    assert (result.status_code, result.text) == (200, "1158201444")
    assert result.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "wrong",
    [
        {"hub.verify_token": "guess"},
        {"hub.verify_token": ""},
        {"hub.verify_token": "жетон"},
        {"hub.mode": "unsubscribe"},
        {"hub.mode": ""},
    ],
)
def test_challenge_is_refused_to_others(
    http: falcon.testing.TestClient, wrong: dict[str, str]
) -> None:
    result = http.simulate_get(CLOUD, params=VERIFY | wrong)

    assert code(result) == (403, "verify_token")


@pytest.mark.parametrize(
    ("number", "secret"),
    [
        pytest.param("100000000000001", OTHER_SECRET, id="of another app"),
        pytest.param("100000000000009", APP_SECRET, id="of nobody"),
    ],
)
def test_app_cannot_write_into_an_account_that_is_not_its_own(
    caller: Caller, runtime: Runtime, number: str, secret: str
) -> None:
    result = caller.cloud(body(change(text_message(), number=number)), secret=secret)

    assert code(result) == (404, "unknown_account")
    assert accepted(runtime) == 0


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        pytest.param(
            [change(text_message(), number=BARBER_NUMBER), change(text_message("wamid.2"))],
            counts(accepted=1, unknown_account=1),
            id="another app's account",
        ),
        pytest.param(
            [change("no object", text_message(), {"id": "wamid.2"})],
            counts(accepted=1, malformed=2),
            id="cannot be read",
        ),
        pytest.param(
            [change(text_message(type="reaction", reaction={"message_id": "w", "emoji": "👍"}))],
            counts(suppressed=1),
            id="needs no answer",
        ),
    ],
)
def test_item_does_not_fail_its_neighbour(
    caller: Caller,
    caplog: pytest.LogCaptureFixture,
    changes: list[object],
    counted: dict[str, object],
) -> None:
    with caplog.at_level(logging.WARNING):
        result = caller.cloud(body(*changes))

    assert (result.status_code, result.json) == (200, counted)
    named = {f"webhook.{name}" for name in ("unknown_account", "malformed") if counted[name]}
    named |= {"webhook.not_understood"} if counted["malformed"] else set()
    assert set(caplog.messages) == named


def test_full_conversation_is_refused_and_the_message_taken_later(
    caller: Caller, runtime: Runtime
) -> None:
    """Its id is not recorded with the refusal, so the next delivery is no duplicate."""
    room = runtime.store.timing.waiting_max
    caller.cloud(body(change(*(text_message(f"wamid.{n}") for n in range(room)))))

    refused = caller.cloud(body(change(text_message("wamid.late"))))
    runtime.store.client.flushdb()
    taken = caller.cloud(body(change(text_message("wamid.late"))))

    assert code(refused) == (503, "conversation_full")
    assert refused.headers["Retry-After"] == "5"
    assert taken.json == counts(accepted=1)


def test_neighbours_of_a_full_conversation_are_kept_and_its_redeliveries_end(
    caller: Caller, runtime: Runtime
) -> None:
    """One webhook with messages of two customers, delivered again until it is answered 200."""
    runtime.store.timing = Timing(waiting_max=1)
    caller.cloud(body(change(text_message("wamid.first"))))
    neighbour = text_message("wamid.other", customer="79990000099")
    webhook = body(change(text_message("wamid.late"), neighbour))

    refused = caller.cloud(webhook)
    kept = total(counters(runtime.store))["open"]
    runtime.store.timing = Timing(waiting_max=1, overflow_ms=0)
    ended = caller.cloud(webhook)

    assert (code(refused), kept) == ((503, "conversation_full"), 2)
    assert (ended.status_code, ended.json) == (200, counts(duplicate=1, suppressed=1))


@pytest.mark.parametrize(("header", "reports"), [(VENOM_SECRET, 1), ({}, 0)])
def test_message_too_large_to_be_read_is_reported(
    caller: Caller, caplog: pytest.LogCaptureFixture, header: dict[str, str], reports: int
) -> None:
    """The gateway posts once: what is refused of it does not come again."""
    raw = json.dumps(MESSAGE | {"body": "A" * BODY_BYTES_MAX}).encode()

    result = caller.raw(VENOM, raw, header)

    assert code(result) == (413, "body_too_large")
    events = [(record.message, record.levelname) for record in caplog.records]
    names = ("webhook.oversized", "webhook.not_understood")
    assert events == [(name, "ERROR") for name in names] * reports


@pytest.mark.parametrize(
    ("method", "raw", "headers"),
    [
        pytest.param("POST", GATEWAY_RAW, JSON, id="no proof"),
        pytest.param("POST", GATEWAY_RAW, JSON | {"X-Webhook-Secret": "guess"}, id="secret"),
        pytest.param("POST", GATEWAY_RAW, JSON | basic("nails:guess"), id="password"),
        pytest.param("POST", GATEWAY_RAW, JSON | gateway(GATEWAY_RAW, path="/x"), id="signature"),
        pytest.param("POST", b"", {}, id="nothing"),
        pytest.param("POST", b"{", {"Content-Type": "text/plain"}, id="no JSON"),
        pytest.param("POST", b" " * (BODY_BYTES_MAX + 1), JSON, id="too large"),
        pytest.param("GET", b"", {}, id="GET"),
        pytest.param("PUT", GATEWAY_RAW, JSON | VENOM_SECRET, id="another method"),
    ],
)
@pytest.mark.parametrize("unknown", ["nobody", "salon", "demo", "%00", "NAILS", "nails%20"])
def test_stranger_cannot_tell_an_account_from_none(
    http: falcon.testing.TestClient,
    method: str,
    raw: bytes,
    headers: dict[str, str],
    unknown: str,
) -> None:
    known, other = (
        http.simulate_request(method, f"/webhooks/venom/{name}", body=raw, headers=headers)
        for name in ("nails", unknown)
    )

    assert known.status_code in {401, 405, 413}
    assert (known.status_code, known.text) == (other.status_code, other.text)
    assert known.headers == other.headers


@pytest.mark.parametrize(
    ("length", "calls"),
    [
        pytest.param(1_000, [2], id="at once"),
        # Others are served in between: each takes milliseconds.
        pytest.param(1_000_000, [1, 1], id="one by one"),
    ],
)
def test_as_many_secrets_are_compared_for_an_unknown_account(
    environ: Mapping[str, str], tmp_path: Path, length: int, calls: list[int]
) -> None:
    """By a body of megabytes the time would tell how many there are, and so whether there are."""
    compared: list[int] = []

    def verify(_request: Request, secrets: Sequence[str]) -> None:
        compared.append(len(set(filter(None, secrets))))

    def is_signed(_request: Request) -> bool:
        return True

    nails = (
        """[[account]]
id = "{}"
channel = "venom"
api_url = "http://127.0.0.1:9"
token_env = "NAILS_TOKEN"
webhook_secret_env = {}
"""
        + COMMON
    )
    accounts = tmp_path / "gateways.toml"
    secrets = ('["NAILS_SECRET"]', '["SALON_SECRET", "SALON_NEXT_SECRET"]')
    accounts.write_text("".join(map(nails.format, ("nails", "hair"), secrets)))
    channels = {"venom": replace(VENOM_PROVIDER, verify=verify, is_signed=is_signed)}
    runtime = build("web", {**environ, "ACCOUNTS_FILE": str(accounts)}, channels=channels)
    http = falcon.testing.TestClient(create_app(runtime))

    for name in ("nails", "hair", "nobody"):
        http.simulate_post(f"/webhooks/venom/{name}", body=b" " * length, headers=JSON)
    runtime.store.client.connection_pool.disconnect()

    assert compared == calls * 3


def test_account_without_proofs_that_is_none_is_not_found(caller: Caller) -> None:
    assert code(caller.raw("/webhooks/simulator/nails", b"{}")) == (404, "unknown_account")


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        pytest.param({"from": "79990000001", "message": "yes"}, 1, id="gateway"),
        pytest.param(
            {"messages": [{"from": "79990000001", "message": "yes"}] * 2}, 2, id="several"
        ),
        pytest.param(
            {"event": "onmessage", "from": "79990000001@c.us", "type": "chat", "body": "yes"},
            1,
            id="library",
        ),
        pytest.param({"from": "79990000001", "image": {}, "type": "image"}, 1, id="picture"),
    ],
)
def test_signed_body_without_ids_cannot_be_replayed(
    caller: Caller, content: object, messages: int
) -> None:
    """Its signature is good for five minutes; a customer who says "yes" twice is signed twice."""
    raw = json.dumps(content).encode()
    # Not NOW: a whole run takes longer than a signature is good for.
    at_ms = time.time_ns() // 1_000_000
    first, second = gateway(raw, at_ms=at_ms), gateway(raw, at_ms=at_ms + 1)
    shouted = first | {"X-Signature": first["X-Signature"].upper()}

    results = [caller.raw(VENOM, raw, header).json for header in (first, first, shouted, second)]

    again = counts(duplicate=messages)
    assert results == [counts(accepted=messages), again, again, counts(accepted=messages)]


def test_gateway_with_a_shared_secret_may_repeat_itself(caller: Caller) -> None:
    """Nothing tells its repeated "yes" from a replay, even if it sends the same odd signature."""
    raw = json.dumps({"from": "79990000001", "message": "yes"}).encode()

    results = [caller.raw(VENOM, raw, VENOM_SECRET | {"X-Signature": "-"}).json for _ in range(2)]

    assert results == [counts(accepted=1)] * 2


@pytest.mark.parametrize("path", [VENOM, "/webhooks/simulator/demo"])
def test_body_of_no_known_form_is_malformed(caller: Caller, path: str) -> None:
    assert code(caller.raw(path, b"[]", VENOM_SECRET)) == (400, "not_an_object")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused_in_the_same_form(
    http: falcon.testing.TestClient, method: str
) -> None:
    assert code(http.simulate_request(method, CLOUD)) == (405, "method_not_allowed")
