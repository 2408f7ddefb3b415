"""The checks on a real server, with one fault at a time, and the monitor that raises alerts."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
import redis

from batching import flow
from batching.alerts import Alerts
from batching.inspect import Census, census, dead_letter_headers
from batching.keys import BACKUP, CANARY, FLEET, META
from batching.model import Dependency, InboundMessage, Kind, Limits, NotUnderstood, Reason, Stage
from batching.store import Store
from runtime import health
from runtime.clients import redis_client
from runtime.fleet import Member
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
from runtime.silence import FLUSHER_SILENT_MS_MAX
from tests.batching.world import World
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

    def announce(self, *members: Member) -> None:
        seconds, _ = self.client.time()
        for member in members:
            fresh = replace(member, heartbeat_ms=seconds * 1000)
            self.client.hset(FLEET, fresh.name, json.dumps(asdict(fresh)))

    def collect(self) -> None:
        flow.flush(self.store, FakeQueue())

    def write(self, *message_ids: str, customer: str = "79990000001") -> None:
        flow.receive(
            self.store,
            [InboundMessage("salon", customer, it, Kind.TEXT, "Hi") for it in message_ids],
            lambda _: BATCH,
        )

    def dead_letter(self) -> None:
        self.write("wamid.1")
        self.clock.advance_ms(BATCH.idle_ms)
        (batch,) = self.store.collect(self.store.keyring.shards[0], limit=1)
        run = self.store.begin(batch.wake_up)
        assert run
        self.store.dead_letter(run, Reason.POISON, "worker_died")

    def count(self, counter: str, more: int) -> None:
        self.client.hincrby(self.store.keyring.shards[0].stats, counter, more)

    def replace_ledger(self) -> None:
        self.client.delete(META)
        self.store.open()

    def forget_ledger(self) -> None:
        """Replace it, and only check: who works with no ledger accepts any."""
        self.replace_ledger()
        self.change(ledger_id="")

    def fill(self, percent: int) -> None:
        used = int(self.client.info("memory")["used_memory"])
        self.client.config_set("maxmemory", used * 100 // percent)

    def copy(self, *, ago_ms: int = 0, failed: str = "", never: bool = False) -> None:
        """Note a copy as the program of ansible/roles/backup does."""
        when = "since_ms" if never else "made_ms"
        noted = {"stale_ms": 60_000, when: self.clock() - ago_ms, "failed": failed}
        self.client.hset(BACKUP, mapping=noted)

    def become_overdue(self, *, alerted: bool) -> None:
        self.write("wamid.1")
        self.clock.advance_ms(BATCH.overdue_ms)
        if alerted:
            self.collect()

    def wait_for_models(self) -> None:
        self.write("wamid.1")
        self.store.switch_model(on=False)

    def post_unread(self, *, ago_ms: int = 0) -> None:
        event = NotUnderstood("salon", "other_event", "data, event")
        flow.receive(self.store, [event], lambda _: BATCH)
        self.clock.advance_ms(ago_ms)

    def delay_alert(self) -> None:
        """Write an alert whose id says that it was written so long ago."""
        at_ms = self.clock() - UNDELIVERED_MS_MAX - 1
        self.client.xadd(self.store.keyring.shards[0].alerts, {"kind": "drift"}, f"{at_ms}-0")

    def answer_overdue(self) -> None:
        self.become_overdue(alerted=True)
        conversation_id = self.store.conversation_id("salon", "79990000001")
        self.client.delete(self.store.shard_of(conversation_id).batches(conversation_id))

    def answer(self, *, ago_ms: int = 0) -> None:
        world = World(self.store, self.clock)
        world.write("Hi")
        world.settle()
        self.clock.advance_ms(ago_ms)

    def differ(self) -> None:
        """Be the one of four processes with other settings."""
        me = replace(WEB, pid=12, fingerprint="f2")
        self.announce(me)
        self.change(me=me)

    def fail(self, *, stage: Stage = Stage.GENERATE, lasting_ms: int = 30_000) -> World:
        """Have a model, or a provider, fail in passing, and nothing happen for a time."""
        world = World(self.store, self.clock)
        wake_up = world.to_sending() if stage is Stage.SEND else world.to_generating()
        self.store.fail(world.begin(wake_up), "outage", 1_000, "model_503")
        self.clock.advance_ms(lasting_ms)
        return world

    def fail_and_recover(self) -> None:
        self.fail().settle()

    def change(self, **changes: Any) -> None:
        self.context = replace(self.context, **changes)


@pytest.fixture
def installation(store: Store, clock: FakeClock, valkey: ValkeyServer) -> Iterator[Installation]:
    with valkey.client(1) as broker:
        ledger_id = store.open()
        settings = load_settings(
            {"CANARY_URL": "http://127.0.0.1:9", "SENTRY_DSN": "http://public@127.0.0.1:9/1"}
        )
        context = Context(store, settings, broker, ("salon", "barber"), ledger_id, WEB)
        store.client.hset(CANARY, mapping={"answered_ms": clock(), "round_trip_ms": 612})
        healthy = Installation(store, clock, context)
        healthy.announce(WEB, replace(WEB, role="worker"), replace(WEB, role="scheduler"))
        healthy.collect()
        yield healthy
    healthy.client.config_set("maxmemory", "0")


#: What happens to an installation, and what a check then says.
FAULTS: list[tuple[Check, Callable[[Installation], object], Level, str]] = [
    (health.check_ledger_id, lambda p: p.client.delete(META), MISTAKE,
     "no ledger is in this Redis"),
    (health.check_ledger_id, Installation.replace_ledger, MISTAKE, "is in the place of"),
    (health.check_ledger_id, lambda p: p.client.hset(META, "shards", 4), MISTAKE,
     "shards=1: this ledger was made with"),
    (health.check_ledger_id, Installation.forget_ledger, OK, "the ledger is "),
    (health.check_flusher, lambda p: p.client.delete(p.store.keyring.shards[0].heartbeat), MISTAKE,
     "this Redis was never flushed"),
    (health.check_flusher, lambda p: p.clock.advance_ms(FLUSHER_SILENT_MS_MAX + 1), MISTAKE,
     "this Redis was last flushed 4.0 s ago"),
    (health.check_flushed, lambda p: p.client.delete(p.store.keyring.shards[0].heartbeat), MISTAKE,
     "this Redis was never flushed"),
    (health.check_flushed, lambda p: p.clock.advance_ms(86_400_001), MISTAKE,
     "this Redis was last flushed 1 d ago"),
    (health.check_flushed, lambda p: p.clock.advance_ms(86_400_000), WARNING,
     "this Redis was last flushed 1 d ago"),
    (health.check_own_version, lambda p: p.announce(replace(WEB, pid=12, fingerprint="f2")),
     WARNING, "settings or accounts differ"),
    (health.check_own_version, Installation.differ, MISTAKE, "settings or accounts differ"),
    (health.check_failing, lambda p: p.fail(lasting_ms=29_999), OK, "fails for long"),
    (health.check_failing, lambda p: p.fail(lasting_ms=30_000), MISTAKE,
     "salon's model has failed for 30.0 s: model_503; "),
    (health.check_failing, lambda p: p.fail(stage=Stage.SEND), MISTAKE,
     "salon's provider has failed for 30.0 s: model_503; "),
    (health.check_failing, lambda p: p.fail(lasting_ms=600_001), OK, "fails for long"),
    (health.check_failing, Installation.fail_and_recover, OK, "fails for long"),
    (health.check_roles, lambda p: p.client.hdel(FLEET, "worker:host-1:11"), MISTAKE,
     "no worker is alive in this Redis"),
    (health.check_agreement, lambda p: p.announce(replace(WEB, pid=12, fingerprint="f2")), MISTAKE,
     "settings or accounts differ"),
    (health.check_agreement, lambda p: p.announce(
        replace(WEB, pid=12, fingerprint="f2", started_ms=10**15)), WARNING,
     "settings or accounts differ"),
    (health.check_counters, lambda p: p.count("accepted", 3), MISTAKE,
     "do not add up in shard 0"),
    (health.check_lost, lambda p: p.count("lost", 3), MISTAKE,
     "messages lost: 3"),
    (health.check_memory, lambda p: p.fill(90), MISTAKE, " % of maxmemory="),
    (health.check_memory, lambda p: p.fill(10), OK, " % of maxmemory="),
    (health.check_separate_databases, lambda p: p.change(broker=p.client), MISTAKE,
     "is the same database as REDIS_URL"),
    (health.check_separate_databases, lambda p: p.change(broker=None), OK, "is not a Redis"),
    (health.check_alerts, lambda p: p.change(settings=load_settings({})), WARNING,
     "undelivered: 0, the oldest for 0 ms; they go to the log alone"),
    (health.check_alerts,
     lambda p: p.change(settings=load_settings({"NOTIFY_URLS": "json://127.0.0.1/x"})), OK,
     "undelivered: 0, the oldest for 0 ms"),
    (health.check_alerts, Installation.delay_alert, MISTAKE,
     "undelivered: 1, the oldest for 5 min"),
    (health.check_dead_letters, Installation.dead_letter, MISTAKE,
     "waiting: 1 with 1 messages, the oldest for 0 ms"),
    (health.check_circuits,
     lambda p: p.store.open_circuit("barber", Dependency.CHANNEL, "key"),
     MISTAKE, "barber cannot send: key"),
    (health.check_circuits,
     lambda p: p.store.open_circuit("barber", Dependency.CHANNEL, "cloud_100_33"),
     MISTAKE, "barber cannot send: cloud_100_33; the number does not exist at this address"),
    (health.check_circuits,
     lambda p: p.store.open_circuit("barber", Dependency.FALLBACK_1, "model_auth"),
     MISTAKE, "barber cannot ask its fallback-1: model_auth"),
    (health.check_answers, lambda p: p.answer(), OK, "salon 0 ms ago, barber not yet"),
    (health.check_answers, lambda p: p.answer(ago_ms=7_200_000), OK,
     "salon 2 h ago, barber not yet"),
    (health.check_channels,
     lambda p: p.store.note_channel("barber", 2, "venom_qrcode: it is out: scan the code"),
     MISTAKE, "barber: it is out (venom_qrcode, for "),
    (health.check_overdue, lambda p: p.become_overdue(alerted=True), MISTAKE,
     "batches that wait too long: 1, such as c_"),
    (health.check_overdue, lambda p: p.become_overdue(alerted=False), MISTAKE,
     "batches that wait too long: 1"),
    (health.check_overdue, Installation.answer_overdue, OK, "no batch waits too long"),
    (health.check_reports,
     lambda p: p.store.alert_once("reports_lost", "3 errors of it", cooldown_ms=1),
     WARNING, "3 errors of it"),
    (health.check_understood, lambda p: p.post_unread(), MISTAKE,
     "salon was posted what is not understood: other_event; fields: data, event"),
    (health.check_understood, lambda p: p.post_unread(ago_ms=24 * health.HOUR_MS), OK,
     "was understood"),
    (health.check_models, lambda p: p.store.switch_model(on=False), WARNING,
     "are switched off; no message waits"),
    (health.check_models, Installation.wait_for_models, MISTAKE,
     "are switched off; messages that wait: 1"),
    (health.check_backup, lambda p: p.copy(), OK, "the last copy is 0 ms old"),
    (health.check_backup, lambda p: p.copy(ago_ms=60_000), OK, "the last copy is 1 min old"),
    (health.check_backup, lambda p: p.copy(ago_ms=60_001), MISTAKE, "the last copy is 1 min old"),
    (health.check_backup, lambda p: p.copy(failed="send"), WARNING,
     "the last copy is 0 ms old; the last try failed at: send"),
    (health.check_backup, lambda p: p.copy(ago_ms=60_001, failed="check"), MISTAKE,
     "the last copy is 1 min old; the last try failed at: check"),
    (health.check_backup, lambda p: p.copy(never=True), OK, "no copy was made yet"),
    (health.check_backup, lambda p: p.copy(ago_ms=60_001, never=True), MISTAKE,
     "no copy was made yet"),
    (health.check_canary, lambda p: p.change(settings=load_settings({})), WARNING,
     "is not set: no canary is sent"),
    (health.check_canary, lambda p: p.client.delete(CANARY), MISTAKE, "was never answered"),
    (health.check_canary, lambda p: p.clock.advance_ms(200_000), OK,
     "answered 3 min ago, after 612 ms"),
    (health.check_canary, lambda p: p.clock.advance_ms(200_001), MISTAKE,
     "last answered 3 min ago"),
]  # fmt: skip

CHECKS = dict.fromkeys([health.check_writable, *(check for check, *_ in FAULTS)])


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


@pytest.mark.parametrize(
    ("off_ms", "level", "says"),
    [
        (0, OK, "agrees with the ledger's"),
        (3_000, OK, "agrees with the ledger's"),
        (-3_000, OK, "agrees with the ledger's"),
        (90_000, MISTAKE, "of this host and of the ledger's differ by 1 min"),
        (-90_000, MISTAKE, "of this host and of the ledger's differ by 1 min"),
    ],
)
def test_clock_that_is_not_the_ledgers_is_named(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    off_ms: int,
    level: Level,
    says: str,
) -> None:
    true = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: true() + off_ms * 1_000_000)

    (finding,) = health.check_clock(installation.context)

    assert (finding.level, finding.says) == (level, says)


def test_census_counts_what_a_ledger_holds(installation: Installation) -> None:
    installation.dead_letter()
    installation.write("wamid.1")
    installation.write("wamid.2", "wamid.3", customer="79990000002")
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


@pytest.fixture
def monitor(store: Store, valkey: ValkeyServer) -> Iterator[Monitor]:
    with valkey.client(1) as broker:
        yield Monitor(Context(store, load_settings({}), broker))


def alerts(monitor: Monitor) -> list[tuple[str, str]]:
    return [(it.kind, it.detail) for it in Alerts(monitor.context.store).newest(10)]


def kinds(monitor: Monitor) -> list[str]:
    return [kind for kind, _ in alerts(monitor)]


def break_counter(monitor: Monitor, counter: str = "accepted") -> None:
    shard = monitor.context.store.keyring.shards[0]
    monitor.context.store.client.hincrby(shard.stats, counter, 1)


def test_counters_that_do_not_add_up_raise_one_alert_of_all_schedulers(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    break_counter(monitor)

    monitor()
    monitor()
    Monitor(monitor.context)()

    assert kinds(monitor) == ["unbalanced"]
    assert [(it.message, it.levelname) for it in caplog.records] == [("ledger.unbalanced", "ERROR")]


@pytest.mark.parametrize("alerted", [True, False])
def test_overdue_batch_is_the_same_case_before_its_alert_and_after(
    installation: Installation, *, alerted: bool
) -> None:
    installation.become_overdue(alerted=alerted)
    conversation_id = installation.store.conversation_id("salon", "79990000001")
    key = installation.store.shard_of(conversation_id).batches(conversation_id)
    kept: Any = installation.client.hmget(key, "open_id", "id")

    (found,) = health.check_overdue(installation.context)

    assert found.cases == (f"{conversation_id}:{next(filter(None, kept)).decode()}",)


def test_dead_letters_are_cases_with_their_reasons(installation: Installation) -> None:
    installation.dead_letter()
    (batch,) = (it.batch_id for it in dead_letter_headers(installation.store))

    (found,) = health.check_dead_letters(installation.context)

    assert found.cases == (f"{batch} poison",)


def test_overdue_batch_is_alerted_by_the_scheduler_where_no_worker_lives(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = Monitor(installation.context)
    installation.become_overdue(alerted=False)

    monitor()
    monitor()

    assert kinds(monitor).count("overdue") == 1
    assert [it.message for it in caplog.records if it.message.startswith("batch")] == [
        "batch.overdue"
    ]


def test_lost_message_raises_an_alert(monitor: Monitor) -> None:
    break_counter(monitor, "lost")
    break_counter(monitor)

    monitor()

    assert kinds(monitor) == ["lost"]


def test_alert_says_what_is_wrong_with_the_running_server_and_what_to_do(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    client = monitor.context.store.client
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        monitor()
    finally:
        client.config_set("maxmemory-policy", "noeviction")

    says = "maxmemory-policy=allkeys-lru: must be noeviction"
    advice = "when memory is full this server would delete customers' messages"
    assert alerts(monitor) == [("durability", f"REDIS_URL: {says}: {advice}")]
    assert [(it.message, it.levelname) for it in caplog.records] == [("alarm.raised", "ERROR")]


@pytest.mark.parametrize("broker_away", [False, True])
def test_missing_role_raises_an_alert_only_if_it_lasts(
    monitor: Monitor,
    broker_away: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """A restart takes seconds. A broker that is away hides nothing."""
    if broker_away:
        away = redis_client(NOWHERE, "manage")
        monitor = Monitor(replace(monitor.context, broker=away))
    for _ in range(20_000 // MONITOR_EVERY_MS):
        monitor()
    before = kinds(monitor)
    monitor()

    assert (before, kinds(monitor)) == ([], ["flusher_silent", "missing_role"])


def test_role_that_comes_back_begins_anew(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False, True])

    def check(context: Context) -> list[CheckResult]:
        return health.check_roles(context) if next(answers) else []

    rule = AlertRule("missing_role", check, lasting_ms=MONITOR_EVERY_MS)
    monkeypatch.setattr(health, "ALERT_RULES", [rule])

    for _ in range(3):
        monitor()

    assert kinds(monitor) == []


def test_ledger_that_is_away_is_left_to_the_tick(caplog: pytest.LogCaptureFixture) -> None:
    away = Store(redis_client(NOWHERE, "manage"), privacy_key="k")

    Monitor(Context(away, load_settings({}), None))()

    assert caplog.messages == []


def test_fault_of_our_own_is_reported_and_the_other_rules_run(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Context) -> list[CheckResult]:
        raise KeyError

    monkeypatch.setattr(health, "ALERT_RULES", [AlertRule("broken", fail), *ALERT_RULES])
    break_counter(monitor)

    monitor()

    assert caplog.messages == ["watch.failed", "ledger.unbalanced"]
