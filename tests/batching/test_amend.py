"""What customers take back or correct: gone, or replaced, wherever the message is by then."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batching import flow
from batching.amend import DELETED, HIDDEN, amended
from batching.errors import AmbiguousError, ModelStoppedError, PermanentError, TransientError
from batching.inspect import dead_letters, watched_count
from batching.model import (
    DeliveryStatus,
    Exchange,
    InboundMessage,
    Kind,
    Limits,
    Status,
    Timing,
    WakeUp,
)
from batching.rights import erase
from tests.batching.world import BORIS, PERSON, World
from tests.fakes import FakeChannel, FakeModel

SECRET = "Book me for 17:00, my secret is X"
TOLD_DELETED = "[The customer deleted a message]"
TOLD_EDITED = "[The customer corrected an earlier message] "


def said(world: World, text: str = SECRET, message_id: str = "D1", **fields: Any) -> InboundMessage:
    return world.message(text, message_id=message_id, **fields)


def deletion(world: World, target: str = "D1", **fields: Any) -> InboundMessage:
    return world.message(TOLD_DELETED, kind=Kind.DELETED, amends=target, **fields)


def edit(world: World, text: str, target: str = "D1", **fields: Any) -> InboundMessage:
    return world.message(TOLD_EDITED + text, kind=Kind.EDITED, amends=target, **fields)


def everything(world: World) -> str:
    """Return all that the ledger keeps, as text."""
    client, found = world.client, []
    for key in client.keys("{*"):
        kind = client.type(key).decode()
        read = {"list": lambda k: client.lrange(k, 0, -1), "hash": client.hgetall}
        found.append(read[kind](key) if kind in read else "")
    return repr(found)


@pytest.mark.parametrize("order", ["deletion last", "deletion second", "deletion first"])
def test_deleted_message_reaches_no_model(world: World, order: str) -> None:
    """Delivered in whatever order: what comes after its deletion is a duplicate."""
    first, gone, last = said(world), deletion(world), said(world, "Open on Sunday?", "D2")
    orders = {
        "deletion last": [first, last, gone],
        "deletion second": [first, gone, last],
        "deletion first": [gone, first, last],
    }

    world.receive(*orders[order])
    world.settle()

    assert world.model.turns == ["Open on Sunday?"]
    assert "secret" not in everything(world)
    taken = 2 if order == "deletion first" else 3
    assert world.counts() == {"accepted": taken, "answered": 1, "suppressed": taken - 1}


@pytest.mark.parametrize("count", [1, 3])
def test_batch_of_deleted_messages_alone_ends_suppressed(world: World, count: int) -> None:
    world.receive(*(said(world, message_id=f"D{n}") for n in range(count)))
    world.receive(*(deletion(world, f"D{n}") for n in range(count)))
    world.settle()

    assert (world.model.turns, world.channel.texts) == ([], [])
    assert world.counts() == {"accepted": 2 * count, "suppressed": 2 * count}
    assert "secret" not in everything(world)
    assert world.client.hget(world.shard.stats, "suppressed:deleted") == str(2 * count).encode()


@pytest.mark.parametrize(
    ("texts", "turn"),
    [
        (["For 18:00"], "For 18:00\nOpen on Sunday?"),
        (["For 18:00", "For 19:00"], "For 19:00\nOpen on Sunday?"),
    ],
)
def test_edit_replaces_the_line_and_adds_none(world: World, texts: list[str], turn: str) -> None:
    world.receive(said(world), said(world, "Open on Sunday?", "D2"))
    world.receive(*(edit(world, text) for text in texts))
    world.settle()

    assert world.model.turns == [turn]
    edited = len(texts)
    assert world.counts() == {"accepted": 2 + edited, "answered": 2, "suppressed": edited}
    assert "secret" not in everything(world)


def test_edit_of_a_caption_keeps_what_it_is_the_caption_of(world: World) -> None:
    picture = "[The customer sent a picture that cannot be shown here]"
    world.receive(
        said(world, f"{picture} too long", kind=Kind.IMAGE), edit(world, "a little shorter")
    )
    world.settle()

    assert world.model.turns == [f"{picture} a little shorter"]


def test_edit_before_its_message_stands_for_it(world: World) -> None:
    world.receive(edit(world, "For 18:00"))
    world.receive(said(world))
    world.settle()
    world.receive(said(world))

    assert world.model.turns == [TOLD_EDITED + "For 18:00"]
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_edit_that_stood_for_its_message_is_deleted_with_it(world: World) -> None:
    """It is asked about and answered by itself; the history knows which message it was."""
    world.receive(edit(world, "my secret is X"))
    world.settle()
    world.receive(deletion(world), said(world, "Open?", "D2"))
    world.settle()

    assert world.model.turns[1:] == [f"{TOLD_DELETED}\nOpen?"]
    assert "secret" not in everything(world)


@pytest.mark.parametrize("later", [False, True])
def test_message_that_was_deleted_is_not_brought_back_by_its_edit(
    world: World, *, later: bool
) -> None:
    """Reordered: the edit was made first. In one batch with the deletion, or in a later one."""
    world.receive(said(world), deletion(world))
    if later:
        world.settle()
    world.receive(edit(world, "my secret is Y"), said(world, "Open?", "D2"))
    world.settle()

    assert world.model.turns == ["Open?"]
    assert "secret" not in everything(world)


def test_edit_is_deleted_with_its_message(world: World) -> None:
    world.receive(said(world, "Hi", "D0"))
    world.settle()
    world.receive(edit(world, "my secret is X", "D0"), deletion(world, "D0"))
    world.receive(said(world, "Open?", "D2"))
    world.settle()

    assert world.model.turns[1:] == [f"{TOLD_DELETED}\nOpen?"]
    assert "secret" not in everything(world)


# The stages of a batch.


def claimed(world: World) -> WakeUp:
    world.receive(said(world))
    return world.after(9_000)


def third_attempt(world: World) -> WakeUp:
    """Two questions failed; the third is to come."""
    world.model = FakeModel(TransientError("model_503"), TransientError("model_503"))
    wake_up = claimed(world)
    for _ in range(2):
        world.generate(wake_up)
        wake_up = world.after(60_000)
    return wake_up


def at_its_limit(world: World) -> WakeUp:
    """Ten messages, nine of them deleted: it is due at once."""
    world.receive(*(said(world, message_id=f"D{n}") for n in range(1, 11)))
    world.receive(*(deletion(world, f"D{n}") for n in range(2, 11)))
    (wake_up,) = world.flush()
    return wake_up


@pytest.mark.parametrize("stage", [claimed, third_attempt, at_its_limit])
@pytest.mark.parametrize("change", ["edit", "deletion"])
def test_change_reaches_a_batch_in_flight_before_the_question(
    world: World, stage: Callable[[World], WakeUp], change: str
) -> None:
    """The batch that waits behind it, which brought the change, ends with it."""
    wake_up = stage(world)
    world.receive(edit(world, "For 18:00") if change == "edit" else deletion(world))
    asked = len(world.model.turns)
    world.check()

    world.answer([wake_up])

    assert world.model.turns[asked:] == (["For 18:00"] if change == "edit" else [])
    assert "secret" not in everything(world)
    assert world.counts().get("answered", 0) == (change == "edit")
    assert world.flush() == []
    assert not world.client.exists(world.shard.batches(world.anna))


def test_change_just_before_the_question_is_obeyed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the worker has read by then: the last thing before a question is to look again."""
    wake_up = claimed(world)
    spend = flow.spend

    def spend_slowly(*args: Any) -> None:
        spend(*args)
        world.receive(deletion(world))

    monkeypatch.setattr(flow, "spend", spend_slowly)
    world.answer([wake_up])

    assert world.model.turns == []
    assert world.counts() == {"accepted": 2, "suppressed": 2}


