"""Alerts of a real ledger are delivered to a Sentry that listens on the loopback."""

import logging

import pytest
import redis
import sentry_sdk

import runtime.sentry
from batching import alerts as streams
from batching.alerts import Alerts
from batching.store import Store
from runtime.clients import redis_client
from runtime.notifier import Notifier
from runtime.settings import load_settings
from tests.alerts import end_window, notified, notifier, raise_alerts
from tests.fake_sentry import FakeSentry


@pytest.fixture
def notify(store: Store, sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch) -> Notifier:
    monkeypatch.setattr(runtime.sentry, "SEND_S_MAX", 2)
    settings = load_settings({"SENTRY_DSN": sentry.dsn, "RELEASE": "r1"})
    runtime.sentry.start_reporting(settings, "scheduler")
    return notifier(store, sentry=True)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give out again at once what was taken and not acknowledged."""
    monkeypatch.setattr(streams, "REDELIVER_MS", 0)


def test_alert_becomes_one_event_of_an_issue_of_its_kind(
    store: Store, sentry: FakeSentry, notify: Notifier
) -> None:
    raise_alerts(store)

    for _ in range(3):
        notify()

    (event,) = sentry.events
    assert event["logentry"]["message"] == "batch.dropped: poison"
    assert event["fingerprint"] == ["batch.dropped", "poison"]
    assert (event["tags"]["kind"], event["tags"]["account"]) == ("poison", "salon")
    assert event["contexts"]["alert"]["batch"] == "b0"
    assert (event["release"], event["environment"]) == ("r1", "development")
    assert notified(store) == [True]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("status", [429, 500, 503])
def test_alert_waits_while_sentry_refuses_and_keeps_its_id(
    store: Store, sentry: FakeSentry, notify: Notifier, status: int
) -> None:
    raise_alerts(store)
    sentry.status = status

    notify()
    assert notified(store) == [False]

    sentry.status = 200
    # What a refusal taught the SDK about rates is forgotten as time passes.
    sentry_sdk.get_client().transport._disabled_until.clear()  # type: ignore[union-attr]
    notify()
    assert notified(store) == [True]
    (event,) = sentry.events
    assert sentry.text.count(event["event_id"]) > 1


@pytest.mark.usefixtures("at_once")
def test_alert_waits_while_nobody_listens_at_sentrys_address(
    store: Store, sentry: FakeSentry, notify: Notifier
) -> None:
    raise_alerts(store)
    sentry.close()

    notify()

    assert notified(store) == [False]


@pytest.mark.usefixtures("at_once")
def test_notifier_that_dies_before_it_acknowledges_repeats_the_alert(
    store: Store,
    sentry: FakeSentry,
    notify: Notifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raise_alerts(store)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Alerts, "acknowledge", die)
        with pytest.raises(KeyboardInterrupt):
            notify()
    assert notified(store) == [False]

    notify()

    first, second = sentry.events
    assert first["event_id"] == second["event_id"]
    assert notified(store) == [True]


def test_summary_that_sentry_refuses_is_delivered_later_with_its_id(
    store: Store, sentry: FakeSentry, notify: Notifier
) -> None:
    raise_alerts(store, streams.RATE_MAX + 5)
    notify()
    end_window(store)
    sentry.status = 400
    notify()
    assert Alerts(store).throttled_counts() == {"salon poison": 5}

    sentry.status = 200
    end_window(store)
    notify()

    assert Alerts(store).throttled_counts() == {}
    *singles, event = sentry.events
    assert len(singles) == streams.RATE_MAX
    assert "Customers of salon are not answered, 5 more times" in event["logentry"]["formatted"]
    assert event["contexts"]["alert"]["throttled"] == 5
    assert sentry.text.count(event["event_id"]) > 1


def test_alert_is_delivered_after_the_ledger_came_back_empty(
    store: Store, client: redis.Redis
) -> None:
    notify = notifier(store, sentry=False)
    notify()
    client.flushall()
    raise_alerts(store)

    notify()

    assert notified(store) == [True]


def test_without_a_dsn_the_alert_is_an_error_line_and_a_row(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    raise_alerts(store, 2)

    with caplog.at_level(logging.INFO):
        for _ in range(2):
            notifier(store, sentry=False)()

    lines = [record for record in caplog.records if record.message == "alert.told"]
    assert [(line.levelname, vars(line)["kind"]) for line in lines] == [("ERROR", "poison")] * 2
    assert [alert.kind for alert in Alerts(store).newest(10)] == ["poison"] * 2


def test_ledger_that_is_away_is_logged_and_its_alerts_stay_pending(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    raise_alerts(store)
    away = Store(redis_client("redis://127.0.0.1:1/0", "manage"), privacy_key="k")

    notifier(away, sentry=False)()

    assert "alert.delayed" in caplog.messages
    assert notified(store) == [False]
