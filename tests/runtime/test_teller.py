"""Alerts of a real ledger on their way to a Sentry that listens on the loopback."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import sentry_sdk

from batching import alerts as streams
from batching.alerts import Alerts
from batching.store import Store
from runtime import notifier
from runtime import sentry as reporting
from runtime.notifier import Notifier
from runtime.sentry import start_reporting
from runtime.settings import load_settings
from tests.fake_sentry import FakeSentry

LEDGER = "a-ledger"


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSentry]:
    server = FakeSentry()
    monkeypatch.setattr(reporting, "SEND_S_MAX", 2)
    start_reporting(load_settings({"SENTRY_DSN": server.dsn, "RELEASE": "r1"}), "scheduler")
    yield server
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    server.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader took and did not settle is given out again immediately."""
    monkeypatch.setattr(streams, "TAKEN_MS_MAX", 0)


@pytest.fixture
def raised(store: Store) -> Callable[..., None]:
    """Return what writes alerts of a kind into the ledger, as the scripts do."""
    client: Any = store.client

    def write(count: int = 1, kind: str = "poison", account: str = "salon") -> None:
        for n in range(count):
            client.xadd(
                store.keyring.shards[0].alerts,
                {"kind": kind, "detail": "worker_died", "account": account, "batch": f"b{n}"},
            )

    return write


def told(store: Store) -> list[bool]:
    return [alert.told for alert in Alerts(store).kept(1_000)]


def test_alert_becomes_one_event_of_an_issue_of_its_kind_and_account(
    store: Store, sentry: FakeSentry, raised: Callable[..., None]
) -> None:
    raised()

    for _ in range(3):
        Notifier(Alerts(store), LEDGER, sentry=True)()

    (event,) = sentry.events
    assert event["message"] == "batch.dropped: poison"
    assert event["fingerprint"] == ["batch.dropped", "poison", "salon"]
    assert (event["tags"]["kind"], event["tags"]["account"]) == ("poison", "salon")
    assert event["contexts"]["alert"]["batch"] == "b0"
    assert (event["release"], event["environment"]) == ("r1", "development")
    assert told(store) == [True]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("status", [429, 500, 503])
def test_alert_waits_while_sentry_refuses_and_keeps_its_id(
    store: Store, sentry: FakeSentry, raised: Callable[..., None], status: int
) -> None:
    raised()
    sentry.status = status
    tell = Notifier(Alerts(store), LEDGER, sentry=True)

    tell()
    assert told(store) == [False]

    sentry.status = 200
    # What a refusal taught the SDK about rates is forgotten as time passes.
    sentry_sdk.get_client().transport._disabled_until.clear()  # type: ignore[union-attr]
    tell()
    assert told(store) == [True]
    (event,) = sentry.events
    assert sentry.text.count(event["event_id"]) > 1


@pytest.mark.usefixtures("at_once")
def test_alert_waits_while_nobody_listens_at_sentrys_address(
    store: Store, sentry: FakeSentry, raised: Callable[..., None]
) -> None:
    raised()
    sentry.close()

    Notifier(Alerts(store), LEDGER, sentry=True)()

    assert told(store) == [False]


@pytest.mark.usefixtures("at_once")
def test_teller_that_dies_before_it_acknowledges_repeats_the_alert(
    store: Store,
    sentry: FakeSentry,
    raised: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Alerts, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            Notifier(Alerts(store), LEDGER, sentry=True)()
    assert told(store) == [False]

    Notifier(Alerts(store), LEDGER, sentry=True)()

    first, second = sentry.events
    assert first["event_id"] == second["event_id"]
    assert told(store) == [True]


def test_flood_of_one_kind_is_told_one_by_one_up_to_a_rate_then_counted(
    store: Store, sentry: FakeSentry, raised: Callable[..., None], client: redis.Redis
) -> None:
    raised(100)
    raised(1, account="barber")
    tell = Notifier(Alerts(store), LEDGER, sentry=True)

    tell()
    assert len(sentry.events) == streams.RATE_MAX + 1
    assert told(store) == [True] * 101

    # Ten minutes later.
    client.delete(store.keyring.shards[0].told("salon", "rate:poison"))
    tell()
    tell()
    last = sentry.events[-1]
    assert len(sentry.events) == streams.RATE_MAX + 2
    assert last["message"] == "batch.dropped: poison (80 more, held back)"
    assert last["contexts"]["alert"]["held"] == 100 - streams.RATE_MAX


def test_alert_held_back_meanwhile_is_not_forgotten_with_those_that_two_tellers_tell(
    store: Store, raised: Callable[..., None], client: redis.Redis
) -> None:
    """Any number of schedulers run; each looks for what was held back when the window is over."""
    raised(streams.RATE_MAX + 5)
    first, second = Alerts(store), Alerts(store)
    Notifier(first, LEDGER, sentry=False)()
    client.delete(store.keyring.shards[0].told("salon", "rate:poison"))

    found = [*first.held_back(), *second.held_back()]
    first.hold(next(first.kept(1)))
    for alert in found:
        first.settle_held(alert)

    assert [alert.held for alert in found] == [5]
    assert first.held_counts() == {"salon poison": 1}


def test_alert_is_told_after_the_ledger_came_back_empty(
    store: Store, raised: Callable[..., None], client: redis.Redis
) -> None:
    tell = Notifier(Alerts(store), LEDGER, sentry=False)
    tell()
    client.flushall()
    raised()

    tell()

    assert told(store) == [True]


def test_without_a_dsn_the_alert_is_an_error_line_and_a_row(
    store: Store, raised: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    raised(2)

    with caplog.at_level(logging.INFO):
        for _ in range(2):
            Notifier(Alerts(store), LEDGER, sentry=False)()

    lines = [record for record in caplog.records if record.message == "alert.told"]
    assert [(line.levelname, vars(line)["kind"]) for line in lines] == [("ERROR", "poison")] * 2
    assert [alert.kind for alert in Alerts(store).kept(10)] == ["poison"] * 2


def test_old_alerts_are_forgotten_only_when_told(
    store: Store, raised: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEPT_MAX", 5)
    raised(20)
    streams.Alerts(store).forget()
    assert len(told(store)) == 20

    monkeypatch.setattr(notifier, "TAKEN_MAX", 10)
    Notifier(Alerts(store), LEDGER, sentry=False)()

    assert told(store) == [True] * 5


def test_log_line_of_a_drop_makes_no_event_of_its_own(sentry: FakeSentry) -> None:
    """The ledger's alert tells it, exactly once, whichever process logged or died."""
    logging.getLogger("batching.flow").error("batch.dropped", extra={"reason": "poison"})
    logging.getLogger("actors.tasks").error("doorbell.undecodable")
    sentry_sdk.flush(5)

    assert [event["logentry"]["message"] for event in sentry.events] == ["doorbell.undecodable"]


def test_ledger_that_is_away_is_told_and_nothing_is_forgotten(
    store: Store, raised: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    raised()
    away = Store(redis.Redis(port=1), privacy_key="k")

    Notifier(Alerts(away), LEDGER, sentry=False)()

    assert "alert.delayed" in caplog.messages
    assert told(store) == [False]