def test_change_between_reading_and_writing_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a webhook brings meanwhile is kept, and carried out too."""
    world.receive(said(world), said(world, "Open?", "D2"), deletion(world))
    wake_up = world.after(9_000)
    amend, late = world.store.amend, [deletion(world, "D2"), said(world, "Hello?", "D3")]

    def amend_slowly(*args: Any) -> bool:
        while late:
            world.receive(late.pop(0))
        return amend(*args)

    monkeypatch.setattr(world.store, "amend", amend_slowly)
    world.answer([wake_up])
    world.settle()

    assert world.model.turns == ["Hello?"]
    assert world.counts() == {"accepted": 5, "answered": 1, "suppressed": 4}


def test_list_that_changed_under_the_hand_is_not_written(world: World) -> None:
    world.receive(said(world), deletion(world))
    run = world.begin(world.after(9_000))
    kept = world.store.recall(run)
    assert kept
    change = amended(kept, str)
    key = world.shard.flight_messages(world.anna)
    (first, *others) = world.client.lrange(key, 0, -1)
    world.client.lset(key, 0, first.replace(b"17:00", b"17:30"))

    assert not world.store.amend(run, kept, change)

    assert world.client.lrange(key, 1, -1) == others
    world.client.lset(key, 0, first)
    assert world.store.amend(run, kept, change)
    assert not world.store.amend(replace(run, token="0"), kept, change)
    assert world.store.recall(replace(run, token="0")) is None


@pytest.mark.parametrize("change", ["edit", "deletion"])
def test_change_during_the_model_call_is_told_in_the_next_turn(world: World, change: str) -> None:
    """The answer leaves. What was deleted is in no history by then, nor what it said of that."""
    late = [edit(world, "For 18:00") if change == "edit" else deletion(world)]

    def meanwhile() -> None:
        if late:
            world.receive(late.pop())

    world.model = FakeModel(before=meanwhile)
    world.receive(said(world))
    world.settle()
    world.receive(said(world, "Open on Sunday?", "D2"))
    world.settle()

    turns = world.model.turns
    assert turns[0] == SECRET
    assert world.channel.texts[0] == f"Answer to: {SECRET}"
    told = TOLD_EDITED + "For 18:00" if change == "edit" else TOLD_DELETED
    assert turns[1:] == [f"{told}\nOpen on Sunday?"]
    (past,) = world.model.questions[1].history
    if change == "edit":
        assert past.customer == "For 18:00"
    else:
        assert past == Exchange(DELETED, f"Answer to: {HIDDEN}")
        assert "secret" not in everything(world)


def test_deletion_after_the_answer_leaves_no_trace_and_asks_nothing(world: World) -> None:
    world.receive(said(world, "Hi", "D0"), said(world), said(world, "Open?", "D2"))
    world.settle()

    world.receive(deletion(world))
    world.settle()

    assert len(world.model.turns) == 1
    assert "secret" not in everything(world)
    assert world.counts() == {"accepted": 4, "answered": 3, "suppressed": 1}
    world.receive(said(world, "Thanks", "D3"))
    world.settle()
    (past,) = world.model.questions[1].history
    assert past.customer == f"Hi\n{DELETED}\nOpen?"


def test_edit_after_the_answer_is_answered(world: World) -> None:
    world.receive(said(world))
    world.settle()

    world.receive(edit(world, "For 18:00"))
    world.settle()

    assert world.model.turns[1:] == [TOLD_EDITED + "For 18:00"]
    assert world.model.questions[1].history[0].customer == "For 18:00"
    assert world.counts() == {"accepted": 2, "answered": 2}


def test_deletion_while_the_answer_leaves_is_told_in_the_next_turn(world: World) -> None:
    world.receive(said(world))
    (send,) = world.generate(world.after(9_000))
    world.receive(deletion(world), said(world, "Open?", "D2"))

    world.send(send)
    world.settle()

    assert world.model.turns[1:] == [f"{TOLD_DELETED}\nOpen?"]
    assert "secret" not in everything(world)


def test_short_word_that_was_deleted_stays_in_our_answers(world: World) -> None:
    world.model = FakeModel("Yes, we do")
    world.receive(said(world, "Yes"))
    world.settle()
    world.receive(deletion(world))
    world.settle()

    assert world.store.history(world.anna) == [Exchange(DELETED, "Yes, we do")]


# Where it has ended otherwise.


def dead(world: World, *messages: InboundMessage) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.receive(*messages)
    world.settle()


def test_deletion_takes_a_message_out_of_its_dead_letter(world: World) -> None:
    dead(world, said(world), said(world, "Open?", "D2"))
    dead_of_boris = said(world, "my secret too", customer=BORIS)
    world.model = FakeModel(PermanentError("model_auth"))
    world.receive(dead_of_boris)
    world.settle()

    world.receive(deletion(world))
    world.settle()

    letters = {letter.conversation_id: letter for letter in dead_letters(world.store)}
    assert [it.text for it in letters.pop(world.anna).messages] == ["Open?"]
    assert [it.text for (letter) in letters.values() for it in letter.messages] == ["my secret too"]
    assert world.counts() == {"accepted": 4, "dead": 2, "suppressed": 2}


def test_deletion_finds_a_dead_letter_behind_any_number_of_others(world: World) -> None:
    """Also behind more than older releases looked through."""
    world.model = FakeModel(PermanentError("model_request"))
    world.receive(said(world))
    world.settle()
    others = {f"other{number}": world.store.now_ms() + number for number in range(10_001)}
    world.client.zadd(world.shard.dead, others)

    world.receive(deletion(world), said(world, "Open?", "D2"))
    world.settle()

    world.client.zrem(world.shard.dead, *others)
    assert "secret" not in everything(world)
    assert dead_letters(world.store) == []


def test_dead_letter_ends_with_its_last_message(world: World) -> None:
    dead(world, said(world))

    world.receive(deletion(world))
    world.settle()

    assert dead_letters(world.store) == []
    assert world.counts() == {"accepted": 2, "suppressed": 2}


def test_edit_replaces_the_words_in_a_dead_letter(world: World) -> None:
    """Nothing is asked: a person has the message."""
    dead(world, said(world))

    world.receive(edit(world, "For 18:00"))
    world.settle()

    (letter,) = dead_letters(world.store)
    assert [it.text for it in letter.messages] == ["For 18:00"]
    assert len(world.model.turns) == 1
    assert world.store.replay(world.anna, letter.batch_id, "salon", Limits()) == 1
    world.settle()
    assert world.model.turns[1:] == ["For 18:00"]


@pytest.mark.parametrize("why", ["takeover", "deadline", "vanished"])
def test_change_is_carried_out_however_its_batch_ends(world: World, why: str) -> None:
    """A person has taken over, it waited too long, or a part of it vanished."""
    world.receive(said(world))
    world.settle()
    world.receive(said(world, "Open?", "D2"), deletion(world))
    match why:
        case "takeover":
            world.receive(PERSON)
        case "deadline":
            world.wait(86_400_001)
        case "vanished":
            world.client.lpop(world.shard.open_messages(world.anna))

    world.settle()

    assert len(world.model.turns) == 1
    assert "secret" not in everything(world)


def test_batch_whose_workers_died_leaves_no_letter_with_what_was_deleted(world: World) -> None:
    """None of them lived to carry it out, in this batch or in the history."""
    world.limits = Limits(max_attempts=1)
    world.receive(said(world))
    world.settle()
    world.receive(deletion(world), said(world, "my secret is Y", "D2"), deletion(world, "D2"))
    world.receive(said(world, "Open?", "D3"))
    world.begin(world.after(9_000))

    world.settle(30_000)

    (letter,) = dead_letters(world.store)
    assert [it.text for it in letter.messages] == [TOLD_DELETED, "Open?"]
    assert "secret" not in everything(world)


def test_deletion_while_one_model_is_asked_reaches_no_second_one(world: World) -> None:
    world.model = FakeModel(
        ModelStoppedError("model_401"), before=lambda: world.receive(deletion(world))
    )
    world.fallbacks = (FakeModel(),)
    world.receive(said(world), said(world, "Open?", "D2"))

    world.settle()

    assert world.model.turns == [f"{SECRET}\nOpen?"]
    assert [model.turns for model in world.fallbacks] == [["Open?"]]


# What nobody may change by it.


@pytest.mark.parametrize("change", ["edit", "deletion"])
@pytest.mark.parametrize(
    "whose",
    [
        {"customer": BORIS},
        {"account": "sister"},
        {"customer": BORIS, "account": "sister"},
    ],
    ids=["another customer's", "another account's", "both"],
)
@pytest.mark.parametrize("stage", ["open", "flight", "answered", "dead"])
def test_change_by_another_does_nothing(
    world: World, change: str, whose: dict[str, str], stage: str
) -> None:
    if stage == "dead":
        world.model = FakeModel(PermanentError("model_auth"))
    world.receive(said(world))
    wake_ups = [] if stage == "open" else [world.after(9_000)]
    if stage in {"answered", "dead"}:
        world.answer(wake_ups)
    by_other = deletion(world, **whose) if change == "deletion" else edit(world, "hm", **whose)

    world.receive(by_other)
    world.settle(9_000)
    world.answer(wake_ups)
    world.receive(said(world, "Thanks", "D2"))
    world.settle()

    assert SECRET in world.model.turns
    others = [turn for turn in world.model.turns if turn not in {SECRET, "Thanks"}]
    assert others == ([TOLD_EDITED + "hm"] if change == "edit" else [])
    if stage == "dead":
        assert [it.text for it in dead_letters(world.store)[0].messages] == [SECRET]
    else:
        assert world.model.questions[-1].history[0].customer == SECRET


@pytest.mark.parametrize("target", ["out-1", "never seen", "D9"])
def test_deletion_of_what_is_not_the_customers_does_nothing(world: World, target: str) -> None:
    """A message of ours, one that is not known, and one of an earlier release's history."""
    world.receive(said(world, "Hi"))
    world.settle()
    before = world.store.history(world.anna)

    world.receive(deletion(world, target))
    world.settle()
    world.receive(said(world, "Open?", "D2"))
    world.settle()

    assert world.model.turns[1:] == ["Open?"]
    assert list(world.model.questions[1].history) == before == [Exchange("Hi", "Answer to: Hi")]


