"""What a load balancer, an operator and Prometheus read; and every address without a ledger."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import falcon.testing
import pytest
import redis

from batching.keys import FLEET
from batching.model import Dependency
from batching.store import Store
from runtime.build import Runtime
from runtime.silence import FLUSHER_SILENT_MS_MAX, SILENCE_LASTS_MS, Silence
from tests.fakes import FakeClock
from tests.web.conftest import Start
from tests.webhooks import Caller, body, change, code, text_message
from web import create_app
from web.access import Operators
from web.guesses import Guesses
from web.health import KNOWN_MS, READY, Health

HELLO = body(change(text_message()))


def collect_once(store: Store) -> None:
    for shard in store.keyring.all_shards:
        store.collect(shard, limit=1)


def test_process_without_a_ledger_is_alive_and_says_that_it_cannot_serve(
    without_ledger: falcon.testing.TestClient,
) -> None:
    alive, ready = (without_ledger.simulate_get(path) for path in ("/livez", "/readyz"))
    webhook = Caller(without_ledger).cloud(HELLO)
    views = [
        without_ledger.simulate_get(path)
        for path in ("/fleet", "/simulator/state/demo/79990000001")
    ]

    assert (alive.status_code, alive.json) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json["status"]) == (503, "not ready")
    assert {name: check["ok"] for name, check in ready.json["checks"].items()} == dict.fromkeys(
        ("ledger", "identity", "flusher", "fleet"), False
    )
    assert [code(result) for result in (webhook, *views)] == [(503, "ledger_unavailable")] * 3
    assert webhook.headers["Retry-After"] == "5"  # the provider delivers again


def asked(runtime: Runtime, path: str) -> falcon.testing.Result:
    """Return what a process answers that was not asked before."""
    return falcon.testing.TestClient(create_app(runtime)).simulate_get(path)


def readyz(runtime: Runtime) -> falcon.testing.Result:
    return asked(runtime, "/readyz")


def test_process_is_ready_once_a_flusher_collects_from_its_redis(runtime: Runtime) -> None:
    """The origin's true fault: web and worker used different Redis servers and could not know."""
    before = readyz(runtime)
    collect_once(runtime.store)
    after = readyz(runtime)

    assert (before.status_code, after.status_code) == (503, 200)
    assert before.json["checks"]["ledger"] == {"ok": True, "says": "writable", "advice": ""}
    assert before.json["checks"]["flusher"] == {
        "ok": False,
        "says": "this Redis was never flushed",
        "advice": (
            "start a scheduler and a worker; if they run, give all processes the same REDIS_URL"
        ),
    }
    assert (after.json["status"], after.json["release"]) == ("ready", "r-test")
    assert all(check["ok"] for check in after.json["checks"].values())
    assert len(after.json["fingerprint"]) == 12


def test_dead_worker_makes_no_host_unready_and_the_installation_is_said_not_to_work(
    start: Start,
) -> None:
    """What is taken meanwhile is kept, and answered when one lives again."""
    runtime = start("web")
    others = [start("worker"), start("scheduler")]
    for process in (runtime, *others):
        process.fleet.beat()
    collect_once(runtime.store)
    before = [asked(runtime, path).status_code for path in ("/readyz", "/healthz")]
    for shard in runtime.store.keyring.all_shards:
        runtime.store.client.decrby(shard.heartbeat, FLUSHER_SILENT_MS_MAX + 1)
    others[0].fleet.stop()

    ready, works = asked(runtime, "/readyz"), asked(runtime, "/healthz")

    wrong = [name for name, check in works.json["checks"].items() if not check["ok"]]
    assert before == [200, 200]
    assert (ready.status_code, ready.json["checks"]["flusher"]["ok"]) == (200, True)
    assert "was last flushed" in ready.json["checks"]["flusher"]["says"]
    assert (works.status_code, works.json["status"]) == (503, "does not work")
    assert wrong == ["flusher", "roles"]


