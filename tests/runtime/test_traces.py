"""Timings for Sentry: only where they are asked for, and without a customer's words."""

from collections.abc import Iterator

import pytest
import sentry_sdk

from runtime.sentry import start_reporting
from runtime.settings import load_settings
from tests.fake_sentry import FakeSentry

WORDS, PHONE = "my words as a customer", "+79990000001"


@pytest.fixture
def sentry() -> Iterator[FakeSentry]:
    server = FakeSentry()
    yield server
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    server.close()


@pytest.mark.parametrize(("percent", "count"), [("0", 0), ("100", 1)])
def test_traces_leave_as_asked_for_and_scrubbed(
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
