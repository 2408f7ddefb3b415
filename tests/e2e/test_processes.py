"""Any number of processes may run, and any of them may stop, die or hang."""

from collections.abc import Iterator
from signal import SIGCONT, SIGSTOP

import pytest

from batching.keys import FLEET
from demo.child import worker
from runtime.fleet import members
from tests.http_server import Hold
from tests.outside import completion
from tests.processes import OwnedProcess
from tests.stack.stack import USUAL, Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: Conversations are spread over several shards, as they are on a cluster.
ENVIRON = {"BATCH_SHARDS": "4"}


@pytest.fixture
def second_worker(stack: Stack) -> Iterator[OwnedProcess]:
    second = stack.process("second worker", *worker(threads=16))
    yield second
    second.kill()


def roles(stack: Stack) -> list[str]:
    """Return who is in the fleet, silent ones included."""
    return sorted(member.role for member in members(stack.ledger.client))


def wait_for_start(process: OwnedProcess) -> None:
    eventually(lambda: "process.started" in process.log(), what="the process to have started")


def test_two_schedulers_and_two_workers_answer_everyone_once(
    stack: Stack, second_worker: OwnedProcess
) -> None:
    scheduler = stack.process("second scheduler", "scheduler")
    scheduler.start()
    second_worker.start()
    eventually(lambda: "process.started" in scheduler.log(), what="the second scheduler")
    crowd = [stack.customer() for _ in range(30)]

    for customer in crowd:
        customer.writes(customer.line("Hi"))

    answers = [customer.wait_for_answers() for customer in crowd]
    for customer in crowd:
        stack.ledger.wait_until_settled(customer)
    assert answers == [[customer.line("Answer to: Hi")] for customer in crowd]
    assert [customer.turns for customer in crowd] == [[c.line("Hi")] for c in crowd]
    assert scheduler.terminate() == 0


def test_message_that_came_while_no_scheduler_ran_is_answered(stack: Stack) -> None:
    anna = stack.customer()
    stack.processes["scheduler"].kill()

    anna.writes(anna.line("Hi"))
    stack.processes["scheduler"].start()

    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]


def test_message_acknowledged_by_a_web_process_that_dies_is_answered(stack: Stack) -> None:
    anna = stack.customer()

    anna.writes(anna.line("Hi"))
    stack.processes["web"].kill()

    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]
    stack.processes["web"].start()
    stack.wait_until_ready()


def test_worker_that_wakes_up_after_its_lease_changes_nothing(
    stack: Stack, second_worker: OwnedProcess
) -> None:
    """It slept in the middle of a generation, another is at it now: its own answer is stale."""
    anna = stack.customer()
    stale, fresh = Hold(completion("Stale answer")), Hold(completion("Fresh answer"))
    stack.model.answer(stale, fresh, to=anna.mark)
    anna.writes(anna.line("Hi"))
    anna.wait_for_turns()
    stack.processes["worker"].signal_group(SIGSTOP)
    second_worker.start()
    anna.wait_for_turns(2)

    stale.released.set()
    stack.processes["worker"].signal_group(SIGCONT)
    sleeper = stack.model.requests_of(anna.mark)[0]
    eventually(lambda: sleeper.done_ns, what="the sleeper to have its answer")
    stack.ledger.let_pass(1_000)
    fresh.released.set()

    assert anna.wait_for_answers() == ["Fresh answer"]


def test_every_process_ends_when_it_is_told_to_and_leaves_the_fleet(stack: Stack) -> None:
    """A playbook that ends old processes looks whether they are gone, not for how long silent."""
    stack.processes["worker"].terminate()
    pair = stack.process("pair of workers", *worker(processes=2, threads=4))
    pair.start()
    # Those that other tests killed stay listed for a minute; the living announce themselves again.
    stack.ledger.client.delete(FLEET)
    eventually(lambda: roles(stack) == ["scheduler", "web", "web", "worker", "worker"])

    exit_codes, left = [], []
    for process in (pair, stack.processes["scheduler"], stack.processes["web"]):
        exit_codes.append(process.terminate())
        left.append(roles(stack))
    for name in USUAL:
        stack.processes[name].start()
    stack.wait_until_ready()

    assert exit_codes == [0, 0, 0]
    assert left == [["scheduler", "web", "web"], ["web", "web"], []]
