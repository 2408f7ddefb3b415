"""Since when what an account needs has failed, and that somebody alerts of what waits too long."""

import pytest

from batching import flow
from batching.alerts import Alerts
from batching.inspect import Failing, counters, failing
from batching.model import Stage, WakeUp
from tests.batching.world import ANNA, World

BORIS, CLARA = "79990000002", "79990000003"


#: Longer than any test: what failed does not come back.
FOR_GOOD_MS = 10**9


def wake(world: World, stage: Stage, customer: str) -> WakeUp:
    """Bring a customer's batch to a stage."""
    world.write("hello", customer=customer)
    wake_up = world.after(9_000)
    return world.generate(wake_up)[0] if stage is Stage.SEND else wake_up


def fail(world: World, stage: Stage, outcome: str, code: str, customer: str = ANNA) -> int:
    """Have the only try of a customer's batch fail; return when."""
    wake_up = wake(world, stage, customer)
    run = world.begin_sending(wake_up) if outcome == "ambiguous" else world.begin(wake_up)
    world.store.fail(run, outcome, FOR_GOOD_MS, code)  # type: ignore[arg-type]
    return world.clock()


def found(world: World) -> list[Failing]:
    return failing(counters(world.store))


@pytest.mark.parametrize(
    ("stage", "outcome"),
    [(Stage.GENERATE, "outage"), (Stage.SEND, "outage"), (Stage.SEND, "ambiguous")],
)
def test_failure_in_passing_is_known_with_its_code_until_a_success(
    world: World, stage: Stage, outcome: str
) -> None:
    began_ms = fail(world, stage, outcome, "first")
    last_ms = fail(world, stage, "outage", "model_503", BORIS)
    failed = found(world)

    world.answer([wake(world, Stage.GENERATE, CLARA)])

    assert failed == [Failing("salon", stage, "model_503", began_ms, last_ms)]
    assert found(world) == []


@pytest.mark.parametrize("outcome", ["defer", "unusable", "retry"])
def test_what_is_the_batchs_own_fault_is_no_failure_of_the_model(
    world: World, outcome: str
) -> None:
    fail(world, Stage.GENERATE, outcome, "code")

    assert found(world) == []


def test_failure_after_a_long_silence_begins_anew(world: World) -> None:
    fail(world, Stage.GENERATE, "outage", "first")
    world.wait(600_000)

    again_ms = fail(world, Stage.GENERATE, "outage", "model_503", BORIS)

    assert [it.since_ms for it in found(world)] == [again_ms]


def test_batch_that_waits_too_long_is_alerted_once_where_nobody_flushes(world: World) -> None:
    world.write("hello")
    world.wait(120_000)

    flow.raise_overdue(world.store)
    flow.raise_overdue(world.store)
    world.flush()

    kinds = [alert.kind for alert in Alerts(world.store).newest(10)]
    assert kinds == ["overdue"]
