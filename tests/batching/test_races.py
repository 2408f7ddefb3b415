"""Processes that join one customer's ids at once: none undoes what another has joined."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, count, pairwise, permutations
from typing import Any

import pytest
from redis.connection import AbstractConnection

from batching import identity
from batching.inspect import conversation_of
from batching.model import Event, IdentityChange, WakeUp
from batching.rights import erase
from tests.batching.test_amend import deletion, edit, everything, said
from tests.batching.test_identity import CO, CO_NEW, NEW, worlds
from tests.batching.world import ANNA, BORIS, PERSON, World
from tests.fakes import FakeModel

__all__ = ["worlds"]

#: Ids that became one another, one by one.
CHAIN = tuple(f"7999000010{number}" for number in range(7))
#: What each of Anna's ids wrote before they were joined.
PASTS = {ANNA: "Anna", CO: "Co", NEW: "New", CO_NEW: "Co new"}


def joining(world: World, *ids: str) -> IdentityChange:
    """Return news that ids are one customer's, whoever wrote under them."""
    return IdentityChange("salon", ids, ids[-1:], {}, world.store.now_ms())


@contextmanager
def before_round_trip(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]
) -> Iterator[list[int]]:
    """Have something happen before a round trip, from 0; yield those that there were."""
    send, made = AbstractConnection.send_packed_command, list[int]()

    def counted(connection: AbstractConnection, *args: Any, **options: Any) -> None:
        if len(made) <= number:
            made.append(1)
            if len(made) > number:
                act()
        send(connection, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(AbstractConnection, "send_packed_command", counted)
        yield made


def world_of(
    make_world: Callable[[int], World], shards: int, ids: Sequence[str], busy: str
) -> World:
    """Return a world in which every id has a past, and something waits under one."""
    world = make_world(shards)
    world.client.flushdb()
    world.store.open()
    world.receive(*(world.message(PASTS[id_], customer=id_) for id_ in ids))
    world.settle()
    if busy:
        world.write("please", customer=busy)
    return world


@pytest.mark.parametrize(
    ("others", "busy", "shards"),
    [
        ([(CO, NEW)], "", 1),
        ([(CO, NEW)], NEW, 1),
        ([(NEW, ANNA)], NEW, 5),
        ([(CO_NEW, ANNA), (NEW, CO)], NEW, 1),
        ([(CO, NEW), (NEW, CO_NEW)], CO_NEW, 5),
        ([(CO_NEW, CO), (CO, ANNA)], CO_NEW, 1),
    ],
    ids=str,
)
def test_process_that_stands_still_between_any_two_steps_undoes_no_joining(
    make_world: Callable[[int], World],
    monkeypatch: pytest.MonkeyPatch,
    others: list[tuple[str, ...]],
    busy: str,
    shards: int,
) -> None:
    """Whoever writes then under any of these ids is known by what was written under all."""
    ids = sorted({ANNA, CO, *chain(*others)})
    for number in count():
        world = world_of(make_world, shards, ids, busy)
        meanwhile = partial(world.receive, *(joining(world, *pair) for pair in others))
        with before_round_trip(monkeypatch, number, meanwhile) as made:
            world.receive(joining(world, ANNA, CO))
        if len(made) <= number:
            break
        for id_ in ids:
            home = conversation_of(world.store, "salon", id_)
            unknown = {PASTS[id_] for id_ in ids} - {
                it.customer for it in world.store.history(home)
            }
            assert (number, id_, unknown) == (number, id_, set())
        asked = len(world.model.questions)
        world.receive(*(world.message("Hello", customer=id_) for id_ in ids))
        world.settle()
        for question in world.model.questions[asked:]:
            unknown = {PASTS[id_] for id_ in ids} - {it.customer for it in question.history}
            assert (number, question.turn, unknown) == (number, question.turn, set())
    world.check()


def test_joining_goes_on_where_the_links_of_a_conversation_are_forgotten_before_those_of_others(
    worlds: World,
) -> None:
    """What moved is remembered for longer than where it went."""
    for ids in [(CO, NEW), (ANNA, CO)]:
        worlds.write(PASTS[ids[0]], customer=ids[0])
        worlds.settle()
        worlds.receive(joining(worlds, *ids))
    worlds.client.delete(worlds.store.shard_of(worlds.anna).links(worlds.anna))

    worlds.receive(joining(worlds, CO, CO_NEW))

    home = conversation_of(worlds.store, "salon", CO_NEW)
    assert {it.customer for it in worlds.store.history(home)} == {"Anna", "Co"}


@pytest.mark.parametrize("ids", [*permutations(CHAIN[:4], 3)], ids=str)
def test_joining_ends_where_whoever_moved_conversations_died_before_linking_their_ids(
    worlds: World, ids: tuple[str, ...]
) -> None:
    """A way is followed to its end, though its last part was known before its first."""
    store, places = worlds.store, [worlds.store.conversation_id("salon", id_) for id_ in CHAIN[:4]]
    for former, present in pairwise(places):
        assert store.move(former, present, {}, moved="", kin={former, *places})

    assert {*identity.where(store, "salon", ids).values()} == {places[-1]}

    worlds.receive(joining(worlds, *ids))
    assert {conversation_of(store, "salon", id_) for id_ in ids} == {places[-1]}


def become_one_by_one(world: World) -> None:
    """Have each id become the next, under which something waits already: all conversations move."""
    for former, present in pairwise(CHAIN):
        world.write(f"from {present}", customer=present)
        world.receive(joining(world, present, former))


def test_what_waits_under_the_first_of_many_ids_knows_the_past_of_all(worlds: World) -> None:
    worlds.write("I like tea", customer=CHAIN[-1])
    worlds.write("I like milk", customer=BORIS)
    worlds.settle()
    worlds.receive(joining(worlds, CHAIN[-1], BORIS))
    become_one_by_one(worlds)
    worlds.settle()

    for question in worlds.model.questions[2:]:
        assert {"I like tea", "I like milk"} <= {it.customer for it in question.history}


def test_takeover_by_the_last_of_many_ids_holds_for_what_waits_under_the_first(
    worlds: World,
) -> None:
    become_one_by_one(worlds)
    worlds.wait(6_000)
    worlds.receive(replace(PERSON, customer=CHAIN[-1]))
    worlds.settle()

    assert worlds.model.turns == []


@pytest.mark.parametrize("number", [0, 1, -2, -1])
def test_deletion_by_one_of_many_ids_reaches_what_waits_under_the_first(
    worlds: World, number: int
) -> None:
    worlds.receive(said(worlds, customer=CHAIN[0]))
    become_one_by_one(worlds)
    worlds.receive(replace(deletion(worlds), customer=CHAIN[number]))
    worlds.settle(9_000, 60_000)

    assert "secret" not in everything(worlds)
    assert all("secret" not in turn for turn in worlds.model.turns)


@pytest.mark.parametrize("number", [0, 1, -1])
def test_customer_of_many_ids_is_forgotten_by_each(worlds: World, number: int) -> None:
    worlds.receive(said(worlds, customer=CHAIN[0]))
    become_one_by_one(worlds)
    worlds.settle()

    erase(worlds.store, worlds.store.conversation_id("salon", CHAIN[number]))

    assert not worlds.client.keys("*:history:*")
    assert "secret" not in everything(worlds)


def asked_with(
    world: World, monkeypatch: pytest.MonkeyPatch, wake_up: WakeUp, late: Event, number: int
) -> list[str]:
    """Return what a model is given if something comes before a step; [] if that came later."""
    world.model, before = FakeModel(), list[int]()

    def act() -> None:
        before.append(len(world.model.questions))
        world.receive(late)

    with before_round_trip(monkeypatch, number, act):
        world.generate(wake_up)
    (question,) = world.model.questions
    given = [question.turn, *(it.customer for it in question.history)]
    return given if before == [0] else []


@pytest.mark.parametrize(
    ("written", "when", "asking", "changing", "by"),
    [
        (ANNA, "now", ANNA, CO, "deletion"),
        (CO, "now", CO, ANNA, "edit"),
        (ANNA, "in the past", CO, ANNA, "deletion"),
        (CO, "in the past", ANNA, CO, "edit"),
    ],
)
def test_change_before_any_step_of_a_question_is_obeyed_by_it(
    make_world: Callable[[int], World],
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    when: str,
    asking: str,
    changing: str,
    by: str,
) -> None:
    """Whoever is asked about, wherever the message is that changes, by whichever id."""
    for number in count():
        world = make_world(5)
        world.client.flushdb()
        world.store.open()
        world.receive(said(world, customer=written))
        if when == "in the past":
            world.settle()
        world.receive(*(world.message("hello", customer=customer) for customer in (ANNA, CO)))
        world.receive(joining(world, ANNA, CO))
        world.wait(9_000)
        place = world.store.conversation_id("salon", asking)
        (wake_up,) = [it for it in world.flush() if it.conversation_id == place]
        change = edit(world, "For 18:00") if by == "edit" else deletion(world)
        late = replace(change, customer=changing)
        given = asked_with(world, monkeypatch, wake_up, late, number)
        assert (number, "secret" in repr(given)) == (number, False)
        if not given:
            break
    assert number > 3


@pytest.mark.parametrize("changing", [ANNA, CO], ids=["by another id", "by the same id"])
@pytest.mark.parametrize("by", ["edit", "deletion"])
def test_question_before_any_step_of_one_about_a_change_elsewhere_obeys_it(
    make_world: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, by: str, changing: str
) -> None:
    """By whichever id it comes, and without waiting for the answer there, which tells of it too."""
    for number in count():
        world = world_of(make_world, 5, (), "")
        world.receive(said(world, customer=CO), world.message("hello"))
        world.receive(joining(world, ANNA, CO))
        change = edit(world, "For 18:00") if by == "edit" else deletion(world)
        world.receive(replace(change, customer=changing))
        world.wait(9_000)
        first, second = sorted(world.flush(), key=lambda it: it.conversation_id != world.anna)
        asked = partial(world.generate, second)
        with before_round_trip(monkeypatch, number, asked) as made:
            world.generate(first)
        is_over, turns = len(made) <= number, [*world.model.turns]
        world.settle(60_000)

        assert (number, [it for it in world.model.turns if "secret" in it]) == (number, [])
        assert is_over or by == "deletion" or "For 18:00" in turns, number
        world.check()
        if is_over:
            break
    assert number > 3


@pytest.mark.parametrize(("written", "home"), [(ANNA, CO), (CO, ANNA)])
def test_message_before_any_step_of_which_its_customer_is_forgotten_is_found_by_its_id(
    make_world: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, written: str, home: str
) -> None:
    """It is not left where its id led before: what comes by the id would not reach it any more."""
    for number in count():
        world = world_of(make_world, 5, (), home)
        world.receive(joining(world, written, home))
        place = conversation_of(world.store, "salon", home)
        late = said(world, customer=written, secondary=written == CO)
        with before_round_trip(monkeypatch, number, partial(erase, world.store, place)) as made:
            world.receive(late)
        world.receive(replace(deletion(world), customer=written, secondary=written == CO))
        world.settle(9_000, 60_000)

        assert (number, [it for it in world.model.turns if "secret" in it]) == (number, [])
        world.check()
        if len(made) <= number:
            break
    assert number > 1


@pytest.mark.parametrize("busy", ["", CO], ids=["nothing waits", "something waits"])
def test_edit_of_a_deleted_message_before_any_step_of_a_joining_is_obeyed_by_none(
    make_world: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, busy: str
) -> None:
    """What was deleted stays so, though its conversation moves and its digests follow later."""
    for number in count():
        world = world_of(make_world, 5, (CO, ANNA), "")
        world.receive(said(world), deletion(world))
        world.settle()
        if busy:
            world.write("please", customer=busy)
        late = partial(world.receive, edit(world, "my secret"))
        with before_round_trip(monkeypatch, number, late) as made:
            world.receive(joining(world, ANNA, CO))
        world.settle(9_000, 60_000)

        assert (number, [turn for turn in world.model.turns if "secret" in turn]) == (number, [])
        world.check()
        if len(made) <= number:
            break
    assert number > 3