def test_second_deletion_does_nothing(world: World) -> None:
    """The gateway tells of it by two events; the first may be delivered again, too."""
    first = deletion(world)
    world.receive(said(world), first)
    receipts = world.receive(first, deletion(world))
    world.settle()

    world.receive(deletion(world), said(world, "Open?", "D2"))
    world.settle()

    assert [it.status for it in receipts] == [Status.DUPLICATE, Status.SUPPRESSED]
    assert world.model.turns == ["Open?"]
    assert world.counts() == {"accepted": 5, "answered": 1, "suppressed": 4}


def test_change_finds_room_where_messages_do_not(world: World) -> None:
    """But not without end: what a customer can have us keep is bounded."""
    world.store.timing = Timing(waiting_max=2)
    receipts = world.receive(
        *(said(world), said(world, "Open?", "D2"), said(world, "full", "D3")),
        *(deletion(world), edit(world, "Open now?", "D2"), edit(world, "Hm?", "D2")),
    )
    world.settle()

    assert [it.status for it in receipts] == [
        *(Status.ACCEPTED, Status.ACCEPTED, Status.FULL, Status.ACCEPTED, Status.ACCEPTED),
        Status.FULL,
    ]
    assert world.model.turns == ["Open now?"]


def test_deletion_that_names_no_message_is_only_counted(world: World) -> None:
    (receipt,) = world.receive(world.message(TOLD_DELETED, kind=Kind.DELETED))

    assert receipt.status is Status.SUPPRESSED
    assert world.flush() == []


