"""``trace``: where is my message?"""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batching.errors import TransientError
from batching.inspect import MessageState, batch_state, trace
from batching.model import DeliveryStatus, Kind, Limits, Reason, Reception
from tests.batching.world import ANNA, World
from tests.cli.conftest import AGO_MS, CANARY, Operator, answered, doubtful, refused
from tests.fakes import FakeModel

#: Overdue so late that an hour's wait is none.
PATIENT = Limits(overdue_ms=80_000_000)


def place(operator: Operator, message_id: str) -> tuple[int, dict[str, Any]]:
    answer = operator("trace", message_id, "--json")
    return answer.status, answer.json["message"]


def replayed(world: World) -> None:
    letter = refused(world)
    world.store.replay(letter.conversation_id, letter.batch_id, letter.account_id, world.limits)
    world.settle(0)


def discarded(world: World) -> None:
    letter = refused(world)
    world.store.discard(letter.conversation_id, letter.batch_id, Reason.DISCARDED)


def settled_late(world: World) -> None:
    doubtful(world)
    tag = world.channel.attempts[0].tag
    world.receive(DeliveryStatus("salon", "out-1", "delivered", tag))


def taken_over(world: World) -> None:
    conversation = world.store.conversation_id("salon", ANNA)
    world.store.client.set(world.store.shard_of(conversation).takeover(conversation), "person")
    answered(world)


def reacted(world: World) -> None:
    world.receive(world.message(kind=Kind.REACTION))


def old(world: World) -> None:
    world.wait(-7 * 86_400_000)
    crowded_out(world, by=0)


def crowded_out(world: World, by: int = 100) -> None:
    """Answer a message, and keep only ``by`` steps of a later batch."""
    answered(world)
    conversation = world.store.conversation_id("salon", ANNA)
    trail = world.store.shard_of(conversation).trail(conversation)
    world.store.client.delete(trail)
    for _ in range(by):
        world.store.client.rpush(trail, f"{world.clock()} collect b7 idle {world.clock()}")


@pytest.mark.parametrize(
    ("happens", "status", "state", "reason"),
    [
        (answered, 0, "answered", ""),
        (refused, 1, "dead", "fatal_model"),
        (replayed, 0, "answered", ""),
        (discarded, 0, "suppressed", "discarded"),
        (doubtful, 1, "dead", "ambiguous"),
        (settled_late, 0, "answered", ""),
        (taken_over, 0, "suppressed", "takeover"),
        (reacted, 0, "suppressed", "asks for no answer"),
        (old, 1, "forgotten", ""),
        (crowded_out, 1, "forgotten", ""),
    ],
)
def test_message_is_known_by_what_became_of_it(
    world: World,
    operator: Operator,
    happens: Callable[[World], object],
    status: int,
    state: str,
    reason: str,
) -> None:
    happens(world)

    code, message = place(operator, "id-1")

    assert (code, message["place"], message["reason"]) == (status, state, reason)


def test_steps_are_printed_in_order_with_the_waits_between_them(
    world: World, operator: Operator, conversation: str
) -> None:
    world.model = FakeModel(TransientError("model_500"))
    answered(world)
    world.settle(60_000)

    told = operator("trace", conversation)
    (batch,) = operator("trace", conversation, "--json").json["batches"]

    assert [step["says"] for step in batch["steps"]] == [
        "began to collect",
        "collected, because the customer was quiet (idle)",
        "attempt 1 to generate began",
        "failed, to be tried again: model_500",
        "its wait was over, a worker is woken again",
        "attempt 1 to generate began",
        "the reply is kept, parts: 1",
        "attempt 1 to send began",
        "part 1 is being sent",
        "part 1 was sent",
        "answered",
    ]
    lines = told.out.splitlines()
    assert lines[0] == f"conversation {conversation}, account salon"
    assert any(line.endswith(f"+9.0 s  {batch['steps'][1]['says']}") for line in lines)
    assert (told.status, lines[-1]) == (0, "nothing waits")


def superseded(world: World) -> str:
    """Have a batch put back, and return the id that the new message's had until then."""
    world.limits = Limits(supersede_max=1)
    send = world.to_sending()
    (receipt,) = world.write("and for two")
    world.send(send)
    world.settle()
    return receipt.batch_id


