"""The tasks: each calls the flow, and none of its failures reaches the broker. Their queue."""

import json
import logging
import threading
import time
from dataclasses import replace
from typing import Any

import dramatiq
import httpx2
import pytest
import redis
from dramatiq.brokers.stub import StubBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.tasks import FLUSH_LIMIT, GATE_MS, RENEWALS, BrokerQueue, Tasks, declare, renew_lease
from batching import flow
from batching.errors import LedgerUnavailableError, SupersededError
from batching.keys import FLUSH_GATE
from batching.model import InboundMessage, Kind, Limits, Stage, WakeUp
from batching.ports import Account
from batching.store import DONE, STALE, SUPERSEDED, Store
from tests.actors.conftest import DEADLINE_S
from tests.fakes import FakeAccounts, FakeChannel, FakeClock, FakeModel
from tests.http_server import HttpServer, hang, http, http_server
from tests.llm.dialects import DIALECTS, Api
from tests.valkey_server import free_port

__all__ = ["http", "http_server"]

LIMITS = Limits(idle_ms=1_000)
HELLO = InboundMessage("salon", "79990000001", "m1", Kind.TEXT, "Hello")


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def accounts(channel: FakeChannel) -> FakeAccounts:
    return FakeAccounts.of(Account("salon", LIMITS, channel, FakeModel()))


@pytest.fixture
def stub() -> StubBroker:
    broker = StubBroker(middleware=[])
    for name in ("flush", "generate", "send"):
        broker.declare_queue(name)
    return broker


@pytest.fixture
def tasks(store: Store, accounts: FakeAccounts, stub: StubBroker) -> Tasks:
    tasks = Tasks(store, accounts, BrokerQueue(stub, store.client))
    declare(stub, tasks)
    return tasks


def run_next(broker: StubBroker, queue: str) -> None:
    """Do what a worker does with the next wake-up of a queue."""
    message = dramatiq.Message.decode(broker.queues[queue].get_nowait())
    broker.get_actor(message.actor_name)(*message.args, **message.kwargs)


def answer_hello(
    tasks: Tasks, store: Store, stub: StubBroker, clock: FakeClock, limits: Limits
) -> None:
    flow.receive(store, [HELLO], lambda _: limits)
    clock.advance_ms(limits.idle_ms)
    tasks.flush()
    run_next(stub, "generate")
    run_next(stub, "send")


def test_wake_up_names_batch_and_attempt_and_nothing_else(stub: StubBroker, client: redis.Redis):
    BrokerQueue(stub, client).enqueue(WakeUp("c_0123456789abcdef01234567", "b7", 2, Stage.SEND))

    body = json.loads(stub.queues["send"].get_nowait())
    assert (body["actor_name"], body["args"], body["kwargs"], body["options"]) == (
        "send",
        ["c_0123456789abcdef01234567", "b7", 2],
        {},
        {},
    )


def test_schedulers_together_have_one_flush_outstanding_for_seconds_or_until_it_begins(
    stub: StubBroker, client: redis.Redis
):
    first, second = BrokerQueue(stub, client), BrokerQueue(stub, client)

    answers = [first.enqueue_flush(), second.enqueue_flush(), first.enqueue_flush()]
    closed_ms: Any = client.pttl(FLUSH_GATE)
    second.flush_begins()
    answers.append(second.enqueue_flush())

    assert answers == [True, False, False, True]
    assert stub.queues["flush"].qsize() == 2
    assert 0 < closed_ms <= GATE_MS


@pytest.mark.parametrize("verb", ["enqueue_flush", "flush_begins"])
def test_ledger_that_is_away_is_named(stub: StubBroker, verb: str):
    with redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0), protocol=2) as absent:
        queue = BrokerQueue(stub, absent)

        with pytest.raises(LedgerUnavailableError):
            getattr(queue, verb)()


def test_wake_up_lead_from_due_message_to_sent_answer(
    tasks: Tasks, store: Store, stub: StubBroker, clock: FakeClock, channel: FakeChannel
):
    answer_hello(tasks, store, stub, clock, LIMITS)

    assert [sent.answers for sent in channel.sent] == [("m1",)]


@pytest.mark.parametrize("stage", Stage)
def test_lease_is_kept_while_a_slow_call_runs(
    client: redis.Redis, stub: StubBroker, clock: FakeClock, store: Store, stage: Stage
):
    """The call goes on until the lease, whose end has long come, was renewed."""
    lease = store.keyring.shards[0].lease
    kept: list[int] = []

    def last_long() -> None:
        clock.advance_ms(60_000)
        give_up_s = time.monotonic() + DEADLINE_S
        while not kept and time.monotonic() < give_up_s:
            still: Any = client.zcount(lease, clock(), "inf")
            kept.extend([still] * still)

    limits = Limits(idle_ms=1_000, lease_ms=30)
    channel = FakeChannel(before=last_long if stage is Stage.SEND else None)
    model = FakeModel(before=last_long if stage is Stage.GENERATE else None)
    accounts = FakeAccounts.of(Account("salon", limits, channel, model))
    tasks = Tasks(store, accounts, BrokerQueue(stub, client))
    declare(stub, tasks)

    answer_hello(tasks, store, stub, clock, limits)

    assert kept


