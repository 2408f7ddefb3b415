"""The verbs that print a state: counters, audit, fleet, alerts, model."""

import json
from dataclasses import asdict
from typing import Any

import pytest
import redis

from batching import alerts as streams
from batching.alerts import Alerts
from batching.keys import FLEET
from batching.rights import erase
from batching.store import Store
from runtime.fleet import Member
from tests.batching.world import ANNA, BORIS, World
from tests.cli.conftest import CANARY, SILENT, Operator, announce_all, refused


@pytest.mark.parametrize(
    ("stats", "status", "words"),
    [
        ({}, 0, "Every accepted message is accounted for."),
        ({"accepted": 3, "answered": 2}, 1, "The counters do not add up in shard 0: report this"),
        ({"accepted": 2, "lost": 2}, 1, "Lost: 2. Something else deleted messages in Redis."),
    ],
)
def test_counters_that_do_not_add_up_fail(
    operator: Operator, store: Store, stats: dict[Any, Any], status: int, words: str
) -> None:
    store.client.hset(store.keyring.shards[0].stats, mapping={"open": 0} | stats)

    done = operator("balance")
    read = operator("balance", "--json").json

    assert done.status == status
    assert done.out.splitlines()[-1].startswith(words)
    assert read["shards"][0]["accepted"] == stats.get("accepted", 0)
    assert read["holds"] is ("answered" not in stats)


def test_balance_names_reasons(world: World, operator: Operator) -> None:
    refused(world, CANARY, CANARY)
    erase(world.store, world.store.conversation_id("salon", ANNA))

    answer = operator("balance")

    assert answer.status == 0
    assert answer.out.splitlines()[2:4] == ["Ever dead: fatal_model 2", "Ever suppressed: erased 2"]
    assert operator("balance", "--json").json["reasons"] == {
        "dead": {"fatal_model": 2},
        "suppressed": {"erased": 2},
    }


def test_balance_names_what_left(world: World, operator: Operator) -> None:
    """One reply to three messages: two questions to the model less, one message to be billed."""
    world.write("Hi", "a haircut", "tomorrow?")
    world.settle()

    answer = operator("balance")

    line = "Sent by salon: replies 1, in messages 1; calls of the model saved 2"
    assert line in answer.out.splitlines()
    figures = {"replies_sent": 1, "parts_sent": 1, "calls_saved": 2}
    assert operator("balance", "--json").json["sent"] == {"salon": figures}


def test_sound_ledger_agrees_with_its_counters(world: World, operator: Operator) -> None:
    refused(world)
    world.to_sending(CANARY)
    world.write(CANARY)

    answer = operator("audit")
    read = operator("audit", "--json").json

    assert answer.status == 0
    assert answer.out.startswith("Checked 1 conversations and 1 dead letters in ")
    assert answer.out.endswith("The counters agree with what is kept.\n")
    assert (read["ok"], read["problems"], read["undecided"]) == (True, [], [])
    assert list(read) == ["ok", "took_ms", "conversations", "letters", "problems", "undecided"]


