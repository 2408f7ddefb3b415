"""The story, step by step, on a real ledger with fakes for the ports."""

from dataclasses import replace
from typing import Any

import pytest

from batching import flow
from batching.errors import (
    AmbiguousError,
    ChannelStoppedError,
    LedgerUnavailableError,
    PermanentError,
    TransientError,
)
from batching.inspect import dead_letters
from batching.model import (
    DeliveryStatus,
    Exchange,
    ForeignMessage,
    Kind,
    Limits,
    Run,
    Stage,
    Status,
    Tag,
    WakeUp,
)
from batching.ports import Account
from batching.store import DONE, GO, STALE
from tests.batching.world import ANNA, BORIS, World
from tests.fakes import FakeAccounts, FakeChannel, FakeModel


def test_burst_becomes_one_question_and_one_answer(world: World) -> None:
    world.write("Hi", "can I book", "for tomorrow 15:00?")

    world.settle()

    assert world.model.turns == ["Hi\ncan I book\nfor tomorrow 15:00?"]
    assert world.channel.texts == ["Answer to: Hi\ncan I book\nfor tomorrow 15:00?"]
    assert world.counts() == {"accepted": 3, "answered": 3}


def test_nothing_is_due_before_the_idle_period_ends(world: World) -> None:
    world.write("Hi")
    world.wait(5_000)
    world.write("again")
    world.wait(8_999)

    assert world.flush() == []

    world.wait(1)
    assert len(world.flush()) == 1


def test_full_batch_is_due_at_once(world: World) -> None:
    receipts = world.write(*"abcdefghij")

    assert receipts[-1].due_ms == world.clock()
    world.answer(world.flush())
    assert world.model.turns == ["\n".join("abcdefghij")]


def test_customer_who_never_pauses_is_answered_at_the_longest_wait(world: World) -> None:
    world.limits = Limits(max_messages=100)
    for _ in range(9):
        world.write("and")
        world.wait(5_000)

    world.answer(world.flush())

    assert world.model.turns == ["\n".join(["and"] * 9)]


def test_answer_goes_to_the_id_exactly_as_it_was_delivered(world: World) -> None:
    world.write("Hi", customer="5215500000001")
    world.settle()

    (sent,) = world.channel.sent
    assert sent.customer == "5215500000001"
    assert sent.answers == ("id-1",)
    assert Tag.parse(sent.tag)


def test_messages_during_a_generation_form_the_next_batch(world: World) -> None:
    """They wait for the batch in flight, then are answered by the time they were due."""
    world.model = FakeModel("first", before=lambda: _write_once(world))
    world.write("Hi")
    world.wait(9_000)
    (generate,) = world.flush()

    (send,) = world.generate(generate)
    world.wait(60_000)
    assert [wake_up.stage for wake_up in world.flush()] == [
        Stage.SEND
    ]  # enqueued again, nothing collected
    world.send(send)
    world.answer(world.flush())

    assert world.model.turns == ["Hi", "one more"]
    assert world.counts() == {"accepted": 2, "answered": 2}


def _write_once(world: World) -> None:
    world.model.before = None  # only the first generation is interrupted
    world.write("one more")


def test_history_carries_what_was_said_before(world: World) -> None:
    world.write("Hi")
    world.settle()
    world.write("thanks")
    world.settle()
    world.write("bye")
    world.settle()

    said = (Exchange("Hi", "Answer to: Hi"), Exchange("thanks", "Answer to: thanks"))
    assert [asked.history for asked in world.model.questions] == [(), said[:1], said]


def test_long_reply_leaves_in_parts_and_each_once(world: World) -> None:
    world.channel = FakeChannel(length_max=4)
    world.model = FakeModel("aaaabbbbcc")
    world.write("Hi")
    world.settle()

    assert world.channel.texts == ["aaaa", "bbbb", "cc"]


@pytest.mark.parametrize("stage", [Stage.GENERATE, Stage.SEND])
def test_wake_up_that_comes_twice_does_nothing_the_second_time(world: World, stage: Stage) -> None:
    world.write("Hi")
    world.wait(9_000)
    (generate,) = world.flush()
    (send,) = world.generate(generate)
    again = generate if stage is Stage.GENERATE else send
    world.answer([again, again, again] if stage is Stage.GENERATE else [send, send])
    world.answer([send])

    assert len(world.model.questions) == 1
    assert len(world.channel.attempts) == 1


