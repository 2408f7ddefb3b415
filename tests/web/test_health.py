from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import falcon.testing
import pytest

from batching.keys import FLEET
from batching.store import Store
from runtime.build import Runtime, build
from runtime.fleet import SILENCE_LASTS_MS, Silence
from tests.fakes import FakeClock
from tests.valkey_server import ValkeyServer
from tests.web.conftest import Start, environ_of, write_accounts
from tests.webhooks import Caller, body, change, code, text_message
from web import create_app


@pytest.fixture
def without_ledger(
    other_valkey: ValkeyServer, tmp_path: Path
) -> Iterator[falcon.testing.TestClient]:
    """Yield the application after its Redis went away."""
    other_valkey.start()
    runtime = build("web", environ_of(other_valkey, write_accounts(tmp_path)))
    other_valkey.kill()
    yield falcon.testing.TestClient(create_app(runtime))
    runtime.store.client.connection_pool.disconnect()


def collect_once(store: Store) -> None:
    for shard in store.keyring.all_shards:
        store.collect(shard, limit=1)


def test_process_is_alive_without_a_ledger(without_ledger: falcon.testing.TestClient) -> None:
    result = without_ledger.simulate_get("/livez")

    assert (result.status_code, result.json) == (200, {"status": "alive"})


def test_process_is_ready_once_a_flusher_collects_from_its_redis(
    http: falcon.testing.TestClient, runtime: Runtime
) -> None:
    collect_once(runtime.store)

    result = http.simulate_get("/readyz")

    assert result.status_code == 200
    assert result.json["status"] == "ready"
    assert all(check["ok"] for check in result.json["checks"].values())
    assert result.json["release"] == "r-test"
    assert len(result.json["fingerprint"]) == 12


def test_process_is_not_ready_where_nobody_collects(http: falcon.testing.TestClient) -> None:
    """The origin's true fault: web and worker used different Redis servers and could not know."""
    result = http.simulate_get("/readyz")

    assert result.status_code == 503
    assert result.json["checks"]["ledger"] == {"ok": True, "says": "writable", "advice": ""}
    assert result.json["checks"]["flusher"] == {
        "ok": False,
        "says": "this Redis was never flushed",
        "advice": (
            "start a scheduler and a worker; if they run, give all processes the same REDIS_URL"
        ),
    }


def test_process_is_not_ready_when_the_flusher_fell_silent(
    http: falcon.testing.TestClient, runtime: Runtime
) -> None:
    collect_once(runtime.store)
    (shard,) = runtime.store.keyring.shards
    runtime.store.client.set(shard.heartbeat, 1_000)

    result = http.simulate_get("/readyz")

    assert result.status_code == 503
    assert result.json["checks"]["flusher"]["ok"] is False


@pytest.mark.parametrize(("grace_ms", "status"), [("0", 503), ("300000", 200)])
def test_process_is_not_ready_among_others_with_other_settings_once_the_deploy_is_over(
    start: Start, grace_ms: str, status: int
) -> None:
    """A rolling deploy of new settings must not take every web out of a load balancer."""
    runtime = start("web", DEPLOY_GRACE_MS=grace_ms)
    collect_once(runtime.store)
    runtime.fleet.beat()
    start("worker", BATCH_IDLE_MS="600").fleet.beat()

    result = falcon.testing.TestClient(create_app(runtime)).simulate_get("/readyz")

    assert result.status_code == status
    assert result.json["checks"]["fleet"]["ok"] is (status == 200)
    assert "settings or accounts differ" in result.json["checks"]["fleet"]["says"]


def test_process_is_not_ready_until_it_has_adopted_another_ledger(
    http: falcon.testing.TestClient, runtime: Runtime
) -> None:
    collect_once(runtime.store)
    runtime.store.client.flushall()
    collect_once(runtime.store)

    emptied = http.simulate_get("/readyz")
    runtime.fleet.follow()
    adopted = http.simulate_get("/readyz")

    assert (emptied.status_code, adopted.status_code) == (503, 200)
    assert emptied.json["checks"]["identity"]["says"] == "no ledger is in this Redis"
    assert "restore the old ledger" in emptied.json["checks"]["identity"]["advice"]


def test_webhook_in_a_redis_that_nobody_flushes_is_taken_and_told(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The message is safe where it is; that it will not be answered is what a person must know."""
    clock = FakeClock()
    runtime = replace(start(), silence=Silence(clock))
    caller = Caller(falcon.testing.TestClient(create_app(runtime)))
    statuses = [caller.cloud(body(change(text_message()))).status_code]
    clock.advance_ms(SILENCE_LASTS_MS)

    statuses.append(caller.cloud(body(change(text_message()))).status_code)

    assert statuses == [200, 200]
    assert [r.levelname for r in caplog.records if r.message == "flusher.silent"] == ["ERROR"]


def test_fleet_names_every_process_and_what_they_disagree_about(
    http: falcon.testing.TestClient, runtime: Runtime, start: Start
) -> None:
    runtime.fleet.beat()
    start("worker", BATCH_IDLE_MS="600").fleet.beat()

    result = http.simulate_get("/fleet")

    assert result.status_code == 200
    assert [(member["role"], member["is_alive"]) for member in result.json["members"]] == [
        ("web", True),
        ("worker", True),
    ]
    missing, drift = result.json["problems"]
    assert missing.startswith("no scheduler is alive in this Redis")
    assert drift.startswith("settings or accounts differ")


def test_stranger_in_the_fleet_does_not_break_the_view(
    http: falcon.testing.TestClient, runtime: Runtime
) -> None:
    runtime.store.client.hset(FLEET, "web:elsewhere:1", "no json")

    assert http.simulate_get("/fleet").status_code == 200


def test_process_is_not_ready_without_a_ledger(without_ledger: falcon.testing.TestClient) -> None:
    result = without_ledger.simulate_get("/readyz")

    assert result.status_code == 503
    assert result.json["status"] == "not ready"
    assert {name: check["ok"] for name, check in result.json["checks"].items()} == {
        "ledger": False,
        "identity": False,
        "flusher": False,
        "fleet": False,
    }


@pytest.mark.parametrize("path", ["/fleet", "/metrics", "/simulator/state/demo/79990000001"])
def test_view_without_a_ledger_is_unavailable(
    without_ledger: falcon.testing.TestClient, path: str
) -> None:
    result = without_ledger.simulate_get(path)

    assert code(result) == (503, "ledger_unavailable")


def test_webhook_without_a_ledger_is_refused_and_to_be_delivered_again(
    without_ledger: falcon.testing.TestClient,
) -> None:
    result = Caller(without_ledger).cloud(body(change(text_message())))

    assert code(result) == (503, "ledger_unavailable")
    assert result.headers["Retry-After"] == "5"


def test_metrics_count_what_was_accepted(http: falcon.testing.TestClient, caller: Caller) -> None:
    caller.cloud(body(change(text_message())))

    result = http.simulate_get("/metrics")

    assert result.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'ai_admin_messages_accepted_total{shard="0"} 1' in result.text.splitlines()
