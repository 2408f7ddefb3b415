"""When a flush is enqueued, and how an outage is logged."""

import logging

import pytest
import redis
from dramatiq.brokers.stub import StubBroker

from actors.tasks import BrokerQueue
from batching import flow
from batching.errors import LedgerUnavailableError, TransientError
from batching.model import InboundMessage, Kind, Limits, Watch
from batching.store import Store
from scheduler.tick import HEARTBEAT_MS, Tick, needs_flush
from tests.fakes import FakeClock, FakeQueue

NOW_MS = 1_700_000_000_000
LIMITS = Limits(idle_ms=1_000)
HELLO = InboundMessage("salon", "79990000001", "m1", Kind.TEXT, "Hello")


class Flushes:
    """Counts the flushes enqueued; raises ``failure`` instead where there is one."""

    def __init__(self) -> None:
        self.enqueued = 0
        self.failure: Exception | None = None

    def enqueue_flush(self) -> bool:
        if self.failure is not None:
            raise self.failure
        self.enqueued += 1
        return True


class Life:
    """Counts the ticks that ended."""

    def __init__(self) -> None:
        self.ticks = 0

    def __call__(self) -> None:
        self.ticks += 1


@pytest.fixture
def flushes() -> Flushes:
    return Flushes()


@pytest.fixture
def life() -> Life:
    return Life()


@pytest.fixture
def tick(store: Store, flushes: Flushes, life: Life) -> Tick:
    """Return a tick over a ledger that was flushed just now."""
    flow.flush(store, FakeQueue())
    return Tick(store, flushes, life)


@pytest.mark.parametrize(
    ("due_ms", "lease_ms", "heartbeat_ms", "expected"),
    [
        (None, None, NOW_MS, False),
        (NOW_MS + 1, NOW_MS + 1, NOW_MS, False),
        (NOW_MS, None, NOW_MS, True),
        (None, NOW_MS, NOW_MS, True),
        (None, None, NOW_MS - HEARTBEAT_MS + 1, False),
        (None, None, NOW_MS - HEARTBEAT_MS, True),
        (None, None, None, True),
    ],
)
def test_flush_has_a_reason(due_ms, lease_ms, heartbeat_ms, expected):
    watch = Watch(now_ms=NOW_MS, due_ms=due_ms, lease_ms=lease_ms, heartbeat_ms=heartbeat_ms)

    assert needs_flush(watch) is expected


def test_collecting_conversation_enqueues_no_flush(tick: Tick, flushes: Flushes, store: Store):
    flow.receive(store, [HELLO], lambda _: LIMITS)

    tick()

    assert flushes.enqueued == 0


def test_due_conversation_enqueues_a_flush(
    tick: Tick, flushes: Flushes, store: Store, clock: FakeClock
):
    flow.receive(store, [HELLO], lambda _: LIMITS)
    clock.advance_ms(LIMITS.idle_ms)

    tick()

    assert flushes.enqueued == 1


def test_idle_ledger_is_flushed_to_show_life(tick: Tick, flushes: Flushes, clock: FakeClock):
    tick()
    before = flushes.enqueued
    clock.advance_ms(HEARTBEAT_MS)

    tick()

    assert (before, flushes.enqueued) == (0, 1)


def test_first_tick_enqueues_a_flush_to_see_that_it_serves(
    store: Store, flushes: Flushes, life: Life
):
    """Where nothing is due it would not reach the broker at all, and could not know."""
    flow.flush(store, FakeQueue())
    serves = Life()
    tick = Tick(store, flushes, life, serves)

    for _ in range(3):
        tick()

    assert (serves.ticks, flushes.enqueued, life.ticks) == (1, 1, 3)


@pytest.mark.parametrize("trouble", [TransientError("broker_away"), KeyError("boom")])
def test_scheduler_serves_only_when_a_tick_reached_the_broker(
    store: Store, flushes: Flushes, life: Life, trouble: Exception
):
    serves = Life()
    tick = Tick(store, flushes, life, serves)
    flushes.failure = trouble
    tick()
    away = serves.ticks
    flushes.failure = None

    tick()

    assert (away, serves.ticks) == (0, 1)


def test_ring_of_another_scheduler_does_not_show_that_this_one_serves(
    client: redis.Redis, store: Store, life: Life
):
    broker = StubBroker(middleware=[])
    broker.declare_queue("flush")
    first, second = Life(), Life()
    flushes = BrokerQueue(broker, client)
    Tick(store, flushes, life, first)()
    late = Tick(store, flushes, life, second)
    late()
    held = second.ticks
    flushes.flush_begins()

    late()

    assert (first.ticks, held, second.ticks) == (1, 0, 1)


def test_schedulers_together_ring_once(client: redis.Redis, store: Store, life: Life):
    broker = StubBroker(middleware=[])
    broker.declare_queue("flush")
    ticks = [Tick(store, BrokerQueue(broker, client), life) for _ in range(3)]

    for tick in ticks * 2:
        tick()

    assert broker.queues["flush"].qsize() == 1


class Away:
    """A ledger that fails with ``failure`` until it is taken away."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure

    def watch(self) -> Watch:
        if self.failure is not None:
            raise self.failure
        return Watch(now_ms=NOW_MS, due_ms=None, lease_ms=None, heartbeat_ms=NOW_MS)


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    return [(record.message, record.levelno) for record in caplog.records]


def test_outage_is_logged_once_and_so_is_its_end(flushes: Flushes, life: Life, caplog):
    caplog.set_level(logging.INFO)
    ledger = Away(LedgerUnavailableError("ledger_away"))
    tick = Tick(ledger, flushes, life)

    for _ in range(20):
        tick()
    ledger.failure = None
    for _ in range(20):
        tick()

    assert events(caplog) == [("flush.hindered", logging.WARNING), ("flush.resumed", logging.INFO)]


def test_outage_counts_as_life(flushes: Flushes, life: Life):
    """To restart a scheduler does not bring a ledger back."""
    tick = Tick(Away(LedgerUnavailableError("ledger_away")), flushes, life)

    tick()

    assert life.ticks == 1


def test_broker_outage_counts_as_life_and_is_told(
    tick: Tick, flushes: Flushes, life: Life, clock, caplog
):
    flushes.failure = TransientError("broker_away")
    clock.advance_ms(HEARTBEAT_MS)

    tick()

    assert life.ticks == 1
    assert events(caplog) == [("flush.hindered", logging.WARNING)]


def test_fault_of_ours_is_logged_once_and_is_no_life(flushes: Flushes, life: Life, caplog):
    """The watchdog ends a process whose every tick fails; a fresh one may do better."""
    tick = Tick(Away(KeyError("boom")), flushes, life)

    for _ in range(20):
        tick()

    assert events(caplog) == [("flush.hindered", logging.ERROR)]
    assert life.ticks == 0
