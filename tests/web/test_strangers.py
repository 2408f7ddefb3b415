"""What strangers can do to logs and to Sentry: nothing that hides what a person must see."""

import json

import falcon.testing
import pytest
import sentry_sdk

from runtime.sentry import flush
from tests.fake_sentry import FakeSentry
from tests.web.conftest import Start
from tests.webhooks import CLOUD, VENOM, body, change, signed, text_message
from web import create_app

TRACE, SPAN = "1f" * 16, "2e" * 8
BAGGAGE = f"sentry-trace_id={TRACE},sentry-sampled=true,sentry-sample_rate=1,sentry-release=theirs"
TRACES = [
    {"sentry-trace": f"{TRACE}-{SPAN}-1"},
    {"sentry-trace": f"{TRACE}-{SPAN}-1", "baggage": BAGGAGE},
    {"SENTRY-TRACE": f"{TRACE}-{SPAN}-1", "BAGGAGE": BAGGAGE},
    {"sentry_trace": f"{TRACE}-{SPAN}-1", "baggage": BAGGAGE},
    {"baggage": BAGGAGE},
    {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": f"sentry={TRACE}"},
]
#: What a stranger may send, and how it is answered.
REFUSED = [
    ("POST", "/webhooks/venom/nobody", 401),
    ("POST", VENOM, 401),
    ("POST", CLOUD, 401),
    ("GET", CLOUD, 403),
    ("GET", "/nowhere", 404),
    ("GET", VENOM, 405),
]


def serve(start: Start, sentry: FakeSentry, percent: int) -> falcon.testing.TestClient:
    """Return a web process that reports to ``sentry`` and measures ``percent`` of requests."""
    settings = {"SENTRY_DSN": sentry.dsn, "SENTRY_TRACES_PERCENT": str(percent)}
    return falcon.testing.TestClient(create_app(start("web", **settings)))


@pytest.mark.parametrize("headers", TRACES)
@pytest.mark.parametrize("percent", [0, 100])
def test_trace_of_a_stranger_is_in_nothing_that_is_reported(
    start: Start, sentry: FakeSentry, headers: dict[str, str], percent: int
) -> None:
    """Neither in timings nor in errors, whose own trace would then be a stranger's to choose."""
    http = serve(start, sentry, percent)
    raw = json.dumps(body(change(text_message()), change(text_message(), number="9"))).encode()

    http.simulate_post(CLOUD, body=raw, headers=signed(raw) | headers)
    http.simulate_get("/livez", headers=headers)
    flush()

    assert sentry.messages == ["webhook.unknown_account"]
    timed = [it["contexts"]["trace"]["op"] for it in sentry.of_kind("transaction")]
    # Of the message that was accepted, and of both requests.
    assert timed == (["receive", "http.server", "http.server"] if percent else [])
    assert TRACE not in sentry.text
    assert "theirs" not in sentry.text


@pytest.mark.parametrize("percent", [0, 100])
def test_refusals_of_strangers_are_no_reports(
    start: Start, sentry: FakeSentry, percent: int
) -> None:
    http = serve(start, sentry, percent)

    answers = [
        (method, path, http.simulate_request(method, path, headers=headers).status_code)
        for method, path, _ in REFUSED
        for headers in TRACES
    ]
    flush()

    assert answers == [refused for refused in REFUSED for _ in TRACES]
    assert {item.kind for item in sentry.items} <= {"client_report"}


@pytest.mark.parametrize("percent", [0, 100])
def test_requests_are_no_sessions(start: Start, sentry: FakeSentry, percent: int) -> None:
    http = serve(start, sentry, percent)
    raw = json.dumps(body(change(text_message()))).encode()

    http.simulate_post(CLOUD, body=raw, headers=signed(raw))
    http.simulate_get("/livez")
    sentry_sdk.get_client().close()

    assert {item.kind for item in sentry.items} <= {"client_report", "transaction"}
