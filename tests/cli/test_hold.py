"""``dead hold``: what waits in a restored ledger goes to a person."""

import re

import pytest

from batching.alerts import Alerts
from batching.inspect import dead_letters
from cli import dead
from runtime.units import moment
from tests.batching.world import ANNA, BORIS, World
from tests.cli.conftest import Operator, announce_all


def test_everything_that_waits_becomes_a_dead_letter_whatever_its_stage(
    world: World, operator: Operator
) -> None:
    world.answer(world.generate(world.to_generating("answered")))
    world.to_sending("its reply is kept")
    world.write("another in flight", customer=BORIS)
    world.wait(9_000)
    world.flush()
    world.write("still open", account="sister")
    world.wait(60_000)

    held = operator("dead", "hold", "--yes", "--json")

    assert (held.status, held.json) == (0, {"batches": 3, "messages": 0})
    letters = dead_letters(world.store)
    assert {letter.reason for letter in letters} == {"restored"}
    assert sorted(letter.stage for letter in letters) == ["generate", "generate", "send"]
    assert all(letter.may_repeat for letter in letters)
    assert world.counts() == {"accepted": 4, "answered": 1, "dead": 3}
    assert operator("dead", "hold", "--yes").out.startswith("Batches held: 0.")
    assert operator("dead", "list").status == 1


def test_what_is_not_due_yet_is_said(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "HOLD_S", 0)
    world.clock.advance_ms(4_000_000)
    world.write("in the future of the server")

    held = operator("dead", "hold", "--yes")

    assert held.status == 1
    assert "Messages that still wait: 1. Run this again." in held.out


def test_held_batch_can_be_replayed_and_is_then_answered(world: World, operator: Operator) -> None:
    world.write("hello")
    operator("dead", "hold", "--yes")

    operator("dead", "replay", "--all", "--reason", "restored", "--yes")
    world.settle(4_000_000)

    assert world.counts() == {"accepted": 1, "answered": 1}


def test_processes_must_be_stopped_and_the_operator_sure(world: World, operator: Operator) -> None:
    world.write("hello", customer=ANNA)
    announce_all(world.client)

    alive = operator("dead", "hold", "--yes")
    world.client.delete("aa:fleet")
    unsure = operator("dead", "hold")

    assert (alive.status, unsure.status) == (2, 2)
    assert "stop all processes first, alive are: scheduler:host-1:7" in alive.err
    assert world.counts() == {"accepted": 1, "open": 1}


@pytest.mark.parametrize(("typed", "said"), [(("--missing", "3"), "3"), ((), "unknown")])
def test_person_is_told_once_of_which_moment_the_copy_is_and_what_is_in_no_ledger(
    world: World, operator: Operator, typed: tuple[str, ...], said: str
) -> None:
    world.flush()
    world.wait(90_000)
    world.write("waits in the copy")

    for _ in range(2):
        operator("dead", "hold", "--yes", *typed)

    told = [it.detail for it in Alerts(world.store).newest(9) if it.kind == "ledger_restored"]
    (detail,) = told
    when = re.fullmatch(
        r"the copy: made (\S+ \S+) UTC, messages accepted since and not answered: (\w+)", detail
    )
    assert when
    assert when[2] == said
    assert when[1] == moment(world.store.now_ms() - 90_000)[:19]
