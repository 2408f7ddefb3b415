"""Signed webhooks reach a real receiver, which verifies them as the standard's library does."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from batching import outbox as module
from batching.alerts import Alerts
from batching.outbox import Outbox
from batching.store import Store
from runtime import publisher as publishing
from runtime.clients import http_client
from runtime.publisher import Endpoint, Publisher
from tests.alerts import raise_alerts
from tests.http_server import Answer, HttpServer, Reply, closed_port, drip, hang, http_server, reset

__all__ = ["http_server"]

OLD = "whsec_c2VjcmV0LW9mLXRlc3RzLW9sZC0wMDAwMDAwMQ=="
NEW = "whsec_c2VjcmV0LW9mLXRlc3RzLW5ldy0wMDAwMDAwMQ=="
OTHER = "whsec_c2VjcmV0LW9mLXRlc3RzLW90aC0wMDAwMDAwMQ=="


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with http_client() as client:
        yield client


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three attempts follow each other without a pause."""
    monkeypatch.setattr(module, "PAUSES_MS", (0, 0))
    monkeypatch.setattr(publishing, "REST_S", 0.0)
    monkeypatch.setattr(publishing, "REST_S_MAX", 0.0)


def publisher(store: Store, url: str, http: httpx2.Client, secrets: str = NEW) -> Publisher:
    made = Publisher(store, "a-ledger", Endpoint(url, secrets, http))
    made()
    return made


def test_call_is_verified_by_each_of_two_secrets_and_by_no_other(
    store: Store, http_server: HttpServer, http: httpx2.Client
) -> None:
    publish = publisher(store, f"{http_server.url}/hook", http, f"{NEW} {OLD}")
    raise_alerts(store, detail="model_filtered", conversation="c_1", kept="2")

    publish()

    (call,) = http_server.requests
    for secret in (OLD, NEW):
        told: Any = Webhook(secret).verify(call.body, dict(call.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(call.body, dict(call.headers))
    assert told["type"] == "conversation.dead"
    assert told["data"] == {
        "account": "salon", "conversation": "c_1", "batch": "b0", "messages": 2,
        "reason": "poison", "code": "model_filtered",
    }  # fmt: skip
    assert told["timestamp"].endswith("Z")
    assert call.headers["webhook-id"].startswith("msg_")


def test_details_in_words_do_not_leave(
    store: Store, http_server: HttpServer, http: httpx2.Client
) -> None:
    publish = publisher(store, http_server.url, http)
    raise_alerts(store, detail="something that somebody said")

    publish()

    assert b"somebody" not in http_server.requests[0].body


REFUSALS: dict[str, Answer] = {
    "500": Reply(500),
    "redirect": Reply(307, headers={"Location": "/elsewhere"}),
    "reset": reset,
    "hangs": hang,
    "drips": drip(b"HTTP/1.1 200 OK\r\n"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_call_that_fails_is_repeated_under_its_id_and_signed_anew(
    store: Store,
    http_server: HttpServer,
    http: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    monkeypatch.setattr(publishing, "CALL_MS", 200 if case in {"hangs", "drips"} else 15_000)
    publish = publisher(store, http_server.url, http)
    http_server.answer(REFUSALS[case])
    raise_alerts(store)

    publish()
    monkeypatch.setattr(publishing, "CALL_MS", 15_000)
    publish()
    publish()

    first, second = http_server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    Webhook(NEW).verify(second.body, dict(second.headers))


def test_call_that_is_never_taken_is_a_dead_letter_with_one_alert(
    store: Store, http_server: HttpServer, http: httpx2.Client
) -> None:
    publish = publisher(store, http_server.url, http)
    http_server.answer(*[Reply(500)] * 9)
    raise_alerts(store, 2)

    for _ in range(6):
        publish()

    assert len(http_server.requests) == 6
    client: Any = store.client
    assert client.llen(store.keyring.shards[0].outbox_dead) == 2
    kinds = [alert.kind for alert in Alerts(store).newest(9)]
    assert kinds.count("events_lost") == 1


def test_calls_rest_while_nobody_answers(
    store: Store, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "REST_S_MAX", 60.0)
    monkeypatch.setattr(publishing, "REST_S", 20.0)
    now = [0.0]
    endpoint = Endpoint(f"http://127.0.0.1:{closed_port()}", NEW, http)
    publish = Publisher(store, "a-ledger", endpoint, clock=lambda: now[0], _rest_s=20.0)
    publish()
    raise_alerts(store, 3)
    publish()
    client: Any = store.client

    def attempts() -> int:
        outbox = store.keyring.shards[0].outbox
        return sum(
            it["times_delivered"] for it in client.xpending_range(outbox, "outbox", "-", "+", 9)
        )

    before = attempts()
    publish()
    assert attempts() == before
    now[0] = 41.0
    publish()
    assert attempts() > before


def test_without_an_endpoint_nothing_is_kept(store: Store) -> None:
    Outbox(store).open()
    Publisher(store, "a-ledger", None)()
    raise_alerts(store)

    assert store.client.exists(store.keyring.shards[0].outbox) == 0
