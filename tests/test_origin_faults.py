"""The faults of the service that this one replaces, and hazards that others of the kind have met.

Those that the flow's own tests shut out are not repeated here: a batch whose enqueue fails (1), a
sixth rapid message (4), an error of the worker that passes for success (5), a redelivered message
(7), a customer who never pauses (8), two answers at once (9), processes on other settings (13) in
tests/batching; two businesses of one customer (6) in tests/test_tenants.py; pictures and voice (11)
in tests/channels; a Redis that is not flushed (13) in tests/batching/test_receive.py and
tests/e2e/test_alarms.py.
"""

import threading
from dataclasses import replace
from typing import Any

import pytest

from batching import flow
from batching.errors import TransientError
from batching.model import Event, ForeignMessage, Limits
from batching.store import Store
from channels import whatsapp_cloud
from tests.batching.world import ANNA, World
from tests.fakes import FakeClock, FakeModel, FakeQueue


@pytest.fixture
def world(store: Store, clock: FakeClock) -> World:
    """Return a world at rest."""
    return World(store, clock)


def test_fault_2_message_that_lands_between_reading_and_deleting_survives(world: World) -> None:
    wake_up = world.to_sending("Hi")
    world.channel.before = lambda: world.channel.attempts[1:] or world.write("landed in between")

    world.send(wake_up)
    world.settle()

    assert world.model.turns == ["Hi", "landed in between"]


def test_fault_3_unanswered_batch_does_not_expire(world: World) -> None:
    """Nobody looks for ten hours; then it is answered."""
    world.write("Hi")
    world.check()

    world.settle(36_000_000)

    assert world.channel.texts == ["Answer to: Hi"]


def test_fault_10_strangers_reply_is_reported(world: World) -> None:
    world.receive(ForeignMessage("salon", ANNA, "wamid.bot", "unknown"))

    assert world.alerts() == [("foreign_reply", "unknown")]


def test_fault_10_second_bot_on_the_number_is_seen_by_what_becomes_of_its_messages(
    world: World,
) -> None:
    """Another app's messages send no echo, but their statuses come to every app of the number."""
    world.write("Hi")
    world.settle()

    world.receive(*statuses("sent", "out-1"))
    assert world.alerts() == []  # that one is our own, without its tag

    world.receive(*statuses("sent", "wamid.bot"), *statuses("delivered", "wamid.bot"))
    assert world.alerts() == [("foreign_reply", "app")]


def statuses(state: str, provider_id: str) -> tuple[Event, ...]:
    status = {"id": provider_id, "status": state, "recipient_id": ANNA}
    value = {"metadata": {"phone_number_id": "1"}, "statuses": [status]}
    body = {"entry": [{"changes": [{"field": "messages", "value": value}]}]}
    return whatsapp_cloud.parse(body, lambda _: "salon").events


def test_fault_12_no_keyspace_scan_on_the_way_of_a_message(world: World) -> None:
    client: Any = world.store.client
    client.config_resetstat()
    world.write("Hi")
    world.store.watch()
    world.settle()

    used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert world.channel.sent
    assert used.isdisjoint({"keys", "scan"})


def test_fault_12_two_flushers_and_two_workers_send_once(world: World) -> None:
    for n in range(20):
        world.write("Hi", customer=f"7999000{n:04}")
    world.wait(9_000)
    bells = [FakeQueue(), FakeQueue()]

    def work(bell: FakeQueue) -> None:
        flow.flush(world.store, bell)
        for wake_up in bell.take() * 2:
            flow.generate(
                world.store, world.accounts, bell, wake_up, renew_lease=world.lease_renewer
            )
        for wake_up in bell.take() * 2:
            flow.send(world.store, world.accounts, wake_up, renew_lease=world.lease_renewer)

    threads = [threading.Thread(target=work, args=[bell]) for bell in bells]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(world.channel.attempts) == 20
    assert world.counts() == {"accepted": 20, "answered": 20}


def test_equal_and_reordered_timestamps_do_not_disturb_the_order_of_arrival(world: World) -> None:
    for text, at_ms in (("one", 5_000), ("two", 5_000), ("three", 1_000)):
        world.receive(replace(world.message(text), sent_at_ms=at_ms))
    world.settle()

    assert world.model.turns == ["one\ntwo\nthree"]


def test_new_message_does_not_spend_the_running_batchs_retries(world: World) -> None:
    world.limits = Limits(max_attempts=3)
    world.model = FakeModel(TransientError("model_500"), TransientError("model_500"))
    world.write("first")
    world.settle()
    for _ in range(5):
        world.write("more")
    world.settle(2_000)
    world.settle(6_000)

    assert world.model.turns[:3] == ["first"] * 3
    assert world.alerts() == []


def test_takeover_is_not_rearmed_by_the_customers_own_messages(world: World) -> None:
    world.receive(ForeignMessage("salon", ANNA, "p1", "person"))
    conversation = world.store.conversation_id("salon", ANNA)
    key = world.store.shard_of(conversation).takeover(conversation)
    client: Any = world.store.client
    client.pexpire(key, 50_000)

    world.write("still there?")
    world.settle()

    assert client.pttl(key) <= 50_000
