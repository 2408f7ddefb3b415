"""Signs of life to a Sentry on the loopback."""

from collections.abc import Iterator

import pytest
import redis
import sentry_sdk

from batching.errors import LedgerUnavailableError
from batching.keys import CHECK_IN
from runtime.sentry import CronMonitor, start_reporting
from runtime.settings import load_settings
from tests.fake_sentry import FakeSentry


@pytest.fixture
def sentry() -> Iterator[FakeSentry]:
    server = FakeSentry()
    start_reporting(load_settings({"SENTRY_DSN": server.dsn, "RELEASE": "r1"}), "worker")
    yield server
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    server.close()


def test_installation_checks_in_once_a_minute_however_often_and_wherever_it_flushes(
    client: redis.Redis, sentry: FakeSentry
) -> None:
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


def test_redis_that_is_away_is_no_fault_of_ours() -> None:
    """A flush that lost its Redis on the last yards must not look like broken code."""
    with pytest.raises(LedgerUnavailableError):
        CronMonitor(redis.Redis.from_url("redis://127.0.0.1:1")).alive()
