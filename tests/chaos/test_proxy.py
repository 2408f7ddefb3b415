"""The proxy does to connections what a test asks for, and otherwise nothing."""

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.proxy import Proxy
from tests.valkey_server import ValkeyServer


@pytest.fixture
def proxy(valkey: ValkeyServer) -> Iterator[Proxy]:
    running = Proxy(valkey.port)
    yield running
    running.close()


@pytest.fixture
def through(proxy: Proxy) -> Iterator[redis.Redis]:
    never = Retry(NoBackoff(), 0)
    with redis.Redis(port=proxy.port, protocol=2, socket_timeout=0.3, retry=never) as client:
        yield client


def test_swallowed_answer_belongs_to_a_command_that_was_carried_out(
    client: redis.Redis, through: redis.Redis, proxy: Proxy
) -> None:
    through.ping()
    proxy.swallows = True
    with pytest.raises(redis.TimeoutError):
        through.incr("n")
    proxy.swallows = False

    assert client.get("n") == b"1"
    assert through.incr("n") == 2


def test_cut_connection_is_reset(through: redis.Redis, proxy: Proxy) -> None:
    with through.client() as held:
        held.ping()
        proxy.cut()

        with pytest.raises(redis.ConnectionError):
            held.ping()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("refuses", True, redis.ConnectionError), ("delay_ms", 600, redis.TimeoutError)],
)
def test_trouble_lasts_until_it_is_switched_off(
    through: redis.Redis, proxy: Proxy, name: str, value: int, error: type[Exception]
) -> None:
    setattr(proxy, name, value)
    with pytest.raises(error):
        through.ping()
    setattr(proxy, name, 0)

    assert through.ping()
