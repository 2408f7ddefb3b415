"""``dead``: what was not answered, and what a person decides about it."""

from typing import Any

import pytest

from batching.errors import PermanentError
from batching.inspect import DeadLetter, dead_letters
from batching.model import DeliveryStatus, Reason
from batching.store import Store
from cli.dead import advice
from runtime.meanings import meaning
from runtime.settings import DEVELOPMENT_PRIVACY_KEY
from tests.batching.world import ANNA, BORIS, World
from tests.cli.conftest import AGO_MS, CANARY, Operator, doubtful, refused
from tests.fakes import FakeChannel, FakeModel


@pytest.fixture
def letter(world: World) -> DeadLetter:
    """Return a dead letter of two messages that the model refused."""
    return refused(world, CANARY, "\x1b[2Jagain")


def test_no_dead_letters_is_well(operator: Operator, world: World) -> None:
    answer = operator("dead", "list")

    assert (answer.status, answer.out) == (0, "No dead letters.\n")
    assert operator("dead", "list", "--json").json == {"letters": []}
    assert world.counts() == {}


def test_list_shows_why_how_long_and_what_to_do(operator: Operator, letter: DeadLetter) -> None:
    answer = operator("dead", "list")

    assert answer.status == 1
    heads, row, _, todo = answer.out.splitlines()
    assert heads.split() == [
        *("batch", "reason", "account", "conversation", "age", "messages", "detail"),
    ]
    assert row.split() == [
        letter.batch_id, "fatal_model", "salon", letter.conversation_id, "59", "min", "2",
        "model_auth",
    ]  # fmt: skip
    assert todo.startswith("fatal_model: the model refused the question for good")


def test_list_for_a_program_has_every_field(
    operator: Operator, letter: DeadLetter, world: World
) -> None:
    (listed,) = operator("dead", "--json", "list").json["letters"]
    (again,) = operator("dead", "list", "--json").json["letters"]
    shown = operator("dead", "show", letter.batch_id, "--json").json

    assert listed["age_ms"] >= AGO_MS - 10_000
    same = {"age_ms": 0}
    assert listed | same == again | same == shown | same
    assert listed | same == {
        "failed": {},
        "means": str(meaning("model_auth")),
        "batch": letter.batch_id,
        "conversation": letter.conversation_id,
        "account": "salon",
        "reason": "fatal_model",
        "detail": "model_auth",
        "stage": "generate",
        "attempt": 1,
        "parts_left": 0,
        "parts": 0,
        "died_ms": letter.died_ms,
        "age_ms": 0,
        "size": 2,
        "may_repeat": False,
        "advice": advice("fatal_model"),
    }
    assert world.counts() == {"accepted": 2, "dead": 2}


def test_list_is_chosen_by_reason_and_account(operator: Operator, letter: DeadLetter) -> None:
    def found(*arguments: str) -> list[str]:
        letters = operator("dead", "list", "--json", *arguments).json["letters"]
        return [shown["batch"] for shown in letters]

    assert found("--reason", "fatal_model", "--account", "salon") == [letter.batch_id]
    assert found("--reason", "poison") == []
    assert found("--account", "sister") == []


def test_show_tells_all_but_the_texts(operator: Operator, letter: DeadLetter) -> None:
    answer = operator("dead", "show", letter.batch_id)

    assert answer.status == 1
    assert "stage: generate, attempt 1" in answer.out
    assert "to do: the model refused the question for good" in answer.out


def test_texts_are_shown_on_demand_and_cannot_steer_the_terminal(
    operator: Operator, letter: DeadLetter
) -> None:
    answer = operator("dead", "show", letter.batch_id, "--content")
    read = operator("dead", "show", letter.batch_id, "--content", "--json").json

    lines = [f"{ANNA}, text", CANARY, "", f"{ANNA}, text", "?[2Jagain"]
    assert answer.out.splitlines()[-5:] == lines
    assert [message["text"] for message in read["messages"]] == [CANARY, "\x1b[2Jagain"]


