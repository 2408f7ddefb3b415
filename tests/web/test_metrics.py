"""What Prometheus reads, of a ledger where things happened."""

import falcon.testing

from batching.keys import CANARY
from batching.model import Stage
from runtime.build import Runtime
from tests.webhooks import Caller, body, change, text_message


def lines(http: falcon.testing.TestClient) -> list[str]:
    return str(http.simulate_get("/metrics").text).splitlines()


def test_new_installation_has_every_metric_and_no_age(http: falcon.testing.TestClient) -> None:
    found = lines(http)

    assert 'ai_admin_messages_accepted_total{shard="0"} 0' in found
    assert "ai_admin_flusher_lag_ms -1" in found
    assert "ai_admin_oldest_due_lag_ms 0" in found
    assert "ai_admin_canary_age_ms -1" in found
    assert "ai_admin_overdue_total 0" in found


def test_events_and_reasons_are_counted(
    http: falcon.testing.TestClient, caller: Caller, runtime: Runtime
) -> None:
    for _ in range(2):
        caller.cloud(body(change(text_message())))
    store, (shard,) = runtime.store, runtime.store.keyring.shards
    store.client.zadd(shard.due, dict.fromkeys(store.client.zrange(shard.due, 0, -1), 1))  # type: ignore[type-var]
    (batch,) = store.collect(shard, limit=1)
    store.collect(store.keyring.canary, limit=1)
    run = store.begin(batch.wake_up)
    assert run
    assert run.wake_up.stage is Stage.GENERATE
    store.dead_letter(batch.wake_up, run.token, "poison", "test")
    store.client.hset(CANARY, items=["answered_ms", "1", "round_trip_ms", "612"])

    found = lines(http)

    assert "ai_admin_duplicate_total 1" in found
    assert 'ai_admin_dead_total{reason="poison"} 1' in found
    assert 'ai_admin_messages_dead{shard="0"} 1' in found
    assert any(line.startswith('ai_admin_flush_total{reason="') for line in found)
    assert "ai_admin_canary_round_trip_ms 612" in found
    assert not any(line.endswith("-1") for line in found if "flusher_lag" in line)
