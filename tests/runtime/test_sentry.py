"""What is sent to Sentry: errors without customers' values, timings, and the cron check-ins."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from batching.errors import LedgerUnavailableError, PermanentError
from batching.keys import CHECK_IN
from runtime.sentry import CronMonitor, flush, start_reporting
from runtime.settings import load_settings
from tests.fake_sentry import FakeSentry

WORDS = "my words as a customer"
PHONE = "+79990000001"
log = logging.getLogger("tests.reports")


class Outbox(Transport):
    """Keeps what would be sent."""

    envelopes: list[Envelope] = []  # noqa: RUF012 - the SDK makes the instance

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)


@pytest.fixture
def outbox() -> Iterator[list[Envelope]]:
    Outbox.envelopes = []
    settings = load_settings({"SENTRY_DSN": "https://key@sentry.example/1", "RELEASE": "r1"})
    start_reporting(settings, "scheduler", transport=Outbox)
    yield Outbox.envelopes
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def sent(outbox: list[Envelope]) -> tuple[dict[str, Any], str]:
    """Return the one event that left, and everything that left as text."""
    flush()
    events = [event for envelope in outbox if (event := envelope.get_event())]
    assert len(events) == 1
    text = "".join(envelope.serialize().decode() for envelope in outbox)
    return dict(events[0]), text


def test_error_is_reported_under_its_constant_name(outbox: list[Envelope]) -> None:
    log.error("doorbell.undecodable", extra={"reason": "deadline", "waited_ms": 86_400_000})

    event, _ = sent(outbox)

    assert event["logentry"]["message"] == "doorbell.undecodable"
    assert (event["release"], event["environment"]) == ("r1", "development")
    assert event["tags"]["role"] == "scheduler"
    assert event["extra"]["waited_ms"] == 86_400_000


def test_warning_is_not_reported(outbox: list[Envelope]) -> None:
    log.warning("batch.retried")
    flush()

    assert [envelope for envelope in outbox if envelope.get_event()] == []


def test_exception_is_reported_without_values(outbox: list[Envelope]) -> None:
    """Arguments, local variables and the message of the exception may quote a customer."""

    def fail(customers_words: str) -> None:
        local_copy = customers_words + PHONE
        raise ValueError(local_copy)

    try:
        fail(WORDS)
    except ValueError:
        log.exception("doorbell.failed", extra={"to": PHONE, "error": ValueError(WORDS)})

    event, text = sent(outbox)

    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("ValueError", "")
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert WORDS not in text
    assert "9990000001" not in text


def test_error_of_ours_keeps_its_code(outbox: list[Envelope]) -> None:
    sentry_sdk.capture_exception(PermanentError("cloud_131047", WORDS))

    event, text = sent(outbox)

    assert event["exception"]["values"][0]["value"] == "cloud_131047"
    assert WORDS not in text


def test_breadcrumbs_are_scrubbed_too(outbox: list[Envelope]) -> None:
    log.info("call to %s", PHONE, extra={"customer": WORDS})
    sentry_sdk.add_breadcrumb(message=f"wrote to {PHONE}", data={"to": PHONE, "body": WORDS})
    log.error("doorbell.undecodable")

    _, text = sent(outbox)

    assert "9990000001" not in text
    assert WORDS not in text


def test_request_and_user_are_not_sent(outbox: list[Envelope]) -> None:
    sentry_sdk.capture_event(
        {
            "message": "webhook.failed",
            "level": "error",
            "request": {"url": "http://h/?hub.verify_token=t0ken", "data": WORDS},
            "user": {"ip_address": "192.0.2.1"},
        }
    )

    event, text = sent(outbox)

    assert "request" not in event
    assert "user" not in event
    assert "t0ken" not in text


@pytest.mark.parametrize("role", ["web", "worker"])
def test_integration_of_the_roles_framework_starts(role: str) -> None:
    settings = load_settings({"SENTRY_DSN": "https://key@sentry.example/1"})

    start_reporting(settings, role, transport=Outbox)

    names = sentry_sdk.get_client().integrations
    assert {"web": "falcon", "worker": "dramatiq"}[role] in names
    assert "redis" not in names
    sentry_sdk.get_global_scope().set_client(None)


def test_without_dsn_nothing_is_reported() -> None:
    start_reporting(load_settings({}), "web")

    assert not sentry_sdk.get_client().is_active()


@pytest.fixture
def sentry() -> Iterator[FakeSentry]:
    server = FakeSentry()
    yield server
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    server.close()


@pytest.mark.parametrize(("percent", "count"), [("0", 0), ("100", 1)])
def test_traces_are_sent_as_configured_and_scrubbed(
    sentry: FakeSentry, percent: str, count: int
) -> None:
    settings = {"SENTRY_DSN": sentry.dsn, "SENTRY_TRACES_PERCENT": percent}
    start_reporting(load_settings(settings), "scheduler")

    with sentry_sdk.start_transaction(op="queue", name="generate") as transaction:
        transaction.set_tag("to", PHONE)
        sentry_sdk.set_context("message", {"text": WORDS, "to": PHONE})
    sentry_sdk.flush(5)

    assert len(sentry.of_kind("transaction")) == count
    assert PHONE not in sentry.text
    assert WORDS not in sentry.text


def test_installation_checks_in_once_a_minute_however_often_it_flushes(
    client: redis.Redis, sentry: FakeSentry
) -> None:
    start_reporting(load_settings({"SENTRY_DSN": sentry.dsn, "RELEASE": "r1"}), "worker")
    monitors = [CronMonitor(client), CronMonitor(client)]
    for monitor in monitors * 3:
        monitor.alive()
    sentry_sdk.flush(5)

    (sign,) = sentry.of_kind("check_in")
    assert (sign["monitor_slug"], sign["status"]) == ("ai-admin-flush", "ok")
    assert sign["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "minute"}
    assert (sign["release"], sign["environment"]) == ("r1", "development")
    assert 0 < client.pttl(CHECK_IN) <= 55_000

    client.delete(CHECK_IN)
    monitors[0].alive()
    sentry_sdk.flush(5)
    assert len(sentry.of_kind("check_in")) == 2


def test_check_in_without_redis_raises_the_ledgers_error() -> None:
    """So that a flush that loses its Redis at its end does not look like broken code."""
    with pytest.raises(LedgerUnavailableError):
        CronMonitor(redis.Redis.from_url("redis://127.0.0.1:1")).alive()
