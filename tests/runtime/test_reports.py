"""What leaves for Sentry, taken from the transport: the very bytes that would be sent."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from batching.errors import PermanentError
from runtime.sentry import flush, start_reporting
from runtime.settings import load_settings

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
    """Arguments, local variables, words of the exception: none of them is ours to pass on."""

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


def test_breadcrumbs_pass_the_same_net(outbox: list[Envelope]) -> None:
    log.info("call to %s", PHONE, extra={"customer": WORDS})
    sentry_sdk.add_breadcrumb(message=f"wrote to {PHONE}", data={"to": PHONE, "body": WORDS})
    log.error("doorbell.undecodable")

    _, text = sent(outbox)

    assert "9990000001" not in text
    assert WORDS not in text


def test_request_and_user_are_left_out(outbox: list[Envelope]) -> None:
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
def test_frameworks_integration_starts(role: str) -> None:
    settings = load_settings({"SENTRY_DSN": "https://key@sentry.example/1"})

    start_reporting(settings, role, transport=Outbox)

    names = sentry_sdk.get_client().integrations
    assert {"web": "falcon", "worker": "dramatiq"}[role] in names
    assert "redis" not in names
    sentry_sdk.get_global_scope().set_client(None)


def test_without_an_address_nothing_is_reported() -> None:
    start_reporting(load_settings({}), "web")

    assert not sentry_sdk.get_client().is_active()