def test_change_that_cannot_be_carried_out_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.receive(said(world), deletion(world))
    monkeypatch.setattr(world.store, "amend", lambda *_: False)
    world.answer([world.after(9_000)])
    assert world.model.turns == []
    monkeypatch.undo()

    world.settle(2_000)

    assert world.counts() == {"accepted": 2, "suppressed": 2}


def failed(world: World) -> None:
    """Have the provider say that the first text of ours did not arrive."""
    tag = world.channel.attempts[0].tag
    world.receive(DeliveryStatus("salon", "out-1", "failed", tag, "cloud_131026"))


@pytest.mark.parametrize(
    ("change", "turns"),
    [(deletion, [f"{DELETED}\nOpen?"]), (lambda w: edit(w, "For 18:00"), ["For 18:00\nOpen?"])],
    ids=["deletion", "edit"],
)
def test_answer_that_may_not_have_arrived_keeps_no_words_that_were_taken_back(
    world: World, change: Callable[[World], InboundMessage], turns: list[str]
) -> None:
    """It becomes a dead letter when it fails, and a person has that answered after all."""
    world.model = FakeModel("Done.")
    world.receive(said(world), said(world, "Open?", "D2"))
    world.settle()
    (key,) = world.client.keys(world.shard.answered("*", "*"))
    left_ms = world.client.pttl(key)

    world.receive(change(world))
    world.settle()

    assert "secret" not in everything(world)
    assert 0 < world.client.pttl(key) <= left_ms
    asked = len(world.model.turns)
    failed(world)
    (letter,) = dead_letters(world.store)
    assert world.counts()["dead"] == 2
    # The model must not believe that it was said, in whatever words.
    told = [exchange.customer for exchange in world.store.history(world.anna)]
    assert not any("Open?" in each for each in told)
    world.store.replay(letter.conversation_id, letter.batch_id, "salon", world.limits)
    world.settle(0)
    assert world.model.turns[asked:] == turns


