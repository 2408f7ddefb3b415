"""What is acknowledged or refused and not understood: a person is alerted, once for each shape."""

import json
import logging
from typing import Any

import falcon.testing
import pytest

from batching.alerts import Alerts
from runtime.build import Runtime
from tests.web.conftest import Start, accepted
from tests.webhooks import (
    CLOUD,
    VENOM,
    VENOM_SECRET,
    Caller,
    body,
    change,
    code,
    counts,
    signature,
    text_message,
)
from web import create_app
from web.webhooks import NESTING_MAX

WORDS = "Hello, is anybody there?"
NUMBER = "79990000001"
WAHA: dict[str, Any] = {"event": "message", "payload": {"from": f"{NUMBER}@c.us", "body": WORDS}}
EVOLUTION: dict[str, Any] = {
    "event": "messages.upsert",
    "data": {
        "key": {"remoteJid": f"{NUMBER}@s.whatsapp.net", "fromMe": False},
        "message": {"conversation": WORDS},
    },
}
FLAT = {"phone": NUMBER, "message": WORDS}


def alerts(runtime: Runtime) -> list[tuple[str, str, str]]:
    """Return kind, account and detail of every alert, oldest first."""
    found = Alerts(runtime.store).newest(100)
    return [(it.kind, it.account_id, it.detail) for it in reversed(found)]


def gateway(caller: Caller, value: object) -> Any:
    return caller.raw(VENOM, json.dumps(value).encode(), VENOM_SECRET)


@pytest.mark.parametrize(
    ("value", "answer", "detail"),
    [
        pytest.param(
            WAHA, 200, "other_event; fields: event, payload, payload.body, payload.from", id="waha"
        ),
        pytest.param(
            EVOLUTION,
            200,
            "other_event; fields: data, data.key, data.message, event",
            id="evolution",
        ),
        pytest.param(
            {"event": "onMessage", "body": WORDS},
            200,
            "missing_field; fields: body, event",
            id="case",
        ),
        pytest.param(
            {"messages": [{"phone": NUMBER, "body": WORDS}]},
            200,
            "missing_field; fields: body, phone",
            id="item",
        ),
        pytest.param(FLAT, 400, "missing_field; fields: message, phone", id="flat"),
        pytest.param([FLAT], 400, "not_an_object; fields: message, phone", id="list"),
    ],
)
def test_what_may_be_a_message_is_told_once_for_each_shape(
    caller: Caller,
    runtime: Runtime,
    caplog: pytest.LogCaptureFixture,
    value: object,
    answer: int,
    detail: str,
) -> None:
    results = [gateway(caller, value) for _ in range(3)]

    assert [result.status_code for result in results] == [answer] * 3
    assert alerts(runtime) == [("not_understood", "nails", detail)]
    told = [it for it in caplog.records if it.message == "webhook.not_understood"]
    assert [it.levelno for it in told] == [logging.ERROR] * 3


def test_another_shape_and_another_account_are_told_too(caller: Caller, runtime: Runtime) -> None:
    for value in (WAHA, EVOLUTION, WAHA, EVOLUTION):
        gateway(caller, value)
    nameless = {name: value for name, value in text_message().items() if name != "from"}
    result = caller.cloud(body(change(nameless, text_message("wamid.2"))))

    assert result.json == counts(accepted=1, malformed=1)
    assert [account for _, account, _ in alerts(runtime)] == ["nails", "nails", "salon"]


@pytest.mark.parametrize(
    "value",
    [
        {"event": "presence.update", "payload": {"id": f"{NUMBER}@c.us", "presence": "typing"}},
        {"event": "message.ack", "payload": {"from": f"{NUMBER}@c.us", "body": WORDS, "ack": 3}},
        {"event": "messages.set", "data": EVOLUTION["data"]},
        {"typeWebhook": "stateInstanceChanged", "stateInstance": "authorized"},
        {"typeWebhook": "outgoingMessageStatus", "chatId": f"{NUMBER}@c.us", "status": "read"},
        {"foo": 1},
        [],
        7,
    ],
)
def test_noise_of_another_library_is_told_to_nobody(
    caller: Caller, runtime: Runtime, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    with caplog.at_level(logging.INFO):
        gateway(caller, value)

    assert alerts(runtime) == []
    assert {it.message for it in caplog.records} & {"provider.noticed", "webhook.refused"}


@pytest.mark.parametrize(
    ("raw", "content_type", "reason"),
    [
        (b'{"from": "79990000001", "body": "Hel', "application/json", "broken_json"),
        (b"phone=79990000001&message=Hello", "application/x-www-form-urlencoded", "content_type"),
        (json.dumps(FLAT).encode(), "text/plain", "content_type"),
        (b"[" * (NESTING_MAX + 1) + b"]" * (NESTING_MAX + 1), "application/json", "too_deep"),
    ],
)
def test_proven_body_that_is_no_json_of_ours_is_told(
    caller: Caller, runtime: Runtime, raw: bytes, content_type: str, reason: str
) -> None:
    result = caller.raw(VENOM, raw, VENOM_SECRET | {"Content-Type": content_type})

    assert code(result) == (400, reason)
    assert alerts(runtime) == [("not_understood", "nails", reason)]


def test_body_of_metas_that_is_no_json_is_told_for_the_account_that_its_secret_proves(
    caller: Caller, runtime: Runtime
) -> None:
    assert code(caller.cloud(b"{")) == (400, "broken_json")
    assert alerts(runtime) == [("not_understood", "salon", "broken_json")]


@pytest.mark.parametrize(
    ("path", "raw", "headers"),
    [
        (VENOM, json.dumps(WAHA).encode(), {}),
        (VENOM, b"{", {"X-Webhook-Secret": "guess"}),
        (CLOUD, b"{", {"X-Hub-Signature-256": signature(b"{", "a secret of nobody's")}),
        (VENOM, b"", VENOM_SECRET),
    ],
)
def test_stranger_and_an_empty_body_are_told_to_nobody(
    caller: Caller, runtime: Runtime, path: str, raw: bytes, headers: dict[str, str]
) -> None:
    assert caller.raw(path, raw, headers).status_code in {400, 401}
    assert alerts(runtime) == []


def test_nothing_of_the_customer_is_told(
    caller: Caller, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name of a field may be a customer's number or words as well."""
    for value in (WAHA, EVOLUTION, FLAT, {"event": "x", NUMBER: {"from": NUMBER, WORDS: WORDS}}):
        gateway(caller, value)
    text_names = {"event": "x", WORDS: {"from": NUMBER, "body": WORDS}}
    gateway(caller, text_names)

    said = capsys.readouterr().out + json.dumps(alerts(runtime))
    assert "not_understood" in said
    assert [private for private in (WORDS, NUMBER) if private in said] == []


@pytest.mark.parametrize("value", [WAHA, FLAT])
def test_what_may_be_a_message_is_not_acknowledged_without_a_ledger(
    start: Start, value: object
) -> None:
    """The gateway may repeat it; the alert would be lost."""
    runtime = start()
    caller = Caller(falcon.testing.TestClient(create_app(runtime)))
    client: Any = runtime.store.client
    client.replicaof("127.0.0.1", "1")
    try:
        assert code(gateway(caller, value)) == (503, "ledger_unavailable")
    finally:
        client.replicaof("NO", "ONE")
    assert gateway(caller, value).status_code in {200, 400}
    assert len(alerts(runtime)) == 1
    assert accepted(runtime) == 0
