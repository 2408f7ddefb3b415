"""A customer who writes again before the answer leaves has it made anew, with everything."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from batching.errors import (
    AmbiguousError,
    ChannelStoppedError,
    ModelStoppedError,
    PermanentError,
    SupersededError,
    TransientError,
)
from batching.inspect import awaited, counters, dead_letters, total
from batching.model import (
    Answer,
    Budget,
    ForeignMessage,
    Handover,
    Kind,
    Limits,
    Reception,
    Stage,
    WakeUp,
)
from batching.rights import erase
from batching.store import DONE, GO, STALE, SUPERSEDED
from tests.batching.world import ANNA, PERSON, World
from tests.fakes import FakeModel

SUPERSEDE = Limits(supersede_max=3)
ALL = "Hi\nand for two"
#: The id that WhatsApp made for Anna.
CO = "RU.1000000000000001"


@pytest.fixture
def anew(world: World) -> World:
    """Return a world whose accounts supersede."""
    world.limits = SUPERSEDE
    return world


def named(world: World) -> dict[str, int]:
    return dict(total(counters(world.store)))


def discarded(world: World) -> int:
    return named(world).get("drafts_discarded:salon", 0)


def more(world: World) -> None:
    world.write("and for two")


#: When the second message arrives → how many questions there are and how many drafts are discarded.
STAGES = {
    "collected": (1, 0),
    "running": (2, 1),
    "checkpointed": (2, 1),
    "about to leave": (2, 1),
}


@pytest.mark.parametrize("when", STAGES)
def test_answer_is_made_anew_with_everything(anew: World, when: str) -> None:
    wake_up = anew.to_generating("Hi")
    if when == "collected":
        more(anew)
        anew.answer([wake_up])
    elif when == "running":
        anew.model.before = _once(lambda: more(anew))
        anew.answer([wake_up])
    elif when == "checkpointed":
        (send,) = anew.generate(wake_up)
        more(anew)
        anew.send(send)
    else:
        (send,) = anew.generate(wake_up)
        run = anew.begin(send)
        more(anew)
        assert anew.store.mark_sending(run, 0, "alert") == SUPERSEDED
        assert anew.store.supersede(run, draft=True) == 1
    anew.check()
    assert anew.channel.attempts == []

    anew.settle(8_999)
    assert anew.channel.attempts == []
    anew.settle(1)

    asked, drafts = STAGES[when]
    assert anew.channel.texts == [f"Answer to: {ALL}"]
    assert (len(anew.model.questions), discarded(anew)) == (asked, drafts)
    assert [it.customer for it in anew.store.history(anew.anna)] == [ALL]
    assert anew.model.questions[-1].history == ()
    assert anew.counts() == {"accepted": 2, "answered": 2}
    assert anew.alerts() == []


def _once(act: Callable[[], object]) -> Callable[[], object]:
    left = [act]
    return lambda: left.pop()() if left else None


def test_first_burst_is_not_deleted_when_it_is_interrupted(anew: World) -> None:
    """As another bot's is, which keeps what interrupts it alone."""
    anew.write("I am Anna", "my hair is long")
    anew.wait(9_000)
    (wake_up,) = anew.flush()
    anew.model.before = _once(lambda: anew.write("and red"))

    anew.answer([wake_up])
    anew.settle()

    assert anew.model.turns == ["I am Anna\nmy hair is long", "I am Anna\nmy hair is long\nand red"]
    assert anew.counts() == {"accepted": 3, "answered": 3}


@pytest.mark.parametrize("when", STAGES)
def test_account_that_queues_answers_twice(world: World, when: str) -> None:
    wake_up = world.to_generating("Hi")
    if when == "running":
        world.model.before = _once(lambda: more(world))
    else:
        more(world)
    world.answer([wake_up])
    world.settle()

    assert world.channel.texts == ["Answer to: Hi", "Answer to: and for two"]
    assert discarded(world) == 0
    assert world.client.hget(world.shard.limits, Limits().encode()[0])


