"""Silence is noticed: a message of our own goes the whole way, and is missed when it does not."""

from signal import SIGSTOP

import pytest

from batching.inspect import counters
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ENVIRON = {"CANARY_EVERY_MS": "2000", "LOG_LEVEL": "DEBUG"}


def log(stack: Stack) -> str:
    return stack.processes["scheduler"].log()


def test_canary_comes_out_again_and_again_and_is_no_customers(stack: Stack) -> None:
    before = log(stack).count("canary.answered")

    eventually(lambda: log(stack).count("canary.answered") > before + 1, what="two canaries")

    assert [shard.accepted for shard in counters(stack.ledger.store)] == [0]
    assert (stack.provider.requests, stack.model.requests) == ([], [])


def test_worker_that_hangs_is_reported_by_the_canary(stack: Stack) -> None:
    """It is alive for systemd, and holds its queue; only a missing answer shows it."""
    stack.processes["worker"].signal_group(SIGSTOP)

    eventually(lambda: '"event": "canary.late"' in log(stack), what="the canary to be missed")
    eventually(lambda: '"kind": "canary_late"' in log(stack), what="the alert to be delivered")

    assert log(stack).count('"event": "canary.late"') == 1
    stack.processes["worker"].kill()
    stack.processes["worker"].start()
    answered = log(stack).count("canary.answered")
    eventually(lambda: log(stack).count("canary.answered") > answered, what="the next canary")
