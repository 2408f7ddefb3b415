import socket
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from runtime.clients import (
    PATIENCE,
    REPEAT_S_MAX,
    WEB_ANSWER_S_MAX,
    Patience,
    Role,
    http_client,
    redis_client,
)


def connection_of(client: redis.Redis) -> Any:
    """Return a connection as the client makes them, not connected."""
    return client.connection_pool.make_connection()


@pytest.mark.parametrize(("role", "patience"), PATIENCE.items())
def test_client_waits_exactly_as_long_as_its_role_allows(role: Role, patience: Patience) -> None:
    """Whatever its address asks for."""
    client = redis_client("rediss://127.0.0.1:6379/3?ssl_cert_reqs=none", role)
    pool: Any = client.connection_pool
    connection = connection_of(client)

    assert (pool.timeout, pool.max_connections) == (patience.free_s, patience.connections)
    assert connection.socket_connect_timeout == patience.connect_s
    assert connection.socket_timeout == patience.answer_s
    assert connection.retry.get_retries() == patience.repeats
    assert connection.client_name == f"ai-admin-{role}"
    assert (connection.db, connection.protocol) == (3, 2)


def test_webhook_without_redis_is_answered_in_time() -> None:
    """A late answer is not asked for again: repeats and three waits are the longest."""
    connection, waits = connection_of(redis_client("redis://127.0.0.1/0", "web")), PATIENCE["web"]

    repeats_s = waits.repeats * REPEAT_S_MAX
    longest_s = waits.free_s + repeats_s + waits.connect_s + waits.answer_s
    assert longest_s <= WEB_ANSWER_S_MAX + 1e-9
    assert connection.retry._supported_errors == (RedisConnectionError,)
    assert not issubclass(redis.TimeoutError, RedisConnectionError)


def test_black_hole_is_tried_once() -> None:
    """A stopped Redis takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(0)
        with pytest.raises(redis.TimeoutError):
            redis_client(f"redis://127.0.0.1:{mute.getsockname()[1]}/0", "web").ping()

        mute.accept()[0].close()
        with pytest.raises(BlockingIOError):
            mute.accept()


def test_http_client_follows_no_redirect_and_has_limits() -> None:
    with http_client() as http:
        assert http.follow_redirects is False
        assert None not in http.timeout.as_dict().values()
