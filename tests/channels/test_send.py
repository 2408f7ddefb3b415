"""Sending through each provider over real HTTP: what is asked, and what each answer means."""

import socket
import threading
from typing import Any, cast

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
from batching.ports import Channel
from batching.store import Store
from channels import explain
from channels.provider import ChannelAccount, Outside
from channels.venom import VENOM
from channels.whatsapp_cloud import WHATSAPP_CLOUD
from channels.whatsapp_cloud.codes import BY_NAME, MEANINGS
from channels.whatsapp_cloud.send import wamid
from httpjson import ANSWER_BYTES_MAX
from httpjson import Reply as Answer
from tests.channels.payloads import load, read
from tests.http_server import Deed, HttpServer, Reply, closed_port, hang, hang_up, reset, say

TEXT = "Tomorrow at 15:00 is free 🙂"
TAG = "aa:c_0123456789abcdef01234567:b1:0"
TOKEN = "token-of-the-tests"
PHONE, CHAT, LID = "79990000001", "79990000001@c.us", "100000000000001@lid"
DIALECTS = ("cloud", "wppconnect", "gateway")
#: What each answers to a message that it took.
SENT: dict[str, dict[str, Any]] = {
    "cloud": {"messages": [{"id": "wamid.out", "message_status": "accepted"}]},
    "wppconnect": {"status": "success", "response": [{"id": f"true_{CHAT}_3EB0AA_out"}]},
    "gateway": {"success": True, "messageId": "gw-1"},
}


def channel(
    dialect: str, http: httpx2.Client, url: str, *, timeout_ms: int = 5_000, token: str = TOKEN
) -> Channel:
    provider = WHATSAPP_CLOUD if dialect == "cloud" else VENOM
    config = provider.config.model_construct(
        api_url=f"{url}/base/",
        timeout_ms=timeout_ms,
        phone_number_id="100000000000001",
        access_token_env="TOKEN",
        token_env="TOKEN",
        session="salon/1",
        flavour=dialect,
    )
    # No channel over HTTP uses the store.
    outside = Outside(http, cast("Store", None))
    return provider.build(ChannelAccount("salon", config, {"TOKEN": token}), outside)


def failure(sender: Channel) -> AdminError:
    with pytest.raises(AdminError) as caught:
        sender.send(Outbound(PHONE, TEXT, TAG))
    return caught.value


@pytest.mark.parametrize(
    ("dialect", "path", "asked", "provider_id"),
    [
        pytest.param(
            "cloud",
            "/base/100000000000001/messages",
            {
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                "to": PHONE,
                "type": "text",
                "text": {"body": TEXT, "preview_url": False},
                "biz_opaque_callback_data": TAG,
            },
            "wamid.out",
            id="cloud",
        ),
        pytest.param(
            "wppconnect",
            "/base/api/salon%2F1/send-message",
            {"phone": PHONE, "isGroup": False, "isLid": False, "message": TEXT},
            "3EB0AA",
            id="wppconnect",
        ),
        pytest.param(
            "gateway", "/base/send-message", {"to": PHONE, "message": TEXT}, "gw-1", id="gateway"
        ),
    ],
)
def test_part_is_posted_as_documented(
    http: httpx2.Client,
    http_server: HttpServer,
    dialect: str,
    path: str,
    asked: object,
    provider_id: str,
) -> None:
    http_server.answer(Reply(201, SENT[dialect]))

    assert channel(dialect, http, http_server.url).send(Outbound(PHONE, TEXT, TAG)) == provider_id

    (request,) = http_server.requests
    assert (request.method, request.path, request.json) == ("POST", path, asked)
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"


