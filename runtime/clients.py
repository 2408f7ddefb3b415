"""Clients of Redis and of HTTP, with every limit stated rather than left to a library's default.

A provider waits for the web, so the web gives up first: a webhook that finds no Redis is answered
within WEB_ANSWER_S_MAX even where packets vanish. The other roles wait longer and repeat less.
"""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx2
import redis
from redis.backoff import EqualJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoPermissionError
from redis.retry import Retry

from batching.errors import ConfigurationError

Role = Literal["web", "worker", "scheduler", "manage"]

#: The longest that a webhook may wait for a Redis that is away, in seconds.
WEB_ANSWER_S_MAX = 2.0
#: The wait before a command is repeated, and half of it at least: a port that goes from Redis to a
#: door is closed for some milliseconds.
REPEAT_S_MAX = 0.1

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
            EqualJitterBackoff(base=REPEAT_S_MAX, cap=REPEAT_S_MAX),
            patience.repeats,
            supported_errors=(RedisConnectionError,),
        ),
    )
    return redis.Redis(connection_pool=pool)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a Redis does not serve us, in words that follow its setting's name, and what to do."""

    says: str
    advice: str


_START = "start the server, or correct the address"
_RIGHTS = "give the user the rights of its role: docs/security.md has them"
_NUMBER = "end the address with the number of a database that it has, 0..15 by default"
_AUTHORITY = "name the authority by ssl_ca_certs in the address, and the host as its certificate"
_CLEAR = "write redis:// for a server without TLS; for one with it, see its log"
_SLOW = "see whether it is overloaded, a firewall is between, or rediss:// should be redis://"
#: redis-py has few classes for many causes: what the system raised first tells more, and the first
#: word of what the server said.
_TROUBLES: tuple[tuple[type[BaseException], str, Trouble], ...] = (
    (
        redis.AuthenticationError,
        "",
        Trouble("refuses our user or password", "correct both in the address; the server is up"),
    ),
    (NoPermissionError, "", Trouble("lets our user in, and refuses it a command", _RIGHTS)),
    (redis.BusyLoadingError, "", Trouble("is still loading its data", "wait until it has")),
    (redis.ReadOnlyError, "", Trouble("is a replica", "use the address of the primary")),
    (redis.OutOfMemoryError, "", Trouble("is full", "give it more maxmemory")),
    (redis.ResponseError, "MISCONF", Trouble("cannot save to its disk", "look at its disk")),
    (redis.ResponseError, "DB", Trouble("refuses the database of the address", _NUMBER)),
    (InvalidResponse, "", Trouble("does not answer as a Redis does", "correct host and port")),
    (socket.gaierror, "", Trouble("does not answer: its host's name is unknown", "correct it")),
    (
        ssl.SSLCertVerificationError,
        "",
        Trouble("does not answer: its certificate is not trusted", _AUTHORITY),
    ),
    (ssl.SSLError, "", Trouble("does not answer: no TLS connection came about", _CLEAR)),
    (ConnectionRefusedError, "", Trouble("does not answer: nothing listens there", _START)),
    (FileNotFoundError, "", Trouble("does not answer: there is no such socket", "correct it")),
    (TimeoutError, "", Trouble("does not answer in time", _SLOW)),
)


def trouble(error: BaseException) -> Trouble:
    """Return why a command failed, without its message, which may quote the address."""
    for each in _causes(error):
        for kind, word, found in _TROUBLES:
            if isinstance(each, kind) and str(each).startswith(word):
                return replace(found, says=f"{found.says} ({type(error).__name__})")
    return Trouble(f"does not answer ({type(error).__name__})", _START)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what was raised first, then what it became, the last of which is ``error``."""
    before = error.__cause__ or error.__context__
    if before is not None:
        yield from _causes(before)
    yield error


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
