"""A customer's ids lead to one conversation: its past, what waits, a takeover, and the address."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from batching.errors import LedgerUnavailableError, PermanentError
from batching.inspect import conversation_of, dead_letters
from batching.model import Event, IdentityChange, InboundMessage, Kind, Status
from batching.rights import erase
from batching.store import Pipeline
from tests.batching.world import ANNA, BORIS, PERSON, World
from tests.fakes import FakeModel

#: Anna's number after the change, and her ids that WhatsApp made before and after it.
NEW, CO, CO_NEW = "79990000009", "RU.1000000000000001", "RU.1000000000000002"
HOUR_MS = 3_600_000


def change(world: World, *, former: tuple[str, ...] = (ANNA,), present: tuple[str, ...] = (NEW,),
           age_ms: int = 0) -> IdentityChange:  # fmt: skip
    addresses = dict.fromkeys(former, present[0])
    return IdentityChange("salon", former, present, addresses, world.store.now_ms() - age_ms)


def one_world(make_world: Callable[[int], World], shards: int) -> World:
    world = make_world(shards)
    world.store.open()
    return world


@pytest.fixture(params=[1, 5])
def worlds(request: pytest.FixtureRequest, make_world: Callable[[int], World]) -> World:
    """A world in one shard, and one in several."""
    return one_world(make_world, request.param)


def asked(world: World) -> list[tuple[str, ...]]:
    """Return the customer's past, as it was given with each question."""
    pasts = [question.history for question in world.model.questions]
    return [tuple(exchange.customer for exchange in past) for past in pasts]


def test_past_follows_to_the_new_number(worlds: World) -> None:
    worlds.write("I am Anna")
    worlds.settle()

    worlds.receive(change(worlds), worlds.message("Hi", customer=NEW))
    worlds.settle()

    assert asked(worlds) == [(), ("I am Anna",)]
    assert [sent.customer for sent in worlds.channel.sent] == [ANNA, NEW]
    assert worlds.counts() == {"accepted": 2, "answered": 2}


def test_what_waits_is_answered_to_the_new_number_together_with_what_comes_from_it(
    worlds: World,
) -> None:
    worlds.write("Book me")

    worlds.receive(change(worlds))
    worlds.receive(worlds.message("for five", customer=NEW))
    worlds.settle()

    assert worlds.model.turns == ["Book me\nfor five"]
    assert [sent.customer for sent in worlds.channel.sent] == [NEW]


@pytest.mark.parametrize("stage", ["open", "claimed", "checkpointed"])
def test_batch_goes_to_the_new_number_whatever_its_stage(world: World, stage: str) -> None:
    if stage == "open":
        world.write("Book me")
    elif stage == "claimed":
        world.to_generating("Book me")
    else:
        world.to_sending("Book me")

    world.receive(change(world))
    world.settle(9_000, 60_000)

    assert [sent.customer for sent in world.channel.sent] == [NEW]
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_second_change_leads_on(worlds: World) -> None:
    worlds.write("Book me")
    worlds.receive(change(worlds))

    worlds.receive(change(worlds, former=(NEW,), present=(BORIS,)))
    worlds.receive(worlds.message("please", customer=BORIS))
    worlds.settle()

    assert worlds.model.turns == ["Book me\nplease"]
    assert [sent.customer for sent in worlds.channel.sent] == [BORIS]


def test_whoever_writes_later_under_the_old_number_is_answered_there(world: World) -> None:
    world.receive(change(world))
    world.wait(HOUR_MS)

    late = world.message("Hello")
    world.receive(replace(late, sent_at_ms=world.store.now_ms()))
    world.settle()

    assert [sent.customer for sent in world.channel.sent] == [ANNA]


