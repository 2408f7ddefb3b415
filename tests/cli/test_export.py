"""``export``: a customer's right to a copy of what is kept."""

import json

import pytest

from batching.model import IdentityChange
from tests.batching.world import ANNA, BORIS, World
from tests.cli.conftest import CANARY, Operator, refused
from tests.cli.test_rights import everything, live


def test_copy_has_all_texts_of_the_customer_and_nobody_elses(
    world: World, operator: Operator, conversation: str
) -> None:
    live(world)
    world.write("the words of somebody else", customer=BORIS)
    kept = everything(world).count(CANARY.encode())

    answer = operator("export", conversation)

    (copy,) = answer.json["conversations"]
    assert (answer.status, answer.err) == (0, "")
    assert (copy["conversation"], copy["account"]) == (conversation, "salon")
    assert [text["customer"] for text in copy["history"]] == [CANARY]
    assert [message["text"] for message in copy["waiting"]] == [
        f"{CANARY} in flight",
        f"{CANARY} open",
    ]
    assert [it["text"] for letter in copy["dead_letters"] for it in letter["messages"]] == [CANARY]
    assert {step["verb"] for step in copy["steps"]} >= {"collect", "dead_letter", "finish"}
    assert "somebody else" not in answer.out
    (answered,) = copy["until_delivered"]
    assert [it["text"] for it in answered["messages"]] == [CANARY]
    assert (answered["reply"], answered["delivered"]) == ([f"Answer to: {CANARY}"], [])
    # Each text once, but the history's, which the simulator's page has too, and so has the header
    # of the answer.
    assert json.dumps(copy).count(CANARY) >= kept - 3


def test_customer_is_named_as_for_erase(world: World, operator: Operator) -> None:
    world.write(CANARY)
    (before,) = operator("export", "--customer", ANNA, "--account", "salon").json["conversations"]

    operator("erase", "--customer", ANNA, "--account", "salon", "--yes")
    after = operator("export", "--customer", ANNA, "--account", "salon")

    assert [message["text"] for message in before["waiting"]] == [CANARY]
    assert (after.status, after.json["conversations"]) == (1, [])


def test_copy_has_what_was_kept_under_ids_that_were_joined(
    world: World, operator: Operator
) -> None:
    world.write(CANARY)
    world.settle()
    refused(world, f"{CANARY} by the new number", customer=BORIS)
    world.receive(IdentityChange("salon", (ANNA,), (BORIS,), {ANNA: BORIS}, world.store.now_ms()))

    copies = operator("export", "--customer", BORIS, "--account", "salon").json["conversations"]

    letters = [letter for copy in copies for letter in copy["dead_letters"]]
    assert [message["text"] for letter in letters for message in letter["messages"]] == [
        f"{CANARY} by the new number"
    ]
    assert {text["customer"] for copy in copies for text in copy["history"]} == {CANARY}


@pytest.mark.parametrize("typed", [[], ["79990000001"], ["c_" + "0" * 24, "--customer", "1"]])
def test_conversation_is_named_in_one_way(operator: Operator, typed: list[str]) -> None:
    answer = operator("export", *typed)

    assert (answer.status, answer.out) == (2, "")
    assert "name a conversation, or" in answer.err or "c_ and 24 hex digits" in answer.err
