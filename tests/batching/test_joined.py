"""What a customer does under one of their ids reaches what they wrote under the others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batching.errors import LedgerUnavailableError, PermanentError
from batching.inspect import conversation_of, dead_letters
from batching.model import Limits
from tests.batching.test_amend import (
    SECRET,
    TOLD_DELETED,
    TOLD_EDITED,
    deletion,
    edit,
    everything,
    said,
)
from tests.batching.test_identity import CO, NEW, change, worlds
from tests.batching.world import ANNA, PERSON, World
from tests.fakes import FakeChannel, FakeModel

__all__ = ["worlds"]

UNDER_CO: dict[str, Any] = {"customer": CO, "secondary": True}


def joined(world: World) -> None:
    """Have one message name both ids."""
    world.receive(world.message("Hi", aliases=(CO,)))


# Where what is deleted under the phone number is by then; it was written under the other id.


def answered(world: World) -> None:
    world.receive(said(world, **UNDER_CO))
    world.settle()
    world.write("hello")
    world.settle()
    joined(world)


def dead(world: World) -> None:
    world.model = FakeModel(PermanentError("model_request"))
    world.receive(said(world, **UNDER_CO))
    world.settle()
    world.write("hello")
    world.settle()
    joined(world)


def waiting(world: World) -> None:
    """Both wait: what is open under an id is answered from there."""
    world.write("hello")
    world.receive(said(world, **UNDER_CO))
    joined(world)


def waiting_with_another(world: World) -> None:
    world.receive(world.message("one more", **UNDER_CO))
    waiting(world)


def changed(world: World) -> None:
    """Nothing is known of the new number before the change."""
    world.receive(said(world, customer=CO, secondary=True))
    world.settle()
    world.receive(change(world, former=(CO,), present=(ANNA,)))


def changed_late(world: World) -> None:
    """The new number has something that waits: it is the home."""
    world.receive(said(world, customer=CO, secondary=True))
    world.settle()
    world.write("hello")
    world.receive(change(world, former=(CO,), present=(ANNA,), age_ms=60_000))


def joined_twice(world: World) -> None:
    """What was joined to a conversation that is joined to another."""
    answered(world)
    world.settle()
    world.receive(world.message("hello", customer=NEW))
    world.receive(change(world, former=(NEW,), present=(ANNA, CO), age_ms=60_000))


PLACES = [answered, dead, waiting, waiting_with_another, changed, changed_late, joined_twice]


@pytest.mark.parametrize("place", PLACES)
def test_deletion_under_one_id_reaches_what_was_written_under_another(
    worlds: World, place: Callable[[World], None]
) -> None:
    place(worlds)
    asked = len(worlds.model.turns)
    worlds.receive(deletion(worlds), worlds.message("Open?"))
    worlds.settle()

    assert "secret" not in everything(worlds)
    assert all(SECRET not in turn for turn in worlds.model.turns[asked:])
    assert any("Open?" in turn for turn in worlds.model.turns[asked:])
    is_told = any(TOLD_DELETED in turn for turn in worlds.model.turns[asked:])
    assert is_told == (place not in {dead, waiting, waiting_with_another})


@pytest.mark.parametrize("place", PLACES)
def test_edit_under_one_id_reaches_what_was_written_under_another(
    worlds: World, place: Callable[[World], None]
) -> None:
    place(worlds)
    asked = len(worlds.model.turns)
    worlds.receive(edit(worlds, "For 18:00"))
    worlds.settle()

    past = worlds.store.history(conversation_of(worlds.store, "salon", ANNA))
    assert all("secret" not in exchange.customer for exchange in past)
    turns = "\n".join(worlds.model.turns[asked:])
    assert turns.count("For 18:00") == (place is not dead)
    assert (TOLD_EDITED in turns) == (place not in {dead, waiting, waiting_with_another})
    if place is dead:
        (letter,) = dead_letters(worlds.store)
        assert [message.text for message in letter.messages] == ["For 18:00"]


@pytest.mark.parametrize("place", [answered, changed, changed_late, joined_twice])
def test_quote_under_one_id_shows_what_was_written_under_another(
    worlds: World, place: Callable[[World], None]
) -> None:
    place(worlds)
    worlds.receive(worlds.message("this one", quotes="D1"))
    worlds.settle()

    assert (
        f"[The customer replies to their own message: {SECRET}] this one"
        in (worlds.model.turns[-1])
    )


@pytest.mark.parametrize("stage", ["asked", "sent", "to be asked"])
def test_deletion_waits_for_a_batch_that_is_asked_about_under_another_id(
    worlds: World, stage: str
) -> None:
    """Its answer is history then, and the deletion is carried out there."""
    worlds.write("hello")
    worlds.receive(said(worlds, **UNDER_CO))
    joined(worlds)
    worlds.wait(9_000)
    wake_ups = {it.conversation_id: it for it in worlds.flush()}
    other = wake_ups.pop(worlds.store.conversation_id("salon", CO))
    worlds.receive(deletion(worlds))

    def meanwhile() -> None:
        worlds.answer([*wake_ups.values()])
        wake_ups.clear()

    if stage == "asked":
        worlds.model = FakeModel(before=meanwhile)
    elif stage == "sent":
        worlds.channel = FakeChannel(before=meanwhile)
    else:
        meanwhile()
    worlds.answer([other])
    worlds.settle(9_000, 60_000, 60_000)

    is_late = stage != "to be asked"
    assert sum(SECRET in turn for turn in worlds.model.turns) == is_late
    assert any("hello\nHi" in turn for turn in worlds.model.turns)
    assert "secret" not in everything(worlds)
    assert worlds.alerts() == []
    worlds.check()


def test_deletion_that_is_cut_short_is_carried_out_by_the_next_attempt(
    worlds: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First elsewhere: the deletion ends only when nothing is left to do."""
    answered(worlds)
    worlds.receive(deletion(worlds), worlds.message("Open?"))
    amend_kin, tries = type(worlds.store).amend_kin, []

    def away(*args: Any) -> bool:
        tries.append(args)
        if len(tries) == 1:
            raise LedgerUnavailableError("ledger_away")
        return amend_kin(*args)

    monkeypatch.setattr(type(worlds.store), "amend_kin", away)
    with pytest.raises(LedgerUnavailableError):
        worlds.settle()
    worlds.settle(10_000, 10_000)

    assert len(tries) == 2
    assert "secret" not in everything(worlds)


