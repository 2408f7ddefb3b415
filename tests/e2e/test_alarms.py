"""What is wrong with an installation reaches a person, once, whoever saw it first."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from tests.e2e.harness import Stack, running
from tests.e2e.strays import Stray, started
from tests.e2e.waiting import eventually
from tests.fake_sentry import FakeSentry
from tests.processes import Guard

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def sentry() -> Iterator[FakeSentry]:
    server = FakeSentry()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stack(valkey_binary: str, guard: Guard, sentry: FakeSentry) -> Iterator[Stack]:
    with running(Stack(valkey_binary, guard, {"SENTRY_DSN": sentry.dsn})) as installation:
        yield installation


@pytest.fixture
def strays() -> Iterator[list[Stray]]:
    running: list[Stray] = []
    yield running
    for stray in running:
        stray.stop()


def alarms(sentry: FakeSentry, kind: str) -> list[dict[str, Any]]:
    return [event for event in sentry.events if event["tags"].get("kind") == kind]


def lines(sentry: FakeSentry, name: str) -> list[dict[str, Any]]:
    """Return the events of a log line's name."""
    return [e for e in sentry.events if e.get("logentry", {}).get("message") == name]


def logs(stack: Stack) -> list[str]:
    return [process.log() for process in stack.processes.values()]


def test_drift_that_every_process_sees_reaches_sentry_once(
    stack: Stack, strays: list[Stray], sentry: FakeSentry
) -> None:
    started(stack, strays, BATCH_IDLE_MS="2000")

    eventually(lambda: alarms(sentry, "drift"), what="the alarm")
    eventually(lambda: all("settings.drift" in text for text in logs(stack)), what="all to see it")
    # Each has raised the alarm by now, and what was raised has had the time to be told.
    stack.books.let_pass(3_000)

    (alarm,) = alarms(sentry, "drift")
    assert "settings or accounts differ: " in alarm["contexts"]["alert"]["detail"]
    assert lines(sentry, "settings.drift") == []


def test_web_on_another_redis_tells_its_own_sentry_that_nobody_flushes(
    stack: Stack, strays: list[Stray], sentry: FakeSentry
) -> None:
    """The origin's fault: messages accepted where nobody looks, and nobody was told."""
    its_own = FakeSentry()
    stray = started(stack, strays, REDIS_URL=stack.valkey.url(5), SENTRY_DSN=its_own.dsn)
    answer = stray.client.get("/readyz")

    def told() -> list[dict[str, Any]]:
        return lines(its_own, "flusher.silent")

    anna = stack.customer(web=stray.client)
    anna.writes(anna.line("Hi"))
    eventually(told, what="flusher.silent", deadline_s=90)

    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    check = answer.json()["checks"]["flusher"]
    assert check["says"].startswith("you are writing into a Redis nobody flushes: nobody ever")
    assert "the same REDIS_URL" in check["advice"]
    assert lines(sentry, "flusher.silent") == []
    its_own.close()


def test_emptied_ledger_is_told_and_the_service_goes_on(stack: Stack, sentry: FakeSentry) -> None:
    anna = stack.customer()
    anna.writes(anna.line("Hi"))
    anna.wait_for_answers()
    stack.books.wait_until_settled(anna)

    stack.books.client.flushall()

    red = eventually(lambda: unready(stack), what="/readyz to be red")
    eventually(lambda: len(lines(sentry, "ledger.replaced")) >= 4, what="every process to tell")
    eventually(lambda: alarms(sentry, "ledger_replaced"), what="the alarm in the new ledger")
    stack.wait_until_ready()
    anna.writes(anna.line("Anybody?"))
    assert anna.wait_for_answers(2)[1] == anna.line("Answer to: Anybody?")
    assert red["checks"]["identity"]["ok"] is False
    assert len(alarms(sentry, "ledger_replaced")) == 1
    assert stack.books.store.identity() != ""


def test_server_that_is_told_to_evict_while_it_runs_is_an_alarm(
    stack: Stack, sentry: FakeSentry
) -> None:
    stack.books.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (alarm,) = eventually(lambda: alarms(sentry, "durability"), what="the alarm")
    finally:
        stack.books.client.config_set("maxmemory-policy", "noeviction")

    assert "must be noeviction" in alarm["contexts"]["alert"]["detail"]


def unready(stack: Stack) -> dict[str, Any] | None:
    answer: dict[str, Any] = stack.web.get("/readyz").json()
    return None if answer["checks"]["identity"]["ok"] else answer