def test_contradiction_is_printed(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.status.AUDIT_PAUSE_S", 0)
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


def test_fleet_is_listed_and_agrees(operator: Operator, client: redis.Redis) -> None:
    announce_all(client)

    done = operator("fleet")

    assert done.status == 0
    assert done.out.splitlines() == [
        "scheduler:host-1:7  release r1  settings f1  alive",
        "web:host-1:7  release r1  settings f1  alive",
        "worker:host-1:7  release r1  settings f1  alive",
        "3 processes agree.",
    ]


def test_process_that_fell_silent_is_not_alive(operator: Operator, client: redis.Redis) -> None:
    """A playbook waits for those that are alive, and a killed one stays listed for a minute."""
    announce_all(client)
    client.hset(FLEET, "web:host-1:7", json.dumps(SILENT))

    scheduler, web, worker = operator("fleet", "--json").json["members"]

    assert (scheduler["is_alive"], worker["is_alive"]) == (True, True)
    assert web["silent_ms"] > 15_000
    unknown = asdict(Member("", "", 0))
    assert web == unknown | SILENT | {"silent_ms": web["silent_ms"], "is_alive": False}


def old_alert(world: World, age_ms: int) -> None:
    """Add an alert as if the server had written it so long ago."""
    client: Any = world.store.client
    at_ms = client.time()[0] * 1000 - age_ms
    fields = {"kind": "poison", "account": "salon", "at_ms": at_ms}
    client.xadd(world.store.keyring.shards[0].alerts, fields, id=f"{at_ms}-0")


def test_newest_alert_comes_first_with_counts_by_kind(world: World, operator: Operator) -> None:
    none = operator("alerts")
    refused(world)
    refused(world, customer=BORIS)
    world.store.alert_once("drift", "two releases", cooldown_ms=1)

    answer = operator("alerts")
    read = operator("alerts", "--json", "--limit", "2").json

    assert (none.status, none.out.splitlines()[0]) == (0, "No alerts.")
    assert answer.status == 0
    lines = [line.split()[2:] for line in answer.out.splitlines()]
    assert [line[:2] for line in lines[:3]] == [
        ["undelivered", "drift"],
        ["undelivered", "fatal_model"],
        ["undelivered", "fatal_model"],
    ]
    log_alone = "SENTRY_DSN is not set here: alerts go to the log alone, as alert.told."
    told, *counts = answer.out.splitlines()[3:]
    assert (told, [line.partition(";")[0] for line in counts]) == (
        log_alone,
        ["fatal_model: 2", "drift: 1"],
    )
    assert counts[0].startswith("fatal_model: 2; the model refused the question for good: ")
    assert read["counts"] == {"fatal_model": 2, "drift": 1}
    assert [alert["kind"] for alert in read["alerts"]] == ["drift", "fatal_model"]
    assert (read["ok"], read["held"]) == (True, {})


@pytest.mark.parametrize(("age_ms", "status"), [(60_000, 0), (360_000, 1)])
def test_alert_that_is_undelivered_for_too_long_needs_a_person(
    world: World, operator: Operator, age_ms: int, status: int
) -> None:
    old_alert(world, age_ms)

    waiting = operator("alerts")
    read = operator("alerts", "--json").json
    alerts = Alerts(world.store)
    alerts.acknowledge(alerts.take(10))
    logged = operator("alerts")
    delivered = operator("alerts", SENTRY_DSN="http://public@127.0.0.1:1/1")

    assert (waiting.status, read["ok"]) == (status, status == 0)
    assert ("The oldest undelivered one is 6 min old" in waiting.out) is (status == 1)
    assert (delivered.status, delivered.out.split()[2]) == (0, "notified")
    assert "log alone" not in delivered.out
    assert (logged.status, logged.out.split()[2]) == (0, "logged")
    assert read["sink"] == "log"


def test_throttled_alerts_are_counted(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RATE_MAX", 0)
    refused(world)
    alerts = Alerts(world.store)
    alerts.throttle(alerts.take(1))

    assert operator("alerts", "--json").json["held"] == {"salon fatal_model model_auth": 1}
    assert "Throttled, for a summary: salon fatal_model model_auth: 1" in operator("alerts").out


def test_alert_for_a_program_is_whole(world: World, operator: Operator) -> None:
    refused(world)

    (alert,) = operator("alerts", "--json").json["alerts"]

    assert set(alert) == {
        "shard", "entry_id", "kind", "detail", "account_id", "conversation_id", "batch_id", "at_ms",
        "kept", "lost", "held", "told", "title", "to_do", "runbook",
    }  # fmt: skip
    assert (alert["kind"], alert["detail"], alert["kept"]) == ("fatal_model", "model_auth", 1)
    title = "A customer of salon is not answered: the model's key is refused"
    section = "docs/runbook.md#the-models-key-is-refused"
    assert (alert["title"], alert["runbook"]) == (title, section)


def test_model_is_switched_off_and_on_without_a_deploy(
    operator: Operator, client: redis.Redis
) -> None:
    states = [operator("model", *given) for given in ((), ("off",), ("--json",), ("on",))]

    assert [done.status for done in states] == [0, 0, 0, 0]
    on = "The model is on.\nQuestions today: 0 of 10000.\n"
    assert (states[0].out, states[3].out) == (on, on)
    assert states[1].out.startswith("The model is off: batches wait, and nothing is lost, until")
    assert states[2].json == {"on": False, "asked": 0, "budget": 10_000}
    assert client.keys("*model_off*") == []