@pytest.mark.parametrize("when", ["sending", "sent", "between parts", "tried", "in doubt"])
def test_nothing_is_superseded_once_a_part_was_about_to_leave(anew: World, when: str) -> None:
    anew.channel.length_max = 11
    send = anew.to_sending("Hi")
    if when == "sending":
        anew.channel.before = _once(lambda: more(anew))
        anew.send(send)
    elif when == "sent":
        anew.send(send)
        more(anew)
    elif when == "between parts":
        run = anew.begin_sending(send)
        anew.store.mark_sent("salon", anew.tag(run), "out-0")
        more(anew)
        assert anew.store.mark_sending(run, 1, "alert") == GO
        assert anew.store.renew(run) == DONE
        assert anew.store.supersede(run, draft=True) == 0
        anew.store.mark_sent("salon", anew.tag(replace(run, part=1)), "out-1")
        assert anew.store.finish(run)
    else:
        error = AmbiguousError("cloud_timeout") if when == "in doubt" else TransientError("c_1")
        anew.channel.outcomes = [error]
        anew.ambiguous = "resend"
        anew.send(send)
        more(anew)
        anew.settle(60_000)
        anew.settle(60_000)
    anew.settle()

    assert "".join(anew.channel.texts).endswith("Answer to: and for two")
    assert discarded(anew) == 0
    assert anew.counts() == {"accepted": 2, "answered": 2}


def test_batch_is_put_back_so_often_and_then_the_answer_leaves(anew: World) -> None:
    anew.limits = replace(SUPERSEDE, max_wait_ms=600_000, max_messages=50)
    anew.model.before = lambda: anew.write("more")
    anew.write("Hi")

    anew.settle(9_000, 9_000, 9_000, 9_000)

    assert anew.channel.texts == ["Answer to: Hi\nmore\nmore\nmore"]
    assert discarded(anew) == 3
    anew.model.before = None
    anew.settle()
    assert anew.channel.texts[1:] == ["Answer to: more"]


def test_batch_is_put_back_only_within_its_longest_wait(anew: World) -> None:
    """By the age of its first message, which a batch that is put back keeps."""
    anew.limits = replace(SUPERSEDE, max_wait_ms=20_000)
    wake_up = anew.to_generating("Hi")
    anew.wait(10_999)
    more(anew)
    anew.answer([wake_up])
    anew.wait(1)
    (again,) = anew.flush()

    anew.model.before = _once(lambda: anew.write("late"))
    anew.answer([again])
    assert anew.channel.texts == [f"Answer to: {ALL}"]
    anew.settle()
    assert anew.channel.texts[1:] == ["Answer to: late"]


def test_batch_that_is_full_is_put_back_and_goes_at_once(anew: World) -> None:
    anew.limits = replace(SUPERSEDE, max_messages=2)
    anew.write("a", "b")
    (wake_up,) = anew.flush()
    anew.write("c")

    anew.answer([wake_up])
    anew.answer(anew.flush())

    assert anew.channel.texts == ["Answer to: a\nb\nc"]


def test_batch_keeps_its_name_its_limits_and_its_age(anew: World) -> None:
    wake_up = anew.to_generating("Hi")
    first = anew.begin(wake_up)
    anew.limits = Limits(idle_ms=1_000)
    more(anew)

    assert anew.store.renew(first) == SUPERSEDED
    assert anew.store.supersede(first, draft=True) == 1
    again = anew.begin(anew.after(9_000))

    assert (again.wake_up, again.first_ms, again.limits) == (wake_up, first.first_ms, SUPERSEDE)
    assert [it.text for it in again.messages] == ["Hi", "and for two"]
    assert anew.client.zcard(anew.shard.overdue) == 1
    anew.wait(120_000)
    anew.flush()
    assert anew.overdue() == 1


def test_batch_that_is_put_back_is_due_by_how_its_newest_message_looks(anew: World) -> None:
    anew.reception = Reception(window="adaptive", language="en")
    anew.write("a haircut")
    wake_up = anew.after(9_000)
    anew.write("when?")
    anew.answer([wake_up])

    anew.settle(4_499)
    assert anew.channel.texts == []
    anew.settle(1)

    assert anew.channel.texts == ["Answer to: a haircut\nwhen?"]


