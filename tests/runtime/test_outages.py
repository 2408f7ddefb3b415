"""Outages are told once at their beginning and once at their end, whoever notices them."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from runtime.outages import (
    ASK_AGAIN_MS,
    LASTS_MS,
    LASTS_OUTSIDE_MS,
    QUIET_MS,
    Outages,
    namer_of,
    take_turn,
)
from runtime.sentry import flush, start_reporting
from runtime.settings import load_settings
from tests.fake_sentry import FakeSentry
from tests.fakes import FakeClock


@dataclass
class Host:
    """Processes of one host, and what they tell."""

    clock: FakeClock
    sentry: FakeSentry
    name: Callable[[str], str]
    processes: list[Outages] = field(default_factory=list)

    def process(self) -> Outages:
        self.processes.append(Outages(self.name, self.clock))
        return self.processes[-1]

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        flush()
        return [(str(it["logentry"]["message"]), it["extra"]) for it in self.sentry.events]


@pytest.fixture
def host(clock: FakeClock, sentry: FakeSentry, request: pytest.FixtureRequest) -> Iterator[Host]:
    settings = load_settings({"SENTRY_DSN": sentry.dsn, "PRIVACY_KEY": f"key of {id(request)}"})
    start_reporting(settings, "web")
    host = Host(clock, sentry, namer_of(settings))
    yield host
    for process in host.processes:
        process.close()


def fail(process: Outages, clock: FakeClock, refused: int = 0) -> None:
    """Have two calls to the ledger fail, as far apart as it takes."""
    process.failed("ledger", "ledger_away", refused=refused)
    clock.advance_ms(LASTS_MS)
    process.failed("ledger", "ledger_away", refused=refused)


def heal(process: Outages, clock: FakeClock) -> None:
    clock.advance_ms(QUIET_MS)
    process.worked("ledger")


def test_outage_is_one_event_when_it_begins_and_one_when_it_ends(host: Host) -> None:
    web = host.process()
    fail(web, host.clock, refused=2)
    for _ in range(50):
        web.failed("ledger", "ledger_away", refused=1)
    heal(web, host.clock)
    web.worked("ledger")

    began = {"dependency": "ledger", "code": "ledger_away", "for_ms": LASTS_MS}
    ended = {"dependency": "ledger", "code": "ledger_away", "lasted_ms": LASTS_MS, "refused": 54}
    told = zip(host.told(), (began, ended), strict=True)
    assert [(name, {key: extra[key] for key in fields}) for (name, extra), fields in told] == [
        ("outage.began", began),
        ("outage.ended", ended),
    ]
    assert [event["level"] for event in host.sentry.events] == ["error", "info"]
    assert {event["tags"]["dependency"] for event in host.sentry.events} == {"ledger"}


def test_processes_of_a_host_tell_one_beginning_and_who_refused_webhooks_the_end(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, worker, web = (host.process() for _ in range(3))
    for process in (scheduler, worker):
        fail(process, host.clock)
    fail(web, host.clock, refused=1)
    for process in (scheduler, worker, web):
        heal(process, host.clock)

    told = [(name, extra.get("refused")) for name, extra in host.told()]
    assert told == [("outage.began", None), ("outage.ended", 0), ("outage.ended", 2)]
    began = [it.levelname for it in caplog.records if it.msg == "outage.began"]
    assert began == ["ERROR", "WARNING", "WARNING"]


def test_another_process_tells_where_the_first_one_died(host: Host) -> None:
    first, second = host.process(), host.process()
    fail(first, host.clock)
    fail(second, host.clock)
    first.close()
    host.clock.advance_ms(ASK_AGAIN_MS)
    second.failed("ledger", "ledger_away")

    assert [name for name, _ in host.told()] == ["outage.began"] * 2


@dataclass(frozen=True)
class Course:
    """What calls met, by the ms since the one before; and what was told of it."""

    calls: list[tuple[int, bool]]
    told: list[str]
    dependency: Any = "ledger"


BEGAN, ENDED = "outage.began", "outage.ended"
COURSES = {
    "a restart": Course([(0, False), (LASTS_MS - 1, False), (QUIET_MS, True)], []),
    "one call": Course([(0, False), (QUIET_MS, True), (LASTS_MS, False)], []),
    "an outage": Course([(0, False), (LASTS_MS, False), (QUIET_MS, True)], [BEGAN, ENDED]),
    "calls that work between": Course(
        [(0, False), (1, True), (LASTS_MS, False), (1, True), (LASTS_MS, False)], [BEGAN]
    ),
    "few calls": Course([(0, False), (10 * QUIET_MS, False), (QUIET_MS, True)], [BEGAN, ENDED]),
    "two outages": Course(
        [(0, False), (LASTS_MS, False), (QUIET_MS, True), (1, False), (LASTS_MS, False)],
        [BEGAN, ENDED, BEGAN],
    ),
    "a model that stumbles": Course(
        [(0, False), (LASTS_OUTSIDE_MS - 1, False), (QUIET_MS, True)], [], "model"
    ),
    "a provider that is down": Course(
        [(0, False), (LASTS_OUTSIDE_MS, False), (QUIET_MS, True)], [BEGAN, ENDED], "provider"
    ),
}


@pytest.mark.parametrize("name", COURSES)
def test_outage_is_told_when_it_lasts_and_ends_when_nothing_fails(host: Host, name: str) -> None:
    course, process = COURSES[name], host.process()
    for wait_ms, works in course.calls:
        host.clock.advance_ms(wait_ms)
        if works:
            process.worked(course.dependency)
        else:
            process.failed(course.dependency, "away")

    assert [event for event, _ in host.told()] == course.told


def test_webhooks_refused_in_a_moment_are_told_at_its_end(host: Host) -> None:
    web = host.process()
    web.failed("ledger", "ledger_away", refused=1)
    heal(web, host.clock)

    assert [(name, extra["refused"]) for name, extra in host.told()] == [("outage.ended", 1)]


def test_outages_of_two_accounts_are_two(host: Host) -> None:
    worker = host.process()
    for _ in range(2):
        for account in ("salon", "barber"):
            worker.failed("model", "model_503", account=account)
        host.clock.advance_ms(LASTS_OUTSIDE_MS)

    assert [extra["account"] for _, extra in host.told()] == ["salon", "barber"]


def test_processes_know_each_other_by_server_and_database_whatever_their_users() -> None:
    """A process that uses another Redis tells of its outage itself."""

    def name(redis_url: str) -> str:
        settings = load_settings({"REDIS_URL": redis_url, "BROKER_URL": "redis://b:6379/1"})
        return namer_of(settings)("ledger ")

    same = {name("redis://web:a@h:6379/0"), name("redis://worker:b@h:6379/0")}
    other = {name("redis://h:6379/2"), name("redis://g:6379/0")}
    assert (len(same), len(same | other)) == (1, 3)


def test_turn_is_one_processs_until_it_is_closed() -> None:
    first = take_turn("of the tests")
    second = take_turn("of the tests")
    assert first is not None
    first.close()
    third = take_turn("of the tests")
    assert third is not None
    third.close()

    assert second is None


def test_without_sentry_the_log_has_it(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    web = Outages(clock=clock)
    fail(web, clock)
    heal(web, clock)

    lines = [(it.msg, it.levelno) for it in caplog.records]
    assert lines == [("outage.began", logging.ERROR), ("outage.ended", logging.WARNING)]
