"""A process with another Redis or other settings is noticed."""

from http import HTTPStatus
from typing import Any

import httpx2
import pytest

from tests.stack.accounts import BARBER, SALON
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def checks(client: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/readyz").json()["checks"]
    return found


def test_installation_that_agrees_is_ready_and_shows_every_process(stack: Stack) -> None:
    fleet = eventually(lambda: fleet_that_agrees(stack), what="all roles in agreement")

    assert len({member["fingerprint"] for member in fleet["members"]}) == 1


def test_web_on_another_database_is_not_ready_for_want_of_a_flusher(stack: Stack) -> None:
    """The origin's fault: two processes with different Redis servers, and neither could tell."""
    with stack.other_web(REDIS_URL=stack.valkey.url(5)) as other:
        answer = other.get("/readyz")

    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.json()["checks"]["flusher"]["ok"] is False
    assert checks(stack.web)["flusher"]["ok"] is True


def test_web_with_other_settings_makes_all_unready_until_it_ends(stack: Stack) -> None:
    with stack.other_web(BATCH_IDLE_MS="2000") as other:
        eventually(lambda: not checks(stack.web)["fleet"]["ok"], what="the drift to be seen")

        assert checks(other)["fleet"]["ok"] is False
        assert len(stack.web.get("/fleet").json()["problems"]) == 1
        # Each process compares the others with its own heartbeat, some seconds apart.
        eventually(lambda: "settings.drift" in stack.processes["web"].log(), what="the log line")

    eventually(lambda: checks(stack.web)["fleet"]["ok"], what="the drift to be over")


def test_batch_keeps_the_limits_of_the_process_that_opened_it(stack: Stack) -> None:
    """A stale process is harmless: its limits are stored with the batch, and nothing expires."""
    with stack.other_web(BATCH_MAX_MESSAGES="2", BATCH_IDLE_MS="20000") as stale:
        anna = stack.customer(SALON)
        at_stale = stack.customer(BARBER, number=anna.number, web=stale)

        at_stale.writes(*at_stale.lines("Hi", "tomorrow?"))
        anna.writes(*anna.lines("Hi", "tomorrow?", "at three?"))

        assert at_stale.wait_for_turns() == ["\n".join(at_stale.lines("Hi", "tomorrow?"))]
        assert anna.wait_for_turns() == ["\n".join(anna.lines("Hi", "tomorrow?", "at three?"))]


def fleet_that_agrees(stack: Stack) -> dict[str, Any] | None:
    fleet: dict[str, Any] = stack.web.get("/fleet").json()
    roles = {member["role"] for member in fleet["members"]}
    complete = {"web", "worker", "scheduler"} <= roles
    return fleet if complete and not fleet["problems"] else None