def test_batch_that_is_put_back_says_why_and_is_found_by_either_name(
    world: World, operator: Operator, conversation: str
) -> None:
    former = superseded(world)

    found = operator("trace", conversation, "--json").json
    code, message = place(operator, "id-2")

    (batch,) = found["batches"]
    assert [step["says"] for step in batch["steps"]][4:8] == [
        "attempt 1 to send began",
        f"put back with {former}, because the customer wrote again; a draft was discarded",
        "collected, because the customer was quiet (idle)",
        "attempt 1 to generate began",
    ]
    assert (code, message["place"]) == (0, "answered")
    known = batch_state(trace(world.store, conversation), former)
    assert known == (MessageState.ANSWERED, "", batch["batch"])


def test_dead_message_says_why_and_what_a_person_does(world: World, operator: Operator) -> None:
    letter = refused(world)

    told = operator("trace", "id-1").out

    assert "became a dead letter, fatal_model: model_auth" in told
    assert f"waits for a person: dead show {letter.batch_id}" in told


def test_open_message_says_when_it_is_due(world: World, operator: Operator) -> None:
    world.limits = PATIENT
    world.write(CANARY)

    status, where = place(operator, "id-1")
    told = operator("trace", "id-1", "--account", "salon").out

    assert (status, where["place"]) == (0, "open")
    assert "is due since 59 min: is a flusher alive?" in told


def test_message_in_flight_says_what_it_waits_for(
    world: World, operator: Operator, conversation: str
) -> None:
    world.limits = PATIENT
    world.to_sending(CANARY)
    world.write(CANARY)

    status, where = place(operator, "id-1")
    answer = operator("trace", conversation)

    assert (status, where["place"], where["reason"]) == (0, "in flight", "claimed")
    assert place(operator, "id-2")[1]["place"] == "open"
    assert (
        "(1 messages) waits for a worker to send; was to be checked 59 min ago: is a" in answer.out
    )
    assert "waits until the batch in flight has ended" in answer.out


def test_future_is_printed_with_its_time(
    world: World, operator: Operator, conversation: str
) -> None:
    world.clock.now_ms += AGO_MS
    wake_up = world.to_sending(CANARY)

    flying = operator("trace", conversation).out
    world.send(wake_up)
    world.write(CANARY)
    opened = operator("trace", conversation).out

    assert "waits for a worker to send; checked again in " in flying
    assert " collects; due in " in opened


def test_open_batch_of_an_adaptive_account_says_why_it_waits(
    world: World, operator: Operator, conversation: str
) -> None:
    world.clock.now_ms += AGO_MS
    world.reception = Reception(window="adaptive", language="en")
    world.write(f"{CANARY} and")

    opened = operator("trace", conversation)

    assert re.search(r" collects; due in .*, after a word that joins \(unfinished\)\n", opened.out)


def test_overdue_message_needs_a_person(
    world: World, operator: Operator, conversation: str
) -> None:
    (receipt,) = world.write(CANARY)

    before = operator("trace", conversation, "--json")
    world.wait(120_000)
    world.flush()
    after = operator("trace", conversation, "--json")

    assert (before.status, before.json["overdue"]) == (1, [receipt.batch_id])
    assert (after.status, after.json["overdue"]) == (1, [receipt.batch_id])
    assert "overdue: a person was alerted" in operator("trace", conversation).out


def test_message_is_in_the_batch_that_took_it(
    world: World, operator: Operator, conversation: str
) -> None:
    (first,) = world.write(CANARY)
    world.settle()
    world.wait(1)
    (second,) = world.write(CANARY)
    world.settle()

    assert place(operator, "id-1")[1]["batch_id"] == first.batch_id
    assert place(operator, "id-2")[1]["batch_id"] == second.batch_id
    batches = operator("trace", conversation, "--json").json["batches"]
    assert [batch["place"] for batch in batches] == ["answered", "answered"]


def test_unknown_message_was_never_accepted_here(world: World, operator: Operator) -> None:
    world.write(CANARY)

    answer = operator("trace", "id-9")

    assert (answer.status, answer.err) == (1, "")
    assert answer.out == "Never accepted here, or forgotten: deduplication keeps 8 days.\n"
    assert place(operator, "79990000003") == (1, {"place": "unknown"})
    assert operator("trace", "c_" + "0" * 24).status == 1