def test_answer_to_what_was_deleted_altogether_is_not_asked_for_again(world: World) -> None:
    world.receive(said(world))
    world.settle()
    world.receive(deletion(world))
    world.settle()
    asked = list(world.model.turns)
    failed(world)
    (letter,) = dead_letters(world.store)

    world.store.replay(letter.conversation_id, letter.batch_id, "salon", world.limits)
    world.settle(0)

    assert world.model.turns == asked
    assert "secret" not in everything(world)


def test_letter_of_an_answer_in_doubt_keeps_no_words_that_were_deleted(world: World) -> None:
    """Neither where it says what was asked, nor in the answer that quotes it."""
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.receive(said(world), said(world, "Open?", "D2"))
    world.settle()
    world.settle(Timing().ambiguous_ms)
    world.receive(deletion(world))
    world.settle()

    (letter,) = dead_letters(world.store)
    assert [message.text for message in letter.messages] == ["Open?"]
    assert letter.reply == (HIDDEN,)
    assert "secret" not in everything(world)


def lived_on(world: World, exchanges: int, *, age_ms: int = 0) -> None:
    """Go on with a conversation, whose steps are many and whose history reaches back so far."""
    for n in range(exchanges):
        world.receive(said(world, "Hi", f"later-{n}"))
        world.settle()
    world.wait(age_ms)


