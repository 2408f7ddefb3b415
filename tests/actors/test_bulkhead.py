"""How many threads of a process an account gets, by how long its calls take."""

from contextlib import ExitStack, suppress

import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from actors.bulkhead import LIMITED_MS, SLOW_MS, Bulkhead
from batching.model import CANARY_ACCOUNT, Stage
from tests.fakes import FakeClock

#: Of so many threads five in eight generate and two send.
THREADS = 16
GENERATING, SENDING = 10, 4


@pytest.fixture
def bulkhead(clock: FakeClock) -> Bulkhead:
    broker, made = StubBroker(middleware=[]), Bulkhead(clock)
    queues = {"flush", "generate", "send"}
    made.before_worker_boot(broker, Worker(broker, queues=queues, worker_threads=THREADS))
    return made


def run(bulkhead: Bulkhead, stage: Stage, account: str, clock: FakeClock, took_ms: int) -> None:
    with bulkhead.slot(stage, account) as may_begin:
        assert may_begin
        clock.advance_ms(took_ms)


def taken(bulkhead: Bulkhead, stage: Stage, account: str, wanted: int) -> int:
    """Begin so many runs at once; return how many got a slot."""
    with ExitStack() as runs:
        return sum(runs.enter_context(bulkhead.slot(stage, account)) for _ in range(wanted))


@pytest.mark.parametrize(("stage", "half"), [("generate", GENERATING // 2), ("send", SENDING // 2)])
def test_slow_account_gets_half_of_the_threads(bulkhead, clock, stage, half):
    stage = Stage(stage)
    run(bulkhead, stage, "barber", clock, 1)
    run(bulkhead, stage, "salon", clock, SLOW_MS[stage])

    assert taken(bulkhead, stage, "salon", 20) == half
    assert taken(bulkhead, stage, "barber", 20) == 20


def test_account_whose_calls_hang_right_now_is_slow(bulkhead, clock):
    run(bulkhead, Stage.SEND, "barber", clock, 1)
    with bulkhead.slot(Stage.SEND, "salon"), bulkhead.slot(Stage.SEND, "salon"):
        clock.advance_ms(SLOW_MS[Stage.SEND])

        assert taken(bulkhead, Stage.SEND, "salon", 5) == 0


def test_slowness_at_one_stage_says_nothing_of_the_other(bulkhead, clock):
    run(bulkhead, Stage.SEND, "barber", clock, 1)
    run(bulkhead, Stage.GENERATE, "salon", clock, SLOW_MS[Stage.GENERATE])

    assert taken(bulkhead, Stage.SEND, "salon", SENDING) == SENDING


def test_account_is_trusted_again_after_a_while(bulkhead, clock):
    run(bulkhead, Stage.SEND, "barber", clock, 1)
    run(bulkhead, Stage.SEND, "salon", clock, SLOW_MS[Stage.SEND])
    clock.advance_ms(LIMITED_MS)

    assert taken(bulkhead, Stage.SEND, "salon", SENDING) == SENDING


@pytest.mark.parametrize("account", ["", CANARY_ACCOUNT])
def test_slow_account_without_neighbours_has_all_threads(bulkhead, clock, account):
    """There would be account to keep them for."""
    run(bulkhead, Stage.SEND, account, clock, 1)
    run(bulkhead, Stage.SEND, "salon", clock, SLOW_MS[Stage.SEND])

    assert taken(bulkhead, Stage.SEND, "salon", SENDING) == SENDING


def test_slow_account_gets_a_thread_where_there_is_but_one(clock):
    bulkhead = Bulkhead(clock)
    run(bulkhead, Stage.SEND, "barber", clock, 1)
    run(bulkhead, Stage.SEND, "salon", clock, SLOW_MS[Stage.SEND])

    assert taken(bulkhead, Stage.SEND, "salon", 3) == 1


def test_slot_is_given_back_by_a_run_that_fails(bulkhead, clock):
    run(bulkhead, Stage.SEND, "barber", clock, 1)
    with suppress(KeyError), bulkhead.slot(Stage.SEND, "salon"):
        clock.advance_ms(SLOW_MS[Stage.SEND])
        raise KeyError

    assert taken(bulkhead, Stage.SEND, "salon", 9) == SENDING // 2
