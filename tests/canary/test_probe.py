"""The canary on a real ledger; the webhook is answered by a server of the test's own."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import falcon.testing
import httpx2
import pytest

from batching import flow
from batching.audit import audit
from batching.inspect import counters
from batching.keys import CANARY, CANARY_TURN
from batching.model import Run
from canary.channel import webhook_secret
from canary.probe import LATE_MS, Probe, Watcher
from runtime.build import Runtime, build
from tests.canaries import answer, collect, probe, served
from tests.fakes import FakeLeaseRenewer, FakeQueue
from tests.http_server import HttpServer, Reply, http_server
from web import create_app

__all__ = ["http_server", "probe"]


@pytest.fixture
def runtime(demo_environ: dict[str, str], http_server: HttpServer) -> Iterator[Runtime]:
    built = build("scheduler", demo_environ | {"CANARY_URL": http_server.url})
    yield built
    built.store.client.connection_pool.disconnect()


def watcher(runtime: Runtime, http: httpx2.Client) -> Watcher:
    settings = runtime.settings
    return Watcher(
        runtime.store,
        url=settings.canary_url,
        every_ms=settings.canary_every_ms,
        secret=webhook_secret(settings.privacy_key),
        http=http,
    )


@pytest.fixture
def canary(runtime: Runtime) -> Iterator[Watcher]:
    with httpx2.Client(trust_env=False) as http:
        yield watcher(runtime, http)


def deliver(runtime: Runtime, server: HttpServer) -> int:
    """Hand what the canary posted to the real application; return the status."""
    asked = server.requests[-1]
    app = falcon.testing.TestClient(create_app(runtime))
    result = app.simulate_post("/webhooks/canary", body=asked.body, headers=dict(asked.headers))
    return int(result.status_code)


def make_late(runtime: Runtime) -> None:
    client: Any = runtime.store.client
    posted_ms = int(client.hget(CANARY, "posted_ms"))
    client.hset(CANARY, "posted_ms", str(posted_ms - LATE_MS - 1_000))


def alerts(runtime: Runtime) -> list[str]:
    client: Any = runtime.store.client
    entries = client.xrange(runtime.store.keyring.shards[0].alerts)
    return [fields[b"detail"].decode() for _, fields in entries]


def test_canary_goes_the_whole_way_and_its_round_trip_is_logged_once(
    runtime: Runtime, canary: Watcher, http_server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    canary()
    assert deliver(runtime, http_server) == 200
    answer(runtime)

    for _ in range(3):
        canary()

    logged = [record for record in caplog.records if record.message == "canary.answered"]
    assert len(logged) == 1
    assert vars(logged[0])["round_trip_ms"] >= 0
    assert len(http_server.requests) == 1  # the next one is a minute away
    assert alerts(runtime) == []


@pytest.mark.parametrize(
    "state",
    [
        {"mood": "good"},
        {"message_id": "of-another-release"},
        {"message_id": "of-another-release", "posted_ms": "soon"},
        {"message_id": "of-another-release", "posted_ms": ""},
        {"posted_ms": "1", "reported_id": "of-another-release"},
    ],
)
def test_state_that_another_release_wrote_does_not_stop_the_canary(
    runtime: Runtime, canary: Watcher, http_server: HttpServer, state: dict[str, Any]
) -> None:
    client: Any = runtime.store.client
    client.hset(CANARY, mapping=state)
    canary()
    assert deliver(runtime, http_server) == 200
    answer(runtime)

    canary()

    assert client.hget(CANARY, "reported_id") == client.hget(CANARY, "message_id")


def test_canary_of_an_operator_in_the_same_batch_makes_none_late(
    runtime: Runtime,
    canary: Watcher,
    probe: Probe,
    http_server: HttpServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The operator's is the last of the batch, and the scheduler's own is found all the same."""
    caplog.set_level(logging.INFO)
    canary()
    deliver(runtime, http_server)
    with served(runtime) as url:
        assert probe.post(url, "operators") == ""
    answer(runtime)
    make_late(runtime)

    canary()

    assert caplog.messages.count("canary.answered") == 1
    assert alerts(runtime) == []


