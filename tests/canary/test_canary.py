"""The canary on a real ledger; the webhook is answered by a server of the test's own."""

import json
import logging
from collections.abc import Iterator
from copy import copy
from typing import Any

import falcon.testing
import httpx2
import pytest
import redis

from batching import flow
from batching.audit import audit
from batching.errors import MalformedError
from batching.inspect import counters, trace
from batching.keys import CANARY, CANARY_TURN
from batching.model import CANARY_ACCOUNT, InboundMessage, Kind, Run
from batching.store import Store
from canary.channel import CUSTOMER, parse, webhook_secret
from canary.probe import LATE_MS, Probe, Watcher
from runtime.build import Runtime, build
from tests.canaries import answer, collect, served
from tests.fakes import FakeClock, FakeLeaseRenewer, FakeQueue
from tests.http_server import HttpServer, Reply, http_server
from web import create_app

__all__ = ["http_server"]


@pytest.fixture
def runtime(demo_environ: dict[str, str], http_server: HttpServer) -> Iterator[Runtime]:
    built = build("scheduler", demo_environ | {"CANARY_URL": http_server.url})
    yield built
    built.store.client.connection_pool.disconnect()


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def probe(runtime: Runtime, http: httpx2.Client) -> Probe:
    return Probe(runtime.store, secret=webhook_secret(runtime.settings.privacy_key), http=http)


@pytest.fixture
def canary(runtime: Runtime, http: httpx2.Client) -> Watcher:
    settings = runtime.settings
    return Watcher(
        runtime.store,
        url=settings.canary_url,
        every_ms=settings.canary_every_ms,
        secret=webhook_secret(settings.privacy_key),
        http=http,
    )


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
    caplog.set_level(logging.DEBUG)
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


