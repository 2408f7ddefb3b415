"""Clients of Redis and of HTTP: every limit stated, because every default is somebody else's.

A provider waits for the web, so the web gives up first: a webhook that finds no Redis is answered
within WEB_ANSWER_S_MAX even where packets vanish. The others wait longer and work less often.
"""

from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from runtime.settings import Settings

Role = Literal["web", "worker", "scheduler", "manage"]

#: The longest a webhook may wait for a Redis that is away, in seconds.
WEB_ANSWER_S_MAX = 2.0
_REPEAT_BASE_S, _REPEAT_MAX_S = 0.02, 0.2

HTTP_CONNECTIONS_MAX = 100
HTTP_CONNECT_S, HTTP_ANSWER_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a role waits, in seconds, and how often it repeats what a broken connection ate.

    ``free_s``: for one of ``connections``; ``connect_s``: for the server to take a connection;
    ``answer_s``: for one answer.
    """

    connections: int
    free_s: float
    connect_s: float
    answer_s: float
    repeats: int

    @property
    def without_redis_s(self) -> float:
        """Return the longest that one call takes where Redis is away or answers nothing."""
        return self.free_s + self.connect_s + self.answer_s


#: The scheduler looks again in a moment anyway; a person can ask again.
PATIENCE: dict[Role, Patience] = {
    "web": Patience(64, free_s=0.3, connect_s=0.4, answer_s=1.2, repeats=1),
    "worker": Patience(64, free_s=5.0, connect_s=2.0, answer_s=5.0, repeats=2),
    "scheduler": Patience(8, free_s=1.0, connect_s=1.0, answer_s=2.0, repeats=0),
    "manage": Patience(4, free_s=1.0, connect_s=2.0, answer_s=5.0, repeats=0),
}


def ledger_client(settings: Settings, role: Role) -> redis.Redis:
    """Return the client of the ledger for a process of ``role``. Connects at its first command."""
    return redis_client(settings.redis_url, role)


def redis_client(url: str, role: Role) -> redis.Redis:
    """Return a client of the database at ``url`` with the limits of ``role``; answers are bytes.

    A command is repeated only where the connection broke, never where an answer is late: that
    would multiply the wait. Every script of the ledger may run twice: it is deduplicated or fenced.
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

    Redirects are not followed: a provider has none, and a key must not travel.
    """
    return httpx2.Client(
        timeout=httpx2.Timeout(HTTP_ANSWER_S, connect=HTTP_CONNECT_S),
        limits=httpx2.Limits(
            max_connections=HTTP_CONNECTIONS_MAX, max_keepalive_connections=HTTP_CONNECTIONS_MAX
        ),
        follow_redirects=False,
    )


@dataclass(frozen=True, slots=True)
class DatabaseId:
    """One database of one running server. Two addresses with one identity are one place."""

    run_id: str
    db: int


def database_id(client: redis.Redis) -> DatabaseId:
    """Return which database of which server the client talks to. Raise RedisError."""
    run_id = str(server_info(client, "server").get("run_id", ""))
    return DatabaseId(run_id, int(client.get_connection_kwargs().get("db") or 0))


def server_info(client: redis.Redis, section: str) -> dict[str, object]:
    """Return a section of INFO, {} where that is not allowed. Raise RedisError."""
    try:
        told: Any = client.info(section)
        return dict(told)
    except redis.ResponseError:
        return {}