@pytest.mark.parametrize("exchanges", [29, 30, 31, 120])
def test_deletion_finds_a_watched_answer_however_much_was_said_since(
    world: World, exchanges: int
) -> None:
    """Beyond what the history holds, 30 exchanges, and the steps, 100 of them."""
    world.receive(said(world), said(world, "Open?", "D2"))
    world.settle()
    lived_on(world, exchanges)
    assert len(world.store.history(world.anna)) == min(30, exchanges + 1)

    world.receive(deletion(world))
    world.settle()

    assert "secret" not in everything(world)
    failed(world)
    (letter,) = dead_letters(world.store)
    assert [it.text for it in letter.messages] == [DELETED, "Open?"]


def test_answers_since_lose_the_words_of_what_only_a_watched_answer_knows(world: World) -> None:
    world.store.timing = Timing(history_max=2)
    world.receive(said(world))
    world.settle()
    world.model = FakeModel(*[f"You wrote: {SECRET}"] * 2)
    for n in range(2):
        world.receive(said(world, "Hm?", f"later-{n}"))
        world.settle()

    world.receive(deletion(world))
    world.settle()

    assert [it.answer for it in world.store.history(world.anna)] == [f"You wrote: {HIDDEN}"] * 2
    assert "secret" not in everything(world)


