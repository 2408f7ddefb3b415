import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest
import redis

from batching.alerts import Alerts
from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.figures import Summed
from batching.keys import FIGURES, FLEET, META
from batching.store import Store, server_ms
from runtime.clients import database_id, redis_client
from runtime.fleet import (
    ALIVE_MS_MAX,
    BEAT_EVERY_MS,
    SILENT_MS_MAX,
    STEADY_MS,
    Fleet,
    Member,
    drift,
    members,
    missing,
    this_process,
)
from runtime.logs import clean
from runtime.sentry import flush, start_reporting
from runtime.settings import load_settings
from runtime.silence import (
    FLUSHER_SILENT_MS_MAX,
    NEVER,
    SILENCE_COOLDOWN_MS,
    SILENCE_LASTS_MS,
    Silence,
    describe_lag,
)
from tests.fake_sentry import FakeSentry
from tests.fakes import FakeClock

WEB = Member("web", "host-1", 11, "r1", "f1", "s1", 1_000, 700_000, beat_ms=BEAT_EVERY_MS)
WORKER = replace(WEB, role="worker", pid=12)
SCHEDULER = replace(WEB, role="scheduler", pid=13)
GRACE_MS = 300_000
PRIVACY_KEY = "privacy-key-of-the-tests"


def fleet(client: redis.Redis, role: str = "web", *, grace_ms: int = 0) -> Fleet:
    """Return a process that has just opened the ledger."""
    store = Store(client, privacy_key=PRIVACY_KEY)
    me = this_process(role, release="r1", fingerprint="f1", ledger_id=store.open())
    return Fleet(store, replace(me, scripts="s1"), grace_ms=grace_ms, silence=Silence())


def alerts(client: redis.Redis) -> list[tuple[str, str]]:
    kept = Alerts(Store(client, privacy_key=PRIVACY_KEY)).newest(10)
    return [(alert.kind, alert.detail) for alert in kept]


def now_ms(client: redis.Redis) -> int:
    return server_ms(client.time())


def announce(client: redis.Redis, member: Member) -> None:
    client.hset(FLEET, member.name, json.dumps(asdict(member)))


def test_beat_announces_the_process_by_the_servers_time(client: redis.Redis) -> None:
    before = now_ms(client)
    process = fleet(client, "worker")
    process.beat()
    (first,) = members(client)
    while now_ms(client) == first.heartbeat_ms:
        pass
    process.beat()

    (second,) = members(client)
    assert before <= first.started_ms == first.heartbeat_ms <= now_ms(client)
    assert first.is_alive
    assert (second.started_ms, second.heartbeat_ms > first.heartbeat_ms) == (first.started_ms, True)
    found = replace(second, host="", pid=0, space="", started_ms=0, heartbeat_ms=0, silent_ms=0)
    assert found == Member(
        *("worker", "", 0, "r1", "f1", "s1"),
        redis_run_id=database_id(client).run_id,
        ledger_id=process.ledger_id,
        beat_ms=BEAT_EVERY_MS,
    )


@pytest.mark.parametrize(
    ("beat_ms", "silent_ms", "alive"),
    [
        (BEAT_EVERY_MS, ALIVE_MS_MAX, True),
        (BEAT_EVERY_MS, ALIVE_MS_MAX + 1, False),
        # Of the release before, which beats every three seconds and does not say so.
        (Member("web", "host-1", 11).beat_ms, 9_000, True),
        (Member("web", "host-1", 11).beat_ms, 9_001, False),
    ],
)
def test_process_is_alive_until_it_misses_three_beats(
    beat_ms: int, silent_ms: int, *, alive: bool
) -> None:
    assert replace(WEB, beat_ms=beat_ms, silent_ms=silent_ms).is_alive is alive


