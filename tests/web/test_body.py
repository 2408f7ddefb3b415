import io
import json

import falcon.testing
import gevent  # type: ignore[import-untyped]
import pytest

from batching.inspect import counters
from runtime.build import Runtime
from tests.webhooks import (
    CLOUD,
    JSON,
    Caller,
    body,
    change,
    code,
    counts,
    signature,
    text_message,
)
from web.webhooks import BODY_BYTES_MAX, NESTING_MAX


def padded(length: int) -> bytes:
    """Return a valid body of exactly ``length`` bytes."""
    raw = json.dumps(body(change(text_message()))).encode()
    return raw + b" " * (length - len(raw))


def accepted(runtime: Runtime) -> int:
    return sum(balance.accepted for balance in counters(runtime.store))


def test_body_of_the_largest_size_is_taken(caller: Caller) -> None:
    assert caller.cloud(padded(BODY_BYTES_MAX)).json == counts(accepted=1)


def test_body_of_one_byte_more_is_too_large(caller: Caller, runtime: Runtime) -> None:
    result = caller.cloud(padded(BODY_BYTES_MAX + 1))

    assert code(result) == (413, "body_too_large")
    assert "3145729" in result.json["error"]["message"]
    assert accepted(runtime) == 0


def chunked(http: falcon.testing.TestClient, raw: bytes) -> falcon.testing.Result:
    """Post as gunicorn hands a chunked body on: no length, and a stream that ends."""
    return http.simulate_post(
        CLOUD,
        body=raw,
        headers=JSON | {"X-Hub-Signature-256": signature(raw), "Content-Length": ""},
        extras={"wsgi.input_terminated": True},
    )


def test_chunked_body_is_read_to_its_end(http: falcon.testing.TestClient) -> None:
    assert chunked(http, padded(100_000)).json == counts(accepted=1)


def test_chunked_body_has_the_same_limit(http: falcon.testing.TestClient) -> None:
    assert code(chunked(http, padded(BODY_BYTES_MAX + 1))) == (413, "body_too_large")


def test_body_shorter_than_announced_is_incomplete(http: falcon.testing.TestClient) -> None:
    raw = padded(1000)
    headers = JSON | {"X-Hub-Signature-256": signature(raw), "Content-Length": "1001"}

    result = http.simulate_post(CLOUD, body=raw, headers=headers)

    assert code(result) == (400, "body_incomplete")


class Dripping(io.BytesIO):
    """A body whose next byte does not come."""

    def read(self, _size: int | None = -1) -> bytes:
        gevent.sleep(3600)
        return b""


def test_body_that_does_not_come_is_given_up(
    http: falcon.testing.TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that drips would otherwise hold a connection for ever."""
    monkeypatch.setattr("web.webhooks.BODY_MS_MAX", 10)

    result = http.simulate_post(
        CLOUD, headers=JSON | {"Content-Length": "2"}, extras={"wsgi.input": Dripping()}
    )

    assert code(result) == (408, "body_too_slow")


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_json_may_carry_parameters(caller: Caller, content_type: str) -> None:
    raw = padded(1000)
    headers = {"X-Hub-Signature-256": signature(raw), "Content-Type": content_type}

    assert caller.raw(CLOUD, raw, headers).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"],
)
def test_other_content_type_is_refused(caller: Caller, content_type: str) -> None:
    raw = padded(1000)
    headers = {"X-Hub-Signature-256": signature(raw), "Content-Type": content_type}

    assert code(caller.raw(CLOUD, raw, headers)) == (400, "content_type")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"entry", b"\xff\xfe\xfa", b'{"entry": [}', b"9" * 5000, b"\x00"]
)
def test_broken_json_is_refused_without_repeating_it(caller: Caller, raw: bytes) -> None:
    assert code(caller.cloud(raw)) == (400, "broken_json")


@pytest.mark.parametrize("depth", [NESTING_MAX + 1, 5_000, 1_000_000])
@pytest.mark.parametrize("pair", [b"[]", b'{"a":}'])
def test_deep_nesting_is_refused(caller: Caller, depth: int, pair: bytes) -> None:
    opening, closing = pair[:-1], pair[-1:]

    result = caller.cloud((opening * depth + b"1" + closing * depth)[: BODY_BYTES_MAX - 1])

    assert code(result)[0] == 400
    assert code(result)[1] in {"too_deep", "broken_json"}


@pytest.mark.parametrize("neighbour", [b"", b"[],"])
def test_deepest_allowed_nesting_is_read(caller: Caller, neighbour: bytes) -> None:
    """The body is understood, and refused only because it is no webhook."""
    inner = b"[" * (NESTING_MAX - 1) + b"]" * (NESTING_MAX - 1)

    result = caller.cloud(b"[" + neighbour + inner + b"]")

    assert code(result) == (400, "no_entry")


@pytest.mark.parametrize("value", [b"null", b"[]", b'"text"', b"1", b"NaN", b"{}", b'{"entry":7}'])
def test_json_that_is_no_webhook_is_malformed(caller: Caller, value: bytes) -> None:
    result = caller.cloud(value)

    assert result.status_code == 400
    assert set(result.json["error"]) == {"code", "message"}
