"""The alert streams of a real ledger: at least once, at a rate, in few round trips."""

from typing import Any

import pytest
import redis

from batching import alerts as streams
from batching.alerts import Alert, Alerts, Undelivered, code_of
from batching.store import Store
from tests.alerts import end_window, notified, raise_alerts
from tests.batching.conftest import Counting
from tests.fakes import FakeClock


@pytest.fixture
def sharded(client: redis.Redis, clock: FakeClock) -> Store:
    """Return a store of more shards than are claimed from at once."""
    return Store(client, privacy_key="k", shards=streams.CLAIMED_MAX + 6, clock=clock)


def test_alert_is_given_out_once_while_it_is_in_hand(store: Store) -> None:
    raise_alerts(store, 3)
    first, second = Alerts(store), Alerts(store)

    assert [alert.batch_id for alert in first.take(2)] == ["b0", "b1"]
    assert [alert.batch_id for alert in second.take(2)] == ["b2"]
    assert second.take(2) == []


def test_alert_that_is_not_acknowledged_is_given_out_again_in_every_shard(
    sharded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "REDELIVER_MS", 0)
    last = len(sharded.keyring.all_shards) - 1
    raise_alerts(sharded, 1)
    raise_alerts(sharded, 1, shard=last)
    alerts = Alerts(sharded)
    taken = alerts.take(10)

    again = {alert.name for _ in range(2) for alert in alerts.take(10)}

    assert {alert.shard for alert in taken} == {0, last}
    assert again == {alert.name for alert in taken}


@pytest.mark.parametrize(("count", "expected"), [(0, [1, 0, 0, 1, 2]), (3, [1, 1, 2, 1, 2])])
@pytest.mark.parametrize("shards", [1, 200])
def test_round_trips_do_not_grow_with_the_shards(
    client: redis.Redis,
    round_trips: Counting,
    shards: int,
    count: int,
    expected: list[int],
) -> None:
    store = Store(client, privacy_key="k", shards=shards)
    alerts = Alerts(store)
    alerts.take(10)
    for n in range(count):
        raise_alerts(store, 1, shard=n % 2, kind=f"kind{n}")
    taken: list[Alert] = []

    assert [
        round_trips(lambda: taken.extend(alerts.take(10))),
        round_trips(lambda: alerts.throttle(taken)),
        round_trips(lambda: alerts.acknowledge(taken)),
        round_trips(lambda: alerts.newest(10)),
        round_trips(alerts.undelivered),
    ] == expected


def test_alerts_beyond_the_rate_become_a_summary_when_the_window_is_over(store: Store) -> None:
    raise_alerts(store, streams.RATE_MAX + 5)
    raise_alerts(store, 1, account="barber")
    alerts = Alerts(store)

    now = alerts.throttle(alerts.take(100))
    alerts.acknowledge(now)
    assert len(now) == streams.RATE_MAX + 1
    assert alerts.throttled_counts() == {"salon poison": 5}
    assert alerts.take(100) == []

    end_window(store)
    (summary,) = alerts.throttle(alerts.take(100))
    assert (summary.kind, summary.account_id, summary.throttled) == ("poison", "salon", 5)
    alerts.acknowledge([summary])
    assert (alerts.throttled_counts(), alerts.undelivered().count) == ({}, 0)


def test_frequent_cause_throttles_no_other(store: Store) -> None:
    """A new cause of the same kind and account is told at once; each has a summary of its own."""
    alerts, shard = Alerts(store), store.keyring.shards[0]
    raise_alerts(store, streams.RATE_MAX + 5, detail="cloud_131026; apology sent")
    raise_alerts(store, 1, detail="cloud_131047")

    now = alerts.throttle(alerts.take(100))
    alerts.acknowledge(now)
    assert [alert.code for alert in now] == ["cloud_131026"] * streams.RATE_MAX + ["cloud_131047"]
    assert alerts.throttled_counts() == {"salon poison cloud_131026": 5}

    store.client.delete(shard.cooldown("salon", "rate:poison:cloud_131026"))
    (summary,) = alerts.take(100)
    assert (summary.kind, summary.code, summary.throttled) == ("poison", "cloud_131026", 5)
    alerts.acknowledge([summary])
    assert alerts.throttled_counts() == {}


