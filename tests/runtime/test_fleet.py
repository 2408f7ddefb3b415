import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import redis

from batching.alerts import Alerts
from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.keys import FLEET, META
from batching.store import Store
from runtime.clients import database_id, redis_client
from runtime.fleet import (
    ALIVE_MS_MAX,
    FLUSHER_SILENT_MS_MAX,
    NEVER,
    SILENCE_COOLDOWN_MS,
    SILENCE_LASTS_MS,
    SILENT_MS_MAX,
    Fleet,
    Member,
    Silence,
    drift,
    members,
    missing,
    this_process,
)
from tests.fakes import FakeClock

WEB = Member("web", "host-1", 11, "r1", "f1", "s1", 1_000, 700_000)
WORKER = replace(WEB, role="worker", pid=12)
SCHEDULER = replace(WEB, role="scheduler", pid=13)


def without(member: Member, name: str) -> dict[str, object]:
    return {key: value for key, value in asdict(member).items() if key != name}


GRACE_MS = 300_000
PRIVACY_KEY = "privacy-key-of-the-tests"


def fleet(
    client: redis.Redis, role: str = "web", fingerprint: str = "f1", *, grace_ms: int = 0
) -> Fleet:
    """Return a process that has just opened the ledger, if there is a Redis."""
    store = Store(client, privacy_key=PRIVACY_KEY)
    try:
        ledger_id = store.open()
    except LedgerUnavailableError:
        ledger_id = ""
    me = this_process(role, release="r1", fingerprint=fingerprint, ledger_id=ledger_id)
    return Fleet(store, replace(me, scripts="s1"), grace_ms=grace_ms, silence=Silence())


def alerts(client: redis.Redis) -> list[tuple[str, str]]:
    kept = Alerts(Store(client, privacy_key=PRIVACY_KEY)).newest(10)
    return [(alert.kind, alert.detail) for alert in kept]


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "runtime.fleet"]


def server_ms(client: redis.Redis) -> int:
    told: Any = client.time()
    now_ms: int = told[0] * 1000 + told[1] // 1000
    return now_ms


def announce(client: redis.Redis, member: Member) -> None:
    client.hset(FLEET, member.name, json.dumps(asdict(member)))


def test_beat_announces_the_process_by_the_servers_time(client: redis.Redis) -> None:
    before = server_ms(client)
    announced = fleet(client, "worker")
    announced.beat()

    (member,) = members(client)
    assert (member.role, member.release, member.fingerprint) == ("worker", "r1", "f1")
    assert before <= member.started_ms == member.heartbeat_ms <= server_ms(client)
    assert member.is_alive
    assert member.redis_run_id == database_id(client).run_id != ""
    assert (member.redis_db, member.ledger_id) == (0, announced.ledger_id)


def test_later_beat_keeps_the_start(client: redis.Redis) -> None:
    announced = fleet(client)
    announced.beat()
    (first,) = members(client)
    while server_ms(client) == first.heartbeat_ms:
        pass
    announced.beat()

    (second,) = members(client)
    assert second.started_ms == first.started_ms
    assert second.heartbeat_ms > first.heartbeat_ms


def test_beat_removes_those_that_fell_silent(client: redis.Redis) -> None:
    now_ms = server_ms(client)
    announce(client, replace(WORKER, heartbeat_ms=now_ms - SILENT_MS_MAX - 1_000))
    announce(client, replace(SCHEDULER, heartbeat_ms=now_ms - ALIVE_MS_MAX - 1_000))
    announced = fleet(client)

    announced.beat()

    roles = {member.role: member.is_alive for member in members(client)}
    assert roles == {"web": True, "scheduler": False}


def test_stop_leaves_at_once(client: redis.Redis) -> None:
    announced = fleet(client)
    announced.beat()

    announced.stop()
    announced.stop()

    assert members(client) == []


def test_started_process_beats_until_it_is_stopped(client: redis.Redis) -> None:
    announced = fleet(client)
    announced.start()
    while not members(client):
        pass

    announced.stop()

    assert members(client) == []
    assert not announced._thread.is_alive()


def test_beat_without_redis_raises_the_ledgers_error() -> None:
    lost = fleet(redis_client("redis://127.0.0.1:1/0", "manage"))

    with pytest.raises(LedgerUnavailableError):
        lost.beat()
    lost.stop()


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


def test_processes_that_agree_have_no_drift() -> None:
    assert drift([WEB, WORKER, SCHEDULER], 0) == []
    assert drift([], 0) == []


def test_drift_names_processes_with_other_settings() -> None:
    """Origin fault 13: one process ran with other settings, unnoticed."""
    newer = replace(WORKER, fingerprint="f2", started_ms=2_000)

    assert drift([WEB, newer, SCHEDULER], 0) == [
        (
            "settings or accounts differ: worker:host-1:12 have f2; "
            "web:host-1:11, scheduler:host-1:13 have f1: the first came last, restart the others"
        )
    ]


@pytest.mark.parametrize("change", [{"release": "r2"}, {"scripts": "s2"}])
def test_drift_names_processes_of_other_releases(change: dict[str, str]) -> None:
    (problem,) = drift([WEB, replace(WORKER, started_ms=2_000, **change)], 0)  # type: ignore[arg-type]

    assert problem.startswith("releases differ: worker:host-1:12 have ")
    assert "web:host-1:11 have r1 (scripts s1)" in problem


