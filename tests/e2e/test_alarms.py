"""What is wrong with an installation is noticed, and a person is notified of it once."""

import os
from collections import Counter
from http import HTTPStatus
from signal import SIGKILL
from typing import Any

import httpx2
import pytest

from tests.fake_sentry import FakeSentry
from tests.stack.accounts import BARBER, SALON
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def alarms(sentry: FakeSentry, kind: str) -> list[dict[str, Any]]:
    return [event for event in sentry.events if event["tags"].get("kind") == kind]


def checks(client: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/readyz").json()["checks"]
    return found


def works(client: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/healthz").json()["checks"]
    return found


def test_drift_makes_who_differs_unready_reaches_sentry_once_and_ends_with_its_process(
    stack: Stack,
) -> None:
    eventually(lambda: fleet_agrees(stack), what="all roles in agreement")
    # Another test's other process may have raised one: as if that were long ago.
    before = len(alarms(stack.sentry, "drift"))
    for key in stack.ledger.client.scan_iter("*cooldown:*:drift"):
        stack.ledger.client.delete(key)

    with stack.other_web(BATCH_IDLE_MS="2000") as other:
        eventually(lambda: not works(stack.web)["fleet"]["ok"], what="the drift to be seen")
        assert checks(other)["fleet"]["ok"] is False
        assert stack.web.get("/readyz").status_code == HTTPStatus.OK
        assert len(stack.web.get("/fleet").json()["problems"]) == 1
        eventually(lambda: alarms(stack.sentry, "drift")[before:], what="the alarm")
        # Each process compares the others with its own heartbeat, some seconds apart.
        everybody = stack.processes.values()
        eventually(
            lambda: all("settings.drift" in one.log() for one in everybody), what="all to see it"
        )
        # Each has raised the alarm by now; there was time to deliver it.
        stack.ledger.let_pass(3_000)

    (alarm,) = alarms(stack.sentry, "drift")[before:]
    assert "settings or accounts differ in BATCH_IDLE_MS: " in alarm["contexts"]["alert"]["detail"]
    assert "settings.drift" not in stack.sentry.messages
    eventually(lambda: works(stack.web)["fleet"]["ok"], what="the drift to be over")


def test_batch_keeps_the_limits_of_the_process_that_opened_it(stack: Stack) -> None:
    """A stale process is harmless: its limits are stored with the batch, and nothing expires."""
    with stack.other_web(BATCH_MAX_MESSAGES="2", BATCH_IDLE_MS="20000") as stale:
        anna = stack.customer(SALON)
        at_stale = stack.customer(BARBER, number=anna.number, web=stale)

        at_stale.writes(*at_stale.lines("Hi", "tomorrow?"))
        anna.writes(*anna.lines("Hi", "tomorrow?", "at three?"))

        assert at_stale.wait_for_turns() == ["\n".join(at_stale.lines("Hi", "tomorrow?"))]
        assert anna.wait_for_turns() == ["\n".join(anna.lines("Hi", "tomorrow?", "at three?"))]


@pytest.mark.long
def test_web_on_another_redis_reports_to_its_own_sentry_that_it_is_not_flushed(
    stack: Stack,
) -> None:
    """The origin's fault: messages accepted where no flusher runs, and no person was notified."""
    its_own = FakeSentry()
    with stack.other_web(REDIS_URL=stack.valkey.url(5), SENTRY_DSN=its_own.dsn) as other:
        answer = other.get("/readyz")
        anna = stack.customer(web=other)
        anna.writes(anna.line("Hi"))
        eventually(lambda: "flusher.silent" in its_own.messages, what="a report", deadline_s=90)

    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    check = answer.json()["checks"]["flusher"]
    assert check["ok"] is False
    assert check["says"] == "this Redis was never flushed"
    assert "the same REDIS_URL" in check["advice"]
    assert checks(stack.web)["flusher"]["ok"] is True
    assert "flusher.silent" not in stack.sentry.messages
    its_own.close()


def test_emptied_ledger_is_reported_and_the_service_goes_on(stack: Stack) -> None:
    anna = stack.customer()
    anna.writes(anna.line("Hi"))
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    stack.ledger.client.flushall()

    red = eventually(lambda: unready(stack), what="/readyz to be red")
    eventually(
        lambda: stack.sentry.messages.count("ledger.replaced") >= 4, what="every process to report"
    )
    eventually(lambda: alarms(stack.sentry, "ledger_replaced"), what="the alarm in the new ledger")
    stack.wait_until_ready()
    anna.writes(anna.line("Anybody?"))
    assert anna.wait_for_answers(2)[1] == anna.line("Answer to: Anybody?")
    assert red["checks"]["identity"]["ok"] is False
    assert len(alarms(stack.sentry, "ledger_replaced")) == 1
    assert stack.ledger.store.ledger_id() != ""


def test_server_that_is_told_to_evict_while_it_runs_is_an_alarm(stack: Stack) -> None:
    stack.ledger.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (alarm,) = eventually(lambda: alarms(stack.sentry, "durability"), what="the alarm")
    finally:
        stack.ledger.client.config_set("maxmemory-policy", "noeviction")

    assert "must be noeviction" in alarm["contexts"]["alert"]["detail"]


def test_outage_of_the_ledger_is_told_when_it_begins_and_when_it_is_over(stack: Stack) -> None:
    """Of all processes one tells of its beginning, and of its end who refused a webhook too.

    ``make alarms`` counts the events of every fault, for a minute each.
    """
    anna, before = stack.customer(), len(stack.sentry.messages)
    stack.valkey.kill()
    refused = [anna.delivers(anna.line("Hi"), f"wamid.outage-{n}") for n in range(4)]
    eventually(lambda: "outage.began" in stack.sentry.messages[before:], what="the beginning")
    stack.valkey.start()

    def refusals() -> int:
        ended = [it for it in stack.sentry.events if it.get("logger") == "runtime.sentry"]
        return sum(it["extra"].get("refused", 0) for it in ended)

    eventually(lambda: refusals() >= len(refused), what="the end")
    stack.wait_until_ready()
    assert {answer.status_code for answer in refused} == {HTTPStatus.SERVICE_UNAVAILABLE}
    told = [event for event in stack.sentry.events[before:] if "logentry" in event]
    names = Counter(str(event["logentry"]["message"]) for event in told)
    assert names["outage.began"] == 1
    assert refusals() == len(refused)
    assert names.total() <= 5, names


@pytest.mark.parametrize(("role", "event"), [("web", "worker.killed"), ("worker", "worker.died")])
def test_child_that_is_killed_is_told_by_its_master(stack: Stack, role: str, event: str) -> None:
    before, process = len(stack.sentry.messages), stack.processes[role]
    os.kill(process.children[-1], SIGKILL)
    eventually(lambda: event in stack.sentry.messages[before:], what="the report")
    if role == "worker":
        # Dramatiq's master ends with the first of its children; systemd starts it again.
        process.kill()
        process.start()
    stack.wait_until_ready()

    assert stack.sentry.messages[before:].count(event) == 1


def unready(stack: Stack) -> dict[str, Any] | None:
    answer: dict[str, Any] = stack.web.get("/readyz").json()
    return None if answer["checks"]["identity"]["ok"] else answer


def fleet_agrees(stack: Stack) -> bool:
    fleet: dict[str, Any] = stack.web.get("/fleet").json()
    roles = {member["role"] for member in fleet["members"]}
    fingerprints = {member["fingerprint"] for member in fleet["members"]}
    agreed = len(fingerprints) == 1 and not fleet["problems"]
    return agreed and {"web", "worker", "scheduler"} <= roles
