"""An account whose provider or model hangs: its neighbours are answered meanwhile.

Order is asserted, never time: how far the hanging account has come when the neighbour is answered.
"""

import pytest

from tests.http_server import hang
from tests.stack.accounts import BARBER, SLUGGISH
from tests.stack.customer import Customer
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: The one worker process has 16 threads: ten generate, four send, two flush.
GENERATING, SENDING = 10, 4
#: Several times what the threads can hang on at once.
CROWD = 40


def crowd(stack: Stack) -> list[Customer]:
    """Return customers of the account whose calls will hang, each with a message due."""
    return [stack.customer(SLUGGISH) for _ in range(CROWD)]


def asked(people: list[Customer]) -> int:
    return sum(bool(person.turns) for person in people)


def offered(people: list[Customer]) -> int:
    return sum(bool(person.offered) for person in people)


@pytest.fixture
def acquainted(stack: Stack) -> None:
    """The worker knows a second account: without one no threads are kept free."""
    someone = stack.customer(BARBER)
    someone.writes(someone.line("Hi"))
    someone.wait_for_answers()


@pytest.mark.usefixtures("acquainted")
def test_provider_that_hangs_does_not_stop_another_accounts_answers(stack: Stack) -> None:
    people = crowd(stack)
    for person in people:
        stack.provider.answer(hang, to=person.number)
        person.writes(person.line("Hi"))
    eventually(lambda: offered(people) >= SENDING, what="every thread to hang")
    first, second = stack.customer(BARBER), stack.customer(BARBER)

    first.writes(first.line("Hi"))
    first.wait_for_answers()
    second.writes(second.line("Hi"))
    second.wait_for_answers()

    # All threads hung once; then half of them did, however many waited.
    assert offered(people) <= SENDING + 2 * SENDING // 2


@pytest.mark.usefixtures("acquainted")
def test_model_that_hangs_does_not_stop_another_accounts_answers(stack: Stack) -> None:
    people = crowd(stack)
    for person in people:
        stack.model.answer(hang, to=person.mark)
        person.writes(person.line("Hi"))
    eventually(lambda: asked(people) >= GENERATING, what="every thread to hang")
    first, second = stack.customer(BARBER), stack.customer(BARBER)

    first.writes(first.line("Hi"))
    first.wait_for_answers()
    second.writes(second.line("Hi"))
    second.wait_for_answers()

    assert asked(people) <= GENERATING + 2 * GENERATING // 2