def test_gateway_without_a_token_is_sent_none(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(Reply(200, SENT["gateway"]))

    channel("gateway", http, http_server.url, token="").send(Outbound(PHONE, TEXT, TAG))

    assert "authorization" not in http_server.requests[0].headers


@pytest.mark.parametrize(
    ("dialect", "customer", "part"),
    [
        *(
            ("cloud", customer, {"recipient": customer})
            for customer in ("RU.1000000000000001", "US.ENT.20837465019283746502")
        ),
        *(
            ("cloud", customer, {"to": customer})
            for customer in ("5215550000001", "ru.1", "RUS.1", "RU.", "RU.1\n", "RU.é")
        ),
        ("wppconnect", LID, {"phone": LID, "isLid": True}),
        ("gateway", LID, {"to": LID}),
    ],
)
def test_customer_is_addressed_by_the_kind_of_id(
    http: httpx2.Client,
    http_server: HttpServer,
    dialect: str,
    customer: str,
    part: dict[str, object],
) -> None:
    http_server.answer(Reply(200, SENT[dialect]))

    channel(dialect, http, http_server.url).send(Outbound(customer, TEXT, TAG))

    asked = http_server.requests[0].json
    names = asked.keys() & {"to", "recipient", "phone", "isLid"}
    assert {name: asked[name] for name in names} == part


@pytest.mark.parametrize(
    ("dialect", "answer", "provider_id"),
    [
        ("wppconnect", {"response": {"id": f"true_{CHAT}_3EB0AA"}}, "3EB0AA"),
        ("wppconnect", {"response": [{"id": {"id": "3EB0AA", "_serialized": "x"}}]}, "3EB0AA"),
        ("wppconnect", {"response": None}, ""),
        ("wppconnect", {"response": ["?", None]}, ""),
        ("gateway", {"messageId": None}, ""),
    ],
)
def test_id_is_found_wherever_it_stands(
    http: httpx2.Client, http_server: HttpServer, dialect: str, answer: Any, provider_id: str
) -> None:
    http_server.answer(Reply(200, SENT[dialect] | answer))

    sender = channel(dialect, http, http_server.url)

    assert sender.send(Outbound(PHONE, TEXT, TAG)) == provider_id


def test_own_echo_is_recognised_by_the_id(http: httpx2.Client, http_server: HttpServer) -> None:
    """Otherwise each answer of ours would be reported as a stranger's."""
    http_server.answer(Reply(201, SENT["wppconnect"]))

    provider_id = channel("wppconnect", http, http_server.url).send(Outbound(CHAT, TEXT, TAG))

    (echo,) = read("venom", load("venom/self_message")).events
    assert getattr(echo, "provider_id", None) == provider_id


def cloud_error(code: object) -> dict[str, object]:
    details = {"details": f"not to {PHONE}"}
    return {"error": {"message": "Invented", "code": code, "error_data": details}}


WITHOUT_WAMID: list[object] = [
    *({}, [], b"", b"\xff\x00 not JSON", b"[" * 100_000),
    *({"messages": []}, {"messages": [{"id": ""}]}, {"messages": "wamid.out"}),
]
UNCLEAR: list[object] = [b"<html>", b"[" * 90_000, [], {"status": "Error"}]


@pytest.mark.parametrize(
    ("dialect", "reply", "error", "code"),
    [
        ("cloud", Reply(400, cloud_error(131056)), TransientError, "cloud_131056"),
        ("cloud", Reply(429, cloud_error("130429")), TransientError, "cloud_130429"),
        ("cloud", Reply(500, cloud_error(3)), ChannelStoppedError, "cloud_3"),
        ("cloud", Reply(200, cloud_error(131026)), PermanentError, "cloud_131026"),
        ("cloud", Reply(400, cloud_error("soon")), PermanentError, "cloud_http_400"),
        ("cloud", Reply(400, cloud_error([])), PermanentError, "cloud_http_400"),
        ("cloud", Reply(404, b"<html>"), ChannelStoppedError, "cloud_http_404"),
        (
            "cloud",
            Reply(302, b"", {"Location": "/elsewhere"}),
            ChannelStoppedError,
            "cloud_http_302",
        ),
        *(("cloud", Reply(200, body), AmbiguousError, "cloud_no_id") for body in WITHOUT_WAMID),
        ("wppconnect", Reply(400, {"message": "?"}), PermanentError, "venom_http_400"),
        ("wppconnect", Reply(401, {}), ChannelStoppedError, "venom_http_401"),
        ("wppconnect", Reply(429, {}), TransientError, "venom_http_429"),
        ("wppconnect", Reply(500, {"status": "Error"}), AmbiguousError, "venom_http_500"),
        *(("wppconnect", Reply(200, body), AmbiguousError, "venom_unclear") for body in UNCLEAR),
        ("gateway", Reply(200, {"success": False}), TransientError, "venom_refused"),
        ("gateway", Reply(200, {"success": "yes"}), AmbiguousError, "venom_unclear"),
        ("gateway", Reply(200, {}), AmbiguousError, "venom_unclear"),
        ("gateway", Reply(500, {}), AmbiguousError, "venom_http_500"),
    ],
)
def test_answer_without_success_means(
    http: httpx2.Client,
    http_server: HttpServer,
    dialect: str,
    reply: Reply,
    error: type[AdminError],
    code: str,
) -> None:
    http_server.answer(reply)

    found = failure(channel(dialect, http, http_server.url))

    assert (type(found), found.code) == (error, code)
    assert len(http_server.requests) == 1


#: The Cloud API's error.code, which decides whatever the HTTP status.
CODES: dict[type[AdminError], list[int]] = {
    TransientError: [
        *[2, 4, 17, 32, 341, 613, 80000, 80007, 80008, 80014],
        *[130429, 131016, 131056, 131057, 133004, 133015, 133016],
    ],
    # "Invalid request or possible server error": nothing says that it was not taken.
    AmbiguousError: [1, 131000],
    ChannelStoppedError: [
        *[0, 3, 10, 12, 33, 101, 102, 104, 190, 200, 219, 299, 368, 458, 463, 467, 803, 2500, 2635],
        *[131005, 131031, 131037, 131042, 131044, 131045, 131048, 131064, 133010],
    ],
    PermanentError: [
        *[100, 130472, 130497, 131008, 131009, 131021, 131026, 131030, 131047, 131049, 131050],
        *[131051, 131052, 131053, 131055, 131062, 131063, 132000, 132001, 132999, 135000, 137000],
    ],
}
#: The HTTP status, which decides without a code, and with an unknown one.
STATUSES: dict[type[AdminError], list[int]] = {
    TransientError: [429],
    AmbiguousError: [408, 500, 502, 503, 504, 599],
    ChannelStoppedError: [301, 302, 307, 308, 401, 403, 404, 405],
    PermanentError: [400, 402, 409, 413, 415, 422, 501],
}
UNKNOWN_CODE = 999_999


@pytest.mark.parametrize(
    ("status", "code", "error", "name"),
    [
        *(
            (status, code, error, f"cloud_{code}")
            for error, codes in CODES.items()
            for code in codes
            for status in (200, 400, 429, 500)
        ),
        *(
            (status, code, error, f"cloud_{code or f'http_{status}'}")
            for error, statuses in STATUSES.items()
            for status in statuses
            for code in (None, UNKNOWN_CODE)
        ),
        (200, UNKNOWN_CODE, AmbiguousError, "cloud_999999"),
        # A number that is no code of Meta's may be anything: it is not repeated.
        (400, 9_999_999, PermanentError, "cloud_9999999"),
        (400, 79990000001, PermanentError, "cloud_other"),
    ],
)
def test_code_decides_else_the_status(
    status: int, code: int | None, error: type[AdminError], name: str
) -> None:
    with pytest.raises(AdminError) as caught:
        wamid(Answer(status, {}, {"error": {"code": code}}))

    assert (type(caught.value), caught.value.code) == (error, name)


@pytest.mark.parametrize(
    ("status", "given", "error", "name"),
    [
        # The number is gone, or not this token's: no message of the account can leave.
        (400, {"code": 100, "error_subcode": 33}, ChannelStoppedError, "cloud_100_33"),
        (400, {"code": "100", "error_subcode": "33"}, ChannelStoppedError, "cloud_100_33"),
        (400, {"code": 100, "error_subcode": 2494010}, PermanentError, "cloud_100"),
        (401, {"code": 190, "error_subcode": 463}, ChannelStoppedError, "cloud_190"),
        (401, {"code": 102, "error_subcode": 467}, ChannelStoppedError, "cloud_102"),
        # A code that is unknown to us, of which Meta says that it will pass.
        (400, {"code": UNKNOWN_CODE, "is_transient": True}, TransientError, "cloud_999999"),
        (400, {"code": UNKNOWN_CODE, "is_transient": False}, PermanentError, "cloud_999999"),
        (500, {"code": UNKNOWN_CODE, "is_transient": True}, AmbiguousError, "cloud_999999"),
        (400, {"code": 131047, "is_transient": True}, PermanentError, "cloud_131047"),
    ],
)
def test_subcode_and_is_transient_decide_where_the_code_does_not(
    status: int, given: dict[str, object], error: type[AdminError], name: str
) -> None:
    with pytest.raises(AdminError) as caught:
        wamid(Answer(status, {}, {"error": given}))

    assert (type(caught.value), caught.value.code) == (error, name)


def test_code_has_one_meaning() -> None:
    assert sum(len(meaning.names) for meaning in MEANINGS) == len(BY_NAME)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("cloud_131047", "24 hours"),
        ("cloud_100_33", "does not exist"),
        ("cloud_250", "permission"),
        ("cloud_http_404", "address"),
        ("cloud_http_502", "HTTP 502"),
        ("cloud_http_422", "refused"),
        ("cloud_timeout", "clearly"),
        ("venom_timeout", "clearly"),
        ("venom_notlogged", "logged out"),
        ("cloud_account_deleted", "deleted"),
        ("venom_http_404", "session"),
        ("venom_http_401", "token"),
        ("venom_refused", "did not send"),
        ("venom_ack_-1", "did not take"),
    ],
)
def test_code_is_explained_in_plain_words(code: str, words: str) -> None:
    found = explain(code)

    assert found is not None
    assert words in found.says
    assert found.advice