@pytest.mark.parametrize(
    ("detail", "code"),
    [
        ("model_auth", "model_auth"),
        ("model_auth; apology not sent: cloud_131047", "model_auth"),
        ("venom_notlogged: the phone is logged out: log it in", "venom_notlogged"),
        ("fallback-1_stopped", "fallback-1_stopped"),
        ("venom_ack_-1", "venom_ack_-1"),
        ("KeyError", "KeyError"),
        ("app", "app"),
        ("", ""),
        ("c_0123456789abcdef01234567", ""),
        ("c_0123456789abcdef01234567 c_0123456789abcdef01234568", ""),
        ("memory: 85 % in use: give it more", ""),
        ("2 link, 1 number", ""),
        ("79990000001", ""),
        ("a b", ""),
        ("x" * 100, ""),
    ],
)
def test_code_is_what_a_detail_begins_with(detail: str, code: str) -> None:
    assert code_of(detail) == code


def test_alert_throttled_meanwhile_stays_counted_when_two_notifiers_summarize(store: Store) -> None:
    """Any number of schedulers run; each looks for summaries when the window is over."""
    raise_alerts(store, streams.RATE_MAX + 5)
    first, second = Alerts(store), Alerts(store)
    first.acknowledge(first.throttle(first.take(100)))
    end_window(store)

    found = [*first.take(10), *second.take(10)]
    raise_alerts(store, streams.RATE_MAX + 1)
    first.throttle(first.take(100))
    first.acknowledge(found)

    assert [alert.throttled for alert in found] == [5]
    assert first.throttled_counts() == {"salon poison": 1}


def test_old_alerts_are_trimmed_once_they_are_acknowledged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEPT_MAX", 5)
    monkeypatch.setattr(streams, "TRIM_MIN", 3)
    raise_alerts(store, 12)
    alerts = Alerts(store)
    taken = alerts.take(10)

    alerts.acknowledge(taken[5:])
    assert len(notified(store)) == 12

    alerts.acknowledge(taken[:5])
    assert notified(store) == [False] * 2 + [True] * 5

    alerts.acknowledge(alerts.take(10))
    assert notified(store) == [True] * 7


def test_undelivered_has_number_and_age_of_what_is_not_acknowledged(store: Store) -> None:
    client: Any = store.client
    for age_ms in (3_000, 2_000, 1_000):
        at_ms = store.now_ms() - age_ms
        client.xadd(store.keyring.shards[0].alerts, {"kind": "drift"}, id=f"{at_ms}-0")
    alerts = Alerts(store)
    found = [alerts.undelivered()]

    first, second = alerts.take(2)
    for acknowledged in ([], [first], [second], alerts.take(2)):
        alerts.acknowledge(acknowledged)
        found.append(alerts.undelivered())

    left = (3, 3_000), (3, 3_000), (2, 2_000), (1, 1_000), (0, 0)
    assert found == [Undelivered(*each) for each in left]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"kind": "poison", "severity": "9"}, {"kind": "poison"}, id="unknown field"),
        pytest.param({"kind": "tsunami"}, {"kind": "tsunami"}, id="unknown kind"),
        pytest.param({"detail": "d"}, {"kind": "", "detail": "d"}, id="no kind"),
        pytest.param({"kind": "lost", "lost": "many", "at_ms": ""}, {"lost": 0}, id="no number"),
        pytest.param({b"kind": b"\xff"}, {"kind": "\ufffd"}, id="no text"),
    ],
)
def test_alert_of_another_release_is_delivered_and_hides_no_other(
    store: Store, fields: Any, expected: dict[str, object]
) -> None:
    client: Any = store.client
    client.xadd(store.keyring.shards[0].alerts, fields)
    raise_alerts(store, 1)
    alerts = Alerts(store)

    foreign, own = alerts.throttle(alerts.take(10))

    assert {name: getattr(foreign, name) for name in expected} == expected
    assert foreign.at_ms == int(foreign.entry_id.partition("-")[0])
    assert own.batch_id == "b0"
    assert len(alerts.newest(10)) == 2


def test_throttled_count_of_another_release_hides_no_other(store: Store) -> None:
    client: Any = store.client
    counts = {"salon poison": "many", "salon drift": "0", "salon lost": "-3", "": ""}
    known = {"barber overdue": "2", " drift": "2", "odd": "1"}
    client.hset(store.keyring.shards[0].throttled, mapping=counts | known)

    found = {(alert.account_id, alert.kind): alert.throttled for alert in Alerts(store).take(10)}

    assert found == {("barber", "overdue"): 2, ("", "drift"): 2, ("odd", ""): 1}