def test_process_that_took_no_leave_is_removed_and_counted_once(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed, out of memory, or with its host: whoever sees it first counts it.

    After an outage of the ledger all are silent, and nobody has died.
    """
    present_ms = now_ms(client)
    announce(client, replace(WORKER, heartbeat_ms=present_ms - SILENT_MS_MAX - 1_000))
    announce(client, replace(SCHEDULER, heartbeat_ms=present_ms - ALIVE_MS_MAX - 1_000))
    processes = [fleet(client), fleet(client)]
    processes[0].beat()
    at_once = died(client)

    for process in processes:
        process._steady_ms = present_ms - STEADY_MS
        process.beat()

    roles = {member.role: member.is_alive for member in members(client)}
    logged = [(it.message, vars(it)["member"]) for it in caplog.records]
    assert roles == {"web": True, "scheduler": False}
    assert (at_once, died(client)) == ({}, {("worker",): 1})
    assert logged == [("process.died", WORKER.name)]


def died(client: redis.Redis) -> dict[tuple[str, ...], int]:
    kept: Any = client.hgetall(FIGURES)
    return Summed(kept).counted("deaths")


def test_started_process_beats_until_it_is_stopped(client: redis.Redis) -> None:
    process = fleet(client)
    process.start()
    while not members(client):
        pass

    process.stop()
    process.stop()

    assert members(client) == []
    assert not process._thread.is_alive()


def test_without_redis_a_beat_raises_the_ledgers_error_and_stop_does_not() -> None:
    store = Store(redis_client("redis://127.0.0.1:1/0", "manage"), privacy_key=PRIVACY_KEY)
    lost = Fleet(store, WEB, grace_ms=0, silence=Silence())

    with pytest.raises(LedgerUnavailableError):
        lost.beat()
    lost.stop()


def without(member: Member, name: str) -> dict[str, object]:
    return {key: value for key, value in asdict(member).items() if key != name}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(asdict(WEB) | {"colour": "red"}, WEB, id="unknown field"),
        pytest.param(asdict(WEB) | {"role": "console"}, replace(WEB, role="console"), id="role"),
        pytest.param(without(WEB, "scripts"), replace(WEB, scripts=""), id="missing field"),
        pytest.param(without(WEB, "release"), replace(WEB, release=""), id="no release"),
        pytest.param(without(WEB, "started_ms"), replace(WEB, started_ms=0), id="missing time"),
        pytest.param(
            asdict(WEB) | {"started_ms": "soon"}, replace(WEB, started_ms=0), id="no time"
        ),
        pytest.param(without(WEB, "pid"), None, id="no name"),
        pytest.param(["web", "host-1", 11], None, id="another form"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_member_of_another_release_is_seen_and_hides_no_other(
    client: redis.Redis, entry: object, expected: Member | None
) -> None:
    """In a deploy the old processes must not take the new ones for missing."""
    client.hset(FLEET, "other", json.dumps(entry))
    client.hset(FLEET, WORKER.name, json.dumps(asdict(WORKER)))

    found = [replace(member, silent_ms=0) for member in members(client)]

    assert found == ([expected, WORKER] if expected else [WORKER])
    drift(found, 0)


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ({"webhook_secrets": "a"}, {"webhook_secrets": "b"}, "secrets of webhooks"),
        ({"answer_secrets": "a"}, {"answer_secrets": "b"}, "access tokens or model keys"),
        # Of different roles, or of a release that did not say.
        ({"webhook_secrets": "a"}, {"answer_secrets": "b"}, ""),
        ({"webhook_secrets": "a"}, {}, ""),
        ({"webhook_secrets": "a"}, {"webhook_secrets": "a"}, ""),
    ],
)
def test_secrets_are_compared_among_those_who_have_them(
    one: dict[str, str], other: dict[str, str], what: str
) -> None:
    found = drift([replace(WEB, **one), replace(WEB, pid=14, **other), SCHEDULER], 0)  # type: ignore[arg-type]

    assert [it.partition(" differ: ")[0] for it in found] == ([what] if what else [])


OTHER_HOST = {"host": "host-2"}
STALE = {"fingerprint": "f2"}


@pytest.mark.parametrize(
    ("others", "me", "is_wrong"),
    [
        pytest.param([WORKER, SCHEDULER], STALE, True, id="one of three"),
        pytest.param([WEB, replace(WEB, pid=15), WORKER], STALE, True, id="children count once"),
        pytest.param([replace(WORKER, fingerprint="f2"), SCHEDULER], {}, False, id="a worker"),
        pytest.param(
            [replace(WEB, host="host-2"), WORKER, replace(SCHEDULER, fingerprint="f2")],
            STALE | OTHER_HOST,
            False,
            id="as many, and the newest",
        ),
        pytest.param([WORKER, SCHEDULER], {"release": "r0"}, True, id="a release"),
        pytest.param(
            [replace(WEB, webhook_secrets="a"), replace(WEB, webhook_secrets="a", host="h")],
            {"webhook_secrets": "b"},
            True,
            id="secrets",
        ),
        pytest.param([], {}, False, id="alone"),
    ],
)
def test_process_is_wrong_where_most_others_have_another_version(
    others: list[Member], me: dict[str, str], *, is_wrong: bool
) -> None:
    """One stale worker takes no web host out, and neither does one stale web host the others."""
    mine = replace(WEB, pid=21, started_ms=2_000, **me)  # type: ignore[arg-type]

    assert bool(drift([*others, mine], 0, mine)) is is_wrong


def test_processes_that_agree_or_are_dead_have_no_drift() -> None:
    dead = replace(WORKER, fingerprint="f0", silent_ms=ALIVE_MS_MAX + 1)

    assert drift([WEB, WORKER, SCHEDULER], 0) == drift([WEB, dead], 0) == drift([], 0) == []


@pytest.mark.parametrize(
    ("change", "what", "new", "old"),
    [
        # Origin fault 13: one process ran with other settings, unnoticed.
        ({"fingerprint": "f2"}, "settings or accounts differ", "f2", "f1"),
        (
            {"fingerprint": "f2", "digests": "BATCH_IDLE_MS=3 BATCH_LEASE_MS=2 account:salon=1"},
            "settings or accounts differ in BATCH_IDLE_MS",
            "f2",
            "f1",
        ),
        (
            {"fingerprint": "f2", "digests": "BATCH_IDLE_MS=1 BATCH_LEASE_MS=2 account:new=1"},
            "settings or accounts differ in account:salon, account:new",
            "f2",
            "f1",
        ),
        ({"fingerprint": "f2", "digests": ""}, "settings or accounts differ", "f2", "f1"),
        ({"release": "r2"}, "releases differ", "r2 (scripts s1)", "r1 (scripts s1)"),
        ({"scripts": "s2"}, "releases differ", "r1 (scripts s2)", "r1 (scripts s1)"),
    ],
)
def test_drift_names_what_processes_differ_in(
    change: dict[str, str], what: str, new: str, old: str
) -> None:
    digests = "BATCH_IDLE_MS=1 BATCH_LEASE_MS=2 account:salon=1"
    web, worker, scheduler = (replace(it, digests=digests) for it in (WEB, WORKER, SCHEDULER))
    newer = replace(worker, started_ms=3_000, **change)  # type: ignore[arg-type]

    (problem,) = drift([web, newer, replace(scheduler, started_ms=2_000)], 0)

    assert problem == (
        f"{what}: {new} in worker:host-1:12 (since 1970-01-01T00:00:03); {old} in "
        "scheduler:host-1:13 (since 1970-01-01T00:00:02), web:host-1:11 (since 1970-01-01T00:00:01)"
        ": restart those that are wrong"
    )
    assert clean(problem) == problem


def test_stale_process_that_was_restarted_last_is_named_as_the_last() -> None:
    """Which settings are meant only a person knows."""
    stale = replace(WEB, pid=14, started_ms=9_000, fingerprint="f1")
    new = replace(WORKER, started_ms=5_000, fingerprint="f2")

    (problem,) = drift([WEB, new, stale], 0)

    assert problem.startswith("settings or accounts differ: f1 in web:host-1:14 (since")


@pytest.mark.parametrize("change", [{"release": "r2"}, {"fingerprint": "f2"}])
@pytest.mark.parametrize(("age_ms", "problems"), [(GRACE_MS - 1, 0), (GRACE_MS, 1)])
def test_difference_is_a_deploy_until_it_takes_too_long(
    age_ms: int, problems: int, change: dict[str, str]
) -> None:
    """It began with the first process of the newer kind, however old the others are."""
    newer = replace(WEB, pid=21, started_ms=WEB.heartbeat_ms - age_ms, **change)  # type: ignore[arg-type]
    newest = replace(newer, pid=22, started_ms=WEB.heartbeat_ms)

    assert len(drift([newest, newer, WORKER], GRACE_MS)) == problems


def test_missing_names_roles_that_are_not_in_this_redis() -> None:
    """A process that uses another Redis looks, from here, like one that is stopped."""
    silent = replace(SCHEDULER, silent_ms=ALIVE_MS_MAX + 1)

    assert missing([WEB, WORKER, SCHEDULER]) == []
    assert missing([WEB, silent]) == [
        "no worker is alive in this Redis: it is stopped, or it uses another REDIS_URL",
        "no scheduler is alive in this Redis: it is stopped, or it uses another REDIS_URL",
    ]


@pytest.mark.parametrize(("grace_ms", "reported"), [(0, 1), (GRACE_MS, 0)])
def test_drift_is_logged_once_by_a_process_and_alerted_once_by_the_installation(
    client: redis.Redis, caplog: pytest.LogCaptureFixture, grace_ms: int, reported: int
) -> None:
    """Within the grace it is a deploy under way."""
    process, other = fleet(client, grace_ms=grace_ms), fleet(client, "worker", grace_ms=grace_ms)
    announce(client, replace(SCHEDULER, fingerprint="f0", heartbeat_ms=now_ms(client)))

    process.check()
    problems = drift(members(client), grace_ms)
    process.check()
    other.check()

    assert len(problems) == reported
    assert caplog.messages == ["settings.drift"] * 2 * reported
    assert alerts(client) == [("drift", problem) for problem in problems]


def test_ledger_that_was_emptied_is_reported_and_opened_again(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = fleet(client), fleet(client, "worker")
    ours = first.ledger_id
    client.flushall()

    for process in (first, second, first, second):
        process.check()

    found = Store(client, privacy_key=PRIVACY_KEY).ledger_id()
    assert first.ledger_id == second.ledger_id == found not in {"", ours}
    logged = [(vars(r)["ours"], vars(r)["found"]) for r in caplog.records]
    assert caplog.messages == ["ledger.replaced"] * 2
    assert logged == [(ours, "nothing"), (ours, found)]
    assert [kind for kind, _ in alerts(client)] == ["ledger_replaced"]

    client.flushall()
    first.check()
    assert caplog.messages == ["ledger.replaced"] * 3


def test_ledger_of_another_form_is_reported_once_and_not_adopted(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    process = fleet(client)
    ours = process.ledger_id
    client.flushall()
    Store(client, privacy_key="another").open()

    for _ in range(2):
        with pytest.raises(ConfigurationError):
            process.check()

    assert caplog.messages == ["ledger.replaced"]
    assert process.ledger_id == ours
    assert client.hlen(FLEET) == 0


def test_restart_of_the_server_is_no_other_ledger(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Only its run id is new; the ledger's id came back with its messages."""
    process = fleet(client)
    announce(client, replace(WEB, redis_run_id="before"))

    process.check()

    assert caplog.messages == []
    assert client.hexists(META, "identity")


def test_every_beat_observes_the_flushers_lag(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A web process without traffic logs it too."""
    clock = FakeClock()
    process = fleet(client)
    process._silence = Silence(clock)

    process.check()
    clock.advance_ms(SILENCE_LASTS_MS)
    process.check()

    assert caplog.messages == ["flusher.silent"]


IN_TIME, TOO_LATE, UNKNOWN = FLUSHER_SILENT_MS_MAX, FLUSHER_SILENT_MS_MAX + 1, -2
LASTING = [(0, NEVER), (SILENCE_LASTS_MS, NEVER), (0, NEVER)]


@pytest.mark.parametrize(
    ("steps", "logged"),
    [
        pytest.param([(0, NEVER), (SILENCE_LASTS_MS, NEVER)], [NEVER], id="never"),
        pytest.param([(0, TOO_LATE), (SILENCE_LASTS_MS, TOO_LATE)], [TOO_LATE], id="too late"),
        pytest.param([(0, NEVER), (SILENCE_LASTS_MS - 1, NEVER)], [], id="new installation"),
        pytest.param(
            [(0, NEVER), (0, IN_TIME), (SILENCE_LASTS_MS, NEVER)], [], id="Redis was away"
        ),
        pytest.param([(0, NEVER), (0, UNKNOWN), (SILENCE_LASTS_MS, NEVER)], [NEVER], id="unknown"),
        pytest.param([*LASTING, (SILENCE_COOLDOWN_MS - 1, NEVER)], [NEVER], id="cooldown"),
        pytest.param([*LASTING, (SILENCE_COOLDOWN_MS, NEVER)], [NEVER] * 2, id="again"),
    ],
)
def test_redis_that_is_not_flushed_is_logged_when_it_lasts(
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    steps: list[tuple[int, int]],
    logged: list[int],
) -> None:
    """A step is a wait, then a lag that is observed."""
    silence = Silence(clock)
    for wait_ms, lag_ms in steps:
        clock.advance_ms(wait_ms)
        silence.observe([lag_ms])

    problems = [(it.levelname, vars(it)["problem"]) for it in caplog.records]
    assert problems == [("ERROR", describe_lag(lag_ms)) for lag_ms in logged]


def test_lag_is_described() -> None:
    assert describe_lag(NEVER) == "this Redis was never flushed"
    assert describe_lag(30_001) == "this Redis was last flushed 30.0 s ago"


#: A scheduler of this host, whose process is the test's to choose.
KILLED = replace(
    this_process("scheduler", release="r1", fingerprint="f1", ledger_id=""), pid=0, space="here"
)


@pytest.mark.parametrize(
    ("member", "times"),
    [
        pytest.param(KILLED, 1, id="a scheduler"),
        pytest.param(replace(KILLED, pid=os.getpid()), 0, id="alive"),
        pytest.param(replace(KILLED, role="worker"), 0, id="has a master"),
        pytest.param(replace(KILLED, host="host-2"), 0, id="of another host"),
        pytest.param(replace(KILLED, space="of a container"), 0, id="of another container"),
        pytest.param(replace(KILLED, space=""), 0, id="of another release"),
    ],
)
def test_scheduler_that_was_killed_is_reported_once_within_a_host(
    client: redis.Redis, caplog: pytest.LogCaptureFixture, member: Member, times: int
) -> None:
    if not member.pid:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        member = replace(member, pid=ended.pid)
    announce(client, replace(member, heartbeat_ms=now_ms(client)))
    for process in (fleet(client), fleet(client, "worker")):
        process._me = replace(process._me, space="here")
        process.check()

    told = [vars(it)["member"] for it in caplog.records if it.msg == "process.killed"]
    assert told == [member.name] * times


def test_errors_that_sentry_did_not_take_are_alerted(
    client: redis.Redis, sentry: FakeSentry
) -> None:
    """An alert waits in the ledger until a person has it: so the loss itself is not lost."""
    start_reporting(load_settings({"SENTRY_DSN": sentry.dsn}), "web")
    sentry.status = 500
    process = fleet(client)
    process.check()
    for place in "abc":
        logging.getLogger("web").error("request.failed", extra={"place": place})
    flush()

    process.check()
    process.check()

    ((kind, detail),) = alerts(client)
    assert (kind, detail.split()[0]) == ("reports_lost", "3")
    assert client.hget(FIGURES, "reports_lost") == b"3"