def test_message_is_looked_for_in_the_account_alone_that_is_named(
    world: World, operator: Operator
) -> None:
    world.write(CANARY, account="sister")

    assert operator("trace", "id-1", "--account", "salon").status == 1
    assert operator("trace", "id-1", "--account", "sister", "--json").json["account"] == "sister"


@pytest.mark.parametrize("typed", [ANNA, "+7 999 000-00-01", "+7 (999) 0000001"])
def test_customer_is_found_by_number_and_the_number_not_repeated(
    world: World, operator: Operator, conversation: str, typed: str
) -> None:
    world.write(CANARY)

    answer = operator("trace", "--customer", typed, "--account", "salon", "--json")

    assert answer.json["conversation"] == conversation
    assert typed not in answer.out + answer.err


def test_customer_is_found_by_an_alias(world: World, operator: Operator) -> None:
    message = world.message(CANARY, customer="49990000001@c.us")
    world.receive(replace(message, aliases=("12345@lid",)))

    answer = operator("trace", "--customer", "12345@lid", "--account", "salon", "--json")
    by_number = operator("trace", "--customer", "+49990000001", "--account", "salon", "--json")

    assert answer.json["conversation"] == by_number.json["conversation"]
    assert answer.json["accepted"] == 1


def test_steps_of_another_release_are_shown_with_the_others(
    world: World, operator: Operator, conversation: str
) -> None:
    client: Any = world.store.client
    for step in (
        "collect b1", "collect b2 idle soon", "mark_sending b1 first", "mark_sent b1",
        "begin b1", "fail b1", "reap b1 waiting", "hand_round b1 person", "replay b3", "begin",
    ):  # fmt: skip
        client.rpush(world.store.shard_of(conversation).trail(conversation), f"17 {step}")
    world.write(CANARY)

    shown = operator("trace", conversation)
    read = operator("trace", conversation, "--json").json

    assert "hand_round person" in shown.out
    assert [batch["batch"] for batch in read["batches"]][:3] == ["b1", "b2", "b3"]


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ("message.appended", "conversation"),
        ("message.appended", "batch"),
        ("message.appended", "message_id"),
        ("batch.collected", "batch"),
        ("reply.generated", "batch"),
        ("reply.part_sent", "message_id"),
        ("batch.answered", "conversation"),
    ],
)
def test_whatever_names_something_in_a_line_leads_to_its_conversation(
    world: World,
    operator: Operator,
    caplog: pytest.LogCaptureFixture,
    event: str,
    field: str,
) -> None:
    caplog.set_level(logging.INFO)
    answered(world)
    (line,) = [vars(record) for record in caplog.records if record.msg == event]

    told = operator("trace", str(line[field]), "--json")

    assert (told.status, told.json["conversation"]) == (0, world.anna)
    if field == "message_id":
        assert told.json["message"]["place"] == "answered"


def test_open_batch_and_one_in_a_letter_are_found_by_their_ids(
    world: World, operator: Operator, conversation: str
) -> None:
    world.limits = PATIENT
    letter = refused(world)
    world.write(CANARY)
    open_id = operator("trace", conversation, "--json").json["open"]["batch_id"]

    found = [operator("trace", it, "--json").json for it in (letter.batch_id, open_id)]

    assert [it["conversation"] for it in found] == [conversation] * 2


def test_part_of_ours_is_found_by_the_provider_s_id(world: World, operator: Operator) -> None:
    answered(world)

    status, message = place(operator, "out-1")
    told = operator("trace", "out-1").out

    assert (status, message["place"]) == (0, "answered")
    assert "the message: ours, a part of the answer, answered, batch b" in told


def test_batch_id_of_two_conversations_names_both(world: World, operator: Operator) -> None:
    """Each shard counts by itself."""
    answered(world)
    others = [f"c_{n:024}" for n in (1, 2)]
    for other in others:
        world.client.rpush(world.shard.trail(other), f"{world.clock()} collect b7 idle 1 salon")

    told = operator("trace", "b7")

    assert told.status == 2
    assert f"several conversations have a batch b7: {', '.join(others)}" in told.err


def test_message_that_waits_is_where_its_digest_says(
    world: World, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.limits = PATIENT
    world.to_sending(CANARY)
    world.write(CANARY)
    names = [vars(it)["message_id"] for it in caplog.records if it.msg == "message.appended"]

    assert [place(operator, name)[1]["place"] for name in names] == ["in flight", "open"]