def test_older_message_of_what_is_put_back_opens_no_window_of_its_own(anew: World) -> None:
    """The newest message counts for how long the provider takes an answer."""
    now_ms = anew.clock()
    anew.receive(anew.message("Hi", sent_at_ms=now_ms - 1_000))
    first = anew.begin(anew.after(9_000))
    anew.receive(anew.message("old", sent_at_ms=now_ms - 3_600_000))

    anew.store.supersede(first, draft=False)

    assert anew.begin(anew.after(9_000)).heard_ms == now_ms - 1_000


# A running call.


def test_running_call_is_told_by_the_renewal_of_its_lease(anew: World) -> None:
    """Whose lease goes on, so that nobody else asks meanwhile."""
    run = anew.begin(anew.to_generating("Hi"))
    assert anew.store.renew(run) == DONE
    more(anew)
    anew.wait(5_999)

    assert anew.store.renew(run) == SUPERSEDED

    anew.wait(5_999)
    assert anew.flush() == []


def test_run_that_sends_is_not_told_by_a_renewal(anew: World) -> None:
    run = anew.begin(anew.to_sending("Hi"))
    more(anew)

    assert anew.store.renew(run) == DONE


def test_call_that_is_cut_off_is_a_draft_and_no_failure(anew: World) -> None:
    anew.budget = Budget(60, 60, 60, 60)
    anew.model.before = _once(lambda: more(anew))
    anew.model.outcomes = [SupersededError()]
    anew.write("Hi")

    anew.settle()
    anew.settle()

    assert anew.channel.texts == [f"Answer to: {ALL}"]
    assert discarded(anew) == 1
    # What was asked for in vain was asked for.
    assert named(anew)["asked"] == 2
    assert anew.store.asked() == 2
    counted = anew.store.figures._sums
    assert [name for name in counted if name.startswith("failures")] == []
    assert counted["generation salon model cut 250"] == 1


def test_probe_that_is_cut_off_goes_on_with_the_same_batch(anew: World) -> None:
    anew.limits = replace(SUPERSEDE, max_wait_ms=600_000)
    anew.model.outcomes = [ModelStoppedError("model_auth")]
    anew.write("Hi")
    anew.settle()
    anew.model.before = _once(lambda: more(anew))
    anew.model.outcomes = [SupersededError()]

    anew.settle(75_000)
    anew.settle()

    assert anew.channel.texts == [f"Answer to: {ALL}"]
    assert anew.alerts() == [("model_stopped", "model_auth")]


def test_call_that_was_cut_off_though_nothing_waits_any_more_is_made_again(anew: World) -> None:
    anew.model.outcomes = [SupersededError()]
    anew.write("Hi")

    anew.settle(9_000, 0)

    assert anew.channel.texts == ["Answer to: Hi"]
    assert (discarded(anew), anew.alerts()) == (0, [])


def test_whoever_was_told_may_put_the_batch_back_though_its_time_is_over(anew: World) -> None:
    """Its answer is lost by then."""
    run = anew.begin(anew.to_generating("Hi"))
    more(anew)
    assert anew.store.renew(run) == SUPERSEDED
    anew.wait(60_000)

    assert anew.store.supersede(run, draft=True) == 1


# What is not superseded.


def test_person_who_was_alerted_is_not_by_an_answer_that_is_made_anew(anew: World) -> None:
    anew.model.outcomes = [Answer("A colleague will come.", Handover("asked"))]
    send = anew.to_sending("Hi")
    more(anew)

    anew.send(send)

    assert anew.channel.texts == ["A colleague will come."]
    assert anew.alerts() == [("handover", "handover_asked")]


def test_hand_over_of_a_draft_alerts_nobody(anew: World) -> None:
    anew.model.outcomes = [Answer("A colleague will come.", Handover("asked"))]
    anew.model.before = _once(lambda: more(anew))
    anew.write("Hi")

    anew.settle()
    assert (anew.alerts(), awaited(anew.store)) == ([], [])
    anew.settle()

    assert anew.channel.texts == [f"Answer to: {ALL}"]


