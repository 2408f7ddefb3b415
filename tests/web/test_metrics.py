"""``/metrics``: what is in a scrape, in which form, and what moves it."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import falcon.testing
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from batching.errors import (
    ChannelStoppedError,
    ModelStoppedError,
    PermanentError,
    SupersededError,
    TransientError,
)
from batching.inspect import MESSAGES, dead_letter_headers
from batching.keys import BACKUP, CANARY, FLEET
from batching.model import (
    Answer,
    Budget,
    DeliveryStatus,
    Gravity,
    Handover,
    Kind,
    Reason,
    Reception,
    Waiting,
)
from batching.reminders import Reminders
from batching.store import server_ms
from llm.client import KNOWN_CODES
from runtime.build import Runtime
from runtime.certificates import certificates
from runtime.fleet import SILENT_MS_MAX, STEADY_MS
from tests.batching.conftest import Counting, round_trips
from tests.batching.world import PERSON, World
from tests.cli.conftest import Operator
from tests.conftest import IN_CI
from tests.fakes import FakeClock
from tests.repository import SOURCES
from tests.tls import HOSTS, installation, make
from tests.web.conftest import Start
from tests.webhooks import Caller, body, change, text_message
from web import create_app
from web.metrics import CODES_MAX, _bounded, _shared

__all__ = ["round_trips"]

HELLO = body(change(text_message()))
#: Labels and value of each sample, by its name.
Scrape = dict[str, dict[tuple[str, ...], float]]


def scrape(text: str) -> Scrape:
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[*sample.labels.values(),] = sample.value
    return found


def scraped(runtime: Runtime, query: str = "") -> Scrape:
    """Return what a process answers that was not asked before."""
    return scrape(
        falcon.testing.TestClient(create_app(runtime))
        .simulate_get("/metrics", query_string=query)
        .text
    )


def test_prometheus_finds_nothing_to_say_of_the_form(http: falcon.testing.TestClient) -> None:
    """Help, types, names and base units, as Prometheus's own linter wants them."""
    promtool = shutil.which("promtool")
    if promtool is None and not IN_CI:
        pytest.skip("promtool is not installed: apt install prometheus")
    assert promtool, "promtool is missing: apt install prometheus"
    answer = http.simulate_get("/metrics")

    said = subprocess.run(
        [promtool, "check", "metrics"],
        input=answer.text,
        text=True,
        capture_output=True,
        check=False,
    )

    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (said.stdout, said.stderr, said.returncode) == ("", "", 0)


def test_end_of_each_certificate_is_told(runtime: Runtime, tmp_path: Path) -> None:
    name = "ai_admin_certificate_end_timestamp_seconds"
    assert name not in scraped(runtime)
    with installation(make(tmp_path, 30)) as settings:
        found = scraped(replace(runtime, settings=settings))[name]
        ends = {(it.of,): (it.until_ms or 0) / 1000 for it in certificates(settings)}

    assert found == ends
    assert len(ends) == len(HOSTS)


def test_everything_is_there_from_the_beginning(runtime: Runtime) -> None:
    """Else the first of its kind cannot be seen rising."""
    found = scraped(runtime)
    reasons = set(Reason) - {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER}
    reasons.remove(Reason.HANDOVER)

    assert found["ai_admin_dead_total"] == {(str(reason),): 0 for reason in reasons}
    assert found["ai_admin_suppressed_total"]["closing",] == 0
    assert found["ai_admin_ledger_up"] == {(): 1}
    for account in ("salon", "barber", "nails", "demo"):
        assert found["ai_admin_parts_sent_total"][account,] == 0
        assert found["ai_admin_end_to_end_seconds_count"][account,] == 0
        assert found["ai_admin_generation_seconds_count"][account, "model", "failed"] == 0
        assert found["ai_admin_circuit_open"][account, "channel"] == 0
    for code in ("cloud_131047", "venom_http_401"):
        assert found["ai_admin_call_failures_total"][code, "channel"] == 0
    for code in ("cloud_131056", "model_429", "model_stopped"):
        assert found["ai_admin_retries_total"][code,] == 0
    assert found["ai_admin_webhooks_total"]["whatsapp_cloud", "503"] == 0
    assert [name for name, values in found.items() for it in values.values() if it < 0] == []
    assert found.keys().isdisjoint({"ai_admin_canary_age_seconds", "ai_admin_flusher_lag_seconds"})