def test_replayed_letter_is_answered_and_no_other_is_touched(
    operator: Operator, letter: DeadLetter, world: World
) -> None:
    refused(world, customer=BORIS)

    answer = operator("dead", "replay", letter.batch_id)
    world.settle(2 * AGO_MS)

    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "Batches replayed: 1, messages: 2.\n"
    assert world.counts() == {"accepted": 3, "answered": 2, "dead": 1}


def test_replay_into_a_full_conversation_is_refused_and_says_when(
    operator: Operator, letter: DeadLetter, world: World
) -> None:
    world.write(*["more"] * (world.store.timing.waiting_max - 1))

    answer = operator("dead", "replay", letter.batch_id)

    assert answer.status == 1
    assert answer.out.startswith(
        f"{letter.batch_id}: its conversation holds too many unanswered messages, "
        "replay it when they are answered.\n"
    )
    assert [left.batch_id for left in dead_letters(world.store)] == [letter.batch_id]


def test_replay_of_all_is_chosen_by_reason_and_account(
    operator: Operator, letter: DeadLetter, world: World
) -> None:
    refused(world, account="sister")

    nothing = operator("dead", "replay", "--all", "--reason", "poison", "--json")
    one = operator("dead", "replay", "--all", "--account", "salon", "--json")
    rest = operator("dead", "replay", "--all", "--json")

    assert nothing.json == {"replayed": {}, "refused": {}}
    assert one.json == {"replayed": {letter.batch_id: 2}, "refused": {}}
    assert list(rest.json["replayed"].values()) == [1]
    assert world.counts() == {"accepted": 3, "open": 3}


def test_replay_of_a_doubtful_answer_needs_a_person_who_is_sure(
    operator: Operator, world: World
) -> None:
    letter = doubtful(world)

    unsure = operator("dead", "replay", letter.batch_id)
    before = world.counts()
    done = operator("dead", "replay", letter.batch_id, "--yes")

    assert unsure.status == 2
    assert f"{letter.batch_id}: the customer may have its answer, and would get" in unsure.err
    assert "say --yes if you are sure" in unsure.err
    assert before == {"accepted": 1, "dead": 1}
    assert (done.status, world.counts()) == (0, {"accepted": 1, "open": 1})


def test_replay_says_how_many_parts_were_sent(operator: Operator, world: World) -> None:
    world.channel = FakeChannel("out-1", PermanentError("blocked"), length_max=12)
    world.send(world.to_sending(CANARY))
    (letter,) = dead_letters(world.store)

    unsure = operator("dead", "replay", "--all")

    assert unsure.status == 2
    assert f"{letter.batch_id}: 1 of 3 parts of its answer were sent" in unsure.err
    assert operator("dead", "show", letter.batch_id, "--json").json["parts_left"] == 1


def vanish(world: World) -> None:
    """Write as Anna, and lose what is known of her batch: it becomes a dead letter."""
    (receipt,) = world.write(CANARY, account="sister")
    shard = world.store.shard_of(receipt.conversation_id)
    world.store.client.delete(shard.batches(receipt.conversation_id))
    world.wait(world.limits.overdue_ms)
    world.flush()


def test_vanished_letter_finds_its_account_by_its_customer(
    operator: Operator, world: World
) -> None:
    vanish(world)

    done = operator("dead", "replay", "--all", "--json")
    world.settle(2 * AGO_MS)

    assert (done.status, list(done.json["replayed"].values())) == (0, [1])
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_letter_of_an_account_that_is_gone_is_not_replayed(
    operator: Operator, world: World
) -> None:
    """It would wait for ever, and be no dead letter any more."""
    vanish(world)
    accounts = operator.directory / "accounts.toml"
    accounts.write_text(accounts.read_text().replace("sister", "renamed"))

    done = operator("dead", "replay", "--all")

    assert done.status == 1
    assert "its account is not configured here.\n" in done.out
    assert world.counts() == {"accepted": 1, "dead": 1}