@pytest.mark.parametrize("code", ["", "cloud_", "cloud_999999", "cloud_other", "model_429", "_1"])
def test_unknown_code_is_not_explained(code: str) -> None:
    assert explain(code) is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("header", "wait_ms"), [("7", 7_000), ("soon", None)])
def test_wait_that_is_asked_for_is_passed_on(
    http: httpx2.Client, http_server: HttpServer, dialect: str, header: str, wait_ms: int | None
) -> None:
    http_server.answer(Reply(429, {}, {"Retry-After": header}))

    found = failure(channel(dialect, http, http_server.url))

    assert isinstance(found, TransientError)
    assert found.retry_after_ms == wait_ms


def test_account_that_is_stopped_carries_the_wait_too() -> None:
    """Spam control (131048) ends by itself."""
    with pytest.raises(ChannelStoppedError) as caught:
        wamid(Answer(429, {"retry-after": "30"}, {"error": {"code": 131048}}))

    assert caught.value.retry_after_ms == 30_000


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        pytest.param(reset, "cloud_broken", id="reset"),
        pytest.param(hang_up, "cloud_broken", id="hung up"),
        pytest.param(say(b"garbage\r\n\r\n"), "cloud_broken", id="no HTTP"),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "cloud_broken", id="half"
        ),
        pytest.param(
            say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_BYTES_MAX + 1)),
            "cloud_oversized",
            id="huge",
        ),
    ],
)
def test_what_may_have_left_is_ambiguous(
    http: httpx2.Client, http_server: HttpServer, deed: Deed, code: str
) -> None:
    http_server.answer(deed)

    found = failure(channel("cloud", http, http_server.url, timeout_ms=60_000))

    assert (type(found), found.code) == (AmbiguousError, code)
    assert len(http_server.requests) == 1


