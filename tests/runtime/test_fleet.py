import json
import logging
from dataclasses import asdict, replace
from typing import Any

import pytest
import redis

from batching.errors import LedgerUnavailableError
from batching.keys import FLEET
from runtime.clients import redis_client
from runtime.fleet import SILENT_MS_MAX, Fleet
from runtime.members import ALIVE_MS_MAX, DEPLOY_MS_MAX, Member, drift, missing

WEB = Member("web", "host-1", 11, "r1", "f1", "s1", 1_000, 700_000)
WORKER = replace(WEB, role="worker", pid=12)
SCHEDULER = replace(WEB, role="scheduler", pid=13)


def fleet(client: redis.Redis, role: str = "web", fingerprint: str = "f1") -> Fleet:
    return Fleet(client, role=role, release="r1", fingerprint=fingerprint, scripts="s1")


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

    (member,) = announced.members()
    assert (member.role, member.release, member.fingerprint) == ("worker", "r1", "f1")
    assert before <= member.started_ms == member.heartbeat_ms <= server_ms(client)
    assert member.is_alive


def test_later_beat_keeps_the_start(client: redis.Redis) -> None:
    announced = fleet(client)
    announced.beat()
    (first,) = announced.members()
    while server_ms(client) == first.heartbeat_ms:
        pass
    announced.beat()

    (second,) = announced.members()
    assert second.started_ms == first.started_ms
    assert second.heartbeat_ms > first.heartbeat_ms


def test_beat_removes_those_that_fell_silent(client: redis.Redis) -> None:
    now_ms = server_ms(client)
    announce(client, replace(WORKER, heartbeat_ms=now_ms - SILENT_MS_MAX - 1_000))
    announce(client, replace(SCHEDULER, heartbeat_ms=now_ms - ALIVE_MS_MAX - 1_000))
    announced = fleet(client)

    announced.beat()

    roles = {member.role: member.is_alive for member in announced.members()}
    assert roles == {"web": True, "scheduler": False}


def test_entry_of_another_form_hides_nobody(client: redis.Redis) -> None:
    client.hset(FLEET, "web:host:1", "[]")
    client.hset(FLEET, "web:host:2", '{"colour": "red"}')
    announced = fleet(client)
    announced.beat()

    assert [member.role for member in announced.members()] == ["web"]


def test_stop_leaves_at_once(client: redis.Redis) -> None:
    announced = fleet(client)
    announced.beat()

    announced.stop()
    announced.stop()

    assert announced.members() == []


def test_started_process_beats_until_it_is_stopped(client: redis.Redis) -> None:
    announced = fleet(client)
    announced.start()
    while not announced.members():
        pass

    announced.stop()

    assert announced.members() == []
    assert not announced._thread.is_alive()


def test_beat_without_redis_is_the_ledgers_error() -> None:
    lost = fleet(redis_client("redis://127.0.0.1:1/0", "manage"))

    with pytest.raises(LedgerUnavailableError):
        lost.beat()
    lost.stop()


def test_processes_that_agree_have_no_drift() -> None:
    assert drift([WEB, WORKER, SCHEDULER]) == []
    assert drift([]) == []


def test_drift_names_processes_with_other_settings() -> None:
    """Origin fault 13: one process ran with other settings, and nobody could tell."""
    stale = replace(WORKER, fingerprint="f0")

    assert drift([WEB, stale, SCHEDULER]) == [
        (
            "settings or accounts differ: web:host-1:11, scheduler:host-1:13 have f1; "
            "worker:host-1:12 have f0: restart those that are stale"
        )
    ]


def test_process_that_fell_silent_does_not_count() -> None:
    dead = replace(WORKER, fingerprint="f0", silent_ms=ALIVE_MS_MAX + 1)

    assert drift([WEB, dead]) == []


@pytest.mark.parametrize(("age_ms", "problems"), [(DEPLOY_MS_MAX, 0), (DEPLOY_MS_MAX + 1, 1)])
def test_two_releases_are_a_deploy_until_it_takes_too_long(age_ms: int, problems: int) -> None:
    newer = replace(WEB, pid=21, release="r2", started_ms=WEB.heartbeat_ms - age_ms)

    found = drift([newer, WORKER])

    assert len(found) == problems
    if found:
        assert found == ["worker:host-1:12 still runs r1, although r2 came more than 10 min ago"]


def test_missing_names_roles_that_are_not_in_this_redis() -> None:
    """A process that uses another Redis looks, from here, like one that is stopped."""
    silent = replace(SCHEDULER, silent_ms=ALIVE_MS_MAX + 1)

    assert missing([WEB, WORKER, SCHEDULER]) == []
    assert missing([WEB, silent]) == [
        "no worker is alive in this Redis: it is stopped, or it uses another REDIS_URL",
        "no scheduler is alive in this Redis: it is stopped, or it uses another REDIS_URL",
    ]


def test_drift_is_reported_once_until_it_changes(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    announced = fleet(client)
    announce(client, replace(WORKER, fingerprint="f0", heartbeat_ms=server_ms(client)))
    caplog.set_level(logging.INFO)

    problems = announced.look([])
    again = announced.look(problems)

    assert again == problems != []
    assert [record.message for record in caplog.records] == ["settings.drift"]
