"""A process that looks elsewhere, or is told something else, cannot hide."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx2
import pytest

from tests.e2e.accounts import BARBER, SALON
from tests.e2e.harness import Stack
from tests.e2e.strays import Stray, started
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def strays() -> Iterator[list[Stray]]:
    running: list[Stray] = []
    yield running
    for stray in running:
        stray.stop()


def checks(client: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/readyz").json()["checks"]
    return found


def test_installation_that_agrees_is_ready_and_shows_every_process(stack: Stack) -> None:
    fleet = eventually(lambda: fleet_that_agrees(stack), what="all roles in agreement")

    assert len({member["fingerprint"] for member in fleet["members"]}) == 1


def test_web_on_another_database_is_not_ready_for_want_of_a_flusher(
    stack: Stack, strays: list[Stray]
) -> None:
    """The origin's fault: two processes with different Redis servers, and nobody could tell."""
    stray = started(stack, strays, REDIS_URL=stack.valkey.url(5))

    answer = stray.client.get("/readyz")

    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.json()["checks"]["flusher"]["ok"] is False
    assert checks(stack.web)["flusher"]["ok"] is True


def test_web_with_other_settings_makes_everybody_unready(stack: Stack, strays: list[Stray]) -> None:
    stray = started(stack, strays, BATCH_IDLE_MS="2000")

    eventually(lambda: not checks(stack.web)["fleet"]["ok"], what="the drift to be seen")

    assert checks(stray.client)["fleet"]["ok"] is False
    assert len(stack.web.get("/fleet").json()["problems"]) == 1
    # Each process looks at the others with its own heartbeat, some seconds apart.
    eventually(lambda: "settings.drift" in stack.processes["web"].log(), what="the log line")


def test_drift_is_over_when_the_stale_process_is(stack: Stack, strays: list[Stray]) -> None:
    stray = started(stack, strays, BATCH_IDLE_MS="2000")
    eventually(lambda: not checks(stack.web)["fleet"]["ok"], what="the drift to be seen")

    stray.process.terminate()

    eventually(lambda: checks(stack.web)["fleet"]["ok"], what="the drift to be over")


def test_batch_keeps_the_limits_of_the_process_that_opened_it(
    stack: Stack, strays: list[Stray]
) -> None:
    """A stale process is harmless: its limits travel with the batch, and nothing expires."""
    stray = started(stack, strays, BATCH_MAX_MESSAGES="2", BATCH_IDLE_MS="20000")
    anna = stack.customer(SALON)
    at_stray = stack.customer(BARBER, number=anna.number, web=stray.client)

    at_stray.writes(*at_stray.lines("Hi", "tomorrow?"))
    anna.writes(*anna.lines("Hi", "tomorrow?", "at three?"))

    assert at_stray.wait_for_turns() == ["\n".join(at_stray.lines("Hi", "tomorrow?"))]
    assert anna.wait_for_turns() == ["\n".join(anna.lines("Hi", "tomorrow?", "at three?"))]


def fleet_that_agrees(stack: Stack) -> dict[str, Any] | None:
    fleet: dict[str, Any] = stack.web.get("/fleet").json()
    roles = {member["role"] for member in fleet["members"]}
    complete = {"web", "worker", "scheduler"} <= roles
    return fleet if complete and not fleet["problems"] else None
