"""What is sent to Sentry: errors without customers' values, timings, and the cron check-ins."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import sentry_sdk

from batching.errors import LedgerUnavailableError, PermanentError
from batching.keys import CHECK_IN
from runtime.clients import redis_client
from runtime.limiter import KINDS_MAX
from runtime.logs import start_logging, write_counted
from runtime.sentry import check_in, flush, lost, start_reporting
from runtime.settings import load_settings
from tests.fake_sentry import FakeSentry
from tests.http_server import Answer, Request

WORDS = "my words as a customer"
PHONE = "+79990000001"
log = logging.getLogger("tests.reports")


def start(sentry: FakeSentry, role: str = "scheduler", **settings: str) -> None:
    start_reporting(load_settings({"SENTRY_DSN": sentry.dsn, "RELEASE": "r1", **settings}), role)


@pytest.fixture
def reporting(sentry: FakeSentry) -> FakeSentry:
    start(sentry)
    return sentry


def sent(sentry: FakeSentry) -> dict[str, Any]:
    """Return the one event that came; nothing that came may hold a customer's values."""
    flush()
    (event,) = sentry.events
    assert WORDS not in sentry.text
    assert PHONE[1:] not in sentry.text
    return event


def test_error_is_reported_under_its_constant_name(reporting: FakeSentry) -> None:
    log.warning("batch.retried")
    log.error("doorbell.undecodable", extra={"reason": "deadline", "waited_ms": 86_400_000})

    event = sent(reporting)

    assert event["logentry"]["message"] == "doorbell.undecodable"
    assert (event["release"], event["environment"]) == ("r1", "development")
    assert event["tags"]["role"] == "scheduler"
    assert event["extra"]["waited_ms"] == 86_400_000


def test_log_line_of_a_drop_makes_no_event_of_its_own(reporting: FakeSentry) -> None:
    """The ledger's alert tells it, exactly once, whichever process logged or died."""
    log.error("batch.dropped", extra={"reason": "poison"})
    flush()

    assert reporting.events == []


def test_exception_is_reported_without_values(reporting: FakeSentry) -> None:
    """Arguments, local variables and the message of the exception may quote a customer."""

    def fail(customers_words: str) -> None:
        local_copy = customers_words + PHONE
        raise ValueError(local_copy)

    try:
        fail(WORDS)
    except ValueError:
        log.exception("doorbell.failed", extra={"to": PHONE, "error": ValueError(WORDS)})

    (error,) = sent(reporting)["exception"]["values"]
    assert error["type"] == "ValueError"
    assert error["value"].startswith("doorbell.failed in test_exception_is_reported")
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"


def test_error_of_ours_keeps_its_code(reporting: FakeSentry) -> None:
    sentry_sdk.capture_exception(PermanentError("cloud_131047", WORDS))

    assert sent(reporting)["exception"]["values"][0]["value"] == "cloud_131047"


def test_breadcrumbs_are_scrubbed_too(reporting: FakeSentry) -> None:
    log.info("call to %s", PHONE, extra={"customer": WORDS})
    sentry_sdk.add_breadcrumb(message=f"wrote to {PHONE}", data={"to": PHONE, "body": WORDS})
    log.error("doorbell.undecodable")

    crumb = sent(reporting)["breadcrumbs"]["values"][-1]
    assert (crumb["message"], crumb["data"]) == (
        "wrote to [number]",
        {"to": "[number]", "body": "[Filtered]"},
    )


def test_request_and_user_are_not_sent(reporting: FakeSentry) -> None:
    sentry_sdk.capture_event(
        {
            "message": "webhook.failed",
            "level": "error",
            "request": {"url": "http://h/?hub.verify_token=t0ken", "data": WORDS},
            "user": {"ip_address": "192.0.2.1"},
        }
    )

    assert sent(reporting).keys().isdisjoint({"request", "user"})
    assert "t0ken" not in reporting.text


@pytest.mark.parametrize(("role", "integration"), [("web", "falcon"), ("worker", "dramatiq")])
def test_integration_of_the_roles_framework_starts(
    sentry: FakeSentry, role: str, integration: str
) -> None:
    start(sentry, role)

    names = sentry_sdk.get_client().integrations
    assert integration in names
    assert "redis" not in names