def test_flush_opens_the_gate_before_it_looks(tasks: Tasks, client: redis.Redis):
    client.set(FLUSH_GATE, 1)

    tasks.flush()

    assert client.exists(FLUSH_GATE) == 0


@pytest.mark.parametrize(("due", "again"), [(FLUSH_LIMIT - 1, 0), (FLUSH_LIMIT, 1)])
def test_flush_that_took_all_it_may_is_followed_by_another_at_once(
    tasks: Tasks, store: Store, stub: StubBroker, clock: FakeClock, due: int, again: int
):
    """What is left over would wait for the scheduler's next tick, and for as many as it takes."""
    for n in range(due):
        flow.receive(store, [replace(HELLO, customer=f"7999{n:07}")], lambda _: LIMITS)
    clock.advance_ms(LIMITS.idle_ms)

    tasks.flush()

    assert (stub.queues["generate"].qsize(), stub.queues["flush"].qsize()) == (due, again)


class Failing:
    """Stands for anything that the flow asks and that fails."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def __getattr__(self, name: str) -> object:
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "event", "level"),
    [
        (LedgerUnavailableError("ledger_away"), "doorbell.unanswered", logging.WARNING),
        (KeyError("boom"), "doorbell.failed", logging.ERROR),
    ],
)
@pytest.mark.parametrize("task", ["flush", "generate", "send"])
def test_failure_is_reported_and_ends_at_the_door(
    stub: StubBroker, client: redis.Redis, caplog, failure, event, level, task
):
    store = Failing(failure)
    tasks = Tasks(store, FakeAccounts(), BrokerQueue(stub, client))  # type: ignore[arg-type]
    args = () if task == "flush" else ("c_0123456789abcdef01234567", "b7", 1)

    getattr(tasks, task)(*args)

    assert [(record.message, record.levelno) for record in caplog.records] == [(event, level)]


class Lease:
    """Lets a test wait for renewals. Is lost at renewal ``lost_at``, or raises ``failures``."""

    def __init__(self, *failures: Exception, lost_at: int = 0) -> None:
        self._failures = list(failures)
        self._lost_at = lost_at
        self._renewals = threading.Semaphore(0)
        self.count = 0
        self.answer = DONE

    def extend(self) -> int:
        self.count += 1
        self._renewals.release()
        if self._failures:
            raise self._failures.pop(0)
        return STALE if self.count == self._lost_at else self.answer

    def renewed(self, times: int) -> bool:
        return all(self._renewals.acquire(timeout=DEADLINE_S) for _ in range(times))


def test_defaults_take_a_dead_workers_batch_over_early_and_not_a_slow_ones() -> None:
    """15 s is the promise, of which the model's call needs its part; a stall may last 5 s."""
    lease_ms = Limits().lease_ms

    assert lease_ms <= 6_000
    assert lease_ms - lease_ms / RENEWALS >= 5_000


def renewers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lease-renewer"]


@pytest.mark.parametrize("failures", [(), (LedgerUnavailableError("ledger_away"),)])
def test_lease_is_renewed_until_the_call_ends_though_a_renewal_is_missed(failures):
    lease = Lease(*failures)

    with renew_lease(lease.extend, 30):
        assert lease.renewed(3)

    assert renewers() == []


def test_renewer_ends_when_the_call_raises():
    with pytest.raises(ValueError, match="slow"), renew_lease(Lease().extend, 30_000):
        raise ValueError("slow")

    assert renewers() == []


@pytest.fixture
def api(http: httpx2.Client, http_server: HttpServer) -> Api:
    return Api(DIALECTS["openai"], http, http_server)


def test_call_of_a_superseded_run_is_cut_off_while_its_lease_goes_on(api: Api) -> None:
    lease = Lease()
    lease.answer = SUPERSEDED
    began_s = time.monotonic()

    with renew_lease(lease.extend, 60), pytest.raises(SupersededError):
        api.ask(hang)
    assert time.monotonic() - began_s < 4
    with renew_lease(lease.extend, 30):
        assert lease.renewed(3)

    assert api.ask() == "Yes."


def test_lost_lease_cuts_nothing_off(api: Api) -> None:
    """What was asked may yet be kept, where nobody has begun since."""
    lease = Lease(lost_at=1)

    with renew_lease(lease.extend, 3):
        assert lease.renewed(1)
        for renewer in renewers():
            renewer.join(DEADLINE_S)
        assert api.ask() == "Yes."


def test_lost_lease_is_not_renewed_again():
    lease = Lease(lost_at=2)

    with renew_lease(lease.extend, 3):
        assert lease.renewed(2)
        for renewer in renewers():
            renewer.join(DEADLINE_S)

    assert lease.count == 2
