"""``erase``: a customer's right to be forgotten."""

import os
import pty
from dataclasses import replace
from typing import Any

import pytest

from batching.keys import BACKUP, ERASED
from batching.store import server_ms
from channels.simulator import accepted
from channels.simulator import conversation as both_sides
from cli.rights import REMAINS
from tests.batching.world import ANNA, BORIS, World
from tests.cli.conftest import CANARY, Operator, answered, refused
from tests.fakes import FakeModel

LID = "12345@lid"


def live(world: World) -> None:
    """Leave something of the customer's in every place there is."""
    refused(world)
    answered(world)
    message = replace(world.message(f"{CANARY} in flight"), aliases=(LID,))
    world.receive(message)
    world.wait(9_000)
    world.flush()
    world.write(f"{CANARY} open")
    c = world.store.conversation_id("salon", ANNA)
    world.store.client.set(world.store.shard_of(c).takeover(c), "person")
    world.store.client.rpush(f"aa:simulator:{c}", '{"at_ms": 1}')
    accepted(world.store, [message])


def everything(world: World) -> bytes:
    """Return all keys and all values of the server but alerts, which hold digests alone."""
    client: Any = world.store.client
    read = {
        b"string": lambda key: [client.get(key)],
        b"list": lambda key: client.lrange(key, 0, -1),
        b"hash": lambda key: [b" ".join(pair) for pair in client.hgetall(key).items()],
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    found = []
    for key in client.keys("*"):
        if not key.endswith(b"alerts"):
            found += [key, *read[client.type(key)](key)]
    return b"\n".join(found)


def test_nothing_of_the_customer_remains(
    world: World, operator: Operator, conversation: str
) -> None:
    live(world)
    world.write("hello", customer=BORIS)

    answer = operator("erase", conversation, "--yes", "--json")

    assert answer.status == 0
    assert answer.json["erased"] == {
        "open": 1, "flight": 1, "dead": 1, "exchanges": 1, "digests": 4, "aliases": 1, "sent": 1,
        "transcripts": 2,
    }  # fmt: skip
    kept = everything(world)
    assert CANARY.encode() not in kept
    assert conversation.encode() not in kept
    assert both_sides(world.store.client, conversation) == []
    assert world.counts() == {"accepted": 5, "answered": 1, "suppressed": 3, "open": 1}
    assert world.store.client.hget(world.store.keyring.shards[0].stats, "erasures") == b"1"


def test_what_remains_elsewhere_is_said_and_a_second_time_finds_nothing(
    world: World, operator: Operator, conversation: str
) -> None:
    world.write(CANARY)

    first, second = (operator("erase", conversation, "--yes") for _ in range(2))

    assert (first.status, second.status) == (0, 1)
    assert first.out.splitlines() == ["Erased: open 1, digests 1.", *REMAINS]
    assert second.out.startswith("Nothing is kept of such a customer")


@pytest.mark.parametrize("typed", [ANNA, "+7 999 000-00-01", LID])
def test_customer_is_erased_by_any_id(world: World, operator: Operator, typed: str) -> None:
    live(world)

    answer = operator("erase", "--customer", typed, "--account", "salon", "--yes", "--json")

    assert answer.status == 0
    assert answer.json["erased"]["open"] == 1
    assert CANARY.encode() not in everything(world)


def test_same_customer_of_another_account_is_another_conversation(
    world: World, operator: Operator
) -> None:
    world.write("hello")
    world.write("hello", account="sister")

    operator("erase", "--customer", ANNA, "--account", "salon", "--yes")

    assert world.counts() == {"accepted": 2, "suppressed": 1, "open": 1}


def test_run_that_was_asking_the_model_sends_nothing(
    world: World, operator: Operator, conversation: str
) -> None:
    world.write(CANARY)
    world.wait(9_000)
    (wake_up,) = world.flush()
    world.model = FakeModel(before=lambda: operator("erase", conversation, "--yes"))

    wake_ups = world.generate(wake_up)
    world.settle(60_000)

    assert (wake_ups, world.model.turns, world.channel.attempts) == ([], [CANARY], [])
    assert world.store.history(conversation) == []
    assert world.counts() == {"accepted": 1, "suppressed": 1}
    assert CANARY.encode() not in everything(world)


def test_reply_that_was_kept_is_not_sent(
    world: World, operator: Operator, conversation: str
) -> None:
    wake_up = world.to_sending(CANARY)

    operator("erase", conversation, "--yes")
    world.send(wake_up)
    world.settle(60_000)

    assert world.channel.attempts == []
    assert world.counts() == {"accepted": 1, "suppressed": 1}


def test_parts_that_have_not_left_stay(world: World, operator: Operator, conversation: str) -> None:
    """What is with the provider cannot be called back; the next part is not handed over."""
    world.channel.length_max = 12
    wake_up = world.to_sending(CANARY)
    world.channel.before = lambda: operator("erase", conversation, "--yes")

    world.send(wake_up)

    assert len(world.channel.attempts) == 1
    assert world.counts() == {"accepted": 1, "suppressed": 1}


def test_without_a_terminal_it_needs_yes(
    world: World, operator: Operator, conversation: str
) -> None:
    world.write(CANARY)

    answer = operator.process("erase", conversation)

    assert (answer.status, answer.out) == (2, "")
    assert "say --yes if you are sure" in answer.err
    assert world.counts() == {"accepted": 1, "open": 1}


@pytest.mark.parametrize(("typed", "kept"), [("y\n", 0), ("\n", 1)])
def test_on_a_terminal_it_asks(
    world: World, operator: Operator, conversation: str, typed: str, kept: int
) -> None:
    world.write(CANARY)
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())

    done = operator.process("erase", conversation, stdin=theirs)

    os.close(theirs)
    os.close(ours)
    assert f"This deletes for good: {conversation}." in done.err
    assert "Go on? [y/N]" in done.err
    assert (done.status, world.counts().get("open", 0)) == (kept, kept)


def test_digest_is_noted_where_copies_are_made_and_as_long_as_one_is_kept(
    world: World, operator: Operator, conversation: str
) -> None:
    """A copy holds the texts: a restore must not bring them back."""
    world.write(CANARY)
    operator("erase", conversation, "--yes")
    without = world.store.client.exists(ERASED)
    world.store.client.hset(BACKUP, "kept_ms", 60_000)
    now_ms = server_ms(world.store.client.time())
    world.store.client.zadd(ERASED, {"c_long_ago": now_ms - 60_001, "c_lately": now_ms})
    live(world)
    operator("erase", "--customer", LID, "--account", "salon", "--yes")

    listed: Any = world.store.client.zrange(ERASED, 0, -1, withscores=True)

    assert without == 0
    # A copy may be from before it was known that the second id is of the same customer.
    second = world.store.conversation_id("salon", LID)
    noted = dict(listed)
    assert noted.keys() == {b"c_lately", conversation.encode(), second.encode()}
    assert noted[conversation.encode()] >= now_ms
    assert CANARY.encode() not in everything(world)
