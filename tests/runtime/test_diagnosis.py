"""What is said of a ledger in which something is wrong: a real server, one fault at a time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
import redis

from batching import flow
from batching.inspect import Census, census
from batching.keys import CANARY, FLEET, META
from batching.model import InboundMessage, Kind, Limits, Reason
from batching.store import Store
from runtime import health
from runtime.clients import redis_client
from runtime.fleet import FLUSHER_SILENT_MS_MAX, Member
from runtime.health import UNDELIVERED_MS_MAX, CheckResult, Context, Level
from runtime.settings import load_settings
from tests.fakes import FakeClock, FakeQueue
from tests.valkey_server import ValkeyServer

OK, WARNING, MISTAKE = Level.OK, Level.WARNING, Level.MISTAKE
WEB = Member("web", "host-1", 11, "r1", "f1", "s1", 1_000, 700_000)
BATCH = Limits(idle_ms=1_000, overdue_ms=60_000)


@dataclass
class Patient:
    """An installation in good health, in which a test breaks one thing."""

    store: Store
    clock: FakeClock
    context: Context

    @property
    def client(self) -> Any:
        return self.store.client

    @property
    def stats(self) -> str:
        return self.store.keyring.shards[0].stats

    def announce(self, *members: Member) -> None:
        seconds, _ = self.client.time()
        for member in members:
            fresh = replace(member, heartbeat_ms=seconds * 1000)
            self.client.hset(FLEET, fresh.name, json.dumps(asdict(fresh)))

    def collect(self) -> None:
        flow.flush(self.store, FakeQueue())

    def write(self) -> None:
        message = InboundMessage("salon", "79990000001", "wamid.1", Kind.TEXT, "Hi")
        flow.receive(self.store, [message], lambda _: BATCH)

    def dead_letter(self) -> None:
        self.write()
        self.clock.advance_ms(BATCH.idle_ms)
        (batch,) = self.store.collect(self.store.keyring.shards[0], limit=1)
        run = self.store.begin(batch.wake_up)
        assert run
        self.store.dead_letter(batch.wake_up, run.token, Reason.POISON, "worker_died")


@pytest.fixture
def patient(store: Store, clock: FakeClock, valkey: ValkeyServer) -> Iterator[Patient]:
    broker = redis_client(valkey.url(1), "manage")
    ledger_id = store.open()
    context = Context(store, load_settings({}), broker, ("salon", "barber"), ledger_id)
    healthy = Patient(store, clock, context)
    healthy.announce(WEB, replace(WEB, role="worker"), replace(WEB, role="scheduler"))
    healthy.collect()
    yield healthy
    healthy.client.config_set("maxmemory", "0")
    broker.close()


def replaced(patient: Patient) -> None:
    patient.client.delete(META)
    patient.store.open()


def of_another_form(patient: Patient) -> None:
    patient.client.hset(META, "shards", 4)


def nearly_full(patient: Patient) -> None:
    used = int(patient.client.info("memory")["used_memory"])
    patient.client.config_set("maxmemory", used * 10 // 9)


def roomy_enough(patient: Patient) -> None:
    used = int(patient.client.info("memory")["used_memory"])
    patient.client.config_set("maxmemory", used * 10)


def warned_and_waiting(patient: Patient) -> None:
    patient.write()
    patient.clock.advance_ms(BATCH.overdue_ms)
    patient.collect()


def waiting_unseen(patient: Patient) -> None:
    patient.write()
    patient.clock.advance_ms(BATCH.overdue_ms)


def undelivered_count(patient: Patient) -> None:
    """An alert whose id says that it was written so long ago."""
    at_ms = patient.clock() - UNDELIVERED_MS_MAX - 1
    patient.client.xadd(patient.store.keyring.shards[0].alerts, {"kind": "drift"}, f"{at_ms}-0")


def one_database(patient: Patient) -> None:
    patient.context = replace(patient.context, broker=patient.client)


Ask = Callable[[Context], list[CheckResult]]
FAULTS: list[tuple[Ask, Callable[[Patient], object], Level, str]] = [
    (health.check_ledger_id, lambda p: p.client.delete(META), MISTAKE,
     "no ledger is in this Redis"),
    (health.check_ledger_id, replaced, MISTAKE, "is in the place of"),
    (health.check_ledger_id, of_another_form, MISTAKE, "shards=1: this ledger was made with"),
    (health.check_flusher, lambda p: p.client.delete(p.store.keyring.shards[0].heartbeat), MISTAKE,
     "this Redis was never flushed"),
    (health.check_flusher, lambda p: p.clock.advance_ms(FLUSHER_SILENT_MS_MAX + 1), MISTAKE,
     "this Redis was last flushed 30001 ms ago"),
    (health.check_roles, lambda p: p.client.hdel(FLEET, "worker:host-1:11"), MISTAKE,
     "no worker is alive in this Redis"),
    (health.check_agreement, lambda p: p.announce(replace(WEB, pid=12, fingerprint="f2")), MISTAKE,
     "settings or accounts differ"),
    (health.check_agreement, lambda p: p.announce(
        replace(WEB, pid=12, fingerprint="f2", started_ms=10**15)), WARNING,
     "settings or accounts differ"),
    (health.check_counters, lambda p: p.client.hincrby(p.stats, "accepted", 3), MISTAKE,
     "do not hold in shard 0"),
    (health.check_lost, lambda p: p.client.hincrby(p.stats, "lost", 3), MISTAKE,
     "messages lost: 3"),
    (health.check_memory, nearly_full, MISTAKE, " % of maxmemory="),
    (health.check_memory, roomy_enough, OK, " % of maxmemory="),
    (health.check_separate_databases, one_database, MISTAKE, "is the same database as REDIS_URL"),
    (health.check_alerts, undelivered_count, MISTAKE, "not told yet: 1, the oldest for 300001 ms"),
    (health.check_dead_letters, Patient.dead_letter, WARNING,
     "waiting: 1 with 1 messages, the oldest for 0 ms"),
    (health.check_circuits,
     lambda p: p.client.set(p.store.keyring.shards[0].stopped("barber"), "key"),
     MISTAKE, "barber cannot send: key"),
    (health.check_overdue, warned_and_waiting, WARNING,
     "batches that wait too long: 1, such as c_"),
    (health.check_overdue, waiting_unseen, WARNING,
     "batches that wait too long: 1"),
]  # fmt: skip

QUESTIONS: list[Ask] = [
    health.check_writable,
    health.check_ledger_id,
    health.check_flusher,
    health.check_roles,
    health.check_agreement,
    health.check_counters,
    health.check_lost,
    health.check_memory,
    health.check_separate_databases,
    health.check_alerts,
    health.check_dead_letters,
    health.check_circuits,
    health.check_overdue,
]


@pytest.mark.parametrize("ask", QUESTIONS, ids=lambda ask: ask.__name__)
def test_healthy_installation_has_nothing_against_it(patient: Patient, ask: Ask) -> None:
    (finding,) = ask(patient.context)

    assert (finding.level, finding.advice) == (OK, "")


@pytest.mark.parametrize(
    ("ask", "break_it", "level", "words"),
    FAULTS,
    ids=[f"{ask.__name__}-{n}" for n, (ask, *_) in enumerate(FAULTS)],
)
def test_fault_is_told_in_plain_words_with_what_to_do(
    patient: Patient, ask: Ask, break_it: Callable[[Patient], object], level: Level, words: str
) -> None:
    break_it(patient)

    (finding,) = ask(patient.context)

    assert (finding.level, words in finding.says) == (level, True), finding
    assert bool(finding.advice) is (level is not OK)


def test_one_who_only_looks_has_no_ledger_of_its_own(patient: Patient) -> None:
    replaced(patient)

    (finding,) = health.check_ledger_id(replace(patient.context, ledger_id=""))

    assert finding.level is OK


def test_batch_that_was_answered_in_the_end_is_not_overdue(patient: Patient) -> None:
    warned_and_waiting(patient)
    patient.client.delete(patient.store.keyring.shards[0].batches(
        patient.store.conversation_id("salon", "79990000001")
    ))  # fmt: skip

    (finding,) = health.check_overdue(patient.context)

    assert finding.level is OK


def test_rabbitmq_is_no_database_of_the_ledgers(patient: Patient) -> None:
    settings = load_settings({"BROKER_URL": "amqp://127.0.0.1/"})
    context = health.context_of(patient.store, settings, "manage")

    (finding,) = health.check_separate_databases(context)

    assert finding == CheckResult(OK, "BROKER_URL", "is not a Redis")


def test_evicting_server_is_found_while_it_runs(patient: Patient) -> None:
    patient.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = health.check_durability(patient.context)
    finally:
        patient.client.config_set("maxmemory-policy", "noeviction")

    assert [f.says for f in found if f.level is MISTAKE] == [
        "maxmemory-policy=allkeys-lru: must be noeviction"
    ]


def test_census_counts_what_a_ledger_holds(patient: Patient) -> None:
    patient.dead_letter()
    patient.write()
    message = InboundMessage("salon", "79990000002", "wamid.2", Kind.TEXT, "Hi")
    flow.receive(patient.store, [message, replace(message, message_id="wamid.3")], lambda _: BATCH)
    patient.clock.advance_ms(BATCH.overdue_ms)

    assert census(patient.store) == Census(
        open=2,
        flight=0,
        dead=1,
        lost=0,
        due=1,
        leased=0,
        dead_letters=1,
        overdue=1,
        oldest_dead_letter_ms=BATCH.overdue_ms,
    )


def test_census_of_a_redis_without_a_ledger_is_empty(client: redis.Redis) -> None:
    assert set(asdict(census(Store(client, privacy_key="k"))).values()) == {0}


@pytest.mark.parametrize(
    ("url", "answered_before_ms", "level", "says"),
    [
        ("", None, WARNING, "is not set: no canary is sent"),
        ("http://127.0.0.1:9", None, MISTAKE, "never came out"),
        ("http://127.0.0.1:9", 200_000, OK, "came out 200000 ms ago, after 612 ms"),
        ("http://127.0.0.1:9", 200_001, MISTAKE, "came out last 200001 ms ago"),
    ],
)
def test_canary_that_stays_away_is_told(
    patient: Patient, url: str, answered_before_ms: int | None, level: Level, says: str
) -> None:
    context = replace(patient.context, settings=load_settings({"CANARY_URL": url}))
    if answered_before_ms is not None:
        answered_ms = str(patient.clock() - answered_before_ms)
        patient.client.hset(CANARY, items=["answered_ms", answered_ms, "round_trip_ms", "612"])

    (found,) = health.check_canary(context)

    assert (found.level, found.says) == (level, says)
    assert bool(found.advice) == (level is not OK)
