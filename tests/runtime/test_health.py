"""The checks on a real server, with one fault at a time, and the monitor that raises alerts."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
import redis

from batching import flow
from batching.alerts import Alerts
from batching.inspect import Census, census
from batching.keys import CANARY, FLEET, META
from batching.model import InboundMessage, Kind, Limits, Reason
from batching.store import Store
from runtime import health
from runtime.clients import redis_client
from runtime.fleet import FLUSHER_SILENT_MS_MAX, Member
from runtime.health import (
    ALERT_RULES,
    MONITOR_EVERY_MS,
    UNDELIVERED_MS_MAX,
    AlertRule,
    Check,
    CheckResult,
    Context,
    Level,
    Monitor,
)
from runtime.settings import load_settings
from tests.fakes import FakeClock, FakeQueue
from tests.valkey_server import ValkeyServer

NOWHERE = "redis://127.0.0.1:1/0"
OK, WARNING, MISTAKE = Level.OK, Level.WARNING, Level.MISTAKE
WEB = Member("web", "host-1", 11, "r1", "f1", "s1", 1_000, 700_000)
BATCH = Limits(idle_ms=1_000, overdue_ms=60_000)


@dataclass
class Installation:
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
def installation(store: Store, clock: FakeClock, valkey: ValkeyServer) -> Iterator[Installation]:
    broker = redis_client(valkey.url(1), "manage")
    ledger_id = store.open()
    context = Context(store, load_settings({}), broker, ("salon", "barber"), ledger_id)
    healthy = Installation(store, clock, context)
    healthy.announce(WEB, replace(WEB, role="worker"), replace(WEB, role="scheduler"))
    healthy.collect()
    yield healthy
    healthy.client.config_set("maxmemory", "0")
    broker.close()


def replaced(installation: Installation) -> None:
    installation.client.delete(META)
    installation.store.open()


def of_another_form(installation: Installation) -> None:
    installation.client.hset(META, "shards", 4)


def nearly_full(installation: Installation) -> None:
    used = int(installation.client.info("memory")["used_memory"])
    installation.client.config_set("maxmemory", used * 10 // 9)


def far_from_full(installation: Installation) -> None:
    used = int(installation.client.info("memory")["used_memory"])
    installation.client.config_set("maxmemory", used * 10)


def overdue_and_alerted(installation: Installation) -> None:
    installation.write()
    installation.clock.advance_ms(BATCH.overdue_ms)
    installation.collect()


def overdue_without_alert(installation: Installation) -> None:
    installation.write()
    installation.clock.advance_ms(BATCH.overdue_ms)


def undelivered(installation: Installation) -> None:
    """An alert whose id says that it was written so long ago."""
    at_ms = installation.clock() - UNDELIVERED_MS_MAX - 1
    installation.client.xadd(
        installation.store.keyring.shards[0].alerts, {"kind": "drift"}, f"{at_ms}-0"
    )


def one_database(installation: Installation) -> None:
    installation.context = replace(installation.context, broker=installation.client)


FAULTS: list[tuple[Check, Callable[[Installation], object], Level, str]] = [
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
     "do not add up in shard 0"),
    (health.check_lost, lambda p: p.client.hincrby(p.stats, "lost", 3), MISTAKE,
     "messages lost: 3"),
    (health.check_memory, nearly_full, MISTAKE, " % of maxmemory="),
    (health.check_memory, far_from_full, OK, " % of maxmemory="),
    (health.check_separate_databases, one_database, MISTAKE, "is the same database as REDIS_URL"),
    (health.check_alerts, undelivered, MISTAKE, "undelivered: 1, the oldest for 300001 ms"),
    (health.check_dead_letters, Installation.dead_letter, WARNING,
     "waiting: 1 with 1 messages, the oldest for 0 ms"),
    (health.check_circuits,
     lambda p: p.client.set(p.store.keyring.shards[0].circuit("barber"), "key"),
     MISTAKE, "barber cannot send: key"),
    (health.check_overdue, overdue_and_alerted, WARNING,
     "batches that wait too long: 1, such as c_"),
    (health.check_overdue, overdue_without_alert, WARNING,
     "batches that wait too long: 1"),
]  # fmt: skip

CHECKS: list[Check] = [
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


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_healthy_installation_has_nothing_against_it(
    installation: Installation, check: Check
) -> None:
    (finding,) = check(installation.context)

    assert (finding.level, finding.advice) == (OK, "")


@pytest.mark.parametrize(
    ("check", "break_it", "level", "words"),
    FAULTS,
    ids=[f"{check.__name__}-{n}" for n, (check, *_) in enumerate(FAULTS)],
)
def test_fault_is_named_with_what_to_do(
    installation: Installation,
    check: Check,
    break_it: Callable[[Installation], object],
    level: Level,
    words: str,
) -> None:
    break_it(installation)

    (finding,) = check(installation.context)

    assert (finding.level, words in finding.says) == (level, True), finding
    assert bool(finding.advice) is (level is not OK)


def test_process_that_only_checks_accepts_any_ledger(installation: Installation) -> None:
    replaced(installation)

    (finding,) = health.check_ledger_id(replace(installation.context, ledger_id=""))

    assert finding.level is OK


def test_batch_that_was_answered_in_the_end_is_not_overdue(installation: Installation) -> None:
    overdue_and_alerted(installation)
    installation.client.delete(installation.store.keyring.shards[0].batches(
        installation.store.conversation_id("salon", "79990000001")
    ))  # fmt: skip

    (finding,) = health.check_overdue(installation.context)

    assert finding.level is OK


def test_rabbitmq_is_another_database(installation: Installation) -> None:
    settings = load_settings({"BROKER_URL": "amqp://127.0.0.1/"})
    context = health.context_of(installation.store, settings, "manage")

    (finding,) = health.check_separate_databases(context)

    assert finding == CheckResult(OK, "BROKER_URL", "is not a Redis")


def test_evicting_server_is_found_while_it_runs(installation: Installation) -> None:
    installation.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = health.check_durability(installation.context)
    finally:
        installation.client.config_set("maxmemory-policy", "noeviction")

    assert [f.says for f in found if f.level is MISTAKE] == [
        "maxmemory-policy=allkeys-lru: must be noeviction"
    ]


def test_census_counts_what_a_ledger_holds(installation: Installation) -> None:
    installation.dead_letter()
    installation.write()
    message = InboundMessage("salon", "79990000002", "wamid.2", Kind.TEXT, "Hi")
    flow.receive(
        installation.store, [message, replace(message, message_id="wamid.3")], lambda _: BATCH
    )
    installation.clock.advance_ms(BATCH.overdue_ms)

    assert census(installation.store) == Census(
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
        ("http://127.0.0.1:9", None, MISTAKE, "was never answered"),
        ("http://127.0.0.1:9", 200_000, OK, "answered 200000 ms ago, after 612 ms"),
        ("http://127.0.0.1:9", 200_001, MISTAKE, "last answered 200001 ms ago"),
    ],
)
def test_missing_canary_is_a_mistake(
    installation: Installation, url: str, answered_before_ms: int | None, level: Level, says: str
) -> None:
    context = replace(installation.context, settings=load_settings({"CANARY_URL": url}))
    if answered_before_ms is not None:
        answered_ms = str(installation.clock() - answered_before_ms)
        installation.client.hset(CANARY, items=["answered_ms", answered_ms, "round_trip_ms", "612"])

    (found,) = health.check_canary(context)

    assert (found.level, found.says) == (level, says)
    assert bool(found.advice) == (level is not OK)


@pytest.fixture
def monitor(store: Store, valkey: ValkeyServer) -> Iterator[Monitor]:
    with valkey.client(1) as broker:
        yield Monitor(Context(store, load_settings({}), broker))


def kinds(store: Store) -> list[str]:
    return [alert.kind for alert in Alerts(store).newest(10)]


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [record for record in caplog.records if record.name == "runtime.health"]
    return [(record.message, record.levelname) for record in found]


def break_counters(store: Store) -> None:
    store.client.hincrby(store.keyring.shards[0].stats, "accepted", 3)


def test_counters_that_do_not_add_up_raise_one_alert(
    monitor: Monitor, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    break_counters(store)

    monitor()
    monitor()

    assert kinds(store) == ["unbalanced"]
    assert events(caplog) == [("ledger.unbalanced", "ERROR")]


def test_alert_says_what_is_wrong_and_what_to_do(
    monitor: Monitor, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = store.client
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        monitor()
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    (alert,) = Alerts(store).newest(10)
    assert (alert.kind, alert.detail) == (
        "durability",
        (
            "REDIS_URL: maxmemory-policy=allkeys-lru: must be noeviction: "
            "when memory is full this server would delete customers' messages"
        ),
    )
    assert events(caplog) == [("alarm.raised", "ERROR")]


def test_two_schedulers_raise_one_alert(monitor: Monitor, store: Store) -> None:
    store.client.hincrby(store.keyring.shards[0].stats, "lost", 1)
    store.client.hincrby(store.keyring.shards[0].stats, "accepted", 1)

    monitor()
    Monitor(monitor.context)()

    assert kinds(store) == ["lost"]


def test_missing_role_raises_an_alert_only_if_it_lasts(monitor: Monitor, store: Store) -> None:
    """A deploy stops processes before it starts them."""
    for _ in range(60_000 // MONITOR_EVERY_MS):
        monitor()
    before = kinds(store)
    monitor()

    assert (before, kinds(store)) == ([], ["missing_role"])


def test_role_that_comes_back_begins_anew(
    monitor: Monitor, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False, True])

    def check(context: Context) -> list[CheckResult]:
        return health.check_roles(context) if next(answers) else []

    monkeypatch.setattr(
        health, "ALERT_RULES", [AlertRule("missing_role", check, lasting_ms=MONITOR_EVERY_MS)]
    )

    for _ in range(3):
        monitor()

    assert kinds(store) == []


def test_ledger_that_is_away_is_left_to_the_tick(caplog: pytest.LogCaptureFixture) -> None:
    away = Store(redis_client(NOWHERE, "manage"), privacy_key="k")

    Monitor(Context(away, load_settings({}), None))()

    assert events(caplog) == []


def test_broker_that_is_away_does_not_hide_the_rest(store: Store) -> None:
    away = redis_client(NOWHERE, "manage")
    without = Monitor(Context(store, load_settings({}), away))

    for _ in range(60_000 // MONITOR_EVERY_MS + 1):
        without()

    assert kinds(store) == ["missing_role"]


def test_fault_of_our_own_is_reported_and_the_other_rules_run(
    monitor: Monitor,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: Context) -> list[CheckResult]:
        raise KeyError

    monkeypatch.setattr(health, "ALERT_RULES", [AlertRule("broken", fail), *ALERT_RULES])
    break_counters(store)

    with caplog.at_level(logging.ERROR):
        monitor()

    assert [name for name, _ in events(caplog)] == ["watch.failed", "ledger.unbalanced"]
