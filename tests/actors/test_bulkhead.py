"""How many threads of a process an account gets, by how long its calls take."""

from contextlib import ExitStack, suppress

import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from actors.bulkhead import LIMITED_MS, SLOW_MS, Bulkhead
from batching.model import CANARY_ACCOUNT, Stage
from tests.fakes import FakeClock

#: Of so many threads ten generate and four send.
THREADS = 16
GENERATE, SEND = Stage.GENERATE, Stage.SEND
HEALTHY = (SEND, "barber", 1)
SLOW = (SEND, "salon", SLOW_MS[SEND])
QUEUES = {"flush", "generate", "send"}


@pytest.fixture
def bulkhead(clock: FakeClock) -> Bulkhead:
    return serving(THREADS, clock)


def serving(threads: int, clock: FakeClock) -> Bulkhead:
    """Return the bulkhead of a worker with so many threads."""
    broker, made = StubBroker(middleware=[]), Bulkhead(clock)
    made.before_worker_boot(broker, Worker(broker, queues=QUEUES, worker_threads=threads))
    return made


def run(bulkhead: Bulkhead, stage: Stage, account: str, took_ms: int, *, clock: FakeClock) -> None:
    with bulkhead.slot(stage, account) as may_begin:
        assert may_begin
        clock.advance_ms(took_ms)


def taken(bulkhead: Bulkhead, stage: Stage, account: str, wanted: int = 20) -> int:
    """Begin so many runs at once; return how many got a slot."""
    with ExitStack() as runs:
        return sum(runs.enter_context(bulkhead.slot(stage, account)) for _ in range(wanted))


@pytest.mark.parametrize(
    ("runs", "waited_ms", "stage", "account", "got"),
    [
        pytest.param([HEALTHY, SLOW], 0, SEND, "salon", 2, id="slow: half of the threads"),
        pytest.param(
            [HEALTHY, (GENERATE, "salon", SLOW_MS[GENERATE])],
            *(0, GENERATE, "salon", 5),
            id="slow to generate",
        ),
        pytest.param([HEALTHY, SLOW], 0, SEND, "barber", 20, id="healthy"),
        pytest.param([HEALTHY, SLOW], 0, GENERATE, "salon", 20, id="slow at the other stage"),
        pytest.param([HEALTHY, SLOW], LIMITED_MS, SEND, "salon", 20, id="slow a while ago"),
        pytest.param([SLOW], 0, SEND, "salon", 20, id="alone"),
        pytest.param([(SEND, "", 1), SLOW], 0, SEND, "salon", 20, id="nothing to answer beside it"),
        pytest.param(
            [(SEND, CANARY_ACCOUNT, 1), SLOW], 0, SEND, "salon", 20, id="the canary beside it"
        ),
    ],
)
def test_slow_account_with_neighbours_is_limited(
    bulkhead, clock, runs, waited_ms, stage, account, got
):
    for one in runs:
        run(bulkhead, *one, clock=clock)
    clock.advance_ms(waited_ms)

    assert taken(bulkhead, stage, account) == got


def test_account_whose_calls_hang_right_now_is_slow(bulkhead, clock):
    run(bulkhead, *HEALTHY, clock=clock)
    with bulkhead.slot(SEND, "salon"), bulkhead.slot(SEND, "salon"):
        clock.advance_ms(SLOW_MS[SEND])

        assert taken(bulkhead, SEND, "salon") == 0


def test_slow_account_gets_a_thread_where_there_is_but_one(clock):
    bulkhead = serving(1, clock)
    run(bulkhead, *HEALTHY, clock=clock)
    run(bulkhead, *SLOW, clock=clock)

    assert taken(bulkhead, SEND, "salon") == 1


def test_slot_is_given_back_by_a_run_that_fails(bulkhead, clock):
    run(bulkhead, *HEALTHY, clock=clock)
    with suppress(KeyError), bulkhead.slot(SEND, "salon"):
        clock.advance_ms(SLOW_MS[SEND])
        raise KeyError

    assert taken(bulkhead, SEND, "salon") == 2
