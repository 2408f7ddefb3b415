"""``trace``: where is my message?"""

from typing import Any

import pytest

from batching.errors import AmbiguousError, PermanentError, TransientError
from batching.inspect import dead_letters
from batching.model import DeliveryStatus, Kind, Limits, Reason
from tests.batching.world import ANNA, World
from tests.cli.conftest import AGO_MS, CANARY, Operator
from tests.fakes import FakeChannel, FakeModel

#: Overdue so late that an hour's wait is none.
PATIENT = Limits(overdue_ms=80_000_000)


@pytest.fixture
def conversation(world: World) -> str:
    return world.store.conversation_id("salon", ANNA)


def place(operator: Operator, message_id: str) -> tuple[int, dict[str, Any]]:
    answer = operator("trace", message_id, "--json")
    return answer.status, answer.json["message"]


def steps(operator: Operator, conversation: str) -> list[str]:
    (batch,) = operator("trace", conversation, "--json").json["batches"]
    return [step["says"] for step in batch["steps"]]


def test_answered_message_is_followed_through_every_step(
    world: World, operator: Operator, conversation: str
) -> None:
    world.model = FakeModel(TransientError("model_500"))
    world.write(CANARY)
    world.settle()
    world.settle(60_000)

    status, where = place(operator, "id-1")

    assert (status, where["place"]) == (0, "answered")
    assert steps(operator, conversation) == [
        "began to collect",
        "collected, because the customer was quiet (idle)",
        "attempt 1 to generate began",
        "failed, to be tried again: model_500",
        "its wait was over, a worker is woken again",
        "attempt 2 to generate began",
        "the reply is kept, parts: 1",
        "attempt 1 to send began",
        "part 1 is being sent",
        "part 1 was sent",
        "answered",
    ]


def test_waits_between_steps_are_printed(
    world: World, operator: Operator, conversation: str
) -> None:
    world.write(CANARY)
    world.settle()

    answer = operator("trace", conversation)

    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[0] == f"conversation {conversation}, account unknown, because nothing of it waits"
    collected = next(line for line in lines if "collected" in line)
    assert "+9.0 s  collected, because the customer was quiet (idle)" in collected
    assert "nothing waits" in lines


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


def test_dead_message_names_its_reason(world: World, operator: Operator) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY)
    world.settle()

    status, where = place(operator, "id-1")
    told = operator("trace", "id-1").out

    assert (status, where["place"], where["reason"]) == (1, "dead", "fatal_model")
    assert "became a dead letter, fatal_model: model_auth" in told
    assert f"waits for a person: dead show {where['batch_id']}" in told


def test_replayed_message_is_followed_into_its_new_batch(world: World, operator: Operator) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY)
    world.settle()
    (letter,) = dead_letters(world.store)
    world.store.replay(letter.conversation_id, letter.batch_id, letter.account_id, world.limits)
    world.settle(0)

    status, where = place(operator, "id-1")

    assert (status, where["place"]) == (0, "answered")
    assert where["batch_id"] != letter.batch_id


def test_discarded_message_was_a_persons_decision(world: World, operator: Operator) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY)
    world.settle()
    (letter,) = dead_letters(world.store)
    world.store.discard(letter.conversation_id, letter.batch_id, Reason.DISCARDED)

    status, where = place(operator, "id-1")

    assert (status, where["place"], where["reason"]) == (0, "suppressed", "discarded")


def test_message_in_doubt_settled_late_is_answered(world: World, operator: Operator) -> None:
    world.channel = FakeChannel(AmbiguousError("timeout"))
    wake_up = world.to_sending(CANARY)
    world.send(wake_up)
    world.settle(60_000)
    dead = place(operator, "id-1")[1]["place"]
    tag = world.channel.attempts[0].tag
    world.receive(DeliveryStatus("salon", "out-1", "delivered", tag))

    assert dead == "dead"
    assert place(operator, "id-1")[1]["place"] == "answered"


def test_message_during_a_takeover_is_suppressed(
    world: World, operator: Operator, conversation: str
) -> None:
    world.store.client.set(world.store.shard_of(conversation).takeover(conversation), "person")
    world.write(CANARY)
    world.settle()

    _, where = place(operator, "id-1")

    assert (where["place"], where["reason"]) == ("suppressed", "takeover")


def test_message_that_asks_for_no_answer_is_suppressed(world: World, operator: Operator) -> None:
    world.receive(world.message(kind=Kind.REACTION, message_id="reaction-1"))

    status, where = place(operator, "reaction-1")

    assert (status, where["place"]) == (0, "suppressed")


def test_message_older_than_its_steps_is_forgotten(world: World, operator: Operator) -> None:
    world.wait(-7 * 86_400_000)
    world.write(CANARY)
    world.settle()
    conversation = world.store.conversation_id("salon", ANNA)
    world.store.client.delete(world.store.shard_of(conversation).trail(conversation))

    status, where = place(operator, "id-1")

    assert (status, where["place"]) == (1, "forgotten")


def test_message_whose_steps_were_crowded_out_is_forgotten(
    world: World, operator: Operator, conversation: str
) -> None:
    world.write(CANARY)
    world.settle()
    trail = world.store.shard_of(conversation).trail(conversation)
    world.store.client.delete(trail)
    later = f"{world.clock()} collect b7 idle {world.clock()}"
    world.store.client.rpush(trail, *[later] * 100)

    assert place(operator, "id-1")[1]["place"] == "forgotten"


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

    answer = operator("trace", "79990000003")

    assert (answer.status, answer.err) == (1, "")
    assert answer.out == "Never accepted here, or forgotten: deduplication keeps 8 days.\n"
    assert place(operator, "id-9") == (1, {"place": "unknown"})
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
    world.receive(type(message)(**{**_fields(message), "aliases": ("12345@lid",)}))

    answer = operator("trace", "--customer", "12345@lid", "--account", "salon", "--json")
    by_number = operator("trace", "--customer", "+49990000001", "--account", "salon", "--json")

    assert answer.json["conversation"] == by_number.json["conversation"]
    assert answer.json["accepted"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("id-1", "--customer", ANNA),
        ("--customer", ANNA),
        ("--customer", ANNA, "--account", "nobody"),
        ("id-1", ANNA),
        ("--custmer", ANNA),
    ],
)
def test_wrong_usage_repeats_nothing_of_what_was_typed(
    operator: Operator, arguments: tuple[str, ...]
) -> None:
    answer = operator("trace", *arguments)

    assert (answer.status, answer.out) == (2, "")
    assert "nobody" not in answer.err


def _fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__slots__}


def test_steps_of_another_release_are_shown_with_the_others(
    world: World, operator: Operator, conversation: str
) -> None:
    client: Any = world.store.client
    for step in (
        "collect b1", "collect b2 idle soon", "mark_sending b1 first", "mark_sent b1",
        "begin b1", "fail b1", "reap b1 waiting", "hand_over b1 person", "replay b3", "begin",
    ):  # fmt: skip
        client.rpush(world.store.shard_of(conversation).trail(conversation), f"17 {step}")
    world.write(CANARY)

    shown = operator("trace", conversation)
    read = operator("trace", conversation, "--json").json

    assert "hand_over person" in shown.out
    assert [batch["batch"] for batch in read["batches"]][:3] == ["b1", "b2", "b3"]