@pytest.mark.parametrize("state", ["delivered", "failed", "erased", "over", "settled"])
def test_answer_is_found_for_as_long_as_it_is_watched(world: World, state: str) -> None:
    """By its conversation, and among those of its account, which are counted."""
    shard, watch_ms = world.shard, world.store.timing.delivery_ms
    indexes = (shard.answers(world.anna), shard.watched("salon"))
    world.receive(said(world))
    world.settle()
    (tag, batch_id) = world.channel.attempts[0].tag, world.tag().batch_id
    found = [world.store.watched(world.anna), watched_count(world.store, ["salon", "sister"])]
    kept_ms = [world.client.pttl(index) for index in indexes]

    match state:
        case "delivered":
            world.receive(DeliveryStatus("salon", "out-1", "read", tag))
        case "failed" | "settled":
            failed(world)
        case "erased":
            erase(world.store, world.anna)
        case "over":
            world.wait(watch_ms)
    if state == "settled":
        # The customer has a part of it, and may yet be said to lack the other.
        world.status(world.tag(), "delivered")

    assert found == [[batch_id], {"salon": 1, "sister": 0}]
    assert [0 < ms <= watch_ms for ms in kept_ms] == [True, True]
    assert watched_count(world.store, ["salon"]) == {"salon": 0}
    if state != "over":
        assert not world.client.exists(*indexes)


def test_shorter_watch_forgets_no_answer_that_is_watched_for_longer(world: World) -> None:
    """As during a deploy of another DELIVERY_WATCH_MS."""
    world.receive(said(world))
    world.settle()
    world.store.timing = Timing(delivery_ms=60_000)
    world.receive(said(world, "Hi", "D2"))
    world.settle()

    world.wait(60_000)

    assert watched_count(world.store, ["salon"]) == {"salon": 1}
    assert world.client.pttl(world.shard.answers(world.anna)) > 60_000
    world.receive(deletion(world))
    world.settle()
    assert "secret" not in everything(world)


def test_index_forgets_what_is_watched_no_more_with_the_next_answer(world: World) -> None:
    indexes = (world.shard.answers(world.anna), world.shard.watched("salon"))
    world.receive(said(world))
    world.settle()
    world.wait(world.store.timing.delivery_ms)

    world.receive(said(world, "Hi", "D2"))
    world.settle()

    assert [world.client.zcard(index) for index in indexes] == [1, 1]


def test_answer_of_a_dead_letter_that_left_after_all_is_watched_again(world: World) -> None:
    world.channel = FakeChannel(AmbiguousError("cloud_timeout"))
    world.receive(said(world))
    world.settle()
    world.settle(Timing().ambiguous_ms)
    before = watched_count(world.store, ["salon"])

    world.status(world.tag(), "sent")

    assert (before, watched_count(world.store, ["salon"])) == ({"salon": 0}, {"salon": 1})
    world.receive(deletion(world))
    world.settle()
    assert "secret" not in everything(world)


def erased(world: World) -> None:
    erase(world.store, world.anna)


