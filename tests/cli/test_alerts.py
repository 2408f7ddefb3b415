"""``alerts``: what a person must be told, and whether anybody was."""

import json
from typing import Any

import pytest

from batching import alerts as streams
from batching.alerts import Alerts
from batching.errors import PermanentError
from tests.batching.world import BORIS, World
from tests.cli.conftest import CANARY, Operator
from tests.fakes import FakeModel


def die(world: World, **customer: str) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY, **customer)
    world.settle()


def old_alert(world: World, age_ms: int) -> None:
    """Add an alert as if the server had written it so long ago."""
    client: Any = world.store.client
    at_ms = client.time()[0] * 1000 - age_ms
    fields = {"kind": "poison", "account": "salon", "at_ms": at_ms}
    client.xadd(world.store.keyring.shards[0].alerts, fields, id=f"{at_ms}-0")


def test_without_alerts_all_is_well(world: World, operator: Operator) -> None:
    answer = operator("alerts")

    assert (answer.status, answer.out) == (0, "No alerts.\n")
    assert world.alerts() == []


def test_newest_comes_first_with_counts_by_kind(world: World, operator: Operator) -> None:
    die(world)
    die(world, customer=BORIS)
    world.store.alarm("drift", "two releases", quiet_ms=1)

    answer = operator("alerts")
    read = operator("alerts", "--json", "--limit", "2").json

    assert answer.status == 0
    lines = answer.out.splitlines()
    assert [line.split()[3] for line in lines[:3]] == ["drift", "fatal_model", "fatal_model"]
    assert [line.split()[2] for line in lines[:3]] == ["undelivered"] * 3
    assert lines[3:] == ["fatal_model: 2", "drift: 1"]
    assert read["counts"] == {"fatal_model": 2, "drift": 1}
    assert [alert["kind"] for alert in read["alerts"]] == ["drift", "fatal_model"]
    assert (read["ok"], read["held"]) == (True, {})


def test_alert_that_is_undelivered_for_too_long_is_a_persons_matter(
    world: World, operator: Operator
) -> None:
    old_alert(world, 360_000)

    late = operator("alerts")
    alerts = Alerts(world.store)
    alerts.acknowledge(alerts.take(10))
    delivered = operator("alerts")

    assert late.status == 1
    assert "The oldest undelivered one is 6 min old" in late.out
    assert (delivered.status, delivered.out.split()[2]) == (0, "notified")


def test_young_undelivered_alert_is_none(world: World, operator: Operator) -> None:
    old_alert(world, 60_000)

    answer = operator("alerts", "--json")

    assert (answer.status, answer.json["ok"]) == (0, True)


def test_throttled_alerts_are_counted(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RATE_MAX", 0)
    die(world)
    alerts = Alerts(world.store)
    alerts.throttle(alerts.take(1))

    assert operator("alerts", "--json").json["held"] == {"salon fatal_model": 1}
    assert "Throttled, for a summary: salon fatal_model: 1" in operator("alerts").out


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
def test_wrong_usage(operator: Operator, limit: str) -> None:
    assert operator("alerts", "--limit", limit).status == 2


def test_alert_for_a_program_is_whole(world: World, operator: Operator) -> None:
    die(world)

    (alert,) = json.loads(operator("alerts", "--json").out)["alerts"]

    assert set(alert) == {
        "shard", "entry_id", "kind", "detail", "account_id", "conversation_id", "batch_id", "at_ms",
        "kept", "lost", "held", "told",
    }  # fmt: skip
    assert (alert["kind"], alert["detail"], alert["kept"]) == ("fatal_model", "model_auth", 1)