def test_apology_is_not_superseded(anew: World) -> None:
    anew.apology = "We are sorry."
    anew.model.outcomes = [PermanentError("model_400")]
    (send,) = anew.generate(anew.to_generating("Hi"))
    more(anew)

    anew.send(send)

    assert anew.channel.texts == ["We are sorry."]
    assert anew.alerts() == [("fatal_model", "model_400; apology sent")]


def test_apology_is_prepared_though_the_customer_writes_meanwhile(anew: World) -> None:
    anew.apology = "We are sorry."
    anew.model.outcomes = [PermanentError("model_400")]
    anew.model.before = _once(lambda: more(anew))
    anew.write("Hi")

    anew.settle()

    assert anew.channel.texts == ["We are sorry."]
    assert discarded(anew) == 0


def test_what_a_customer_who_waits_is_told_is_not_superseded(anew: World) -> None:
    anew.waiting = replace(anew.waiting, silent=False, apology="You are not forgotten.")
    anew.model.outcomes = [Answer("A colleague will come.", Handover("asked"))]
    anew.write("Hi")
    anew.settle()
    anew.wait(31 * 60_000)
    (notice,) = anew.flush()
    more(anew)

    anew.send(notice)

    assert anew.channel.texts[1:] == ["You are not forgotten."]


@pytest.mark.parametrize("kind", [Kind.REACTION])
def test_what_asks_for_no_answer_supersedes_none(anew: World, kind: Kind) -> None:
    wake_up = anew.to_generating("Hi")
    anew.receive(anew.message("👍", kind=kind))

    anew.answer([wake_up])

    assert anew.channel.texts == ["Answer to: Hi"]


def test_message_that_is_delivered_again_supersedes_none(anew: World) -> None:
    anew.receive(anew.message("Hi", message_id="m1"))
    wake_up = anew.after(9_000)
    anew.receive(anew.message("Hi", message_id="m1"))

    anew.answer([wake_up])

    assert anew.channel.texts == ["Answer to: Hi"]


def test_person_who_takes_over_ends_it(anew: World) -> None:
    send = anew.to_sending("Hi")
    more(anew)
    anew.receive(PERSON)

    anew.send(send)
    anew.settle()

    assert anew.channel.texts == []
    assert anew.counts() == {"accepted": 2, "suppressed": 2}
    assert discarded(anew) == 0


def test_person_who_takes_over_after_it_was_put_back_ends_it(anew: World) -> None:
    wake_up = anew.to_generating("Hi")
    more(anew)
    anew.answer([wake_up])
    anew.receive(PERSON)

    anew.settle()

    assert (anew.channel.texts, anew.model.questions) == ([], [])
    assert anew.counts() == {"accepted": 2, "suppressed": 2}


def test_foreign_reply_of_another_program_supersedes_none(anew: World) -> None:
    wake_up = anew.to_generating("Hi")
    anew.receive(ForeignMessage("salon", ANNA, "app-1", "app"))

    anew.answer([wake_up])

    assert anew.channel.texts == ["Answer to: Hi"]


# Edits and deletions, other ids, erasure.


def test_new_message_that_is_deleted_is_not_answered(anew: World) -> None:
    wake_up = anew.to_generating("Hi")
    anew.receive(
        anew.message("my secret", message_id="D1"),
        anew.message("[Deleted]", kind=Kind.DELETED, amends="D1"),
    )

    anew.answer([wake_up])
    anew.settle()

    assert len(anew.channel.texts) == 1
    assert "secret" not in str([anew.model.questions, anew.channel.attempts])
    assert "Hi" in anew.channel.texts[0]


def test_message_that_is_deleted_while_it_is_asked_about_has_its_answer_made_anew(
    anew: World,
) -> None:
    anew.receive(anew.message("my secret", message_id="D1"), anew.message("Open?"))
    deletion = anew.message("[Deleted]", kind=Kind.DELETED, amends="D1")
    anew.model.before = _once(lambda: anew.receive(deletion))

    anew.settle()
    anew.settle()

    assert len(anew.channel.texts) == 1
    assert "secret" not in anew.channel.texts[0]