def test_silence_until_the_deadline_is_ambiguous(
    http: httpx2.Client, http_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes when the server has the whole request, however slow this machine is."""
    heard = threading.Event()

    def hear(line: socket.socket, closed: threading.Event) -> None:
        heard.set()
        hang(line, closed)

    class TimerOfTheServer(threading.Timer):
        def run(self) -> None:
            heard.wait()
            self.function(*self.args, **self.kwargs)

    monkeypatch.setattr(threading, "Timer", TimerOfTheServer)
    http_server.answer(hear)

    found = failure(channel("cloud", http, http_server.url, timeout_ms=60_000))

    assert (type(found), found.code) == (AmbiguousError, "cloud_timeout")
    assert len(http_server.requests) == 1


def test_what_certainly_did_not_leave_may_be_sent_again(http: httpx2.Client) -> None:
    found = failure(channel("gateway", http, f"http://127.0.0.1:{closed_port()}"))

    assert (type(found), str(found)) == (TransientError, "venom_unreachable: ConnectError")


def test_address_that_cannot_be_called_is_permanent(http: httpx2.Client) -> None:
    found = failure(channel("gateway", http, "http://[::bad"))

    assert (type(found), str(found)) == (PermanentError, "venom_request: InvalidURL")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("reply", [Reply(400, cloud_error(131047)), Reply(200, b"{}"), reset])
def test_no_error_holds_a_text_a_customer_or_a_token(
    http: httpx2.Client, http_server: HttpServer, dialect: str, reply: Any
) -> None:
    http_server.answer(reply)

    found = failure(channel(dialect, http, http_server.url))

    told = f"{found!r} {found.detail}"
    assert not any(secret in told for secret in (TEXT, PHONE, TOKEN))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answer_is_split_by_utf_16_units(http: httpx2.Client, dialect: str) -> None:
    sender = channel(dialect, http, "http://provider.example")

    assert sender.split("😀" * 2048) == ["😀" * 2048]
    assert sender.split("😀" * 2049) == ["😀" * 2048, "😀"]
