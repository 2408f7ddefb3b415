"""How messages enter: deduplication with acceptance, caps, second ids, one round trip."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis

from batching import flow, store
from batching.errors import LedgerUnavailableError
from batching.model import (
    TEXT_CHARACTERS_MAX,
    InboundMessage,
    Kind,
    Limits,
    Media,
    NotUnderstood,
    Status,
    Timing,
    decode,
    encode,
)
from batching.store import Store
from tests.batching.conftest import Counting
from tests.batching.world import ANNA, BORIS, PERSON, World

DAY_MS = 86_400_000
#: A second id of a customer, as WhatsApp scopes it to a business.
CO = "CO.1"


def test_same_id_counts_once_in_one_webhook_in_two_and_after_the_answer(world: World) -> None:
    message = world.message()

    receipts = [*world.receive(message, message), *world.receive(message)]
    world.settle()
    receipts += world.receive(message)

    assert [receipt.status for receipt in receipts] == [Status.ACCEPTED] + [Status.DUPLICATE] * 3
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_same_id_delivered_concurrently_counts_once(world: World) -> None:
    message = world.message()
    statuses: list[Status] = []
    start = threading.Barrier(8)

    def deliver() -> None:
        start.wait()
        statuses.append(world.receive(message)[0].status)

    with ThreadPoolExecutor(8) as webhooks:
        for _ in range(8):
            webhooks.submit(deliver)

    assert sorted(statuses) == [Status.ACCEPTED] + [Status.DUPLICATE] * 7


def test_redelivery_after_a_week_is_a_duplicate_and_the_id_is_forgotten_after_eight_days(
    world: World,
) -> None:
    """Meta delivers again for seven days; no conversation remembers for ever."""
    message, client, seen = world.message(), world.client, world.shard.seen(world.anna)
    world.receive(message)
    world.settle()
    world.wait(7 * DAY_MS)
    world.write("a week later")

    (again,) = world.receive(message)
    remembered_ms = client.pttl(seen)
    world.wait(DAY_MS)
    world.write("yet a day later")

    assert again.status is Status.DUPLICATE
    assert remembered_ms > 7 * DAY_MS
    assert client.zcard(seen) == 2


def test_same_id_on_two_accounts_is_two_messages(world: World) -> None:
    messages = [world.message(message_id="x", account=name) for name in ("salon", "sister")]

    receipts = world.receive(*messages)

    assert [receipt.status for receipt in receipts] == [Status.ACCEPTED] * 2


def test_full_conversation_refuses_without_recording_the_id(world: World) -> None:
    """What is refused now is accepted when it is delivered again, after there is room."""
    world.store.timing = Timing(waiting_max=2)
    world.write("one", "two")
    third = world.message("three")

    assert world.receive(third)[0].status is Status.FULL
    world.settle()

    assert world.receive(third)[0].status is Status.ACCEPTED


def test_full_conversation_leaves_its_neighbours_theirs_at_the_first_delivery(
    world: World,
) -> None:
    """Before it, between two of its own, and after it in one webhook; the next brings only it."""
    world.store.timing = Timing(waiting_max=2)
    world.write("one", "two")
    neighbours = [
        world.message("Hi", customer=BORIS),
        world.message("Hi", account="sister"),
        world.message("again", customer=BORIS),
    ]
    webhook = [neighbours[0], world.message("three"), neighbours[1], world.message("four")]
    webhook.append(neighbours[2])

    first, second = world.receive(*webhook), world.receive(*webhook)
    world.settle()

    assert [receipt.status for receipt in first] == [
        *(Status.ACCEPTED, Status.FULL, Status.ACCEPTED, Status.FULL, Status.ACCEPTED)
    ]
    assert [receipt.status for receipt in second] == [
        *(Status.DUPLICATE, Status.FULL, Status.DUPLICATE, Status.FULL, Status.DUPLICATE)
    ]
    assert sorted(world.model.turns) == ["Hi", "Hi\nagain", "one\ntwo"]


@pytest.mark.parametrize("waits", ["open", "in flight", "both"])
def test_conversation_that_stays_full_ends_the_redeliveries_and_a_person_is_told(
    world: World, waits: str
) -> None:
    """Counted, though not kept; ten minutes after the oldest that waits, not after the refusal."""
    world.store.timing = Timing(waiting_max=2)
    world.write("one", *(["two"] if waits != "both" else []))
    if waits != "open":
        world.begin(world.after(9_000))
    world.write(*(["two"] if waits == "both" else []))
    third, began_ms = world.message("three"), 9_000 if waits != "open" else 0
    world.wait(599_999 - began_ms)
    early = world.receive(third)
    world.wait(1)

    late = world.receive(third, world.message("four"), world.message("Hi", customer=BORIS))

    assert [receipt.status for receipt in early] == [Status.FULL]
    assert [receipt.status for receipt in late] == [
        *(Status.OVERFLOW, Status.OVERFLOW, Status.ACCEPTED)
    ]
    assert world.alerts() == [("overflow", "conversation_full")]
    counts = world.counts()
    assert (counts["accepted"], counts["suppressed"]) == (5, 2)
    assert world.client.hget(world.shard.stats, "suppressed:overflow") == b"2"
    world.check()


def test_what_overflowed_is_answered_if_it_comes_again_when_there_is_room(world: World) -> None:
    world.store.timing = Timing(waiting_max=1)
    world.write("one")
    world.wait(600_000)
    second = world.message("two")
    assert world.receive(second)[0].status is Status.OVERFLOW
    world.settle()

    assert world.receive(second)[0].status is Status.ACCEPTED
    world.settle()

    assert world.model.turns == ["one", "two"]
    assert world.counts() == {"accepted": 3, "answered": 2, "suppressed": 1}


def test_message_that_finds_room_meanwhile_is_not_given_up(world: World) -> None:
    world.store.timing = Timing(waiting_max=2)
    world.write("one")
    world.wait(600_000)

    assert not world.store.overflow(world.anna, "salon")
    assert (world.counts(), world.alerts()) == ({"accepted": 1, "open": 1}, [])


def test_each_conversation_that_overflows_has_an_alert_of_its_own(world: World) -> None:
    world.store.timing = Timing(waiting_max=1)
    world.write("Hi", customer=ANNA)
    world.write("Hi", customer=BORIS)
    world.wait(600_000)

    for _ in range(3):
        world.write("Hi", customer=ANNA)
        world.write("Hi", customer=BORIS)

    assert world.alerts() == [("overflow", "conversation_full")] * 2


def test_message_that_asks_for_no_answer_never_overflows(world: World) -> None:
    world.store.timing = Timing(waiting_max=1)
    world.write("one")
    world.wait(600_000)

    (receipt,) = world.receive(world.message(kind=Kind.REACTION))

    assert (receipt.status, world.alerts()) == (Status.SUPPRESSED, [])


def test_receipt_has_the_time_since_this_redis_was_flushed(world: World) -> None:
    """Minus one: this process writes into a Redis that nobody flushes."""
    (never,) = world.write("Hi")
    world.flush()
    world.wait(700)
    (lately,) = world.write("again")

    assert (never.flusher_lag_ms, lately.flusher_lag_ms) == (-1, 700)


def test_webhook_of_many_messages_is_one_round_trip(world: World, round_trips: Counting) -> None:
    world.write("warm")

    assert round_trips(lambda: world.receive(*[world.message() for _ in range(9)])) == 1


def test_what_is_not_understood_is_told_in_the_webhooks_round_trip_once_a_day_for_each_shape(
    world: World, round_trips: Counting
) -> None:
    unread = [
        NotUnderstood(account, "other_event", shape)
        for account in ("salon", "sister")
        for shape in ("data, event", "event, payload")
    ]
    world.receive(world.message(), NotUnderstood("", "broken_json", ""))

    assert round_trips(lambda: world.receive(world.message(), *unread)) == 1
    world.receive(*unread, *unread)

    assert [kind for kind, _ in world.alerts()] == ["not_understood"] * 5
    (shard,) = world.store.keyring.shards
    left_ms = [world.client.pttl(key) for key in world.client.scan_iter(f"{shard.prefix}cooldown*")]
    assert [DAY_MS - ms < 60_000 for ms in left_ms] == [True] * 5


def test_shapes_without_end_cost_so_many_alerts_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who proves an account may still post what they like."""
    monkeypatch.setattr(store, "COOLDOWNS_MAX", 3)

    world.receive(*[NotUnderstood("salon", "other_event", f"a{n}") for n in range(50)])

    assert len(world.alerts()) == 3


