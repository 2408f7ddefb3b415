"""What a customer does under one of their ids reaches what they wrote under the others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batching.errors import LedgerUnavailableError, PermanentError, TransientError
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
from tests.batching.test_identity import CO, CO_NEW, NEW, change, worlds
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


@pytest.mark.parametrize("change", ["edit", "deletion"])
@pytest.mark.parametrize("stage", ["open", "claimed"])
def test_change_is_obeyed_by_what_waits_under_another_id_before_its_own_turn_comes(
    worlds: World, stage: str, change: str
) -> None:
    worlds.write("hello")
    worlds.receive(said(worlds, **UNDER_CO), worlds.message("one more", **UNDER_CO))
    joined(worlds)
    co, wake_ups = worlds.store.conversation_id("salon", CO), []
    if stage == "claimed":
        worlds.wait(9_000)
        wake_ups = worlds.flush()
    worlds.receive(edit(worlds, "For 18:00") if change == "edit" else deletion(worlds))
    if stage == "open":
        worlds.wait(9_000)
        wake_ups = worlds.flush()

    worlds.answer([it for it in wake_ups if it.conversation_id == co])

    turn = "one more" if change == "deletion" else "For 18:00\none more"
    assert worlds.model.turns == [turn]
    worlds.settle(9_000, 60_000)
    assert sum("For 18:00" in turn for turn in worlds.model.turns) == (change == "edit")
    assert "secret" not in everything(worlds)
    worlds.check()


@pytest.mark.parametrize("customer", [ANNA, CO])
def test_past_that_a_waiting_batch_is_given_is_without_what_was_deleted_meanwhile(
    worlds: World, customer: str
) -> None:
    """In the home the deletion is carried out at its turn, which comes later."""
    worlds.receive(said(worlds, customer=customer, secondary=customer == CO))
    worlds.settle()
    worlds.write("hello")
    worlds.receive(worlds.message("one more", **UNDER_CO))
    joined(worlds)
    co = worlds.store.conversation_id("salon", CO)
    worlds.receive(deletion(worlds))
    worlds.wait(9_000)

    worlds.answer([it for it in worlds.flush() if it.conversation_id == co])

    assert worlds.model.turns[-1] == "one more"
    assert "secret" not in repr(worlds.model.questions[-1])


@pytest.mark.parametrize("change_of_words", ["edit", "deletion"])
def test_past_of_an_id_that_moved_is_without_what_waits_there_to_be_changed(
    worlds: World, change_of_words: str
) -> None:
    """The turn of what waits there may come after this question."""
    worlds.receive(said(worlds, customer=NEW))
    worlds.settle()
    by = edit(worlds, "For 18:00") if change_of_words == "edit" else deletion(worlds)
    worlds.receive(replace(by, customer=NEW), worlds.message("please", customer=NEW))
    worlds.write("hello")
    worlds.receive(change(worlds, age_ms=60_000))
    worlds.wait(9_000)

    worlds.answer([it for it in worlds.flush() if it.conversation_id == worlds.anna])

    assert worlds.model.turns[-1] == "hello"
    (past,) = worlds.model.questions[-1].history
    assert "secret" not in past.customer
    assert ("18:00" in past.customer) == (change_of_words == "edit")
    worlds.settle(9_000, 60_000)
    kept = worlds.store.history(conversation_of(worlds.store, "salon", NEW))
    assert all("secret" not in exchange.customer for exchange in kept)


def test_two_batches_of_dead_workers_with_deletions_of_each_others_messages_die(
    worlds: World,
) -> None:
    worlds.limits = Limits(max_attempts=1)
    worlds.receive(said(worlds), deletion(worlds, "D2"))
    worlds.receive(said(worlds, message_id="D2", **UNDER_CO), deletion(worlds, "D1", **UNDER_CO))
    worlds.write("hello")
    worlds.receive(worlds.message("one more", **UNDER_CO))
    joined(worlds)
    worlds.wait(9_000)
    for wake_up in worlds.flush():
        worlds.begin(wake_up)

    for _ in range(4):
        worlds.wait(11_000)
        worlds.flush()

    assert [letter.reason for letter in dead_letters(worlds.store)] == ["poison", "poison"]
    assert "secret" not in everything(worlds)
    worlds.check()


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

    def meanwhile() -> None:
        worlds.receive(deletion(worlds, message_id="deletion-1"))
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


def test_changes_that_wait_under_two_former_ids_do_not_wait_for_each_other(worlds: World) -> None:
    worlds.write("Hi")
    worlds.settle()
    worlds.model = FakeModel(*[TransientError("model_timeout")] * 2)
    for customer, target in ((CO, "D1"), (NEW, "D2")):
        worlds.receive(edit(worlds, "For 18:00", customer=customer, target=target))
    worlds.wait(9_000)
    worlds.answer(worlds.flush())
    joined(worlds)
    worlds.receive(change(worlds, former=(NEW,), present=(ANNA, CO), age_ms=60_000))
    worlds.settle(60_000, 60_000)

    assert worlds.counts() == {"accepted": 4, "answered": 4}


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


def test_what_waits_under_a_former_id_knows_the_past_of_all(worlds: World) -> None:
    """Also of an id that was joined to the number before this one."""
    tea = worlds.message("I like tea", customer=CO_NEW, secondary=True)
    worlds.receive(tea)
    worlds.settle()
    worlds.write("hello")
    worlds.settle()
    worlds.receive(worlds.message("two", aliases=(CO_NEW,)))
    worlds.receive(worlds.message("one", **UNDER_CO))
    joined(worlds)
    worlds.settle()

    pasts = {it.turn: [past.customer for past in it.history] for it in worlds.model.questions}
    assert {"I like tea", "hello"} <= {*pasts["one"]}
    assert {"I like tea", "hello"} <= {*pasts["two\nHi"]}


def test_past_of_an_id_that_was_joined_before_follows_the_next_change(worlds: World) -> None:
    """The change names the number alone, and the new one has something that waits."""
    answered(worlds)
    worlds.settle()
    worlds.receive(worlds.message("Good morning", customer=NEW))
    worlds.receive(change(worlds, age_ms=60_000))
    worlds.settle()

    past = [it.customer for it in worlds.model.questions[-1].history]
    assert worlds.model.turns[-1] == "Good morning"
    assert sorted(past) == sorted([SECRET, "hello", "Hi"])
