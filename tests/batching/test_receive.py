"""How messages enter: deduplication with acceptance, caps, second ids, one round trip."""

import threading
from typing import Any

import pytest
import redis

from batching import flow
from batching.errors import LedgerUnavailableError
from batching.model import (
    TEXT_CHARACTERS_MAX,
    ForeignMessage,
    InboundMessage,
    Kind,
    Limits,
    Media,
    Status,
    Timing,
    decode,
    encode,
)
from batching.store import Store
from tests.batching.world import ANNA, World
from tests.fakes import FakeClock

DAY_MS = 86_400_000


def test_same_id_twice_counts_once(world: World) -> None:
    message = world.message()

    statuses = [world.receive(message)[0].status for _ in range(3)]

    assert statuses == [Status.ACCEPTED, Status.DUPLICATE, Status.DUPLICATE]
    assert world.counts() == {"accepted": 1, "open": 1}


def test_same_id_twice_in_one_webhook_counts_once(world: World) -> None:
    message = world.message()

    receipts = world.receive(message, message)

    assert [receipt.status for receipt in receipts] == [Status.ACCEPTED, Status.DUPLICATE]


def test_same_id_delivered_concurrently_counts_once(world: World) -> None:
    message = world.message()
    statuses: list[Status] = []
    start = threading.Barrier(8)

    def deliver() -> None:
        start.wait()
        statuses.append(world.receive(message)[0].status)

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [Status.ACCEPTED] + [Status.DUPLICATE] * 7


def test_redelivery_after_the_answer_is_still_a_duplicate(world: World) -> None:
    message = world.message()
    world.receive(message)
    world.settle()

    assert world.receive(message)[0].status is Status.DUPLICATE


def test_redelivery_after_a_week_is_a_duplicate_and_the_id_is_forgotten_after_eight_days(
    world: World,
) -> None:
    """Meta delivers again for seven days; no conversation remembers for ever."""
    message, client = world.message(), world.store.client
    (first,) = world.receive(message)
    seen = world.store.shard_of(first.conversation_id).seen(first.conversation_id)
    world.settle()
    world.wait(7 * DAY_MS)
    world.write("a week later")

    (again,) = world.receive(message)
    remembered_ms: Any = client.pttl(seen)
    world.wait(DAY_MS)
    world.write("yet a day later")

    assert again.status is Status.DUPLICATE
    assert remembered_ms > 7 * DAY_MS
    assert client.zcard(seen) == 2


def test_same_id_on_two_accounts_is_two_messages(world: World) -> None:
    receipts = world.receive(
        world.message(message_id="x"), world.message(message_id="x", account="sister")
    )

    assert [receipt.status for receipt in receipts] == [Status.ACCEPTED] * 2


def test_full_conversation_refuses_without_recording_the_id(client: Any) -> None:
    """What is refused now is accepted when it is delivered again, after there is room."""
    clock = FakeClock()
    world = World(Store(client, privacy_key="k", timing=Timing(waiting_max=2), clock=clock), clock)
    world.write("one", "two")
    third = world.message("three")

    assert world.receive(third)[0].status is Status.FULL
    world.settle()

    assert world.receive(third)[0].status is Status.ACCEPTED
    world.check()


def test_receipt_has_the_time_since_this_redis_was_flushed(world: World) -> None:
    """Minus one: this process writes into a Redis that nobody flushes."""
    (never,) = world.write("Hi")
    world.flush()
    world.wait(700)
    (lately,) = world.write("again")

    assert (never.flusher_lag_ms, lately.flusher_lag_ms) == (-1, 700)


def test_webhook_of_many_messages_is_one_round_trip(world: World) -> None:
    client: Any = world.store.client
    world.write("warm")
    before = client.info("stats")["total_reads_processed"]

    world.receive(*[world.message(f"text {n}") for n in range(9)])

    after = client.info("stats")["total_reads_processed"]
    assert after - before == 1 + 1  # the webhook's, and that of this question itself


