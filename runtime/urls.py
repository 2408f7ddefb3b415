"""Addresses of Redis and RabbitMQ: checked, compared and shown without their passwords."""

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

REDIS_SCHEMES = ("redis", "rediss", "unix")
AMQP_SCHEMES = ("amqp", "amqps")
_PORT_REDIS = 6379
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Place:
    """One database of one Redis server, as far as an address tells."""

    server: str
    db: int


def is_redis(url: str) -> bool:
    """Return whether ``url`` leads to Redis rather than to RabbitMQ."""
    return urlsplit(url).scheme in REDIS_SCHEMES


def url_problem(url: str, schemes: tuple[str, ...]) -> str | None:
    """Return what is wrong with an address, None if nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be an address such as redis://127.0.0.1:6379/0"
    if parts.scheme not in schemes:
        return f"must begin with {', '.join(f'{scheme}://' for scheme in schemes)}"
    if parts.scheme == "unix":
        if not parts.path:
            return "must name a socket, such as unix:///run/valkey/valkey.sock?db=0"
    elif not parts.hostname or port == 0:
        return "must name a host, such as 127.0.0.1"
    return _database_problem(parts) if parts.scheme in REDIS_SCHEMES else None


def place_of(url: str) -> Place:
    """Return where a checked Redis address leads; all names of the loopback are one server."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Place(parts.path, int(_database(parts) or 0))
    host = (parts.hostname or "").lower()
    server = f"{'loopback' if host in _LOOPBACK else host}:{parts.port or _PORT_REDIS}"
    return Place(server, int(_database(parts) or 0))


def masked(url: str) -> str:
    """Return ``url`` with *** in place of its password and of its query, fit to be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    netloc = f"{user}{colon and ':***'}{at}{host}" if colon else f"{login and '***'}{at}{host}"
    query = parts.query if parts.query.startswith("db=") and parts.query[3:].isdigit() else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query or (parts.query and "***"), ""))


def _database(parts: SplitResult) -> str:
    path = "" if parts.scheme == "unix" else parts.path.strip("/")
    return parse_qs(parts.query).get("db", [path])[0]


def _database_problem(parts: SplitResult) -> str | None:
    # redis-py lets an address override the time limits, and takes database 0 for one it
    # cannot read: both would be found out only when something hangs or a queue is in the way.
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option != "db" and not option.startswith("ssl_"):
            return "options other than db and ssl_* are not allowed"
    database = _database(parts)
    if database and not (database.isascii() and database.isdigit()):
        return "must end with the number of a database, such as /0"
    return None