def test_takeover_holds_for_the_new_number_and_begins_by_it(worlds: World) -> None:
    worlds.receive(PERSON)
    worlds.receive(change(worlds), worlds.message("Hi", customer=NEW))
    worlds.settle()
    assert worlds.counts() == {"accepted": 1, "suppressed": 1}
    worlds.wait(HOUR_MS)
    worlds.client.delete(worlds.shard.takeover(worlds.anna))

    worlds.receive(replace(PERSON, customer=NEW, provider_id="phone-2"))
    worlds.write("again")
    worlds.settle()

    assert worlds.counts() == {"accepted": 2, "suppressed": 2}


@pytest.mark.parametrize(
    ("former", "present", "first", "then"),
    [
        ((ANNA,), (ANNA, CO_NEW), ANNA, CO_NEW),
        ((ANNA, CO), (NEW, CO_NEW), ANNA, NEW),
        ((ANNA, CO), (NEW, CO_NEW), ANNA, CO_NEW),
        ((ANNA, CO), (NEW, CO_NEW), CO, CO_NEW),
        ((ANNA, CO), (NEW, CO_NEW), CO, NEW),
        ((CO,), (CO_NEW,), CO, CO_NEW),
        ((CO, "RU.ENT.1"), (CO_NEW, "RU.ENT.2"), "RU.ENT.1", "RU.ENT.2"),
    ],
)
def test_any_former_id_leads_to_any_present_one(
    worlds: World, former: tuple[str, ...], present: tuple[str, ...], first: str, then: str
) -> None:
    def message(text: str, id_: str) -> InboundMessage:
        return worlds.message(text, customer=id_, secondary=id_.startswith("RU."))

    worlds.receive(message("I am Anna", first))
    worlds.settle()

    worlds.receive(change(worlds, former=former, present=present), message("Hi", then))
    worlds.settle()

    assert asked(worlds) == [(), ("I am Anna",)]
    assert [sent.customer for sent in worlds.channel.sent] == [first, then]
    assert worlds.alerts() == []


def test_change_that_comes_after_the_new_number_wrote_brings_the_past_along(worlds: World) -> None:
    """No order is promised between a customer's first words and the news of their number."""
    worlds.write("I am Anna")
    worlds.settle()
    worlds.receive(worlds.message("Hi", customer=NEW))

    worlds.receive(change(worlds, age_ms=60_000))
    worlds.receive(worlds.message("Hello?", customer=NEW))
    worlds.settle()

    assert worlds.model.turns == ["I am Anna", "Hi\nHello?"]
    assert worlds.counts() == {"accepted": 3, "answered": 3}
    assert worlds.alerts() == []


def test_change_that_comes_twice_changes_nothing_more(worlds: World) -> None:
    worlds.write("Book me")
    for _ in range(2):
        worlds.receive(change(worlds))
    worlds.settle()

    assert [sent.customer for sent in worlds.channel.sent] == [NEW]
    assert worlds.counts() == {"accepted": 1, "answered": 1}


def test_number_that_was_another_customers_is_not_joined(worlds: World) -> None:
    worlds.receive(worlds.message("I am Boris", customer=BORIS))
    worlds.write("I am Anna")
    worlds.settle()
    worlds.wait(2 * HOUR_MS)

    worlds.receive(change(worlds, present=(BORIS,)))
    worlds.receive(worlds.message("Hi", customer=BORIS))
    worlds.settle()

    assert asked(worlds)[-1] == ("I am Boris",)
    assert [kind for kind, _ in worlds.alerts()] == ["alias_conflict"]


# One message under several ids.


