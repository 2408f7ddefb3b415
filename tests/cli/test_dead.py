"""``dead``: what was not answered, and what a person decides about it."""

from typing import Any

import pytest

from batching.errors import AmbiguousError, PermanentError
from batching.inspect import DeadLetter, dead_letters
from batching.model import Reason
from batching.store import Store
from cli.dead import advice
from runtime.settings import DEVELOPMENT_PRIVACY_KEY
from tests.batching.world import ANNA, BORIS, World
from tests.cli.conftest import AGO_MS, CANARY, Operator
from tests.fakes import FakeChannel, FakeModel


@pytest.fixture
def letter(world: World) -> DeadLetter:
    """Return a dead letter of two messages that the model refused."""
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY, "again")
    world.settle()
    return dead_letters(world.store)[0]


@pytest.fixture
def doubtful(world: World) -> DeadLetter:
    """Return a dead letter whose answer may have been sent."""
    world.channel = FakeChannel(AmbiguousError("timeout"))
    world.send(world.to_sending(CANARY))
    world.settle(60_000)
    return dead_letters(world.store)[-1]


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
    assert todo.startswith("fatal_model: the model refused it for good")


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
    assert "to do: the model refused it for good" in answer.out


def test_show_with_content_is_for_the_operators_eyes(
    operator: Operator, letter: DeadLetter
) -> None:
    answer = operator("dead", "show", letter.batch_id, "--content")
    read = operator("dead", "show", letter.batch_id, "--content", "--json").json

    assert answer.out.splitlines()[-5:] == [f"{ANNA}, text", CANARY, "", f"{ANNA}, text", "again"]
    assert [message["text"] for message in read["messages"]] == [CANARY, "again"]


def test_customers_text_cannot_steer_the_terminal(operator: Operator, world: World) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("\x1b[2Jhello")
    world.settle()
    (letter,) = dead_letters(world.store)

    answer = operator("dead", "show", letter.batch_id, "--content")

    assert answer.out.splitlines()[-1] == "?[2Jhello"


def test_replayed_letter_is_answered(operator: Operator, letter: DeadLetter, world: World) -> None:
    answer = operator("dead", "replay", letter.batch_id)
    world.settle(2 * AGO_MS)

    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "Batches replayed: 1, messages: 2.\n"
    assert world.counts() == {"accepted": 2, "answered": 2}


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
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("hello", account="sister")
    world.settle()

    nothing = operator("dead", "replay", "--all", "--reason", "poison", "--json")
    one = operator("dead", "replay", "--all", "--account", "salon", "--json")
    rest = operator("dead", "replay", "--all", "--json")

    assert nothing.json == {"replayed": {}, "refused": {}}
    assert one.json == {"replayed": {letter.batch_id: 2}, "refused": {}}
    assert list(rest.json["replayed"].values()) == [1]
    assert world.counts() == {"accepted": 3, "open": 3}


def test_replay_of_a_doubtful_answer_needs_a_person_who_is_sure(
    operator: Operator, doubtful: DeadLetter, world: World
) -> None:
    refused = operator("dead", "replay", doubtful.batch_id)
    before = world.counts()
    done = operator("dead", "replay", doubtful.batch_id, "--yes")

    assert refused.status == 2
    assert f"{doubtful.batch_id}: the customer may have its answer, and would get" in refused.err
    assert "say --yes if you are sure" in refused.err
    assert before == {"accepted": 1, "dead": 1}
    assert (done.status, world.counts()) == (0, {"accepted": 1, "open": 1})


def test_replay_says_how_many_parts_were_sent(operator: Operator, world: World) -> None:
    world.channel = FakeChannel("out-1", PermanentError("blocked"), length_max=12)
    world.send(world.to_sending(CANARY))
    (letter,) = dead_letters(world.store)

    refused = operator("dead", "replay", "--all")

    assert refused.status == 2
    assert f"{letter.batch_id}: 1 of 3 parts of its answer were sent" in refused.err
    assert operator("dead", "show", letter.batch_id, "--json").json["parts_left"] == 1