def test_canaries_of_one_batch_are_all_known_as_answered_and_none_is_late(
    runtime: Runtime,
    canary: Watcher,
    probe: Probe,
    http_server: HttpServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those of operators on several hosts, and the scheduler's own."""
    caplog.set_level(logging.DEBUG)
    canary()
    deliver(runtime, http_server)
    with served(runtime) as url:
        refusals = [probe.post(url, message_id) for message_id in ("m1", "m2")]
    answer(runtime)
    make_late(runtime)

    canary()

    steps = trace(runtime.store, runtime.store.conversation_id(CANARY_ACCOUNT, CUSTOMER)).steps
    assert [step.verb for step in steps].count("finish") == 1
    assert (refusals, alerts(runtime)) == (["", ""], [])
    assert caplog.messages.count("canary.answered") == 1
    assert [bool(probe.answered_ms(it)) for it in ("m1", "m2", "m3")] == [True, True, False]


def test_canary_is_no_customer(runtime: Runtime, canary: Watcher, http_server: HttpServer) -> None:
    """Its messages are in none of their counters, metrics or audits."""
    canary()
    deliver(runtime, http_server)
    answer(runtime)

    (counted,) = counters(runtime.store)
    assert counted.accepted == 0
    metrics = falcon.testing.TestClient(create_app(runtime)).simulate_get("/metrics").text
    assert 'ai_admin_messages_accepted_total{shard="0"} 0.0' in metrics.splitlines()
    assert audit(runtime.store).problems == ()


def test_second_scheduler_sends_no_second_canary(canary: Watcher, http_server: HttpServer) -> None:
    """Nor one that restarted: what they know is in the ledger."""
    for one in (canary, copy(canary), canary):
        one()

    assert len(http_server.requests) == 1


def test_body_names_the_message() -> None:
    (message,) = parse({"message_id": "c-1"}).events

    assert message == InboundMessage(CANARY_ACCOUNT, CUSTOMER, "c-1", Kind.TEXT, "Are you open?")


def test_id_that_cannot_be_stored_is_cleaned() -> None:
    (message,) = parse({"message_id": "c\x00\ud800"}).events

    assert isinstance(message, InboundMessage)
    assert message.message_id == "c\ufffd"


@pytest.mark.parametrize("body", [None, [], {}, {"message_id": "c" * 65}, {"message_id": " "}])
def test_body_of_another_form_is_malformed(body: object) -> None:
    with pytest.raises(MalformedError):
        parse(body)


def test_webhook_without_the_secret_is_refused(runtime: Runtime) -> None:
    app = falcon.testing.TestClient(create_app(runtime))
    for headers in ({}, {"X-Webhook-Secret": "guess"}, {"X-Webhook-Secret": "é"}):
        body = json.dumps({"message_id": "m1"})
        headers |= {"Content-Type": "application/json"}
        assert app.simulate_post("/webhooks/canary", body=body, headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("stages", "step"),
    [
        ("refuse", "webhook: HTTP 503"),
        ("operators answer", "is the web on another Redis?"),
        ("deliver", "append: open, and not collected"),
        ("deliver collect", "generate: claimed (last step: collect"),
        ("operators collect deliver", "append: open, behind a batch in generate: claimed (last"),
        ("deliver collect begin", "generate: running (last step: begin"),
        ("deliver collect generate", "send: claimed (last step: checkpoint"),
        (
            "deliver collect begin bury",
            "ended, and the sink did not get it (last step: dead_letter deadline too_old)",
        ),
    ],
)
def test_late_canary_raises_one_alert_with_the_step_where_it_was_last_seen(
    runtime: Runtime,
    canary: Watcher,
    probe: Probe,
    http_server: HttpServer,
    caplog: pytest.LogCaptureFixture,
    stages: str,
    step: str,
) -> None:
    """What an operator sent, and was answered, does not stand for it."""
    store, queue, renewer = runtime.store, FakeQueue(), FakeLeaseRenewer()
    if stages == "refuse":
        http_server.answer(Reply(status=503))
    canary()
    for stage in stages.split():
        match stage:
            case "operators":
                with served(runtime) as url:
                    probe.post(url, "operators")
            case "deliver":
                deliver(runtime, http_server)
            case "collect":
                collect(runtime, queue)
            case "answer":
                answer(runtime)
            case "generate":
                wake_up = queue.wake_ups[0]
                flow.generate(store, runtime.accounts, queue, wake_up, renew_lease=renewer)
            case "begin":
                run = store.begin(queue.wake_ups[0])
            case "bury":
                assert isinstance(run, Run)
                store.dead_letter(run, "deadline", "too_old")
    make_late(runtime)

    canary()
    canary()

    (detail,) = alerts(runtime)
    assert step in detail
    assert caplog.messages.count("canary.late") == 1


def test_ledger_that_is_away_makes_the_canary_late_once(
    runtime: Runtime, http: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    clock, away = FakeClock(), redis.Redis.from_url("redis://127.0.0.1:1/0")
    settings, here = runtime.settings, runtime.store.client
    secret = webhook_secret(settings.privacy_key)
    store = Store(away, privacy_key=settings.privacy_key)
    url, every_ms = "http://127.0.0.1:1", 60_000
    watcher = Watcher(store, url=url, every_ms=every_ms, secret=secret, http=http, clock=clock)
    for step_ms in (0, LATE_MS - 1, 1, LATE_MS):
        clock.advance_ms(step_ms)
        watcher()
    logged = [(it.message, vars(it)["waited_ms"]) for it in caplog.records]

    away.connection_pool, there = here.connection_pool, away.connection_pool
    watcher()
    watcher()
    away.connection_pool = there

    assert logged == [("canary.late", LATE_MS)]
    assert alerts(runtime) == ["none was sent for 40 s: the ledger in our REDIS_URL did not answer"]


def test_canary_that_is_given_up_makes_room_for_the_next(
    runtime: Runtime, canary: Watcher, http_server: HttpServer
) -> None:
    canary()
    runtime.store.client.hset(CANARY, "posted_ms", "1")
    runtime.store.client.delete(CANARY_TURN)

    canary()

    first, second = (request.json["message_id"] for request in http_server.requests)
    assert first != second
