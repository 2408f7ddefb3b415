"""What is wrong with an installation reaches a person, once, whoever saw it first."""

from http import HTTPStatus
from typing import Any

import pytest

from tests.fake_sentry import FakeSentry
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def sentry(stack: Stack) -> FakeSentry:
    return stack.sentry


def alarms(sentry: FakeSentry, kind: str) -> list[dict[str, Any]]:
    return [event for event in sentry.events if event["tags"].get("kind") == kind]


def lines(sentry: FakeSentry, name: str) -> list[dict[str, Any]]:
    """Return the events of a log line's name."""
    return [e for e in sentry.events if e.get("logentry", {}).get("message") == name]


def logs(stack: Stack) -> list[str]:
    return [process.log() for process in stack.processes.values()]


def test_drift_that_every_process_sees_reaches_sentry_once(
    stack: Stack, sentry: FakeSentry
) -> None:
    with stack.other_web(BATCH_IDLE_MS="2000"):
        eventually(lambda: alarms(sentry, "drift"), what="the alarm")
        eventually(
            lambda: all("settings.drift" in text for text in logs(stack)), what="all to see it"
        )
        # Each has raised the alarm by now, and there was time to deliver it.
        stack.ledger.let_pass(3_000)

    (alarm,) = alarms(sentry, "drift")
    assert "settings or accounts differ: " in alarm["contexts"]["alert"]["detail"]
    assert lines(sentry, "settings.drift") == []


def test_web_on_another_redis_reports_to_its_own_sentry_that_it_is_not_flushed(
    stack: Stack, sentry: FakeSentry
) -> None:
    """The origin's fault: messages accepted where no flusher runs, and no person was notified."""
    its_own = FakeSentry()
    with stack.other_web(REDIS_URL=stack.valkey.url(5), SENTRY_DSN=its_own.dsn) as other:
        answer = other.get("/readyz")
        anna = stack.customer(web=other)
        anna.writes(anna.line("Hi"))
        eventually(lambda: lines(its_own, "flusher.silent"), what="flusher.silent", deadline_s=90)

    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    check = answer.json()["checks"]["flusher"]
    assert check["says"] == "this Redis was never flushed"
    assert "the same REDIS_URL" in check["advice"]
    assert lines(sentry, "flusher.silent") == []
    its_own.close()


def test_emptied_ledger_is_told_and_the_service_goes_on(stack: Stack, sentry: FakeSentry) -> None:
    anna = stack.customer()
    anna.writes(anna.line("Hi"))
    anna.wait_for_answers()
    stack.ledger.wait_until_settled(anna)

    stack.ledger.client.flushall()

    red = eventually(lambda: unready(stack), what="/readyz to be red")
    eventually(lambda: len(lines(sentry, "ledger.replaced")) >= 4, what="every process to tell")
    eventually(lambda: alarms(sentry, "ledger_replaced"), what="the alarm in the new ledger")
    stack.wait_until_ready()
    anna.writes(anna.line("Anybody?"))
    assert anna.wait_for_answers(2)[1] == anna.line("Answer to: Anybody?")
    assert red["checks"]["identity"]["ok"] is False
    assert len(alarms(sentry, "ledger_replaced")) == 1
    assert stack.ledger.store.identity() != ""


def test_server_that_is_told_to_evict_while_it_runs_is_an_alarm(
    stack: Stack, sentry: FakeSentry
) -> None:
    stack.ledger.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (alarm,) = eventually(lambda: alarms(sentry, "durability"), what="the alarm")
    finally:
        stack.ledger.client.config_set("maxmemory-policy", "noeviction")

    assert "must be noeviction" in alarm["contexts"]["alert"]["detail"]


def unready(stack: Stack) -> dict[str, Any] | None:
    answer: dict[str, Any] = stack.web.get("/readyz").json()
    return None if answer["checks"]["identity"]["ok"] else answer