def test_customer_who_takes_all_back_before_the_answer_leaves_gets_none(anew: World) -> None:
    anew.receive(anew.message("my secret", message_id="D1"))
    send = anew.generate(anew.after(9_000))[0]
    anew.receive(anew.message("[Deleted]", kind=Kind.DELETED, amends="D1"))

    anew.send(send)
    anew.settle()

    assert anew.channel.attempts == []
    assert anew.counts() == {"accepted": 2, "suppressed": 2}


def test_message_under_another_id_of_the_customer_supersedes(anew: World) -> None:
    anew.receive(anew.message("Hello", aliases=(CO,)))
    anew.settle()
    wake_up = anew.to_generating("Hi")
    anew.receive(anew.message("and for two", customer=CO, secondary=True))

    anew.answer([wake_up])
    anew.settle()

    assert anew.channel.texts[1:] == [f"Answer to: {ALL}"]
    assert anew.channel.sent[-1].customer == CO


def test_what_is_in_flight_where_the_customer_moved_from_is_answered_beside(anew: World) -> None:
    """Two conversations are no step of one script: each is answered, and nothing is lost."""
    anew.write("Hi")
    anew.receive(anew.message("Hello", customer=CO, secondary=True))
    anew.wait(9_000)
    wake_ups = anew.flush()
    anew.receive(anew.message("and for two", aliases=(CO,)))

    anew.answer(wake_ups)
    anew.settle()

    assert anew.channel.texts == ["Answer to: Hello", f"Answer to: {ALL}"]
    assert anew.counts() == {"accepted": 3, "answered": 3}


@pytest.mark.parametrize("when", ["before", "after"])
def test_customer_who_is_forgotten_gets_nothing(anew: World, when: str) -> None:
    send = anew.to_sending("Hi")
    more(anew)
    if when == "after":
        anew.send(send)
    erase(anew.store, anew.anna)

    anew.answer([send])
    anew.settle()

    assert anew.channel.attempts == []
    assert anew.counts() == {"accepted": 2, "suppressed": 2}
    assert not anew.client.exists(anew.shard.batches(anew.anna))


# Attempts, leases, repeats.


def test_batch_that_kills_workers_dies_though_its_customer_goes_on_writing(anew: World) -> None:
    anew.limits = replace(
        SUPERSEDE, max_attempts=3, max_wait_ms=600_000, overdue_ms=600_000, supersede_max=9
    )
    begun = 0
    first, *_ = anew.write("poison")
    for _ in range(9):
        anew.wait(9_000)
        for wake_up in anew.flush():
            run = anew.store.begin(wake_up)
            if run is None:
                continue
            if run.superseded:
                assert anew.store.supersede(run, draft=False)
            else:
                begun += wake_up.batch_id == first.batch_id
                anew.write("more")

    assert begun == 3
    assert anew.alerts() == [("poison", "worker_died")]
    assert anew.counts()["dead"] == 3


def test_tries_of_a_batch_that_is_put_back_are_not_forgotten(anew: World) -> None:
    """By which it is asked of another model, and waits the longer."""
    anew.fallbacks = (FakeModel("from the second"),)
    anew.limits = replace(SUPERSEDE, max_wait_ms=600_000)
    anew.model.outcomes = [TransientError("model_503"), TransientError("model_503")]
    anew.write("Hi")
    anew.settle(9_000, 3_000)
    more(anew)

    anew.settle(6_000, 9_000)

    assert anew.channel.texts == ["from the second"]


def test_draft_of_a_worker_that_dies_is_not_sent_by_the_next(anew: World) -> None:
    send = anew.to_sending("Hi")
    anew.begin(send)
    more(anew)

    anew.settle(6_000, 9_000)

    assert anew.channel.texts == [f"Answer to: {ALL}"]


def test_late_answer_of_a_lost_lease_is_not_kept_over_a_new_message(anew: World) -> None:
    run = anew.begin(anew.to_generating("Hi"))
    anew.wait(6_000)
    (again,) = anew.flush()
    more(anew)
    exchange = anew.store.exchange(run, "stale", ["stale"])

    assert anew.store.checkpoint(run, ["stale"], exchange) == SUPERSEDED
    assert anew.store.supersede(run, draft=True) == 1
    assert anew.store.begin(again) is None
    anew.settle()

    assert anew.channel.texts == [f"Answer to: {ALL}"]