def test_names_of_the_release_before_are_there_for_who_asks(runtime: Runtime) -> None:
    runtime.store.client.hset(CANARY, items=["answered_ms", "1", "round_trip_ms", "612"])

    former, present = scraped(runtime, "former=yes"), scraped(runtime)

    assert former["ai_admin_canary_round_trip_ms"] == {(): 612}
    assert former["ai_admin_flusher_lag_ms"] == {(): -1}
    assert former["ai_admin_messages_answered_total"] == {("0",): 0}
    assert present["ai_admin_canary_round_trip_seconds"] == {(): 0.612}
    assert "ai_admin_canary_round_trip_ms" not in present


def test_scrape_during_an_outage_of_the_ledger_tells_what_the_process_knows(
    without_ledger: falcon.testing.TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Prometheus must not lose the target just when it matters, and no scrape is an error."""
    Caller(without_ledger).cloud(HELLO)
    caplog.clear()

    answer = without_ledger.simulate_get("/metrics")
    found = scrape(answer.text)

    assert answer.status_code == 200
    assert found["ai_admin_ledger_up"] == {(): 0}
    assert found["ai_admin_webhooks_total"]["whatsapp_cloud", "503"] == 1
    assert "ai_admin_messages_accepted_total" not in found
    assert [it.message for it in caplog.records if it.levelname in {"WARNING", "ERROR"}] == []


# What moves it.


@pytest.fixture
def world(runtime: Runtime) -> World:
    """The flow on the ledger of the web process, by a clock that begins now and is moved."""
    clock = FakeClock(runtime.store.now_ms())
    runtime.store.clock = clock
    return World(runtime.store, clock)


Deed = Callable[[World, Runtime], object]


def answered(world: World, _: Runtime) -> None:
    world.write("Hi", "When do you open?")
    world.settle()


def handed_over(world: World, _: Runtime) -> None:
    """Have a person awaited twice; the first comes, and the second customer is told."""
    world.waiting = Waiting(apology_ms=1_000, apology="Soon.")
    for customer in ("1", "2"):
        world.model.outcomes = [Answer("A person will answer.", Handover("asked"))]
        world.write("Hi", customer=customer)
        world.settle()
        if customer == "1":
            world.store.end_handover(world.store.conversation_id("salon", "1"), "resumed")
    world.settle(600_000)


def dead(world: World, _: Runtime) -> None:
    world.model.outcomes.append(PermanentError("model_context"))
    world.write("Hi")
    world.settle()
    world.wait(6_000_000)


def replayed(world: World, runtime: Runtime) -> None:
    dead(world, runtime)
    (letter,) = dead_letter_headers(world.store)
    world.store.replay(world.anna, letter.batch_id, "salon", world.limits)


def refused(error: Exception, *, by: str = "model") -> Deed:
    """Return the deed of a call that fails."""

    def deed(world: World, _: Runtime) -> None:
        getattr(world, by).outcomes.append(error)
        world.write("Hi")
        world.settle()

    return deed


def pauses(world: World, _: Runtime) -> None:
    world.write("Hi")
    world.wait(3_000)
    world.write("When do you open?")
    world.settle()


def thanks(world: World, _: Runtime) -> None:
    world.reception = Reception(closing="ignore", language="en")
    world.write("thanks")


def collects(world: World, _: Runtime) -> None:
    world.write("Hi")
    world.wait(12_000)


def waits_too_long(world: World, _: Runtime) -> None:
    world.write("Hi")
    world.wait(world.limits.overdue_ms)


def overdue(world: World, runtime: Runtime) -> None:
    waits_too_long(world, runtime)
    world.flush()


def undelivered(world: World, runtime: Runtime) -> None:
    answered(world, runtime)
    world.status(world.tag(), "failed")


def of_another_account(world: World, runtime: Runtime) -> None:
    answered(world, runtime)
    tag = str(world.tag())
    world.receive(DeliveryStatus("sister", "wamid.1", "failed", tag, code="cloud_131026"))


def worker_died(world: World, _: Runtime) -> None:
    world.begin(world.to_generating())
    world.wait(world.limits.lease_ms)
    world.flush()


def died_while_sending(world: World, _: Runtime) -> None:
    world.begin_sending(world.to_sending())
    world.wait(world.limits.lease_ms)
    world.flush()


def lost(world: World, _: Runtime) -> None:
    wake_up = world.to_generating()
    world.client.delete(world.shard.flight_messages(world.anna))
    world.generate(wake_up)


def floods(world: World, _: Runtime) -> None:
    world.store.timing = replace(world.store.timing, waiting_max=2)
    world.write("Hi", "Hi", "Hi")


def limits_differ(world: World, _: Runtime) -> None:
    world.write("Hi")
    world.limits = replace(world.limits, idle_ms=1_000)
    world.write("Hi")


def superseded(world: World, _: Runtime) -> None:
    world.limits = replace(world.limits, supersede_max=1)
    world.model.outcomes = [SupersededError()]
    wake_up = world.to_generating("Hi")
    world.model.before = lambda: world.write("and for two")
    world.generate(wake_up)


def switched_off(world: World, _: Runtime) -> None:
    world.budget = Budget(10, 10, 10, 10)
    world.store.switch_model(on=False)
    answered(world, _)


def within_budget(world: World, _: Runtime) -> None:
    world.budget = Budget(10, 10, 10, 10)
    answered(world, _)


def announced(world: World, _: Runtime, **fields: object) -> None:
    """Announce a worker that went silent a while ago, or lately."""
    ago_ms = int(str(fields.pop("silent_ms", 0)))
    time = world.client.time()
    worker = {"role": "worker", "host": "h", "pid": 1, "heartbeat_ms": server_ms(time) - ago_ms}
    world.client.hset(FLEET, "worker:h:1", json.dumps(worker | fields))


def killed(world: World, runtime: Runtime) -> None:
    announced(world, runtime, silent_ms=SILENT_MS_MAX + 1_000)
    # It has reached the ledger for so long that whoever is silent is dead.
    runtime.fleet._steady_ms = world.store.now_ms() - STEADY_MS


def busy(world: World, runtime: Runtime) -> None:
    announced(world, runtime, threads=8, busy=3, queued="generate=5 send=1")


def canary_answered(world: World, _: Runtime) -> None:
    at_ms = world.clock.now_ms - 30_000
    world.client.hset(CANARY, items=["answered_ms", at_ms, "round_trip_ms", 612])


def copied(world: World, _: Runtime) -> None:
    world.client.hset(BACKUP, "made_ms", world.clock.now_ms - 7_200_000)


#: What happened, and by how much each metric is then another; of one that was not there, its value.
DEEDS: dict[str, tuple[Deed, dict[str, float]]] = {
    "a batch of two is answered": (answered, {
        'messages_accepted_total{shard="0"}': 2, 'messages_answered{shard="0"}': 2,
        'flush_total{reason="idle"}': 1,
        'wait_seconds_count{account="salon"}': 1, 'wait_seconds_sum{account="salon"}': 9,
        'wait_seconds_bucket{account="salon",le="5"}': 0,
        'wait_seconds_bucket{account="salon",le="10"}': 1,
        'generation_seconds_count{account="salon",model="model",outcome="done"}': 1,
        'generation_seconds_bucket{account="salon",le="120",model="model",outcome="done"}': 1,
        'sending_seconds_count{account="salon",outcome="done"}': 1,
        'end_to_end_seconds_count{account="salon"}': 1,
        'end_to_end_seconds_bucket{account="salon",le="10"}': 1,
        'replies_sent_total{account="salon"}': 1, 'parts_sent_total{account="salon"}': 1,
        'calls_saved_total{account="salon"}': 1, 'watched_answers{account="salon"}': 1,
    }),
    "a customer pauses between two messages": (pauses, {
        'wait_seconds_sum{account="salon"}': 12, 'quiet_seconds_sum{account="salon"}': 9,
        'quiet_seconds_bucket{account="salon",le="7.5"}': 0,
        'quiet_seconds_bucket{account="salon",le="10"}': 1,
    }),
    "thanks are not answered": (
        thanks,
        {'suppressed_total{reason="closing"}': 1, 'messages_suppressed_total{shard="0"}': 1},
    ),
    "a draft is cut off": (superseded, {
        'drafts_discarded_total{account="salon"}': 1,
        'generation_seconds_count{account="salon",model="model",outcome="cut"}': 1,
    }),
    "a batch collects and is not collected": (
        collects,
        {'messages_open{shard="0"}': 1, "open_batches": 1, "oldest_due_lag_seconds": 3},
    ),
    "a batch is in flight": (
        lambda world, _: world.to_generating(),
        {'messages_flight{shard="0"}': 1, "flight_batches": 1, "flight_oldest_seconds": 9,
         "flusher_lag_seconds": 0},
    ),
    "a person is awaited": (handed_over, {
        'handover_total{reason="asked"}': 2, 'handover_ended_total{reason="resumed"}': 1,
        "handovers_waiting": 1, "handover_oldest_seconds": 600,
        "handover_apologies_total": 1,
    }),
    "a batch dies": (dead, {
        'dead_total{reason="fatal_model"}': 1, 'messages_dead{shard="0"}': 1, "dead_letters": 1,
        "dead_letter_oldest_seconds": 6_000, "alerts_undelivered": 1,
        "alert_oldest_undelivered_seconds": 6_009,
        'call_failures_total{code="model_context",of="model"}': 1,
        'generation_seconds_count{account="salon",model="model",outcome="failed"}': 1,
    }),
    "a dead letter is replayed": (replayed, {"replayed_total": 1, 'messages_dead{shard="0"}': 0}),
    "a model is slow for once": (
        refused(TransientError("model_429")),
        {'retries_total{code="model_429"}': 1,
         'call_failures_total{code="model_429",of="model"}': 1},
    ),
    "a code is new": (
        refused(PermanentError("cloud_999"), by="channel"),
        {'call_failures_total{code="cloud_999",of="channel"}': 1,
         'sending_seconds_count{account="salon",outcome="failed"}': 1},
    ),
    "a model's key is refused": (refused(ModelStoppedError("model_auth")), {
        "model_stopped_total": 1, 'circuit_open{account="salon",of="model"}': 1,
        'circuit_open_info{account="salon",code="model_auth",of="model"}': 1,
    }),
    "a channel's key is refused": (refused(ChannelStoppedError("cloud_190"), by="channel"), {
        "channel_stopped_total": 1, 'circuit_open{account="salon",of="channel"}': 1,
        'circuit_open_info{account="salon",code="cloud_190",of="channel"}': 1,
    }),
    "a provider says that a channel is lost": (
        lambda world, _: world.store.note_channel("salon", Gravity.DEAD, "banned: is banned: call"),
        {'channel_lost{account="salon"}': 1},
    ),
    "a customer reacts": (
        lambda world, _: world.receive(world.message(kind=Kind.REACTION)),
        {'suppressed_total{reason="reaction"}': 1, 'messages_suppressed_total{shard="0"}': 1},
    ),
    "a message comes twice": (
        lambda world, _: world.receive(*[world.message(message_id="id")] * 2),
        {"duplicate_total": 1},
    ),
    "a customer floods": (floods, {"full_total": 1}),
    "a person answers by the telephone": (
        lambda world, _: world.receive(PERSON), {'foreign_total{reason="person"}': 1},
    ),
    "a process has other limits": (limits_differ, {"limits_mismatch_total": 1}),
    "nobody collects": (waits_too_long, {"overdue_batches": 1}),
    "a batch is overdue": (
        overdue, {"overdue_total": 1},
    ),
    "an answer does not arrive": (undelivered, {
        "undelivered_total": 1, 'dead_total{reason="undelivered"}': 2,
        'messages_answered{shard="0"}': 0,
    }),
    "another account reports": (of_another_account, {"status_refused_total": 1}),
    "a worker dies": (worker_died, {"worker_died_total": 1}),
    "a worker dies while sending": (died_while_sending, {"ambiguous_total": 1}),
    "messages vanish": (lost, {'messages_lost_total{shard="0"}': 1}),
    "an alert is raised": (
        lambda world, _: world.store.alert_once("memory", "full", cooldown_ms=1),
        {"alarms_total": 1},
    ),
    "an address of people fails": (
        lambda world, _: Reminders(world.store).count_failure(), {"sink_failed_total": 1},
    ),
    "models are switched off": (
        switched_off, {'unasked_total{reason="model_off"}': 1, "model_on": -1},
    ),
    "a question is asked": (within_budget, {
        'budget_used_questions{account="salon"}': 1, "installation_budget_used_questions": 1,
        'budget_limit_questions{account="salon"}': 0, "installation_budget_limit_questions": 0,
    }),
    "this process announces itself": (lambda *_: None, {'processes{role="web"}': 1}),
    "a process was killed": (killed, {'process_deaths_total{role="worker"}': 1}),
    "a worker is busy": (busy, {
        'processes{role="worker"}': 1, "worker_threads": 8, "worker_threads_busy": 3,
        'broker_waiting{queue="generate"}': 5, "drift": 2,
    }),
    "a canary is answered": (
        canary_answered, {"canary_age_seconds": 30, "canary_round_trip_seconds": 0.612},
    ),
    "a copy was made": (copied, {"backup_age_seconds": 7_200}),
}  # fmt: skip
#: Moved elsewhere: by gunicorn, by a model that is asked over HTTP, by Sentry, by Redis itself.
MOVED_ELSEWHERE = {
    *("webhooks_total", "tokens_total", "reports_lost_total", "build_info", "ledger_up"),
    *("redis_memory_bytes", "redis_memory_limit_bytes", "certificate_end_timestamp_seconds"),
    *("redis_script_seconds_total", "redis_scripts_total"),
}


@pytest.mark.parametrize("what", DEEDS)
def test_metric_is_moved_by_its_deed(what: str, world: World, runtime: Runtime) -> None:
    deed, expected = DEEDS[what]
    before = lines(runtime)

    deed(world, runtime)
    runtime.fleet.beat()

    after = lines(runtime)
    moved = {name: after[name] - before.get(name, 0) for name in expected}
    # Redis itself gives an alert its time.
    assert moved == pytest.approx(expected, rel=0.01)


def test_every_metric_has_a_deed(runtime: Runtime) -> None:
    sample = re.compile(r"_(count|sum|bucket)\b|[{]")
    moved = {sample.split(name)[0] for _, expected in DEEDS.values() for name in expected}
    text = falcon.testing.TestClient(create_app(runtime)).simulate_get("/metrics").text

    names = {
        it.removeprefix("ai_admin_") for it in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    }
    assert names == moved | MOVED_ELSEWHERE


def lines(runtime: Runtime) -> dict[str, float]:
    """Return each sample as it is written, without what all names begin with."""
    text = falcon.testing.TestClient(create_app(runtime)).simulate_get("/metrics").text
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("ai_admin_"): float(value) for name, _, value in samples}


def test_metrics_agree_to_the_unit_with_what_an_operator_is_shown(
    world: World,
    runtime: Runtime,
    environ: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for deed in (answered, dead, undelivered, collects):
        deed(world, runtime)
    operator = Operator(tmp_path, dict(environ), capsys)

    balance = json.loads(operator("balance", "--json").out)
    letters = json.loads(operator("dead", "list", "--json").out)
    found = lines(runtime)

    (shard,) = balance["shards"]
    for name in MESSAGES:
        (told,) = by_label(found, rf"messages_{name}(_total)?").values()
        assert told == shard[name]
    deaths = by_label(found, "dead_total")
    assert {reason: n for reason, n in deaths.items() if n} == balance["reasons"]["dead"]
    for account, sent in balance["sent"].items():
        assert {name: by_label(found, f"{name}_total")[account] for name in sent} == sent
    assert found["dead_letters"] == len(letters["letters"])
    assert shard["dead"] > 0 < shard["open"]


def by_label(found: dict[str, float], name: str) -> dict[str, float]:
    """Return the samples of a metric by the value of their only label."""
    return {it.split('"')[1]: n for it, n in found.items() if re.match(rf"{name}{{", it)}


def test_scrape_costs_as_much_whatever_is_in_the_ledger(
    start: Start, client: redis.Redis, round_trips: Counting
) -> None:
    """Round trips, not commands; and none within a second of the last."""
    costs = []
    for shards, conversations in (("1", 1), ("8", 100)):
        client.flushdb()
        runtime = start("web", BATCH_SHARDS=shards)
        world = World(runtime.store, FakeClock(runtime.store.now_ms()))
        for n in range(conversations):
            world.write("Hi", customer=f"7999{n:07}")
        world.wait(9_000)
        world.flush()
        http = falcon.testing.TestClient(create_app(runtime))
        costs.append([round_trips(lambda: http.simulate_get("/metrics")) for _ in range(2)])  # noqa: B023

    (first, again), more = costs
    assert more == [first, again]
    assert 0 < first < 30
    assert again == 0


def test_account_beyond_the_bound_and_code_beyond_it_share_one_label() -> None:
    born: dict[tuple[str, ...], int] = {("salon",): 0}
    counted: dict[tuple[str, ...], int] = {("salon",): 2, ("gone",): 1, ("unknown",): 4}
    codes: dict[tuple[str, ...], int] = {(f"code_{n}",): 1 for n in range(CODES_MAX + 5)}

    assert _shared(counted, born) == [(("other",), 5), (("salon",), 2)]
    bounded = dict(_bounded(codes, {}))
    assert (len(bounded), bounded["other",]) == (CODES_MAX + 1, 5)


def test_code_of_a_model_is_one_that_is_there_from_the_beginning() -> None:
    """As far as it is no status of HTTP."""
    texts = [path.read_text() for path in SOURCES if path.parent.name == "llm"]
    given = {it for text in texts for it in re.findall(r'"(model_[a-z_]+)"', text)}
    # A reason of Anthropic's.
    known = {it for it in KNOWN_CODES if not it[-1].isdigit()}
    assert given - {"model_context_window_exceeded"} == known
