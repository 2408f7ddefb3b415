"""What the Cloud API is asked, and what each of its answers means, over real HTTP."""

import socket

import httpx2
import pytest

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from batching.model import Outbound
from channels.whatsapp_cloud import Config, WhatsAppCloud
from tests.http_server import HttpServer, Reply, hang, hang_up, reset, say

TEXT = "Tomorrow at 15:00 is free. Shall I book it?"
TAG = "aa:c_0123456789abcdef01234567:b1:0"
TOKEN = "invented-token"
OUTBOUND = Outbound("79990000001", TEXT, TAG, answers=("wamid.in",))
ACCEPTED = {
    "messaging_product": "whatsapp",
    "contacts": [{"input": "79990000001", "wa_id": "79990000001"}],
    "messages": [{"id": "wamid.out", "message_status": "accepted"}],
}


def cloud(http: httpx2.Client, url: str, timeout_ms: int = 5_000) -> WhatsAppCloud:
    config = Config.model_construct(
        phone_number_id="100000000000001", api_url=url, timeout_ms=timeout_ms
    )
    return WhatsAppCloud(config, TOKEN, http)


def refusal(code: object) -> dict[str, object]:
    details = {"details": f"not to {OUTBOUND.customer}"}
    return {"error": {"message": "Invented", "code": code, "error_data": details}}


@pytest.fixture
def channel(http, http_server) -> WhatsAppCloud:
    """Return the channel, pointed at the local server."""
    return cloud(http, f"{http_server.url}/v25.0/")


def test_send_asks_as_documented_and_returns_the_wamid(channel, http_server):
    http_server.answer(Reply(200, ACCEPTED))

    wamid = channel.send(OUTBOUND)

    (asked,) = http_server.requests
    assert wamid == "wamid.out"
    assert (asked.method, asked.path) == ("POST", "/v25.0/100000000000001/messages")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["content-type"] == "application/json"
    assert asked.json == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "79990000001",
        "type": "text",
        "text": {"body": TEXT, "preview_url": False},
        "biz_opaque_callback_data": TAG,
    }


@pytest.mark.parametrize("customer", ["RU.1000000000000001", "US.ENT.20837465019283746502"])
def test_business_scoped_id_is_a_recipient(channel, http_server, customer):
    http_server.answer(Reply(200, ACCEPTED))

    channel.send(Outbound(customer, TEXT, TAG))

    (asked,) = http_server.requests
    assert asked.json["recipient"] == customer
    assert "to" not in asked.json


@pytest.mark.parametrize("customer", ["5215550000001", "ru.1", "RUS.1", "RU.", "RU.1\n", "RU.é"])
def test_any_other_id_is_written_to_as_delivered(channel, http_server, customer):
    http_server.answer(Reply(200, ACCEPTED))

    channel.send(Outbound(customer, TEXT, TAG))

    (asked,) = http_server.requests
    assert asked.json["to"] == customer
    assert "recipient" not in asked.json


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(400, refusal(131056)), TransientError, "cloud_131056"),
        (Reply(429, refusal(131056)), TransientError, "cloud_131056"),
        (Reply(429, refusal("130429")), TransientError, "cloud_130429"),
        (Reply(500, refusal(3)), ChannelStoppedError, "cloud_3"),
        (Reply(401, refusal(190)), ChannelStoppedError, "cloud_190"),
        (Reply(400, refusal(131047)), PermanentError, "cloud_131047"),
        (Reply(200, refusal(131026)), PermanentError, "cloud_131026"),
        (Reply(500, refusal(131000)), AmbiguousError, "cloud_131000"),
        (Reply(400, refusal("soon")), PermanentError, "cloud_http_400"),
        (Reply(400, refusal([])), PermanentError, "cloud_http_400"),
        (Reply(404, b"<html>"), ChannelStoppedError, "cloud_http_404"),
        (Reply(302, b"", {"Location": "/elsewhere"}), ChannelStoppedError, "cloud_http_302"),
        (Reply(429, b""), TransientError, "cloud_http_429"),
        (Reply(500, {}), AmbiguousError, "cloud_http_500"),
        (Reply(502, b"<html>"), AmbiguousError, "cloud_http_502"),
        (Reply(503, b"", {"Retry-After": "9"}), AmbiguousError, "cloud_http_503"),
        (Reply(200, {}), AmbiguousError, "cloud_no_id"),
        (Reply(200, []), AmbiguousError, "cloud_no_id"),
        (Reply(200, b""), AmbiguousError, "cloud_no_id"),
        (Reply(200, b"\xff\x00 not JSON"), AmbiguousError, "cloud_no_id"),
        (Reply(200, b"[" * 100_000), AmbiguousError, "cloud_no_id"),
        (Reply(200, {"messages": []}), AmbiguousError, "cloud_no_id"),
        (Reply(200, {"messages": [{"id": ""}]}), AmbiguousError, "cloud_no_id"),
        (Reply(200, {"messages": "wamid.out"}), AmbiguousError, "cloud_no_id"),
        (reset, AmbiguousError, "cloud_broken"),
        (hang_up, AmbiguousError, "cloud_broken"),
        (say(b"garbage\r\n\r\n"), AmbiguousError, "cloud_broken"),
        (say(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), AmbiguousError, "cloud_broken"),
    ],
)
def test_answer_without_a_wamid_means(channel, http_server, reply, kind, code):
    http_server.answer(reply)

    with pytest.raises(AdminError) as caught:
        channel.send(OUTBOUND)

    assert (type(caught.value), caught.value.code) == (kind, code)
    assert len(http_server.requests) == 1


def test_silence_is_ambiguous(http, http_server):
    http_server.answer(hang)

    with pytest.raises(AmbiguousError) as caught:
        cloud(http, http_server.url, timeout_ms=100).send(OUTBOUND)

    assert caught.value.code == "cloud_timeout"


def test_refused_connection_may_pass(http):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        channel = cloud(http, f"http://127.0.0.1:{unused.getsockname()[1]}")

        with pytest.raises(TransientError) as caught:
            channel.send(OUTBOUND)

    assert caught.value.code == "cloud_unreachable"


@pytest.mark.parametrize(("header", "expected_ms"), [("30", 30_000), ("soon", None)])
def test_wait_that_is_asked_for_is_passed_on(channel, http_server, header, expected_ms):
    http_server.answer(Reply(429, refusal(130429), {"Retry-After": header}))

    with pytest.raises(TransientError) as caught:
        channel.send(OUTBOUND)

    assert caught.value.retry_after_ms == expected_ms


@pytest.mark.parametrize("reply", [Reply(400, refusal(131047)), Reply(200, b"{}"), reset])
def test_no_error_holds_a_text_a_customer_or_a_token(channel, http_server: HttpServer, reply):
    http_server.answer(reply)

    with pytest.raises(AdminError) as caught:
        channel.send(OUTBOUND)

    told = f"{caught.value!r} {caught.value.detail}"
    assert not any(secret in told for secret in (TEXT, OUTBOUND.customer, TOKEN))


def test_text_within_the_limit_is_one_part(channel):
    assert channel.split("😀" * 2048) == ["😀" * 2048]


def test_longer_text_is_split_by_utf_16_units(channel):
    assert channel.split("😀" * 2049) == ["😀" * 2048, "😀"]