def answered_by_another(world: World) -> None:
    world.settle(world.limits.lease_ms)


def filled(world: World) -> None:
    """Make the open batch due at once, behind the one in flight."""
    world.receive(*(said(world, "More", f"more-{n}") for n in range(world.limits.max_messages)))
    assert world.flush() == []


def delivered(world: World) -> None:
    world.receive(DeliveryStatus("salon", "out-1", "read", world.channel.attempts[0].tag))


def expired(world: World) -> None:
    world.client.delete(*world.client.keys(world.shard.answered("*", "*")))


def replayed(world: World) -> None:
    failed(world)
    (letter,) = dead_letters(world.store)
    world.store.replay(world.anna, letter.batch_id, "salon", world.limits)


def discarded(world: World) -> None:
    failed(world)
    (letter,) = dead_letters(world.store)
    world.store.discard(world.anna, letter.batch_id, "discarded")


#: What may happen between reading and writing, and the turns of a model then, line by line.
MEANWHILE: dict[str, tuple[Callable[[World], object], list[str]]] = {
    "a message": (lambda w: w.receive(said(w, "Hello?", "D3")), ["Open?", "Hello?"]),
    "a second deletion": (lambda w: w.receive(deletion(w, "D2")), []),
    "an edit": (lambda w: w.receive(edit(w, "Closed?", "D2")), ["Closed?"]),
    "a full batch": (filled, ["Open?", *["More"] * 10]),
    "time": (lambda w: w.wait(9_000), ["Open?"]),
    "another worker's answer": (answered_by_another, ["Open?"]),
    "an erasure": (erased, []),
    "a delivery": (delivered, ["Open?"]),
    "a failure": (failed, ["Open?"]),
    "the end of the watch": (expired, ["Open?"]),
    "a dead letter that is discarded": (discarded, ["Open?"]),
    "a dead letter that is replayed": (replayed, ["Open?"]),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_what_happens_between_reading_and_writing_is_kept_and_obeyed(
    world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The deletions wait behind the batch in flight, where messages are appended."""
    act, lines = MEANWHILE[meanwhile]
    world.receive(said(world, "my secret is W", "D0"))
    world.settle()
    world.receive(said(world), said(world, "Open?", "D2"))
    wake_up = world.after(9_000)
    world.receive(deletion(world), deletion(world, "D0"))
    amend, acts = world.store.amend, [act]

    def amend_slowly(*args: Any) -> bool:
        while acts:
            acts.pop()(world)
        return amend(*args)

    monkeypatch.setattr(world.store, "amend", amend_slowly)
    world.answer([wake_up])
    world.settle()

    turns = [line for turn in world.model.turns[1:] for line in turn.split("\n")]
    assert [line for line in turns if line not in {TOLD_DELETED, DELETED}] == lines
    assert "secret" not in everything(world)
    world.check()


@pytest.mark.parametrize("after", ["the first reading", "the last"])
@pytest.mark.parametrize("meanwhile", [failed, delivered, expired, replayed, discarded, erased])
def test_what_happens_while_all_is_read_is_seen_in_one_place_or_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[World], None], after: str
) -> None:
    """A dead letter that is replayed goes where it was not, or where it is read afterwards."""
    world.receive(said(world, "my secret is W", "D0"))
    world.settle()
    if meanwhile in {replayed, discarded}:
        failed(world)
    world.receive(said(world, "Open?", "D2"), deletion(world, "D0"))
    wake_up = world.after(9_000)
    acts: list[Callable[[World], None]] = [lambda _: None] * (after == "the last")
    recall = world.store.recall
    acts.append(meanwhile)

    def recall_slowly(*args: Any) -> Any:
        kept = recall(*args)
        if acts:
            acts.pop(0)(world)
        return kept

    monkeypatch.setattr(world.store, "recall", recall_slowly)
    world.answer([wake_up])
    world.settle()

    assert "secret" not in everything(world)
    assert not any("secret" in turn for turn in world.model.turns[1:])
