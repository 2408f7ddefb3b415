"""Processes that join one customer's ids at once: none undoes what another has joined."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, count
from typing import Any

import pytest
from redis.connection import AbstractConnection

from batching.model import IdentityChange
from tests.batching.test_identity import CO, CO_NEW, NEW
from tests.batching.world import ANNA, World

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
        asked = len(world.model.questions)
        world.receive(*(world.message("Hello", customer=id_) for id_ in ids))
        world.settle()
        for question in world.model.questions[asked:]:
            unknown = {PASTS[id_] for id_ in ids} - {it.customer for it in question.history}
            assert (number, question.turn, unknown) == (number, question.turn, set())
    world.check()