def test_second_id_alone_leads_to_the_conversation(world: World) -> None:
    """A customer known by phone writes under a business-scoped id: the same conversation."""
    both = InboundMessage("salon", ANNA, "m1", Kind.TEXT, "Hi", aliases=("CO.1",))
    alone = InboundMessage("salon", "CO.1", "m2", Kind.TEXT, "again", secondary=True)

    (first,), (second,) = world.receive(both), world.receive(alone)
    world.settle()

    assert first.conversation_id == second.conversation_id
    assert world.model.turns == ["Hi\nagain"]
    assert world.channel.sent[0].customer == "CO.1"


def test_second_id_never_moves_to_another_conversation(world: World) -> None:
    world.receive(InboundMessage("salon", ANNA, "m1", Kind.TEXT, "Hi", aliases=("CO.1",)))
    world.receive(InboundMessage("salon", "7999", "m2", Kind.TEXT, "Hi", aliases=("CO.1",)))
    alone = InboundMessage("salon", "CO.1", "m3", Kind.TEXT, "again", secondary=True)

    (receipt,) = world.receive(alone)

    assert receipt.conversation_id == world.store.conversation_id("salon", ANNA)
    assert [kind for kind, _ in world.alerts()] == ["alias_conflict"]


def test_person_who_answers_under_a_second_id_pauses_the_conversation(world: World) -> None:
    world.receive(InboundMessage("salon", ANNA, "m1", Kind.TEXT, "Hi", aliases=("CO.1",)))

    world.receive(ForeignMessage("salon", "CO.1", "p1", "person"))
    world.settle()

    assert world.counts() == {"accepted": 1, "suppressed": 1}


def test_unknown_second_id_is_a_conversation_of_its_own(world: World) -> None:
    alone = InboundMessage("salon", "CO.1", "m1", Kind.TEXT, "Hi", secondary=True)

    world.receive(alone)
    world.settle()

    assert world.model.turns == ["Hi"]


def test_key_names_hold_no_customers_id(world: World) -> None:
    world.receive(
        InboundMessage("salon", ANNA, f"wamid.{ANNA}", Kind.TEXT, "Hi", aliases=("CO.1",))
    )
    world.settle()

    client: Any = world.store.client
    names = b" ".join(client.keys("*"))
    assert ANNA.encode() not in names
    assert b"CO.1" not in names


def test_message_that_found_no_ledger_is_accepted_when_it_is_delivered_again(world: World) -> None:
    away = redis.Redis(port=1, socket_connect_timeout=0.2)
    message = world.message()
    with pytest.raises(LedgerUnavailableError):
        flow.receive(Store(away, privacy_key="k"), [message], lambda _: Limits())

    assert world.receive(message)[0].status is Status.ACCEPTED


def test_scripts_are_loaded_again_after_the_server_forgot_them(world: World) -> None:
    world.write("one")
    world.store.client.script_flush()

    world.receive(world.message("two"), world.message("three"))
    world.settle()

    assert world.model.turns == ["one\ntwo\nthree"]


def test_refused_write_is_an_unavailable_ledger(client: Any, world: World) -> None:
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(LedgerUnavailableError, match="ledger_refused"):
            world.write("Hi")
    finally:
        client.config_set("maxmemory", "0")


@pytest.mark.parametrize("media", [None, Media("id", "audio/ogg", "")])
def test_message_is_kept_whole(media: Media | None) -> None:
    message = InboundMessage("salon", ANNA, "m", Kind.VOICE, 'a "b"\n\U0001f600', 5, media=media)

    assert decode("salon", encode(message)) == message


def test_message_beyond_any_messengers_length_is_kept_to_the_limit_and_says_so(
    world: World,
) -> None:
    longest = "a" * TEXT_CHARACTERS_MAX
    world.write(longest, longest + "bcd")
    world.settle()

    notice = "[The rest of this message, 3 characters, is too long to be kept]"
    assert world.model.turns == [f"{longest}\n{longest} {notice}"]
