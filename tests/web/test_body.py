"""What a webhook's body may be."""

import io

import falcon.testing
import gevent  # type: ignore[import-untyped]
import pytest

from runtime.build import Runtime
from tests.web.conftest import accepted
from tests.webhooks import CLOUD, Caller, code, counts, padded, signed
from web.webhooks import BODY_BYTES_MAX, NESTING_MAX


def test_largest_body_is_taken_and_one_byte_more_is_too_large(
    caller: Caller, runtime: Runtime
) -> None:
    """The real server's way of handing bodies on, chunked ones too: test_gunicorn."""
    refused = caller.cloud(padded(BODY_BYTES_MAX + 1))
    before = accepted(runtime)

    assert code(refused) == (413, "body_too_large")
    assert "3145729" in refused.json["error"]["message"]
    assert before == 0
    assert caller.cloud(padded(BODY_BYTES_MAX)).json == counts(accepted=1)


def test_body_shorter_than_announced_is_incomplete(http: falcon.testing.TestClient) -> None:
    raw = padded(1000)

    result = http.simulate_post(CLOUD, body=raw, headers=signed(raw) | {"Content-Length": "1001"})

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
        CLOUD, headers=signed(b"{}") | {"Content-Length": "2"}, extras={"wsgi.input": Dripping()}
    )

    assert code(result) == (408, "body_too_slow")


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON", True),
        ("", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("application/jsonp", False),
        ("json", False),
    ],
)
def test_body_must_be_json_which_may_carry_parameters(
    caller: Caller, content_type: str, *, is_json: bool
) -> None:
    raw = padded(1000)

    result = caller.raw(CLOUD, raw, signed(raw) | {"Content-Type": content_type})

    assert result.status_code == 200 if is_json else code(result) == (400, "content_type")


ALLOWED = b"[" * (NESTING_MAX - 1) + b"]" * (NESTING_MAX - 1)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        *((raw, "broken_json") for raw in (b"", b"{", b"entry", b"\xff\xfe\xfa", b'{"entry": [}')),
        *((raw, "broken_json") for raw in (b"9" * 5000, b"\x00", b'"my secret wish')),
        *((raw, "no_entry") for raw in (b"null", b"[]", b'"text"', b"1", b"NaN", b"{}")),
        (b'{"entry":7}', "no_entry"),
        pytest.param(b"[" + ALLOWED + b"]", "no_entry", id="deepest that is read"),
        pytest.param(b"[[]," + ALLOWED + b"]", "no_entry", id="deepest, with a neighbour"),
        *(
            pytest.param(opening * depth + b"1" + closing * depth, "too_deep", id=f"{depth} deep")
            for depth in (NESTING_MAX + 1, 5_000, 500_000)
            for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"))
        ),
    ],
)
def test_body_that_is_no_webhook_is_refused_without_repeating_it(
    caller: Caller, raw: bytes, reason: str
) -> None:
    result = caller.cloud(raw)

    assert code(result) == (400, reason)
    assert set(result.json["error"]) == {"code", "message"}
    assert "secret wish" not in result.text
