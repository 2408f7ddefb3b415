"""When a flush is enqueued, and how an outage is logged."""

import logging
from collections import Counter
from dataclasses import replace

import pytest

from batching import flow
from batching.errors import LedgerUnavailableError, TransientError
from batching.model import InboundMessage, Kind, Limits, Watch
from batching.store import Store
from scheduler.tick import HEARTBEAT_MS, Tick, needs_flush
from tests.fakes import FakeClock, FakeQueue

NOW_MS = 1_700_000_000_000
QUIET = Watch(now_ms=NOW_MS, due_ms=None, lease_ms=None, heartbeat_ms=NOW_MS)
DUE = replace(QUIET, due_ms=NOW_MS)
LIMITS = Limits(idle_ms=1_000)
HELLO = InboundMessage("salon", "79990000001", "m1", Kind.TEXT, "Hello")


class Around:
    """What a tick reads and calls: ``found`` in the ledger, ``taken`` by the broker, or raised."""

    def __init__(self, found: Watch | Exception) -> None:
        self.found = found
        self.taken: bool | Exception = True
        self.calls: Counter[str] = Counter()

    def tick(self) -> Tick:
        return Tick(self.watch, self.enqueue_flush, self.call("alive"), self.call("ready"))

    def watch(self) -> Watch:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def enqueue_flush(self) -> bool:
        if isinstance(self.taken, Exception):
            raise self.taken
        self.calls["flush"] += self.taken
        return self.taken

    def call(self, name: str):
        return lambda: self.calls.update([name])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"due_ms": NOW_MS + 1, "lease_ms": NOW_MS + 1}, False),
        ({"due_ms": NOW_MS}, True),
        ({"lease_ms": NOW_MS}, True),
        ({"heartbeat_ms": NOW_MS - HEARTBEAT_MS + 1}, False),
        ({"heartbeat_ms": NOW_MS - HEARTBEAT_MS}, True),
        ({"heartbeat_ms": None}, True),
    ],
)
def test_flush_has_a_reason(changes, expected):
    assert needs_flush(replace(QUIET, **changes)) is expected


def test_flush_is_enqueued_for_a_due_conversation_and_to_show_life(store: Store, clock: FakeClock):
    around = Around(QUIET)
    tick = Tick(store.watch, around.enqueue_flush, around.call("alive"))
    enqueued = []
    flow.flush(store, FakeQueue())
    flow.receive(store, [HELLO], lambda _: LIMITS)

    for step_ms in (0, LIMITS.idle_ms, HEARTBEAT_MS - 1, 1):
        clock.advance_ms(step_ms)
        before = around.calls["flush"]
        tick()
        enqueued.append(around.calls["flush"] - before)
        if step_ms == LIMITS.idle_ms:
            flow.flush(store, FakeQueue())

    assert enqueued == [0, 1, 0, 1]


def test_first_tick_enqueues_a_flush_to_see_that_it_serves():
    """Where nothing is due it would not reach the broker at all, and could not know."""
    around = Around(QUIET)
    tick = around.tick()

    for _ in range(3):
        tick()

    assert around.calls == {"flush": 1, "ready": 1, "alive": 3}


@pytest.mark.parametrize(
    "taken",
    [
        TransientError("broker_away"),
        KeyError("boom"),
        pytest.param(False, id="another scheduler's is waiting"),
    ],
)
def test_scheduler_serves_only_when_a_tick_reached_the_broker(taken):
    around = Around(QUIET)
    tick = around.tick()
    around.taken = taken
    tick()
    away = around.calls["ready"]
    around.taken = True

    tick()

    assert (away, around.calls["ready"]) == (0, 1)


def test_flush_is_resumed_only_when_the_broker_took_one_or_somebody_flushed(caplog):
    """While the gate is closed after a failure nothing is known of the broker."""
    caplog.set_level(logging.INFO)
    around = Around(QUIET)
    tick = around.tick()
    tick()
    steps: list[tuple[Watch, bool | Exception]] = [
        (DUE, TransientError("broker_away")),
        (DUE, False),
        (QUIET, False),
        (DUE, TransientError("broker_away")),
        (replace(QUIET, now_ms=NOW_MS + 1), False),
        (replace(QUIET, heartbeat_ms=NOW_MS + 1), False),
        (QUIET, TransientError("broker_away")),
        (DUE, TransientError("broker_away")),
        (QUIET, True),
    ]
    seen = []

    for around.found, around.taken in steps:
        tick()
        seen.append(caplog.messages[-1:])
        caplog.clear()

    hindered, resumed = ["flush.hindered"], ["flush.resumed"]
    assert seen == [hindered, [], [], [], [], resumed, [], hindered, resumed]


@pytest.mark.parametrize(
    ("port", "failure", "level", "alive"),
    [
        pytest.param(
            "found", LedgerUnavailableError("ledger_away"), logging.WARNING, 20, id="ledger"
        ),
        pytest.param("taken", TransientError("broker_away"), logging.WARNING, 20, id="broker"),
        pytest.param("found", KeyError("boom"), logging.ERROR, 0, id="fault of ours"),
    ],
)
def test_outage_is_logged_once_and_so_is_its_end(port, failure, level, alive, caplog):
    """An outage is a life: a restart brings no ledger back. A fresh process may have no fault."""
    caplog.set_level(logging.INFO)
    around = Around(DUE)
    tick = around.tick()
    works = getattr(around, port)
    setattr(around, port, failure)

    for _ in range(20):
        tick()
    lived = around.calls["alive"]
    setattr(around, port, works)
    for _ in range(20):
        tick()

    events = [(record.message, record.levelno) for record in caplog.records]
    assert events == [("flush.hindered", level), ("flush.resumed", logging.INFO)]
    assert lived == alive