def deliveries(world: World) -> list[InboundMessage]:
    """Return one message as it may come: by each id alone, and by both."""
    message = world.message("Book me", message_id="wamid.1", has_twin=True)
    alone = replace(message, customer=CO, secondary=True)
    return [message, alone, replace(message, aliases=(CO,), has_twin=False)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("settles", [True, False])
def test_message_is_answered_once_by_whichever_ids_it_comes_again(
    worlds: World, order: tuple[int, ...], *, settles: bool
) -> None:
    forms = deliveries(worlds)
    for number in [*order, *order]:
        worlds.receive(forms[number])
        if settles:
            worlds.settle()
    worlds.settle()

    assert worlds.model.turns == ["Book me"]
    assert worlds.counts() == {"accepted": 1, "answered": 1}
    assert worlds.alerts() == []


def test_second_id_that_wrote_first_keeps_its_past_and_what_waits(worlds: World) -> None:
    worlds.receive(worlds.message("I am Anna", customer=CO, secondary=True))
    worlds.settle()
    worlds.receive(worlds.message("Book me", customer=CO, secondary=True))

    worlds.receive(worlds.message("for five", aliases=(CO,)))
    worlds.receive(worlds.message("please"))
    worlds.settle()

    assert worlds.model.turns == ["I am Anna", "Book me\nfor five\nplease"]
    assert asked(worlds)[-1] == ("I am Anna",)


def test_two_pasts_of_one_customer_are_both_known(worlds: World) -> None:
    worlds.write("I am Anna")
    worlds.receive(worlds.message("I like tea", customer=CO, secondary=True))
    worlds.settle()

    worlds.receive(worlds.message("Hi", aliases=(CO,)))
    worlds.settle()

    assert sorted(asked(worlds)[-1]) == ["I am Anna", "I like tea"]


def test_what_waits_on_both_sides_is_answered_once_each(worlds: World) -> None:
    worlds.write("one")
    worlds.receive(worlds.message("two", customer=CO, secondary=True))

    worlds.receive(worlds.message("three", aliases=(CO,)))
    worlds.settle()

    words = [word for turn in worlds.model.turns for word in turn.split("\n")]
    assert sorted(words) == ["one", "three", "two"]
    assert worlds.counts() == {"accepted": 3, "answered": 3}


@pytest.mark.parametrize(
    ("fields", "trips"),
    [
        ({"aliases": (CO,)}, 1),
        ({"has_twin": True}, 1),
        ({"customer": CO, "secondary": True}, 2),
        ({"customer": CO, "secondary": True, "has_twin": True}, 2),
    ],
)
def test_only_a_second_id_alone_costs_a_round_trip(
    worlds: World, round_trips: Callable[[Callable[[], object]], int], fields: Any, trips: int
) -> None:
    worlds.receive(worlds.message(aliases=(CO,)))

    assert round_trips(lambda: worlds.receive(worlds.message(**fields))) == trips


@pytest.mark.parametrize("verb", ["move", "adopt", "link", "append"])
def test_worker_that_dies_while_it_joins_loses_and_doubles_nothing(
    worlds: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The webhook is not acknowledged, and comes again."""
    worlds.receive(worlds.message("I am Anna", customer=CO, secondary=True))
    worlds.write("one")
    both = worlds.message("two", aliases=(CO,))

    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailableError("ledger_away")

    with monkeypatch.context() as patched:
        if verb == "append":
            patched.setattr(Pipeline, "execute", away)
        else:
            patched.setattr(type(worlds.store), verb, away)
        with pytest.raises(LedgerUnavailableError):
            worlds.receive(both)
    worlds.receive(both, both)
    worlds.settle()

    words = [word for turn in worlds.model.turns for word in turn.split("\n")]
    assert sorted(words) == ["I am Anna", "one", "two"]
    assert worlds.counts() == {"accepted": 3, "answered": 3}


def cut_short(worlds: World, monkeypatch: pytest.MonkeyPatch, *events: Event) -> None:
    """Deliver what joins ids while the ledger goes away in the midst of it."""
    adopt, tries = type(worlds.store).adopt, []

    def away_the_second_time(*args: Any, **fields: Any) -> bool:
        tries.append(args)
        if len(tries) == 2:
            raise LedgerUnavailableError("ledger_away")
        return adopt(*args, **fields)

    with monkeypatch.context() as patched:
        patched.setattr(type(worlds.store), "adopt", away_the_second_time)
        with pytest.raises(LedgerUnavailableError):
            worlds.receive(*events)


def test_joining_that_was_cut_short_forgets_nothing_that_came_before(
    worlds: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes before the webhook that joins is delivered again."""
    first = worlds.message("one", customer=CO, secondary=True)
    gone = worlds.message("[deleted]", customer=CO, secondary=True, kind=Kind.DELETED, amends="D1")
    worlds.write("hello")
    worlds.receive(first, gone)
    worlds.settle()
    cut_short(worlds, monkeypatch, worlds.message("two", aliases=(CO,)))
    late = worlds.message("late", customer=CO, secondary=True, message_id="D1")
    worlds.receive(first, late)
    worlds.settle()

    assert sorted(worlds.model.turns) == ["hello", "one"]


@pytest.mark.parametrize(("verb", "times"), [("adopt", 1), ("move", 1), ("adopt", 2), ("link", 1)])
@pytest.mark.parametrize("busy", [ANNA, NEW])
def test_process_that_stood_still_while_others_joined_its_ids_leaves_one_conversation(
    worlds: World, monkeypatch: pytest.MonkeyPatch, verb: str, times: int, busy: str
) -> None:
    """Whichever step comes late, whichever conversation the others have chosen."""
    worlds.write("I am Anna")
    worlds.settle()
    step, tries = getattr(type(worlds.store), verb), []

    def late(*args: Any, **fields: Any) -> object:
        tries.append(args)
        if len(tries) == times:
            if busy == NEW:
                worlds.receive(worlds.message("Hi", customer=NEW))
            worlds.receive(change(worlds, present=(NEW, CO), age_ms=60_000))
        return step(*args, **fields)

    with monkeypatch.context() as patched:
        patched.setattr(type(worlds.store), verb, late)
        worlds.receive(worlds.message("one", customer=NEW, aliases=(CO,)))
    worlds.receive(worlds.message("two", customer=NEW))
    worlds.receive(worlds.message("three", customer=CO, secondary=True), worlds.message("four"))
    worlds.settle()

    hi = ["Hi"] if busy == NEW else []
    assert worlds.model.turns[1:] == ["\n".join([*hi, "one", "two", "three", "four"])]
    assert asked(worlds)[-1] == ("I am Anna",)
    assert len(tries) > times
    assert worlds.alerts() == []


def twin(world: World) -> tuple[InboundMessage, list[Event]]:
    """Return a message that came by one id, and what joins that to another: it, by the other."""
    world.write("I am Anna")
    (by_number, by_other, _) = deliveries(world)
    return by_other, [by_number]


def alias(world: World) -> tuple[InboundMessage, list[Event]]:
    """Return the same of an id that led to the conversation of a third."""
    world.receive(world.message("I am Anna", aliases=(CO,)))
    news = change(world, former=(CO,), present=(NEW,), age_ms=60_000)
    return world.message("Book me", customer=CO, secondary=True), [news]


@pytest.mark.parametrize("joining", [twin, alias])
def test_message_is_known_by_all_ids_once_a_joining_that_was_cut_short_is_repeated(
    worlds: World,
    monkeypatch: pytest.MonkeyPatch,
    joining: Callable[[World], tuple[InboundMessage, list[Event]]],
) -> None:
    first, events = joining(worlds)
    worlds.receive(first)
    worlds.settle()
    worlds.receive(worlds.message("Hi", customer=NEW))
    cut_short(worlds, monkeypatch, *events)
    worlds.receive(*events)
    worlds.receive(first)
    worlds.settle()

    turns = "\n".join(worlds.model.turns)
    assert turns.count("Book me") == 1
    assert worlds.counts()["answered"] == worlds.counts()["accepted"]


def test_conversations_that_lead_to_each_other_become_one(worlds: World) -> None:
    """Left by a process that died while it undid what another had joined."""
    new = worlds.store.conversation_id("salon", NEW)
    worlds.store.move(worlds.anna, new, {}, moved="", kin=())
    worlds.store.move(new, worlds.anna, {}, moved="", kin=())

    worlds.receive(worlds.message("one", customer=NEW))
    worlds.write("two")
    worlds.settle()

    assert worlds.model.turns == ["one\ntwo"]


def test_message_that_came_before_its_conversation_moved_is_known_where_it_went(
    worlds: World,
) -> None:
    """By the other kind of id it is looked for where it came first."""
    (first, again, _) = deliveries(worlds)
    worlds.receive(first)
    worlds.receive(worlds.message("I have a new number", customer=NEW))
    worlds.settle()
    worlds.receive(worlds.message("Hi", customer=NEW))
    worlds.receive(change(worlds, age_ms=60_000))

    worlds.receive(again)
    worlds.write("Hello")
    worlds.settle()

    assert worlds.model.turns[-1] == "Hi\nHello"
    assert worlds.model.turns.count("Book me") == 1


def test_message_that_came_to_a_conversation_before_it_moved_is_known_where_it_went(
    worlds: World,
) -> None:
    first = worlds.message("one", customer=CO, secondary=True)
    worlds.write("hello")
    worlds.receive(first)
    worlds.settle()

    worlds.receive(worlds.message("two", aliases=(CO,)), first)
    worlds.settle()
    worlds.receive(first)
    worlds.settle()

    assert sorted(worlds.model.turns) == ["hello", "one", "two"]


@pytest.mark.parametrize("is_again", [True, False])
def test_id_of_another_conversation_is_the_customers_if_their_message_came_to_it(
    worlds: World, *, is_again: bool
) -> None:
    message = worlds.message("Hi", customer=CO_NEW, secondary=True)
    worlds.receive(worlds.message("I am Anna", aliases=(CO_NEW,)))
    worlds.receive(message)
    other = message if is_again else worlds.message("Hi")

    worlds.receive(replace(other, customer=NEW, secondary=False, aliases=(CO_NEW,)))
    worlds.settle()

    assert worlds.model.turns == ["I am Anna\nHi"] if is_again else ["I am Anna\nHi", "Hi"]
    assert [kind for kind, _ in worlds.alerts()] == ["alias_conflict"] * (not is_again)


def test_id_that_became_another_is_no_other_customers(worlds: World) -> None:
    worlds.receive(worlds.message("I am Anna", customer=CO, secondary=True))
    worlds.receive(change(worlds, former=(CO,), present=(CO_NEW,)))

    worlds.receive(worlds.message("Hi", aliases=(CO_NEW,)))
    worlds.settle()

    assert worlds.model.turns == ["I am Anna\nHi"]
    assert worlds.alerts() == []


# Numbers that customers share, and twins.


def shares(world: World, number: str = ANNA) -> InboundMessage:
    return world.message("My number", customer=CO, secondary=True, shared=number)


def test_shared_number_leads_to_the_conversation_of_who_shared_it(worlds: World) -> None:
    worlds.receive(worlds.message("I am Anna", customer=CO, secondary=True))
    worlds.settle()

    worlds.receive(shares(worlds))
    worlds.receive(worlds.message("Hi"))
    worlds.settle()

    assert worlds.model.turns == ["I am Anna", "My number\nHi"]


def test_shared_number_of_another_conversation_is_not_joined(worlds: World) -> None:
    worlds.write("I am Boris")
    worlds.settle()

    (receipt,) = worlds.receive(shares(worlds))
    worlds.receive(worlds.message("Hi"))
    worlds.settle()

    assert receipt.status is Status.ACCEPTED
    assert sorted(worlds.model.turns) == ["Hi", "I am Boris", "My number"]
    assert [kind for kind, _ in worlds.alerts()] == ["alias_conflict"]


LID, PHONE = "100000000000001@lid", f"{ANNA}@c.us"


@pytest.mark.parametrize("first", [0, 1])
def test_twins_by_a_phone_and_a_lid_are_one_message_of_one_conversation(
    worlds: World, first: int
) -> None:
    message = worlds.message("Book me", customer=PHONE, has_twin=True)
    twins = [message, replace(message, customer=LID, secondary=True, has_twin=True)]
    worlds.receive(twins[first])
    worlds.receive(twins[1 - first])

    worlds.receive(worlds.message("for five", customer=PHONE, has_twin=True))
    worlds.receive(worlds.message("please", customer=LID, secondary=True, has_twin=True))
    worlds.settle()

    assert worlds.model.turns == ["Book me\nfor five\nplease"]


@pytest.mark.parametrize("moved", [False, True], ids=["", "moved"])
def test_twin_whose_edit_came_before_it_is_known_as_one(worlds: World, *, moved: bool) -> None:
    """What is known of an edit alone has not come yet by the id under which that came."""
    lid = worlds.message(
        "Book me", customer=LID, secondary=True, message_id="wamid.1", has_twin=True
    )
    edited = worlds.message("Book us", customer=PHONE, kind=Kind.EDITED, amends="wamid.1")
    worlds.receive(edited)
    worlds.receive(lid)
    if moved:
        worlds.write("Hi", customer=NEW)
        worlds.receive(change(worlds, former=(NEW,), present=(PHONE,), age_ms=-HOUR_MS))
    worlds.receive(replace(lid, customer=PHONE, secondary=False))

    places = {conversation_of(worlds.store, "salon", id_) for id_ in (PHONE, LID)}
    assert len(places) == 1


def test_equal_ids_of_two_numbers_are_two_messages(worlds: World) -> None:
    for customer in (PHONE, f"{BORIS}@c.us"):
        worlds.receive(worlds.message("Hi", customer=customer, message_id="1", has_twin=True))
    worlds.settle()

    assert worlds.counts() == {"accepted": 2, "answered": 2}


# People who look and people who forget.


def test_operator_finds_the_conversation_by_every_id(worlds: World) -> None:
    worlds.write("I am Anna")
    worlds.receive(change(worlds, former=(ANNA, CO), present=(NEW, CO_NEW)))

    found = {conversation_of(worlds.store, "salon", id_) for id_ in (ANNA, CO, NEW, CO_NEW)}

    assert found == {worlds.anna}


def test_erasure_reaches_all_that_belongs_to_the_customer(worlds: World) -> None:
    worlds.write("I am Anna")
    worlds.receive(worlds.message("I like tea", customer=CO, secondary=True))
    worlds.settle()
    worlds.receive(worlds.message("Hi", aliases=(CO,)))
    worlds.receive(change(worlds))
    worlds.settle()

    erase(worlds.store, conversation_of(worlds.store, "salon", NEW))

    kinds = ("history", "links", "alias", "seen", "c:", "o:", "f:", "trail", "takeover")
    left = [
        key for key in worlds.client.keys("{aa*") if key.split(b"}:")[1].decode().startswith(kinds)
    ]
    assert left == []


def test_dead_letter_of_a_conversation_that_moved_is_erased_when_nothing_else_is_left_of_it(
    worlds: World,
) -> None:
    """All but dead letters is forgotten by time."""
    worlds.write("I am Anna")
    worlds.settle()
    worlds.model = FakeModel(PermanentError("model_request"))
    worlds.write("I have a new number", customer=NEW)
    worlds.settle()
    worlds.receive(change(worlds))
    (letter,) = dead_letters(worlds.store)
    c = letter.conversation_id
    s = worlds.store.shard_of(c)
    assert conversation_of(worlds.store, "salon", NEW) == worlds.anna != c
    worlds.client.delete(s.batches(c), s.seen(c), s.history(c), s.trail(c))

    erased = erase(worlds.store, worlds.anna)

    assert erased.dead == 1
    assert dead_letters(worlds.store) == []