def test_worker_that_was_replaced_puts_nothing_back(anew: World) -> None:
    old = anew.begin(anew.to_generating("Hi"))
    anew.wait(6_000)
    (again,) = anew.flush()
    new = anew.begin(again)
    more(anew)

    assert anew.store.supersede(old, draft=True) == 0
    assert anew.store.renew(old) == STALE
    assert anew.store.supersede(new, draft=True) == 1


@pytest.mark.parametrize("step", ["renew", "checkpoint", "mark_sending", "supersede"])
def test_every_step_may_be_repeated(anew: World, step: str) -> None:
    wake_up = anew.to_generating("Hi")
    if step == "mark_sending":
        (wake_up,) = anew.generate(wake_up)
    run = anew.begin(wake_up)
    more(anew)
    exchange = anew.store.exchange(run, "x", ["x"])
    steps: dict[str, Callable[[], int]] = {
        "renew": lambda: anew.store.renew(run),
        "checkpoint": lambda: anew.store.checkpoint(run, ["x"], exchange),
        "mark_sending": lambda: anew.store.mark_sending(run, 0, "alert"),
        "supersede": lambda: anew.store.supersede(run, draft=True),
    }

    first, second = steps[step](), steps[step]()

    assert (first, second) == ((1, 0) if step == "supersede" else (SUPERSEDED, SUPERSEDED))
    anew.check()
    assert discarded(anew) == (step == "supersede")


def test_part_that_was_marked_goes_though_the_customer_wrote_meanwhile(anew: World) -> None:
    """Its first call was carried out, and the answer got lost."""
    run = anew.begin(anew.to_sending("Hi"))
    assert anew.store.mark_sending(run, 0, "alert") == GO
    more(anew)

    assert anew.store.mark_sending(run, 0, "alert") == GO


def test_wake_ups_from_before_are_harmless(anew: World) -> None:
    """A batch that is put back is due under the same name: what is repeated begins it once."""
    wake_up = anew.to_generating("Hi")
    more(anew)
    anew.answer([wake_up])
    assert anew.store.begin(wake_up) is None
    again = anew.after(9_000)
    old = WakeUp(wake_up.conversation_id, wake_up.batch_id, 1, Stage.SEND)

    anew.answer([old, again, wake_up, again])

    assert anew.channel.texts == [f"Answer to: {ALL}"]


def test_batch_that_waits_for_its_channel_is_answered_with_what_came_meanwhile(anew: World) -> None:
    anew.limits = replace(SUPERSEDE, max_wait_ms=600_000, overdue_ms=600_000)
    anew.channel.outcomes = [ChannelStoppedError("cloud_190")]
    anew.write("other", customer="79990000002")
    anew.settle()
    send = anew.to_sending("Hi")
    anew.send(send)
    more(anew)

    anew.settle(75_000, 9_000, 75_000)

    assert f"Answer to: {ALL}" in anew.channel.texts
    assert discarded(anew) == 1


def test_content_that_vanished_is_a_persons_and_is_not_put_back(anew: World) -> None:
    wake_up = anew.to_generating("Hi", "there")
    anew.client.lpop(anew.shard.flight_messages(anew.anna))
    more(anew)

    anew.answer([wake_up])

    assert [letter.reason for letter in dead_letters(anew.store)] == ["vanished"]
    assert anew.counts() == {"accepted": 3, "dead": 1, "lost": 1, "open": 1}


def test_trail_and_log_name_what_was_put_back(
    anew: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    wake_up = anew.to_sending("my secret")
    more(anew)
    anew.send(wake_up)

    steps = [it.decode() for it in anew.client.lrange(anew.shard.trail(anew.anna), 0, -1)]
    (record,) = [it for it in caplog.records if it.msg == "batch.superseded"]

    _, verb, batch, _, times, draft = steps[-1].split()
    assert (verb, batch, times, draft) == ("supersede", wake_up.batch_id, "1", "draft")
    assert (record.batch, record.times, record.draft) == (wake_up.batch_id, 1, True)  # type: ignore[attr-defined]
    assert "secret" not in str(steps)