@pytest.mark.parametrize("is_known", [True, False])
def test_second_id_alone_leads_to_the_conversation_that_it_is_known_from(
    world: World, *, is_known: bool
) -> None:
    """A customer known by phone writes under a business-scoped id: the same conversation."""
    both = world.message("Hi", aliases=(CO,) if is_known else ())
    alone = world.message("again", customer=CO, secondary=True)

    (first,), (second,) = world.receive(both), world.receive(alone)
    world.settle()

    assert (first.conversation_id == second.conversation_id) == is_known
    assert sorted(world.model.turns) == (["Hi\nagain"] if is_known else ["Hi", "again"])
    assert CO in [sent.customer for sent in world.channel.sent]


def test_second_id_never_moves_to_another_conversation(world: World) -> None:
    world.receive(world.message(aliases=(CO,)))
    world.receive(world.message(customer=BORIS, aliases=(CO,)))

    (receipt,) = world.receive(world.message(customer=CO, secondary=True))

    assert receipt.conversation_id == world.anna
    assert [kind for kind, _ in world.alerts()] == ["alias_conflict"]


def test_person_who_answers_under_a_second_id_pauses_the_conversation(world: World) -> None:
    world.receive(world.message(aliases=(CO,)))
    world.wait(6_000)

    world.receive(replace(PERSON, customer=CO))
    world.settle()

    assert world.counts() == {"accepted": 1, "suppressed": 1}


def test_key_names_hold_no_customers_id(world: World) -> None:
    world.receive(world.message(message_id=f"wamid.{ANNA}", aliases=(CO,)))
    world.settle()

    names = b" ".join(world.client.keys("*"))
    assert ANNA.encode() not in names
    assert CO.encode() not in names


def test_message_that_found_no_ledger_is_accepted_when_it_is_delivered_again(world: World) -> None:
    away = redis.Redis(port=1, socket_connect_timeout=0.2)
    message = world.message()
    with pytest.raises(LedgerUnavailableError):
        flow.receive(Store(away, privacy_key="k"), [message], lambda _: Limits())

    assert world.receive(message)[0].status is Status.ACCEPTED


def test_scripts_are_loaded_again_after_the_server_forgot_them(world: World) -> None:
    world.write("one")
    world.client.script_flush()

    world.receive(world.message("two"), world.message("three"))
    world.settle()

    assert world.model.turns == ["one\ntwo\nthree"]


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
