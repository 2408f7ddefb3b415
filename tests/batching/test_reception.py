"""What an account does with calls, payments and what its own app sends."""

from typing import Literal

import pytest

from batching.model import ForeignMessage, Kind, Reception, Status, plain
from tests.batching.world import ANNA, ANSWERED, End, World

CALL = "[The customer called and was not answered]"
PAYMENT = "[The customer made a payment] it arrived; reference order-17"
GREETING = "Thank you for writing!\nWe will answer soon."


def from_our_phone(text: str) -> ForeignMessage:
    return ForeignMessage("salon", ANNA, "wamid.app", "person", text)


def automatic(*texts: str) -> Reception:
    return Reception(automatic_texts=frozenset(map(plain, texts)))


def test_call_is_answered_by_one_message(world: World) -> None:
    call = world.message(CALL, kind=Kind.CALL)

    statuses = [world.receive(call)[0].status for _ in range(2)]
    world.settle()

    assert statuses == [Status.ACCEPTED, Status.DUPLICATE]
    assert world.model.turns == [CALL]
    assert world.end() == End(ANSWERED)


@pytest.mark.parametrize(("on_call", "kinds"), [("alert", ["customer_called"]), ("ignore", [])])
def test_call_asks_for_no_answer_where_the_account_says_so(
    world: World, on_call: Literal["alert", "ignore"], kinds: list[str]
) -> None:
    world.reception = Reception(on_call)

    statuses = [world.receive(world.message(CALL, kind=Kind.CALL))[0].status for _ in range(2)]
    world.settle()

    assert statuses == [Status.SUPPRESSED] * 2
    assert world.alerts() == [(kind, world.anna) for kind in kinds]
    assert world.counts() == {"accepted": 2, "suppressed": 2}


def test_payment_is_in_the_turn_and_told_to_a_person_once(world: World) -> None:
    payment = world.message(PAYMENT, kind=Kind.PAYMENT)

    for _ in range(2):
        world.receive(payment)
    world.settle()

    assert world.model.turns == [PAYMENT]
    assert world.alerts() == [("customer_paid", world.anna)]
    assert world.counts() == ANSWERED


@pytest.mark.parametrize("sent", [GREETING, "  thank you for WRITING! We will answer soon. "])
def test_automatic_text_of_the_app_is_no_takeover(world: World, sent: str) -> None:
    world.reception = automatic(GREETING, "Closed")
    world.write("Hi")

    world.receive(from_our_phone(sent))
    world.settle()

    assert world.end() == End(ANSWERED)


@pytest.mark.parametrize("sent", ["", "Thank you!", f"{GREETING} Anna"])
def test_other_text_of_the_app_is_a_persons(world: World, sent: str) -> None:
    world.reception = automatic(GREETING)
    world.write("Hi")
    world.settle()
    world.write("And tomorrow?")

    world.receive(from_our_phone(sent))
    world.settle()

    assert world.counts()["suppressed"] == 1


def greeted(world: World) -> None:
    """Have the app greet a new customer by a text that the account does not name."""
    world.write("Hi")
    world.wait(2_000)
    world.receive(from_our_phone(GREETING))


def test_new_customer_who_was_greeted_is_answered_when_nobody_goes_on(world: World) -> None:
    greeted(world)

    world.settle(59_000)
    before = world.counts()
    world.settle(1_000)

    assert before == {"accepted": 1, "open": 1}
    assert world.end() == End(ANSWERED)


def test_person_who_goes_on_after_the_greeting_takes_over(world: World) -> None:
    greeted(world)

    world.receive(from_our_phone("How can I help?"))
    world.settle(9_000, 60_000)

    assert world.end() == End({"accepted": 1, "suppressed": 1}, asked=0, offered=0)


def test_greeted_customer_who_writes_again_is_answered_as_ever(world: World) -> None:
    greeted(world)

    world.write("And tomorrow?")
    world.settle()

    assert world.model.turns == ["Hi\nAnd tomorrow?"]


@pytest.mark.parametrize("case", ["later", "known customer", "after a person"])
def test_text_that_is_no_greeting_is_a_takeover(world: World, case: str) -> None:
    """A person needs longer to read and answer; and a greeting comes to new customers alone."""
    if case == "known customer":
        world.write("Hello")
        world.settle()
    if case == "after a person":
        world.receive(from_our_phone("I am writing to you"))
    world.write("Hi")
    world.wait(5_001 if case == "later" else 1_000)

    world.receive(from_our_phone(GREETING))
    world.settle()

    assert world.counts()["suppressed"] == 1