def test_vanished_letter_finds_its_account_by_its_customer(
    operator: Operator, world: World
) -> None:
    world.write(CANARY, account="sister")
    conversation = world.store.conversation_id("sister", ANNA)
    world.store.client.delete(world.store.shard_of(conversation).batches(conversation))
    world.wait(world.limits.overdue_ms)
    world.flush()

    done = operator("dead", "replay", "--all", "--json")
    world.settle(2 * AGO_MS)

    assert (done.status, list(done.json["replayed"].values())) == (0, [1])
    assert world.counts() == {"accepted": 1, "answered": 1}


def test_letter_of_an_account_that_is_gone_is_not_replayed(
    operator: Operator, world: World
) -> None:
    """It would wait for ever, and be no dead letter any more."""
    world.receive(world.message(CANARY, account="closed"))
    world.settle()
    conversation = world.store.conversation_id("closed", ANNA)
    world.store.client.delete(world.store.shard_of(conversation).batches(conversation))
    world.wait(world.limits.overdue_ms)
    world.flush()

    done = operator("dead", "replay", "--all")

    assert done.status == 1
    assert "its account is not configured here.\n" in done.out
    assert world.counts() == {"accepted": 1, "dead": 1}


def test_discard_forgets_only_what_is_named(
    operator: Operator, letter: DeadLetter, doubtful: DeadLetter, world: World
) -> None:
    refused = operator("dead", "discard", letter.batch_id)
    done = operator("dead", "discard", letter.batch_id, "--yes", "--json")

    assert refused.status == 2
    assert "Messages that will be deleted unanswered: 2." in refused.err
    assert (done.status, done.json) == (0, {"discarded": {letter.batch_id: 2}, "refused": {}})
    assert world.counts() == {"accepted": 3, "suppressed": 2, "dead": 1}
    assert operator("dead", "show", doubtful.batch_id, "--json").json["reason"] == "ambiguous"


@pytest.mark.parametrize("action", [("show",), ("replay",), ("discard", "--yes")])
def test_unknown_dead_letter_is_named(operator: Operator, action: tuple[str, ...]) -> None:
    answer = operator("dead", action[0], "b1", *action[1:])

    assert answer.status == 1
    assert "here is no such dead letter" in answer.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dead_letter",),
        ("show",),
        ("show", ANNA),
        ("discard",),
        ("discard", ANNA),
        ("replay",),
        ("replay", "b1", "--all"),
        ("replay", "b1", "--reason", "poison"),
        ("list", "--reason", "boredom"),
    ],
)
def test_wrong_usage(operator: Operator, arguments: tuple[str, ...]) -> None:
    answer = operator("dead", *arguments)

    assert (answer.status, answer.out) == (2, "")


def test_batch_of_several_shards_is_named_with_its_conversation(
    operator: Operator, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard numbers its own batches, so two may have the same name."""
    client: Any = world.store.client
    client.flushall()
    monkeypatch.setenv("BATCH_SHARDS", "2")
    world.store = Store(client, privacy_key=DEVELOPMENT_PRIVACY_KEY, shards=2, clock=world.clock)
    for shard in world.store.keyring.shards:
        client.hset(shard.stats, "seq", 1_000)
    customers: dict[str, str] = {}
    for number in (f"7999000{n:04d}" for n in range(100)):
        conversation = world.store.conversation_id("salon", number)
        customers.setdefault(world.store.shard_of(conversation).prefix, number)
    world.model = FakeModel(PermanentError("model_auth"), PermanentError("model_auth"))
    for number in customers.values():
        world.write("hello", customer=number)
    world.settle()

    vague = operator("dead", "show", "b1001")
    exact = operator("dead", "list", "--json").json["letters"][0]
    name = f"{exact['conversation']}:{exact['batch']}"

    assert (vague.status, "several shards have this batch" in vague.err) == (2, True)
    assert operator("dead", "show", name, "--json").json["conversation"] == exact["conversation"]


@pytest.mark.parametrize(
    "reason", sorted(set(Reason) - {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER})
)
def test_every_reason_to_die_has_its_advice(reason: Reason) -> None:
    assert advice(reason) != advice("a reason of a newer release")


def test_letter_of_another_customer_is_left_alone(
    operator: Operator, letter: DeadLetter, world: World
) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write("hello", customer=BORIS)
    world.settle()

    operator("dead", "replay", letter.batch_id)

    assert world.counts() == {"accepted": 3, "dead": 1, "open": 2}