def test_batch_of_dead_workers_waits_with_its_deletion_for_the_answer_under_another_id(
    worlds: World,
) -> None:
    """Its dead letter comes a few seconds later, and nothing of what was deleted is kept."""
    worlds.limits = Limits(max_attempts=1)
    worlds.write("hello")
    worlds.receive(said(worlds, **UNDER_CO))
    joined(worlds)
    worlds.receive(deletion(worlds))
    worlds.wait(9_000)
    wake_ups = {it.conversation_id: it for it in worlds.flush()}
    other = wake_ups.pop(worlds.store.conversation_id("salon", CO))
    (home,) = wake_ups.values()
    worlds.begin(home)

    def meanwhile() -> None:
        worlds.wait(6_000)
        renew, _ = worlds.lease_renewer.calls[-1]
        assert renew()
        worlds.wait(5_000)
        worlds.flush()

    worlds.model = FakeModel(before=meanwhile)
    worlds.answer([other])
    assert dead_letters(worlds.store) == []
    worlds.settle(6_000)

    assert [letter.reason for letter in dead_letters(worlds.store)] == ["poison"]
    assert "secret" not in everything(worlds)
    worlds.check()


# A person who answers.


@pytest.mark.parametrize("customer", [ANNA, CO])
@pytest.mark.parametrize("when", ["before", "after"])
def test_takeover_by_one_id_holds_for_what_waits_under_another(
    worlds: World, customer: str, when: str
) -> None:
    worlds.write("one")
    worlds.receive(worlds.message("two", **UNDER_CO))
    # What leaves the phone sooner may be the app's greeting.
    worlds.wait(6_000)
    steps = [lambda: worlds.receive(replace(PERSON, customer=customer)), lambda: joined(worlds)]
    for step in steps if when == "before" else reversed(steps):
        step()
    worlds.settle()

    assert worlds.model.turns == []
    assert worlds.counts() == {"accepted": 3, "suppressed": 3}


# The past.


def test_past_of_a_former_id_is_known_although_the_new_one_wrote_first(worlds: World) -> None:
    changed_late(worlds)
    worlds.settle()

    assert [it.customer for it in worlds.model.questions[-1].history] == [SECRET]


def test_past_of_all_ids_is_known_after_the_next_is_joined(worlds: World) -> None:
    joined_twice(worlds)
    worlds.write("Open?")
    worlds.settle()

    past = [it.customer for it in worlds.model.questions[-1].history]
    assert sorted(past) == sorted({SECRET, "hello", "Hi"} - {worlds.model.turns[-1]})
