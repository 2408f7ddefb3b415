"""What is sent to Sentry of many events: the first of each kind, then their count."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.types import Event

from runtime.limiter import KINDS_MAX, NAMED_MAX, WINDOW_MS, Limiter
from runtime.sentry import ALERT_LOGGER, deliver, flush, left_out, start_reporting, tell_counted
from runtime.settings import load_settings
from tests.fake_sentry import FakeSentry
from tests.fakes import FakeClock

log = logging.getLogger("tests.limiter")
PHONE = "+79990000001"
HOURS = 4


@pytest.fixture
def limited(sentry: FakeSentry, clock: FakeClock) -> FakeSentry:
    start_reporting(load_settings({"SENTRY_DSN": sentry.dsn}), "worker")
    transport: Any = sentry_sdk.get_client().transport
    transport.limiter = Limiter(clock)
    return sentry


def counts(sentry: FakeSentry) -> list[tuple[str, int]]:
    """Return name and count of each event that came."""
    sentry_sdk.flush()
    return [(str(it["logentry"]["message"]), it["extra"].get("count", 1)) for it in sentry.events]


def crash(error: Exception, **fields: object) -> None:
    try:
        _raise(error)
    except type(error):
        log.exception("batch.crashed", extra=fields)


def _raise(error: Exception) -> None:
    raise error


def crash_elsewhere() -> None:
    try:
        int("x")
    except ValueError:
        log.exception("batch.crashed")


def test_equal_events_are_one_and_then_their_count(limited: FakeSentry, clock: FakeClock) -> None:
    for n in range(100):
        crash(ValueError(PHONE), account="salon", conversation=f"c_{n}", to=PHONE)
    tell_counted()
    clock.advance_ms(WINDOW_MS)
    tell_counted()
    tell_counted()

    assert counts(limited) == [("batch.crashed", 1), ("batch.crashed", 99)]
    assert left_out() == 99
    (first, second) = limited.events
    assert first["event_id"] != second["event_id"]
    assert second["exception"]["values"][0]["type"] == "ValueError"
    assert PHONE[1:] not in limited.text


DIFFERENT = [{"code": "a"}, {"code": "b"}, {"account": "salon"}, {"kind": "memory"}]


def test_two_causes_under_one_name_are_both_sent(limited: FakeSentry) -> None:
    for fields in DIFFERENT:
        log.error("request.failed", extra=fields)
    crash(ValueError())
    crash(KeyError())
    crash_elsewhere()

    assert len(counts(limited)) == len(DIFFERENT) + 3


def test_of_one_name_few_are_sent_however_they_differ(
    limited: FakeSentry, clock: FakeClock
) -> None:
    for n in range(NAMED_MAX + 3):
        log.error("request.failed", extra={"place": f"file.py:{n}"})
    now = counts(limited)
    clock.advance_ms(WINDOW_MS)
    tell_counted()

    assert now == [("request.failed", 1)] * NAMED_MAX
    assert counts(limited)[NAMED_MAX:] == [("request.failed", 1)] * 3


def test_flood_that_goes_on_is_told_ever_more_rarely(limited: FakeSentry, clock: FakeClock) -> None:
    """Hours of a bug in every flush: a few events, and none of them uncounted."""
    for _ in range(HOURS * 60):
        log.error("doorbell.failed")
        log.error("doorbell.failed")
        clock.advance_ms(WINDOW_MS)
        tell_counted()
    flush()

    came = counts(limited)
    assert len(came) < 3 * HOURS
    assert sum(count for _, count in came) == 2 * HOURS * 60


def test_after_a_calm_window_the_first_is_sent_at_once(
    limited: FakeSentry, clock: FakeClock
) -> None:
    for _ in range(2):
        log.error("doorbell.failed")
        clock.advance_ms(WINDOW_MS)
        tell_counted()

    assert counts(limited) == [("doorbell.failed", 1)] * 2


def test_end_of_a_process_tells_what_was_counted(limited: FakeSentry) -> None:
    for _ in range(3):
        log.error("doorbell.failed")
    flush()

    assert counts(limited) == [("doorbell.failed", 1), ("doorbell.failed", 2)]


@pytest.mark.usefixtures("limited")
def test_alerts_of_the_ledger_are_never_limited() -> None:
    """They have a rate of their own, and are acknowledged by their ids."""
    ids = [f"{n:032x}" for n in range(4 * NAMED_MAX)]

    taken = deliver((alert(event_id), ()) for event_id in ids)

    assert taken == set(ids)


def alert(event_id: str) -> Event:
    return {
        "event_id": event_id,
        "logger": ALERT_LOGGER,
        "logentry": {"message": "batch.dropped: poison"},
    }


def test_kinds_without_end_take_bounded_room(clock: FakeClock) -> None:
    limiter = Limiter(clock)
    for n in range(3 * KINDS_MAX):
        limiter.limit(named(f"event.happened_{n}", n), {})

    assert len(limiter._windows) <= KINDS_MAX + 2


def named(name: str, code: int) -> Event:
    return {"logentry": {"message": name}, "extra": {"code": code}}


@pytest.mark.parametrize("lines", [[1], [1, 49], [30, 20]])
def test_lines_that_the_log_counted_count_as_often(
    limited: FakeSentry, clock: FakeClock, lines: Sequence[int]
) -> None:
    for count in lines:
        log.error("request.failed", extra={"count": count})
    clock.advance_ms(WINDOW_MS)
    tell_counted()

    assert sum(count for _, count in counts(limited)) == sum(lines)