def test_canary_of_an_operator_does_not_stand_for_a_late_one(
    runtime: Runtime, canary: Watcher, probe: Probe
) -> None:
    canary()  # taken by a server that keeps nothing
    with served(runtime) as url:
        probe.post(url, "operators")
    answer(runtime)
    make_late(runtime)

    canary()

    (detail,) = alerts(runtime)
    assert "is the web on another Redis?" in detail


def test_canary_is_no_customer(runtime: Runtime, canary: Watcher, http_server: HttpServer) -> None:
    """Its messages are in none of their counters, metrics or audits."""
    canary()
    deliver(runtime, http_server)
    answer(runtime)

    (counted,) = counters(runtime.store)
    assert counted.accepted == 0
    metrics = falcon.testing.TestClient(create_app(runtime)).simulate_get("/metrics").text
    assert 'ai_admin_messages_accepted_total{shard="0"} 0' in metrics.splitlines()
    assert audit(runtime.store).problems == ()


def test_second_scheduler_sends_no_second_canary(
    runtime: Runtime, canary: Watcher, http_server: HttpServer
) -> None:
    with httpx2.Client(trust_env=False) as http:
        for one in (canary, watcher(runtime, http), canary):
            one()

    assert len(http_server.requests) == 1


def test_webhook_without_the_secret_is_refused(runtime: Runtime) -> None:
    app = falcon.testing.TestClient(create_app(runtime))
    for headers in ({}, {"X-Webhook-Secret": "guess"}, {"X-Webhook-Secret": "é"}):
        body = json.dumps({"message_id": "m1"})
        headers |= {"Content-Type": "application/json"}
        assert app.simulate_post("/webhooks/canary", body=body, headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("refused", "webhook: HTTP 503"),
        ("elsewhere", "is the web on another Redis?"),
        ("open", "append: open, and not collected"),
        ("collected", "generate: claimed (last step: collect"),
        ("begun", "generate: running (last step: begin"),
        ("kept", "send: claimed (last step: checkpoint"),
        ("dead", "ended, and the sink did not get it (last step: dead_letter deadline too_old)"),
    ],
)
def test_late_canary_raises_one_alert_with_the_step_where_it_was_last_seen(
    runtime: Runtime,
    canary: Watcher,
    http_server: HttpServer,
    caplog: pytest.LogCaptureFixture,
    stage: str,
    step: str,
) -> None:
    if stage == "refused":
        http_server.answer(Reply(status=503))
    canary()
    if stage not in ("refused", "elsewhere"):
        deliver(runtime, http_server)
    store, queue = runtime.store, FakeQueue()
    if stage in ("collected", "begun", "kept", "dead"):
        collect(runtime, queue)
    if stage in ("begun", "dead"):
        run = store.begin(queue.wake_ups[0])
    if stage == "dead":
        assert isinstance(run, Run)
        store.dead_letter(run.wake_up, run.token, "deadline", "too_old")
    if stage == "kept":
        flow.generate(
            store, runtime.accounts, queue, queue.wake_ups[0], renew_lease=FakeLeaseRenewer()
        )
    make_late(runtime)

    canary()
    canary()

    (detail,) = alerts(runtime)
    assert step in detail
    assert caplog.messages.count("canary.late") == 1


def test_canary_that_is_given_up_makes_room_for_the_next(
    runtime: Runtime, canary: Watcher, http_server: HttpServer
) -> None:
    canary()
    runtime.store.client.hset(CANARY, "posted_ms", "1")
    runtime.store.client.delete(CANARY_TURN)

    canary()

    first, second = (request.json["message_id"] for request in http_server.requests)
    assert first != second
