"""Sending through WPPConnect-server and through a gateway: requests, ids, refusals."""

from typing import Literal

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
from channels.outbound import units
from channels.venom import Config, VenomGateway, parse
from tests.channels.venom_payloads import ACCOUNT, CUSTOMER, LID, payload
from tests.http_server import HttpServer, Reply, hang, reset

Flavour = Literal["wppconnect", "gateway"]

TOKEN = "token-of-the-tests"
PART = Outbound(CUSTOMER, "Да, можно в 15:00 🙂", "aa:c_1:b_1:0")
SENT = {"status": "success", "response": [{"id": f"true_{CUSTOMER}_3EB0AA_out"}]}


def channel(
    http: httpx2.Client,
    url: str,
    flavour: Flavour = "wppconnect",
    *,
    token: str = TOKEN,
    timeout_ms: int = 5_000,
) -> VenomGateway:
    config = Config.model_construct(
        api_url=f"{url}/", session="salon/1", flavour=flavour, timeout_ms=timeout_ms
    )
    return VenomGateway(config, token, http)


def test_wppconnect_is_asked_in_its_form(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(Reply(201, SENT))

    channel(http, http_server.url).send(PART)

    (asked,) = http_server.requests
    assert asked.path == "/api/salon%2F1/send-message"
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.json == {
        "phone": CUSTOMER,
        "isGroup": False,
        "isLid": False,
        "message": PART.text,
    }


def test_customer_known_by_a_lid_alone_is_answered_there(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    http_server.answer(Reply(201, SENT))

    channel(http, http_server.url).send(Outbound(LID, "Да", "tag"))

    assert (http_server.requests[0].json["phone"], http_server.requests[0].json["isLid"]) == (
        LID,
        True,
    )


def test_gateway_is_asked_in_its_form(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(Reply(200, {"success": True}))

    provider_id = channel(http, http_server.url, "gateway", token="").send(PART)

    (asked,) = http_server.requests
    assert provider_id == ""
    assert asked.path == "/send-message"
    assert "authorization" not in asked.headers
    assert asked.json == {"to": CUSTOMER, "message": PART.text}


@pytest.mark.parametrize(
    ("flavour", "answer", "provider_id"),
    [
        ("wppconnect", SENT, "3EB0AA"),
        ("wppconnect", SENT | {"response": {"id": f"true_{CUSTOMER}_3EB0AA"}}, "3EB0AA"),
        (
            "wppconnect",
            SENT | {"response": [{"id": {"id": "3EB0AA", "_serialized": "x"}}]},
            "3EB0AA",
        ),
        ("wppconnect", {"status": "success"}, ""),
        ("wppconnect", {"status": "success", "response": ["?", None]}, ""),
        ("gateway", {"success": True, "messageId": "gw-1"}, "gw-1"),
    ],
)
def test_id_is_the_part_that_echo_and_status_bear_too(
    http: httpx2.Client, http_server: HttpServer, flavour: Flavour, answer: object, provider_id: str
) -> None:
    http_server.answer(Reply(200, answer))

    assert channel(http, http_server.url, flavour).send(PART) == provider_id


def test_own_echo_is_recognised_by_the_id(http: httpx2.Client, http_server: HttpServer) -> None:
    """Otherwise each answer of ours would be reported as a stranger's."""
    http_server.answer(Reply(201, SENT))

    provider_id = channel(http, http_server.url).send(PART)

    (echo,) = parse(payload("venom/self_message"), ACCOUNT).events
    assert getattr(echo, "provider_id", None) == provider_id


@pytest.mark.parametrize(
    ("flavour", "reply", "error", "code"),
    [
        ("wppconnect", Reply(400, {"message": "no such number"}), PermanentError, "venom_http_400"),
        ("wppconnect", Reply(401, {}), ChannelStoppedError, "venom_http_401"),
        ("wppconnect", Reply(403, {}), ChannelStoppedError, "venom_http_403"),
        ("wppconnect", Reply(404, {}), ChannelStoppedError, "venom_http_404"),
        ("wppconnect", Reply(301, {}), ChannelStoppedError, "venom_http_301"),
        ("wppconnect", Reply(408, {}), AmbiguousError, "venom_http_408"),
        ("wppconnect", Reply(413, {}), PermanentError, "venom_http_413"),
        ("wppconnect", Reply(429, {}), TransientError, "venom_http_429"),
        ("wppconnect", Reply(500, {"status": "Error"}), AmbiguousError, "venom_http_500"),
        ("wppconnect", Reply(501, {}), PermanentError, "venom_http_501"),
        ("wppconnect", Reply(502, b"<html>"), AmbiguousError, "venom_http_502"),
        ("wppconnect", Reply(200, b"<html>"), AmbiguousError, "venom_unclear"),
        ("wppconnect", Reply(200, b"[" * 90_000), AmbiguousError, "venom_unclear"),
        ("wppconnect", Reply(200, []), AmbiguousError, "venom_unclear"),
        ("gateway", Reply(200, {"success": False}), TransientError, "venom_refused"),
        ("gateway", Reply(200, {"success": "yes"}), AmbiguousError, "venom_unclear"),
        ("gateway", Reply(200, {}), AmbiguousError, "venom_unclear"),
        ("gateway", Reply(500, {}), AmbiguousError, "venom_http_500"),
    ],
)
def test_each_refusal_tells_what_to_do(
    http: httpx2.Client,
    http_server: HttpServer,
    flavour: Flavour,
    reply: Reply,
    error: type[AdminError],
    code: str,
) -> None:
    http_server.answer(reply)

    with pytest.raises(AdminError) as caught:
        channel(http, http_server.url, flavour).send(PART)

    assert (type(caught.value), caught.value.code) == (error, code)


@pytest.mark.parametrize(("header", "wait_ms"), [("7", 7_000), ("soon", None)])
def test_wait_that_is_asked_for_is_passed_on(
    http: httpx2.Client, http_server: HttpServer, header: str, wait_ms: int | None
) -> None:
    http_server.answer(Reply(429, {}, {"Retry-After": header}))

    with pytest.raises(TransientError) as caught:
        channel(http, http_server.url).send(PART)

    assert caught.value.retry_after_ms == wait_ms


def test_gateway_that_never_answers_leaves_a_doubt(
    http: httpx2.Client, http_server: HttpServer
) -> None:
    http_server.answer(hang, reset)

    with pytest.raises(AmbiguousError, match="venom_timeout"):
        channel(http, http_server.url, timeout_ms=100).send(PART)
    with pytest.raises(AmbiguousError, match="venom_broken"):
        channel(http, http_server.url).send(PART)


def test_long_answer_leaves_in_parts_that_are_taken(http: httpx2.Client) -> None:
    parts = channel(http, "http://gateway.example").split("Да, можно. " * 1_000)

    assert len(parts) == 3
    assert all(units(part) <= 4096 for part in parts)