def test_process_that_fell_silent_does_not_count() -> None:
    dead = replace(WORKER, fingerprint="f0", silent_ms=ALIVE_MS_MAX + 1)

    assert drift([WEB, dead], 0) == []


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


def test_drift_is_logged_once_by_a_process_and_alerted_once_by_the_installation(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    announced, other = fleet(client), fleet(client, "scheduler")
    announce(client, replace(WORKER, fingerprint="f0", heartbeat_ms=server_ms(client)))

    problems = announced.check([])
    again = announced.check(problems)
    other.check([])

    assert again == problems != []
    assert events(caplog) == ["settings.drift", "settings.drift"]
    assert alerts(client) == [("drift", problems[0])]


def test_deploy_under_way_is_no_drift_to_report(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    announced = fleet(client, grace_ms=GRACE_MS)
    announce(client, replace(WORKER, fingerprint="f0", heartbeat_ms=server_ms(client)))

    assert announced.check([]) == []
    assert (events(caplog), alerts(client)) == ([], [])


def test_ledger_that_was_emptied_is_reported_and_opened_again(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = fleet(client), fleet(client, "worker")
    ours = first.ledger_id
    client.flushall()

    for process in (first, second, first, second):
        process.check([])

    found = Store(client, privacy_key=PRIVACY_KEY).ledger_id()
    assert first.ledger_id == second.ledger_id == found not in {"", ours}
    logged = [(vars(r)["ours"], vars(r)["found"]) for r in caplog.records]
    assert events(caplog) == ["ledger.replaced"] * 2
    assert logged == [(ours, "nothing"), (ours, found)]
    assert [kind for kind, _ in alerts(client)] == ["ledger_replaced"]


def test_ledger_that_is_emptied_twice_is_reported_twice(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    process = fleet(client)

    for _ in range(2):
        client.flushall()
        process.check([])

    assert events(caplog) == ["ledger.replaced"] * 2


def test_ledger_of_another_form_is_reported_once_and_not_adopted(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    process = fleet(client)
    ours = process.ledger_id
    client.flushall()
    Store(client, privacy_key="another").open()

    for _ in range(2):
        with pytest.raises(ConfigurationError):
            process.check([])

    assert events(caplog) == ["ledger.replaced"]
    assert process.ledger_id == ours
    assert client.hlen(FLEET) == 0


def test_restart_of_the_server_is_no_other_ledger(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Only its run id is new; the ledger's id came back with its messages."""
    process = fleet(client)
    announce(client, replace(WEB, redis_run_id="before"))

    process.check([])

    assert events(caplog) == []
    assert client.hexists(META, "identity")


def test_every_beat_observes_the_flushers_lag(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A web process without traffic logs it too."""
    clock = FakeClock()
    process = fleet(client)
    process._silence = Silence(clock)

    process.check([])
    clock.advance_ms(30_000)
    process.check([])

    assert [r.message for r in caplog.records] == ["flusher.silent"]


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["problem"] for record in caplog.records if record.levelname == "ERROR"]


def after(ms: int, *lags_ms: int) -> tuple[int, tuple[int, ...]]:
    """Return a step: so much time passes, then receipts with these lags come in."""
    return ms, lags_ms


NEVER_FLUSHED = "this Redis was never flushed"
TOO_LATE = FLUSHER_SILENT_MS_MAX + 1


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([after(0, NEVER), after(SILENCE_LASTS_MS, NEVER)], [NEVER_FLUSHED]),
        (
            [after(0, TOO_LATE), after(SILENCE_LASTS_MS, TOO_LATE)],
            ["this Redis was last flushed 30001 ms ago"],
        ),
        # A new installation starts silent.
        ([after(0, NEVER), after(SILENCE_LASTS_MS - 1, NEVER)], []),
        # After a Redis that was away the first lag is long, and the next is not.
        ([after(0, NEVER, FLUSHER_SILENT_MS_MAX), after(SILENCE_LASTS_MS, NEVER)], []),
        # An unknown lag changes nothing.
        ([after(0, NEVER, -2), after(SILENCE_LASTS_MS, -2, NEVER)], [NEVER_FLUSHED]),
        (
            [
                after(0, NEVER),
                after(SILENCE_LASTS_MS, NEVER, NEVER),
                after(SILENCE_COOLDOWN_MS - 1, NEVER),
            ],
            [NEVER_FLUSHED],
        ),
        (
            [
                after(0, NEVER),
                after(SILENCE_LASTS_MS, NEVER, NEVER),
                after(SILENCE_COOLDOWN_MS, NEVER),
            ],
            [NEVER_FLUSHED] * 2,
        ),
    ],
)
def test_redis_that_is_not_flushed_is_logged_when_it_lasts(
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    steps: list[tuple[int, tuple[int, ...]]],
    expected: list[str],
) -> None:
    silence = Silence(clock)
    for wait_ms, lags_ms in steps:
        clock.advance_ms(wait_ms)
        silence.observe(lags_ms)

    assert problems(caplog) == expected