def test_lost_wake_up_is_enqueued_again_and_spends_no_attempt(world: World) -> None:
    world.write("Hi")
    world.wait(9_000)
    (lost,) = world.flush()

    world.wait(10_000)
    (again,) = world.flush()
    world.wait(10_000)
    assert world.flush() == []  # the second wait is twice as long
    world.wait(10_000)
    (third,) = world.flush()

    assert lost == again == third
    world.answer([third])
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_broker_that_is_away_delays_and_loses_nothing(world: World) -> None:
    world.queue.failures = [TransientError("broker_away")]
    world.write("Hi")
    world.settle()
    assert world.model.turns == []

    world.settle(10_000)

    assert world.counts() == {"accepted": 1, "answered": 1}


def test_broker_that_is_away_is_asked_once_for_each_flush(world: World) -> None:
    """A black hole would else cost a time-out for every batch that is due."""
    world.queue.failures = [TransientError("broker_away")] * 3
    for n in range(3):
        world.write("Hi", customer=f"7999000000{n}")
    world.wait(9_000)

    assert world.flush() == []

    assert len(world.queue.failures) == 2


def test_model_that_fails_is_asked_again_after_a_growing_wait(world: World) -> None:
    world.model = FakeModel(TransientError("model_429"), TransientError("model_500"))
    world.write("Hi")
    world.settle()
    for wait_ms in (1_000, 4_000):
        world.settle(wait_ms - 1)
        assert world.channel.sent == []
        world.settle(wait_ms // 4 + 1)

    assert world.model.turns == ["Hi"] * 3
    assert world.channel.texts == ["Answer to: Hi"]


def test_model_is_given_the_wait_that_it_asked_for(world: World) -> None:
    world.model = FakeModel(TransientError("model_429", retry_after_ms=30_000))
    world.write("Hi")
    world.settle()

    world.settle(29_999)
    assert len(world.model.questions) == 1
    world.settle(1)
    assert world.channel.texts == ["Answer to: Hi"]


def test_batch_whose_attempts_are_spent_is_a_dead_letter_with_one_alert(world: World) -> None:
    world.limits = Limits(max_attempts=2)
    world.model = FakeModel(*[TransientError("model_timeout")] * 2)
    world.write("Hi", "there")
    world.settle()
    world.settle(2_000)

    assert world.counts() == {"accepted": 2, "dead": 2}
    assert world.alerts() == [("fatal_model", "model_timeout")]
    (letter,) = dead_letters(world.store)
    assert (letter.reason, letter.detail, letter.stage) == (
        "fatal_model",
        "model_timeout",
        "generate",
    )
    assert [message.text for message in letter.messages] == ["Hi", "there"]


def test_refused_message_is_a_dead_letter_at_once(world: World) -> None:
    world.channel = FakeChannel(PermanentError("cloud_131047"))
    world.write("Hi")
    world.settle()

    assert world.alerts() == [("fatal_provider", "cloud_131047")]
    assert world.counts() == {"accepted": 1, "dead": 1}


def test_account_that_cannot_send_waits_spends_no_attempt_and_alerts_once(world: World) -> None:
    world.limits = Limits(max_attempts=1)
    world.channel = FakeChannel(ChannelStoppedError("cloud_190"))
    world.write("Hi")
    world.write("Hello", customer=BORIS)
    world.settle()

    assert world.alerts() == [("channel_stopped", "cloud_190")]
    assert len(world.channel.attempts) == 1
    assert world.counts() == {"accepted": 2, "flight": 2}

    world.store.client.delete(world.store.keyring.shards[0].circuit("salon"))
    world.settle(60_000)
    assert world.counts() == {"accepted": 2, "answered": 2}


def test_open_circuit_raises_no_alert_of_its_own(world: World) -> None:
    """The cooldown is over, the circuit is still open: a blocked batch has nothing to report."""
    world.channel = FakeChannel(ChannelStoppedError("cloud_190"))
    world.write("Hi")
    world.settle()
    shard = world.store.keyring.shards[0]
    world.store.client.delete(shard.cooldown("salon", "channel_stopped"))

    world.write("Hello", customer=BORIS)
    world.settle()

    assert world.alerts() == [("channel_stopped", "cloud_190")]
    assert world.counts() == {"accepted": 2, "flight": 2}


def test_account_that_cannot_send_is_tried_again_by_itself(world: World) -> None:
    world.channel = FakeChannel(ChannelStoppedError("cloud_190"))
    world.write("Hi")
    world.settle()

    client, shard = world.store.client, world.store.keyring.shards[0]
    open_ms: Any = client.pttl(shard.circuit("salon"))
    assert 0 < open_ms <= world.store.timing.defer_ms


def test_worker_that_dies_in_generate_is_followed_by_another_attempt(world: World) -> None:
    world.write("Hi")
    world.wait(9_000)
    (first,) = world.flush()
    assert world.store.begin(first)  # and dies

    world.wait(29_999)
    assert world.flush() == []
    world.wait(1)
    (second,) = world.flush()

    assert second == replace(first, attempt=2)
    world.answer([second])
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_batch_that_kills_its_workers_is_poison(world: World) -> None:
    world.limits = Limits(max_attempts=3)
    world.write("Hi")
    world.wait(9_000)
    for _ in range(3):
        (wake_up,) = world.flush()
        assert world.store.begin(wake_up)
        world.wait(30_000)
    assert world.flush() == []

    assert world.alerts() == [("poison", "worker_died")]
    assert world.counts() == {"accepted": 1, "dead": 1}


@pytest.mark.parametrize("begun", [True, False])
def test_worker_without_lease_changes_nothing(world: World, *, begun: bool) -> None:
    """It woke up after its lease: every step is refused, whether or not another has begun."""
    world.write("Hi")
    world.wait(9_000)
    (first,) = world.flush()
    zombie = world.store.begin(first)
    assert zombie
    world.wait(30_000)
    (second,) = world.flush()
    assert not begun or world.store.begin(second)

    assert not world.store.renew(zombie)
    assert not world.store.checkpoint(zombie, ["late"], Exchange("Hi", "late"))
    assert not world.store.finish(zombie, suppressed="takeover")
    assert not world.store.fail(zombie.wake_up, zombie.token, "retry", 0)
    assert world.store.dead_letter(zombie.wake_up, zombie.token, "poison", "late") is None
    assert world.counts() == {"accepted": 1, "flight": 1}


def test_sender_without_lease_sends_nothing(world: World) -> None:
    wake_up = world.to_sending()
    zombie = world.store.begin(wake_up)
    assert zombie
    world.wait(30_000)
    (second,) = world.flush()
    run = world.store.begin(second)
    assert run

    assert world.store.mark_sending(zombie, 0, "alert") == STALE
    assert world.store.mark_sending(run, 0, "alert") == GO
    assert world.store.mark_sending(run, 1, "alert") == STALE
    assert not world.store.finish(run)
    world.check()


def test_parts_are_sent_in_order_and_all_of_them_before_the_batch_is_answered(world: World) -> None:
    world.channel = FakeChannel(length_max=4)
    world.model = FakeModel("aaaabbbb")
    wake_up = world.to_sending()
    run = world.store.begin(wake_up)
    assert run
    assert world.store.mark_sending(run, 1, "alert") == STALE
    world.store.mark_sending(run, 0, "alert")
    world.store.mark_sent(Tag(wake_up.conversation_id, wake_up.batch_id, 0), "wamid.1")

    assert not world.store.finish(run)
    assert world.counts() == {"accepted": 1, "flight": 1}


def test_wake_up_of_an_attempt_that_is_over_does_nothing(world: World) -> None:
    world.write("Hi")
    world.wait(9_000)
    (first,) = world.flush()
    assert world.store.begin(first)
    world.wait(30_000)
    (second,) = world.flush()

    assert world.generate(first) == []
    assert world.generate(replace(second, attempt=3)) == []
    assert world.generate(replace(second, stage=Stage.SEND)) == []
    assert world.generate(replace(second, batch_id="999")) == []
    assert world.model.questions == []


def test_slow_run_keeps_its_lease(world: World) -> None:
    world.write("Hi")
    world.wait(9_000)
    (wake_up,) = world.flush()
    run = world.store.begin(wake_up)
    assert run
    for _ in range(5):
        world.wait(29_000)
        assert world.store.renew(run)
        assert world.flush() == []


@pytest.mark.parametrize("stage", Stage)
def test_call_that_outlasts_the_lease_is_kept_and_made_once(world: World, stage: Stage) -> None:
    """The flow gives the lease renewer what renews the lease of this run."""

    def take_long() -> None:
        renew, lease_ms = world.lease_renewer.calls[-1]
        for _ in range(3):
            world.wait(lease_ms - 1_000)
            assert renew()
            assert world.flush() == []

    slow = world.model if stage is Stage.GENERATE else world.channel
    slow.before = take_long
    world.write("Hi")
    world.settle()

    assert world.counts() == {"accepted": 1, "answered": 1}
    assert (len(world.model.questions), len(world.channel.attempts)) == (1, 1)


def test_worker_that_dies_while_sending_leaves_a_doubt_not_a_second_copy(world: World) -> None:
    wake_up = world.to_sending()
    _die_while_sending(world, wake_up)

    world.settle(30_000)
    assert world.channel.attempts == []
    world.settle(60_000)

    assert world.channel.attempts == []
    assert world.alerts() == [("ambiguous", "no_status")]
    assert world.counts() == {"accepted": 1, "dead": 1}


def _die_while_sending(world: World, wake_up: WakeUp) -> Tag:
    run = world.store.begin(wake_up)
    assert run
    assert world.store.mark_sending(run, run.part, world.ambiguous) == 1
    return Tag(wake_up.conversation_id, wake_up.batch_id, run.part)


def _status(tag: Tag, state: str = "sent") -> DeliveryStatus:
    return DeliveryStatus("salon", "wamid.1", state, str(tag), code="cloud_131026")


@pytest.mark.parametrize("wait_ms", [0, 30_000])
def test_status_with_our_tag_resolves_the_doubt(world: World, wait_ms: int) -> None:
    """Whether it comes before the lease runs out or after."""
    wake_up = world.to_sending()
    tag = _die_while_sending(world, wake_up)
    world.settle(wait_ms)

    world.receive(_status(tag))
    world.settle(30_000)

    assert world.channel.attempts == []
    assert world.alerts() == []
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_status_after_the_alert_takes_the_dead_letter_back(world: World) -> None:
    tag = _die_while_sending(world, world.to_sending())
    world.settle(30_000)
    world.settle(60_000)
    assert world.counts() == {"accepted": 1, "dead": 1}

    world.receive(_status(tag))

    assert world.counts() == {"accepted": 1, "answered": 1}
    assert dead_letters(world.store) == []


def test_status_of_a_first_copy_takes_back_the_letter_of_a_refused_second(world: World) -> None:
    """Whatever the batch died of: once the provider has its last part, it is answered."""
    world.ambiguous = "resend"
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"), PermanentError("cloud_131047"))
    world.write("Hi")
    world.settle()
    world.settle(60_000)
    world.settle(1)
    assert world.counts() == {"accepted": 1, "dead": 1}

    world.receive(_status(_tag_of(world.channel)))

    assert world.counts() == {"accepted": 1, "answered": 1}


def test_status_of_the_first_part_lets_the_second_leave(world: World) -> None:
    world.channel = FakeChannel(length_max=2)
    world.model = FakeModel("aabb")
    tag = _die_while_sending(world, world.to_sending())
    world.settle(30_000)

    world.receive(_status(tag))
    world.settle(1)

    assert world.channel.texts == ["bb"]
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_account_may_choose_to_send_once_more(world: World) -> None:
    """Once: the second doubt about the same part goes to a person."""
    world.ambiguous = "resend"
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"), AmbiguousError("cloud_timeout"))
    wake_up = world.to_sending()
    world.send(wake_up)
    for _ in range(4):
        world.settle(60_000)

    assert len(world.channel.attempts) == 2
    assert world.alerts() == [("ambiguous", "no_status")]


def test_lost_answer_of_the_provider_is_a_doubt(world: World) -> None:
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.write("Hi")
    world.settle()

    world.settle(59_999)
    assert world.counts() == {"accepted": 1, "flight": 1}
    world.settle(1)

    assert len(world.channel.attempts) == 1
    assert world.alerts() == [("ambiguous", "no_status")]


def test_doubt_that_is_reported_again_sends_no_second_copy(world: World) -> None:
    """The answer of Redis got lost, and the client repeated the call."""
    run = _sending(world)

    results = [_doubted(world, run) for _ in range(2)]
    world.settle(60_000)

    assert results == [DONE, DONE]
    assert world.channel.attempts == []
    assert world.alerts() == [("ambiguous", "no_status")]


def test_doubt_that_outlasts_the_lease_sends_no_second_copy(world: World) -> None:
    """The flush saw the lease run out before the worker's call came back without an answer."""
    world.channel = FakeChannel(
        AmbiguousError("cloud_timeout"), before=lambda: world.settle(30_000)
    )
    world.write("Hi")
    world.settle()
    world.settle(60_000)

    assert len(world.channel.attempts) == 1
    assert world.alerts() == [("ambiguous", "no_status")]


def _sending(world: World) -> Run:
    run = world.store.begin(world.to_sending())
    assert run
    assert world.store.mark_sending(run, run.part, world.ambiguous) == GO
    return run


def _doubted(world: World, run: Run) -> int:
    return world.store.fail(run.wake_up, run.token, "ambiguous", world.store.timing.ambiguous_ms)


def test_status_that_is_faster_than_the_answer_settles_it(world: World) -> None:
    """The provider's status came while its answer to the request got lost."""
    channel = FakeChannel(AmbiguousError("cloud_timeout"))
    channel.before = lambda: world.receive(_status(_tag_of(channel)))
    world.channel = channel
    world.write("Hi")
    world.settle()
    world.settle(60_000)

    assert len(channel.attempts) == 1
    assert world.counts() == {"accepted": 1, "answered": 1}


def _tag_of(channel: FakeChannel) -> Tag:
    tag = Tag.parse(channel.attempts[-1].tag)
    assert tag
    return tag


def test_failed_status_of_an_answered_batch_alerts_once(world: World) -> None:
    world.write("Hi")
    world.settle()
    failed = _status(_tag_of(world.channel), "failed")

    world.receive(failed)
    world.receive(failed)

    assert world.alerts() == [("undelivered", "cloud_131026")]


def test_failed_status_without_our_tag_is_known_by_the_providers_id(world: World) -> None:
    """Gateways carry no tag; of a message that is not ours a failure says nothing."""
    world.channel = FakeChannel("gateway-1")
    world.write("Hi")
    world.settle()

    world.receive(DeliveryStatus("salon", "gateway-1", "failed", code="venom_ack"))
    world.receive(DeliveryStatus("salon", "gateway-2", "failed", code="venom_ack"))

    assert world.alerts() == [("undelivered", "venom_ack")]


def test_failed_status_ends_the_doubt(world: World) -> None:
    world.ambiguous = "resend"
    tag = _die_while_sending(world, world.to_sending())
    world.settle(30_000)

    world.receive(_status(tag, "failed"))
    world.settle(1)

    assert world.channel.attempts == []
    assert world.alerts() == [("ambiguous", "no_status")]


def test_strangers_status_changes_nothing(world: World) -> None:
    world.receive(DeliveryStatus("salon", "wamid.9", "sent", "somebody else's"))
    world.receive(DeliveryStatus("salon", "wamid.9", "in_orbit", "aa:c_0:1:0"))

    assert world.counts() == {}


def test_batch_past_the_reply_deadline_is_a_dead_letter(world: World) -> None:
    world.write("Hi")
    world.settle(86_400_001)

    assert world.model.turns == []
    assert world.alerts() == [("deadline", "reply_deadline")]


def test_account_that_was_removed_keeps_its_batch_waiting(world: World) -> None:
    world.receive(replace(world.message("Hi"), account_id="gone"))
    world.settle()

    assert world.counts() == {"accepted": 1, "flight": 1}


def test_fault_of_ours_is_tried_again_then_given_to_a_person(world: World) -> None:
    world.limits = Limits(max_attempts=2)
    world.model = FakeModel(ZeroDivisionError(), ZeroDivisionError())
    world.write("Hi")
    world.settle()
    world.settle(60_000)

    assert world.alerts() == [("poison", "ZeroDivisionError")]


def test_account_that_cannot_be_built_is_named_as_the_cause(world: World) -> None:
    """Not as a worker that died: the batch is set back at once, with the fault's own code."""

    class Broken(FakeAccounts):
        def get(self, account_id: str) -> Account | None:
            raise LookupError(account_id)

    world.limits = Limits(max_attempts=1)
    world.write("Hi")
    world.wait(9_000)
    (wake_up,) = world.flush()

    flow.generate(world.store, Broken(), world.queue, wake_up, renew_lease=world.lease_renewer)

    assert world.alerts() == [("poison", "LookupError")]


def test_fault_of_ours_while_a_part_is_out_is_a_doubt(world: World) -> None:
    world.channel = FakeChannel(ZeroDivisionError())
    world.write("Hi")
    world.settle()
    world.settle(60_000)

    assert len(world.channel.attempts) == 1
    assert world.alerts() == [("ambiguous", "no_status")]


@pytest.mark.parametrize("kind", [Kind.REACTION, Kind.DELETED, Kind.CALL])
def test_message_that_asks_for_no_answer_is_accounted_and_silent(world: World, kind: Kind) -> None:
    reaction = world.message("", kind=kind, message_id="r")

    statuses = [world.receive(reaction)[0].status for _ in range(2)]

    assert statuses == [Status.SUPPRESSED, Status.DUPLICATE]
    assert world.counts() == {"accepted": 1, "suppressed": 1}
    world.settle()
    assert world.model.turns == []


def test_person_who_answers_pauses_the_model(world: World) -> None:
    world.write("Hi")
    world.receive(ForeignMessage("salon", ANNA, "phone-1", "person"))
    world.settle()

    assert world.model.turns == []
    assert world.counts() == {"accepted": 1, "suppressed": 1}


def test_person_who_answers_during_the_generation_is_not_talked_over(world: World) -> None:
    wake_up = world.to_sending()

    world.receive(ForeignMessage("salon", ANNA, "phone-1", "person"))
    world.send(wake_up)

    assert world.channel.attempts == []
    assert world.counts() == {"accepted": 1, "suppressed": 1}


def test_takeover_ends_by_itself(world: World) -> None:
    world.receive(ForeignMessage("salon", ANNA, "phone-1", "person"))
    conversation = world.store.conversation_id("salon", ANNA)
    key = world.store.shard_of(conversation).takeover(conversation)

    ttl_ms = world.store.client.pttl(key)

    assert isinstance(ttl_ms, int)
    assert 0 < ttl_ms <= world.store.timing.takeover_ms


def test_echo_of_our_own_reply_is_no_takeover(world: World) -> None:
    world.channel = FakeChannel("wamid.ours")
    world.write("Hi")
    world.settle()

    world.receive(ForeignMessage("salon", ANNA, "wamid.ours", "person"))
    world.write("and?")
    world.settle()

    assert world.channel.texts == ["Answer to: Hi", "Answer to: and?"]


def test_limits_are_those_of_who_opened_the_batch(world: World) -> None:
    """A process on other settings is counted, and changes nothing of a batch in progress."""
    world.write("Hi")
    world.limits = Limits(idle_ms=60_000, max_messages=2)
    (receipt,) = world.write("more")

    assert receipt.due_ms == world.clock() + 9_000
    stats = world.store.client.hget(world.store.keyring.shards[0].stats, "limits_mismatch")
    assert stats == b"1"


def test_status_that_comes_while_a_doubt_is_given_up_wins(world: World) -> None:
    """Reaped as unresolved, then its status came, then the flusher went on to dead_letter it."""
    tag = _die_while_sending(world, world.to_sending())
    world.settle(30_000)
    world.wait(60_000)
    (unresolved,), _ = world.store.reap(world.store.keyring.shards[0], limit=9)

    world.receive(_status(tag))

    assert (
        world.store.dead_letter(unresolved.wake_up, unresolved.token, "ambiguous", "no_status")
        is None
    )
    world.settle(10_000)
    assert world.counts() == {"accepted": 1, "answered": 1}


@pytest.mark.parametrize("later", ["attempts spent", "deadline", "takeover", "account gone"])
def test_batch_whose_parts_all_left_is_answered_whatever_holds_later(
    world: World, later: str
) -> None:
    """The worker died between the last part and the end of the batch."""
    world.limits = Limits(max_attempts=1)
    tag = _die_while_sending(world, world.to_sending())
    world.store.mark_sent(tag, "wamid.1")
    world.wait(86_400_001 if later == "deadline" else 30_000)
    if later == "takeover":
        world.receive(ForeignMessage("salon", ANNA, "phone-1", "person"))
    (wake_up,) = world.flush()

    accounts = FakeAccounts() if later == "account gone" else world.accounts
    flow.send(world.store, accounts, wake_up, renew_lease=world.lease_renewer)

    assert world.counts() == {"accepted": 1, "answered": 1}
    assert world.alerts() == []


def test_slow_worker_cannot_send_while_its_batch_is_given_up(world: World) -> None:
    world.limits = Limits(max_attempts=1)
    wake_up = world.to_sending()
    slow = world.store.begin(wake_up)
    assert slow
    world.wait(30_000)
    (spent,), _ = world.store.reap(world.store.keyring.shards[0], limit=9)

    assert world.store.mark_sending(slow, 0, "alert") == STALE
    assert world.store.dead_letter(spent.wake_up, spent.token, "poison", "worker_died")


def test_mark_sending_whose_answer_got_lost_may_be_repeated(world: World) -> None:
    wake_up = world.to_sending()
    run = world.store.begin(wake_up)
    assert run

    assert [world.store.mark_sending(run, 0, "alert") for _ in range(2)] == [GO, GO]


def test_full_redis_takes_nothing_new_and_answers_what_it_has(world: World) -> None:
    world.write("Hi")
    world.write("late", customer=BORIS)
    client: Any = world.store.client
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(LedgerUnavailableError):
            world.write("more")
        world.settle()
    finally:
        client.config_set("maxmemory", "0")

    assert world.counts() == {"accepted": 2, "answered": 2}


@pytest.mark.parametrize(("key", "detail"), [("due", "batch_missing"), ("lease", "flight_missing")])
def test_batch_whose_record_vanished_is_alerted(world: World, key: str, detail: str) -> None:
    shard = world.store.keyring.shards[0]
    client: Any = world.store.client
    client.zadd(getattr(shard, key), {"c_gone": world.clock()})

    world.flush()
    world.flush()

    assert world.alerts() == [("vanished", detail)]


def test_late_failure_is_alerted_once_even_after_a_late_success(world: World) -> None:
    world.channel = FakeChannel("wamid.1")
    world.write("Hi")
    world.settle()
    tag = _tag_of(world.channel)

    for state in ("failed", "sent", "failed"):
        world.receive(_status(tag, state))

    assert world.alerts() == [("undelivered", "cloud_131026")]


def test_echo_during_a_doubt_is_taken_for_our_own(world: World) -> None:
    _die_while_sending(world, world.to_sending())
    world.settle(30_000)

    world.receive(ForeignMessage("salon", ANNA, "wamid.unknown", "app"))

    assert world.alerts() == []


@pytest.mark.parametrize("part", ["\u00b2", "", "99999", "-1", "1.0"])
def test_tag_with_an_odd_part_is_not_ours(part: str) -> None:
    assert Tag.parse(f"aa:c_0:b1:{part}") is None


def test_person_is_alerted_once_to_a_batch_that_waits_too_long(world: World) -> None:
    """Before anything is dropped; the customer is still answered."""
    world.model = FakeModel(*[TransientError("model_503")] * 4)
    world.write("Hi")
    for _ in range(4):
        world.settle(29_000)
    assert (world.overdue(), world.alerts()) == (0, [])

    for _ in range(4):
        world.settle(300_000)

    assert world.channel.texts == ["Answer to: Hi"]
    assert (world.overdue(), world.alerts()) == (1, [])


def test_batch_without_a_worker_is_overdue_too(world: World) -> None:
    world.write("Hi")
    world.wait(119_999)
    world.flush()
    assert world.overdue() == 0

    world.wait(1)
    world.flush()

    assert world.overdue() == 1


def test_batch_that_was_answered_in_time_is_never_overdue(world: World) -> None:
    world.write("Hi")
    world.settle()
    world.wait(1_000_000)

    world.flush()

    assert world.overdue() == 0


def test_worker_that_was_replaced_sends_no_further_part(world: World) -> None:
    """It stood still in the first part's call; another sent the rest meanwhile."""

    def stand_still() -> None:
        world.channel.before = None
        world.wait(30_000)
        world.flush()
        tag = world.channel.attempts[0].tag
        world.receive(DeliveryStatus("salon", "out-1", "sent", tag))
        world.answer(world.flush())

    world.channel = FakeChannel(length_max=4, before=stand_still)
    world.model = FakeModel("aaaabbbb")

    world.write("Hi")
    world.settle()

    assert [outbound.text for outbound in world.channel.attempts] == ["aaaa", "bbbb"]
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_trail_of_a_batch_that_waits_for_a_day_stays_short(world: World) -> None:
    world.channel = FakeChannel(*[ChannelStoppedError("cloud_190")] * 200)
    world.write("Hi")
    for _ in range(200):
        world.settle(60_000)

    conversation = world.store.conversation_id("salon", ANNA)
    trail = world.store.shard_of(conversation).trail(conversation)
    assert world.store.client.llen(trail) <= 102