def test_discard_forgets_only_what_is_named(
    operator: Operator, letter: DeadLetter, world: World
) -> None:
    other = doubtful(world)

    unsure = operator("dead", "discard", letter.batch_id)
    done = operator("dead", "discard", letter.batch_id, "--yes", "--json")

    assert unsure.status == 2
    assert "Messages that will be deleted unanswered: 2." in unsure.err
    assert (done.status, done.json) == (0, {"discarded": {letter.batch_id: 2}, "refused": {}})
    assert world.counts() == {"accepted": 3, "suppressed": 2, "dead": 1}
    assert operator("dead", "show", other.batch_id, "--json").json["reason"] == "ambiguous"


@pytest.mark.parametrize("action", [("show",), ("replay",), ("discard", "--yes")])
def test_unknown_dead_letter_is_named(operator: Operator, action: tuple[str, ...]) -> None:
    answer = operator("dead", action[0], "b1", *action[1:])

    assert answer.status == 1
    assert "here is no such dead letter" in answer.out


def test_batch_of_several_shards_is_named_with_its_conversation(
    operator: Operator, world: World
) -> None:
    """Each shard numbers its own batches, so two may have the same name."""
    client: Any = world.store.client
    client.flushall()
    operator.environ["BATCH_SHARDS"] = "2"
    world.store = Store(client, privacy_key=DEVELOPMENT_PRIVACY_KEY, shards=2, clock=world.clock)
    for shard in world.store.keyring.shards:
        client.hset(shard.stats, "seq", 1_000)
    customers: dict[str, str] = {}
    for number in (f"7999000{n:04d}" for n in range(100)):
        conversation = world.store.conversation_id("salon", number)
        customers.setdefault(world.store.shard_of(conversation).prefix, number)
    for number in customers.values():
        letter = refused(world, customer=number)
    name = f"{letter.conversation_id}:{letter.batch_id}"

    vague = operator("dead", "show", "b1001")
    exact = operator("dead", "show", name, "--json").json

    assert (vague.status, "several shards have this batch" in vague.err) == (2, True)
    assert (exact["conversation"], exact["batch"]) == (letter.conversation_id, "b1001")


def test_every_reason_to_die_has_its_advice() -> None:
    reasons = set(Reason) - {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER}
    reasons.remove(Reason.HANDOVER)

    unadvised = advice("a reason of a newer release")
    assert [reason for reason in reasons if advice(reason) == unadvised] == []


def test_show_says_which_parts_left_and_what_is_still_to_be_said(
    operator: Operator, world: World
) -> None:
    """So that a person can finish the answer by hand."""
    world.model = FakeModel("aabbcc")
    world.channel = FakeChannel("out-1", PermanentError("cloud_131026"), length_max=2)
    world.write("Hi")
    world.settle()
    (letter,) = dead_letters(world.store)

    shown = operator("dead", "show", letter.batch_id, "--content")
    parts = operator("dead", "show", letter.batch_id, "--content", "--json").json["reply"]
    hidden = operator("dead", "show", letter.batch_id)

    assert [(part["state"], part["text"]) for part in parts] == [
        ("was sent", "aa"), ("was not sent", "bb"), ("was not sent", "cc")
    ]  # fmt: skip
    assert "answer, part 2 of 3, was not sent:\nbb\n" in shown.out
    assert "means: " in hidden.out
    assert "bb" not in hidden.out.split()


def test_show_says_what_did_not_arrive_and_why(operator: Operator, world: World) -> None:
    world.model, world.channel = FakeModel("aabb"), FakeChannel(length_max=2)
    world.write("Hi")
    world.settle()
    tags = [outbound.tag for outbound in world.channel.attempts]
    world.receive(DeliveryStatus("salon", "out-1", "delivered", tags[0]))
    world.receive(DeliveryStatus("salon", "out-2", "failed", tags[1], "cloud_131026"))
    (letter,) = dead_letters(world.store)

    shown = operator("dead", "show", letter.batch_id, "--content").out
    listed = operator("dead", "list", "--reason", "undelivered")
    traced = operator("trace", letter.conversation_id).out

    assert "answer, part 1 of 2, was delivered:\naa\n" in shown
    assert "answer, part 2 of 2, did not arrive (cloud_131026):\nbb\n" in shown
    assert listed.status == 1
    assert "part 2 was sent and not delivered: cloud_131026" in traced
