"""The verbs that print a state: counters, audit, fleet, alerts, model."""

import json
from typing import Any

import pytest
import redis

from batching import alerts as streams
from batching.alerts import Alerts
from batching.erase import erase
from batching.errors import PermanentError
from batching.keys import FLEET
from batching.store import Store
from tests.batching.world import ANNA, BORIS, World
from tests.cli.conftest import CANARY, SILENT, Operator, announce_all
from tests.fakes import FakeModel


def test_counters_of_a_new_ledger_add_up(operator: Operator) -> None:
    done = operator("balance")

    assert done.status == 0
    assert done.out.splitlines()[-1] == ("Every accepted message is accounted for.")


@pytest.mark.parametrize(
    ("stats", "words"),
    [
        ({"accepted": 3, "answered": 2}, "The counters do not add up in shard 0"),
        ({"accepted": 2, "lost": 2}, "Lost: 2."),
    ],
)
def test_counters_that_do_not_add_up_fail(
    operator: Operator, store: Store, stats: dict[Any, Any], words: str
) -> None:
    store.client.hset(store.keyring.shards[0].stats, mapping=stats)

    done = operator("balance")
    told = operator("balance", "--json").json

    assert done.status == 1
    assert words in done.out
    assert told["shards"][0]["accepted"] == stats["accepted"]
    assert told["holds"] is (stats.get("lost", 0) > 0)


def test_balance_names_reasons(world: World, operator: Operator) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY, CANARY)
    world.settle()
    erase(world.store, world.store.conversation_id("salon", ANNA))

    answer = operator("balance")

    assert answer.status == 0
    assert answer.out.splitlines()[2:4] == ["Ever dead: fatal_model 2", "Ever suppressed: erased 2"]
    assert operator("balance", "--json").json["reasons"] == {
        "dead": {"fatal_model": 2},
        "suppressed": {"erased": 2},
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the second scan."""
    monkeypatch.setattr("cli.status.AUDIT_PAUSE_S", 0)


def test_sound_ledger_agrees_with_its_counters(world: World, operator: Operator) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY)
    world.settle()
    world.to_sending(CANARY)
    world.write(CANARY)

    answer = operator("audit")
    read = operator("audit", "--json").json

    assert answer.status == 0
    assert answer.out.startswith("Checked 1 conversations and 1 dead letters in ")
    assert answer.out.endswith("The counters agree with what is kept.\n")
    assert (read["ok"], read["problems"], read["undecided"]) == (True, [], [])
    assert list(read) == ["ok", "took_ms", "conversations", "letters", "problems", "undecided"]


@pytest.mark.usefixtures("quick")
def test_contradiction_is_printed(world: World, operator: Operator) -> None:
    world.write(CANARY)
    stats = world.store.keyring.shards[0].stats
    world.store.client.hincrby(stats, "open", 2)

    answer = operator("audit")

    assert answer.status == 1
    assert answer.out.splitlines()[0] == "shard 0: open is 3 by the counters, 1 kept"
    assert operator("audit", "--json").json["ok"] is False
    world.store.client.hincrby(stats, "open", -2)


def test_fleet_without_processes_names_the_missing_roles(operator: Operator) -> None:
    done = operator("fleet")

    assert done.status == 1
    assert [line.split(" is ")[0] for line in done.out.splitlines()] == [
        "no web",
        "no worker",
        "no scheduler",
    ]


def test_fleet_that_agrees_is_listed(operator: Operator, client: redis.Redis) -> None:
    announce_all(client)

    done = operator("fleet")
    members = operator("fleet", "--json").json["members"]

    assert done.status == 0
    assert done.out.splitlines() == [
        "scheduler:host-1:7  release r1  settings f1  alive",
        "web:host-1:7  release r1  settings f1  alive",
        "worker:host-1:7  release r1  settings f1  alive",
        "3 processes agree.",
    ]
    assert [(member["role"], member["is_alive"]) for member in members] == [
        ("scheduler", True),
        ("web", True),
        ("worker", True),
    ]


def test_process_that_fell_silent_is_not_alive(operator: Operator, client: redis.Redis) -> None:
    """A playbook waits for those that are alive, and a killed one stays listed for a minute."""
    announce_all(client)
    client.hset(FLEET, "web:host-1:7", json.dumps(SILENT))

    members = operator("fleet", "--json").json["members"]

    (web,) = (member for member in members if member["role"] == "web")
    assert web["silent_ms"] > 15_000
    assert web | {"silent_ms": 0} == SILENT | {
        "silent_ms": 0,
        "is_alive": False,
        "redis_run_id": "",
        "redis_db": 0,
    }


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


def test_no_alerts_is_well(world: World, operator: Operator) -> None:
    answer = operator("alerts")

    assert (answer.status, answer.out) == (0, "No alerts.\n")
    assert world.alerts() == []


def test_newest_alert_comes_first_with_counts_by_kind(world: World, operator: Operator) -> None:
    die(world)
    die(world, customer=BORIS)
    world.store.alert_once("drift", "two releases", cooldown_ms=1)

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


def test_alert_that_is_undelivered_for_too_long_needs_a_person(
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


def test_alert_for_a_program_is_whole(world: World, operator: Operator) -> None:
    die(world)

    (alert,) = json.loads(operator("alerts", "--json").out)["alerts"]

    assert set(alert) == {
        "shard", "entry_id", "kind", "detail", "account_id", "conversation_id", "batch_id", "at_ms",
        "kept", "lost", "held", "told",
    }  # fmt: skip
    assert (alert["kind"], alert["detail"], alert["kept"]) == ("fatal_model", "model_auth", 1)


def test_model_is_switched_off_and_on_without_a_deploy(
    operator: Operator, client: redis.Redis
) -> None:
    states = [operator("model", *given) for given in ((), ("off",), ("--json",), ("on",))]

    assert [done.status for done in states] == [0, 0, 0, 0]
    assert [done.out.splitlines()[0] for done in (states[0], states[1], states[3])] == [
        "The model is on.",
        "The model is off: batches wait, and nothing is lost, until their deadline.",
        "The model is on.",
    ]
    assert states[2].json == {"on": False, "asked": 0, "budget": 10_000}
    assert client.keys("*model_off*") == []
