"""The broker carries wake-ups only: whatever it loses, every message is answered once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from batching.flow import flush
from tests.fakes import FakeQueue
from tests.stack.stack import Stack
from tests.waiting import eventually, in_background

pytestmark = pytest.mark.e2e


def test_batch_whose_doorbell_was_lost_is_rung_for_again(stack: Stack) -> None:
    """Here the test itself is the flusher, with a broker that keeps nothing it is given."""
    anna = stack.customer()
    stack.processes["worker"].kill()
    anna.writes(anna.line("Hi"))
    lost = FakeQueue()
    eventually(lambda: flush(stack.ledger.store, lost) and lost.take(), what="a batch in flight")

    stack.processes["worker"].start()

    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]
    assert anna.turns == [anna.line("Hi")]


def test_broker_that_is_emptied_all_the_time_loses_nothing(stack: Stack) -> None:
    crowd = [stack.customer() for _ in range(20)]
    over: list[bool] = []

    with stack.valkey.client(1) as broker:

        def empties() -> None:
            eventually(lambda: broker.flushdb() and over, what="the end", every_s=0.05)

        with in_background(empties), ThreadPoolExecutor(5) as pool:
            for writing in [pool.submit(c.writes, *c.lines("Hi", "you?")) for c in crowd]:
                writing.result()
            stack.ledger.let_pass(4_000)
            over.append(True)

    answers = [customer.wait_for_answers() for customer in crowd]
    assert answers == [["Answer to: " + "\n".join(c.lines("Hi", "you?"))] for c in crowd]
    assert [len(customer.turns) for customer in crowd] == [1] * len(crowd)


def test_doorbells_that_wait_when_the_broker_is_emptied_are_rung_again(stack: Stack) -> None:
    anna = stack.customer()
    stack.processes["worker"].kill()
    anna.writes(anna.line("Hi"))
    with stack.valkey.client(1) as broker:
        eventually(broker.dbsize, what="a doorbell in the broker")
        broker.flushdb()

    stack.processes["worker"].start()

    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


def test_doorbell_that_is_rung_many_times_is_answered_once(stack: Stack) -> None:
    """A broker may repeat what it was given: here it does so with everything, ten times."""
    anna = stack.customer()
    stack.processes["worker"].kill()
    anna.writes(anna.line("Hi"))
    queue = "dramatiq:flush"
    with stack.valkey.client(1) as broker:
        eventually(lambda: broker.llen(queue), what="a doorbell in the broker")
        waiting = broker.lrange(queue, 0, -1)
        broker.rpush(queue, *list(waiting) * 10)

    stack.processes["worker"].start()

    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]
    stack.ledger.wait_until_settled(anna)
    assert (len(anna.turns), len(anna.replies)) == (1, 1)