def test_fault_of_an_account_is_a_detail_of_the_installation(start: Start) -> None:
    runtime = start("web")
    for process in (runtime, start("worker"), start("scheduler")):
        process.fleet.beat()
    collect_once(runtime.store)
    account_id = next(iter(runtime.accounts)).account_id
    runtime.store.open_circuit(account_id, Dependency.MODEL, "model_auth")

    works = asked(runtime, "/healthz")

    wrong = [name for name, check in works.json["checks"].items() if not check["ok"]]
    assert (works.status_code, wrong) == (200, ["accounts"])


@pytest.mark.parametrize(("grace_ms", "status"), [("0", 503), ("300000", 200)])
def test_process_is_not_ready_among_others_with_other_settings_once_the_deploy_is_over(
    start: Start, grace_ms: str, status: int
) -> None:
    """A rolling deploy of new settings must not take every web out of a load balancer."""
    runtime = start("web", DEPLOY_GRACE_MS=grace_ms)
    collect_once(runtime.store)
    runtime.fleet.beat()
    start("worker", BATCH_IDLE_MS="600").fleet.beat()

    result = readyz(runtime)

    assert result.status_code == status
    assert result.json["checks"]["fleet"]["ok"] is (status == 200)
    assert "settings or accounts differ" in result.json["checks"]["fleet"]["says"]


def test_process_is_not_ready_until_it_has_adopted_another_ledger(runtime: Runtime) -> None:
    collect_once(runtime.store)
    runtime.store.client.flushall()
    collect_once(runtime.store)

    emptied = readyz(runtime)
    runtime.fleet.follow()
    adopted = readyz(runtime)

    assert (emptied.status_code, adopted.status_code) == (503, 200)
    assert emptied.json["checks"]["identity"]["says"] == "no ledger is in this Redis"
    assert "restore the old ledger" in emptied.json["checks"]["identity"]["advice"]


def test_strangers_who_ask_whether_a_process_is_ready_ask_the_ledger_once_a_second(
    start: Start, client: redis.Redis
) -> None:
    clock = FakeClock()
    runtime = start("web", CONSOLE_TOKEN="5c1f0e9d8b7a69584c3b2a190f8e7d6c")
    guesses = Guesses(runtime.store, "the operator's pages")
    app = falcon.App()
    operators = Operators(runtime.settings, guesses)
    app.add_route("/readyz", Health(runtime, operators, READY, {}, ("ready", "not ready"), clock))
    http = falcon.testing.TestClient(app)

    def asked(times: int) -> int:
        before = client.info("stats")["total_commands_processed"]
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: http.simulate_get("/readyz"), range(times)))
        return int(client.info("stats")["total_commands_processed"] - before)

    once, more = asked(30), asked(30)
    clock.advance_ms(KNOWN_MS)

    assert more < once
    assert asked(30) == once


def test_webhook_in_a_redis_that_nobody_flushes_is_taken_and_reported(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The message is safe where it is; that it will not be answered is what a person must know."""
    clock = FakeClock()
    runtime = replace(start(), silence=Silence(clock))
    caller = Caller(falcon.testing.TestClient(create_app(runtime)))
    statuses = [caller.cloud(HELLO).status_code]
    clock.advance_ms(SILENCE_LASTS_MS)

    statuses.append(caller.cloud(HELLO).status_code)

    assert statuses == [200, 200]
    assert [r.levelname for r in caplog.records if r.message == "flusher.silent"] == ["ERROR"]


def test_fleet_names_every_process_and_what_they_disagree_about(
    http: falcon.testing.TestClient, runtime: Runtime, start: Start
) -> None:
    """An entry that cannot be read, which another release may have made, breaks nothing."""
    runtime.fleet.beat()
    start("worker", BATCH_IDLE_MS="600").fleet.beat()
    runtime.store.client.hset(FLEET, "web:elsewhere:1", "no json")

    result = http.simulate_get("/fleet")

    assert result.status_code == 200
    assert [(member["role"], member["is_alive"]) for member in result.json["members"]] == [
        ("web", True),
        ("worker", True),
    ]
    missing, drift = result.json["problems"]
    assert missing.startswith("no scheduler is alive in this Redis")
    assert drift.startswith("settings or accounts differ")