def test_without_dsn_nothing_is_reported() -> None:
    start_reporting(load_settings({}), "web")

    assert not sentry_sdk.get_client().is_active()


@pytest.mark.parametrize(("percent", "count"), [("0", 0), ("100", 1)])
def test_traces_are_sent_as_configured_and_scrubbed(
    sentry: FakeSentry, percent: str, count: int
) -> None:
    start(sentry, SENTRY_TRACES_PERCENT=percent)

    with sentry_sdk.start_transaction(op="queue", name="generate") as transaction:
        transaction.set_tag("to", PHONE)
        sentry_sdk.set_context("message", {"text": WORDS, "to": PHONE})
    flush()

    assert len(sentry.of_kind("transaction")) == count
    assert PHONE not in sentry.text
    assert WORDS not in sentry.text


class Held(FakeSentry):
    """Takes envelopes, and answers none until it is ``released``."""

    def __init__(self) -> None:
        self.released = threading.Event()
        super().__init__()

    def respond(self, request: Request) -> Answer:
        answer = super().respond(request)
        self.released.wait()
        return answer

    def close(self) -> None:
        self.released.set()
        super().close()


@pytest.fixture
def held() -> Iterator[Held]:
    server = Held()
    yield server
    server.released.set()
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    server.close()


def test_timings_without_end_leave_room_for_errors(held: Held) -> None:
    """Whatever makes timings, strangers' requests too, must not make a person blind."""
    start(held, SENTRY_TRACES_PERCENT="100")
    # Ten times what the SDK keeps; all of it before it gives the held request up.
    for n in range(1_000):
        with sentry_sdk.start_transaction(op="http", name="flood"):
            if n % 100 == 0:
                log.error(f"wake_up.undecodable_{n}")  # noqa: G004 - equal ones are only counted
    held.released.set()
    flush()

    assert len(held.messages) == 10
    assert lost() == 0


def test_errors_that_find_no_room_are_counted(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    start(held)
    for n in range(KINDS_MAX // 2):
        log.error(f"wake_up.undecodable_{n}")  # noqa: G004 - equal ones are only counted
    held.released.set()
    flush()

    assert lost() == KINDS_MAX // 2 - len(held.events) > 0
    assert [record.msg for record in caplog.records].count("report.lost") == lost()


@pytest.mark.parametrize(
    ("status", "reason"), [(429, "status_429"), (413, "send_error"), (500, "network_error")]
)
def test_errors_that_sentry_refuses_are_counted(
    sentry: FakeSentry, caplog: pytest.LogCaptureFixture, status: int, reason: str
) -> None:
    sentry.status = status
    start(sentry)
    log.error("wake_up.undecodable")
    flush()

    (line,) = [record for record in caplog.records if record.msg == "report.lost"]
    assert (line.levelname, vars(line)["code"], lost()) == ("WARNING", reason, 1)


def test_line_that_was_only_counted_is_no_report(sentry: FakeSentry, root: logging.Logger) -> None:
    """What the log says once a minute, with its count, Sentry need not be told more often."""
    start_logging(role="web", release="r1", level="INFO")
    start(sentry, "web")
    for _ in range(50):
        log.error("request.failed", extra={"error": "KeyError"})
    write_counted(whole=True)
    flush()

    counted = [event["extra"]["count"] for event in sentry.events]
    assert (sentry.messages, counted) == (["request.failed"] * 2, [1, 49])
    assert root.handlers


def test_installation_checks_in_once_a_minute_however_often_it_flushes(
    client: redis.Redis, sentry: FakeSentry
) -> None:
    start(sentry, "worker")
    for _ in range(6):
        check_in(client)
    flush()

    (sign,) = sentry.of_kind("check_in")
    assert (sign["monitor_slug"], sign["status"]) == ("ai-admin-flush", "ok")
    assert sign["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "minute"}
    assert (sign["release"], sign["environment"]) == ("r1", "development")
    assert 0 < client.pttl(CHECK_IN) <= 55_000

    client.delete(CHECK_IN)
    check_in(client)
    flush()
    assert len(sentry.of_kind("check_in")) == 2


def test_check_in_without_redis_raises_the_ledgers_error() -> None:
    """So that a flush that loses its Redis at its end does not look like broken code."""
    with pytest.raises(LedgerUnavailableError):
        check_in(redis_client("redis://127.0.0.1:1", "manage"))
