"""Clients of Redis and of HTTP, with every limit stated rather than left to a library's default.

A provider waits for the web, so the web gives up first: a webhook that finds no Redis is answered
within WEB_ANSWER_S_MAX even where packets vanish. The other roles wait longer and repeat less.
"""

from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from batching.errors import ConfigurationError

Role = Literal["web", "worker", "scheduler", "manage"]

#: The longest that a webhook may wait for a Redis that is away, in seconds.
WEB_ANSWER_S_MAX = 2.0
_REPEAT_BASE_S, _REPEAT_MAX_S = 0.02, 0.2

HTTP_CONNECTIONS_MAX = 100
HTTP_CONNECT_S, HTTP_ANSWER_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a role waits, in seconds, and how often it repeats a command.

    ``free_s``: for a free one of ``connections``; ``connect_s``: for the server to accept;
    ``answer_s``: for one answer.
    """

    connections: int
    free_s: float
    connect_s: float
    answer_s: float
    repeats: int


#: The scheduler tries again with its next tick, an operator by hand.
PATIENCE: dict[Role, Patience] = {
    "web": Patience(64, free_s=0.3, connect_s=0.4, answer_s=1.2, repeats=1),
    "worker": Patience(64, free_s=5.0, connect_s=2.0, answer_s=5.0, repeats=2),
    "scheduler": Patience(8, free_s=1.0, connect_s=1.0, answer_s=2.0, repeats=0),
    "manage": Patience(4, free_s=1.0, connect_s=2.0, answer_s=5.0, repeats=0),
}


def redis_client(url: str, role: Role) -> redis.Redis:
    """Return a client of the database at ``url`` with the limits of ``role``; answers are bytes.

    It connects at its first command. A command is repeated only where the connection broke, never
    where an answer is late, which would multiply the wait. Every script may run twice: it is
    deduplicated or fenced.
    """
    patience = PATIENCE[role]
    pool = redis.BlockingConnectionPool.from_url(
        url,
        protocol=2,
        decode_responses=False,
        client_name=f"ai-admin-{role}",
        driver_info=None,  # two commands less at each connection, and none an ACL could refuse
        max_connections=patience.connections,
        timeout=patience.free_s,
        socket_connect_timeout=patience.connect_s,
        socket_timeout=patience.answer_s,
        retry=Retry(
            ExponentialWithJitterBackoff(base=_REPEAT_BASE_S, cap=_REPEAT_MAX_S),
            patience.repeats,
            supported_errors=(RedisConnectionError,),
        ),
    )
    return redis.Redis(connection_pool=pool)


def http_client() -> httpx2.Client:
    """Return the client for channels and models; they set a deadline of their own on each call.

    Redirects are not followed: providers send none, and a key must not be sent elsewhere.
    Raise ConfigurationError if the environment names a proxy that cannot be one.
    """
    limits = httpx2.Limits(
        max_connections=HTTP_CONNECTIONS_MAX, max_keepalive_connections=HTTP_CONNECTIONS_MAX
    )
    timeout = httpx2.Timeout(HTTP_ANSWER_S, connect=HTTP_CONNECT_S)
    try:
        return httpx2.Client(timeout=timeout, limits=limits, follow_redirects=False)
    except (httpx2.InvalidURL, ValueError, ImportError):
        # The library's message quotes the address, and with it a part of a password.
        problem = (
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY: must be an address such as http://HOST:PORT"
        )
        raise ConfigurationError("proxy", problem) from None


@dataclass(frozen=True, slots=True)
class DatabaseId:
    """One database of one running server; equal for all addresses of that database.

    ``run_id``: "" where INFO is not allowed.
    """

    run_id: str
    db: int


def database_id(client: redis.Redis) -> DatabaseId:
    """Return which database of which server the client talks to. Raise RedisError."""
    run_id = str(server_info(client, "server").get("run_id", ""))
    return DatabaseId(run_id, int(client.get_connection_kwargs().get("db") or 0))


def server_info(client: redis.Redis, section: str) -> dict[str, object]:
    """Return a section of INFO, {} where that is not allowed. Raise RedisError."""
    try:
        info: Any = client.info(section)
        return dict(info)
    except redis.ResponseError:
        return {}
