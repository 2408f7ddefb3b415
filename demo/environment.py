"""What the demo's processes are told: the caller's environment, with the demo's own on top."""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from runtime.settings import REDIS_SCHEMES, database_of, url_problem

ACCOUNTS_FILE = Path(__file__).resolve().parent / "accounts.toml"


def demo_environment(
    given: Mapping[str, str], embedded_url: Callable[[int], str] | None, *, port: int
) -> dict[str, str]:
    """Return the environment of every process; the web listens at ``port``.

    ``embedded_url`` gives the address of a database of the demo's own server; None where ``given``
    names one by REDIS_URL. Whatever else is set, like BATCH_IDLE_MS, stays as it is.
    """
    ledger = given.get("REDIS_URL") if embedded_url is None else embedded_url(0)
    broker = given.get("BROKER_URL") or next_database(ledger or "")
    return dict(given) | {
        "REDIS_URL": ledger or "",
        "BROKER_URL": broker,
        "ACCOUNTS_FILE": str(ACCOUNTS_FILE),
        # The simulator is not served in production, whatever the caller's shell is set up for.
        "ENVIRONMENT": "demo",
        "CANARY_URL": f"http://127.0.0.1:{port}",
        "PYTHONUNBUFFERED": "1",
    }


def next_database(url: str) -> str:
    """Return the address of the database after the one at ``url``, on the same server."""
    if url_problem(url, REDIS_SCHEMES):
        return url  # The check of the settings says what is wrong with it.
    following = database_of(url)[1] + 1
    parts = urlsplit(url)
    if parts.scheme == "unix" or "db=" in parts.query:
        return f"{url.partition('?')[0]}?db={following}"
    return urlunsplit(parts._replace(path=f"/{following}"))
