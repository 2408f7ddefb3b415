"""Real servers with wrong settings, and what the checks say of each."""

import pytest

from batching.store import Store
from runtime.clients import redis_client
from runtime.health import CheckResult, Context, Level, check_separate_databases, check_server
from runtime.settings import load_settings
from tests.valkey_server import ValkeyServer

REACHABLE = ("ok", "is reachable")
WRITES = ("ok", "takes writes")
KEEPS = ("ok", "maxmemory-policy is noeviction")
REMEMBERS = ("ok", "appendonly is yes")
EVICTING = ("mistake", "maxmemory-policy=volatile-lru: must be noeviction")
FORGETFUL = ("mistake", "appendonly=no: must be yes")
UNKNOWN = "cannot tell {}: neither CONFIG nor INFO is allowed"

APPEND_NOTHING = "CONFIG SET appendonly no"
EVICT = "CONFIG SET maxmemory-policy volatile-lru"


def said(
    server: ValkeyServer, *commands: str, keeps: bool = True, production: bool = True
) -> list[tuple[str, str]]:
    """Return what is said of a server that these commands changed."""
    client = redis_client(f"unix://{server.socket}", "manage")
    for command in commands:
        client.execute_command(*command.split())
    client.connection_pool.disconnect()

    found = check_server(client, "REDIS_URL", keeps=keeps, production=production)

    assert {result.about for result in found} == {"REDIS_URL"}
    return [(result.level.value, result.says) for result in found]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        pytest.param([], [WRITES, KEEPS, REMEMBERS], id="good"),
        pytest.param([EVICT], [WRITES, EVICTING, REMEMBERS], id="evicting"),
        pytest.param([APPEND_NOTHING], [WRITES, KEEPS, FORGETFUL], id="forgetful"),
        pytest.param(
            ["CONFIG SET appendfsync no"],
            [WRITES, KEEPS, REMEMBERS, ("warning", "appendfsync=no: should be everysec or always")],
            id="slow to sync",
        ),
        pytest.param(
            [EVICT, APPEND_NOTHING, "ACL SETUSER default -config"],
            [WRITES, EVICTING, FORGETFUL],
            id="where CONFIG is refused INFO is asked",
        ),
        pytest.param(
            ["ACL SETUSER default -config -info"],
            [
                WRITES,
                ("warning", UNKNOWN.format("maxmemory-policy")),
                ("warning", UNKNOWN.format("appendonly")),
            ],
            id="where both are refused nothing is guessed",
        ),
        pytest.param(
            ["REPLICAOF 127.0.0.1 1"],
            [("mistake", "is a replica: it takes no writes"), KEEPS, REMEMBERS],
            id="replica",
        ),
        pytest.param(
            ["CONFIG SET maxmemory 1mb"],
            [("mistake", "takes no writes (OutOfMemoryError)"), KEEPS, REMEMBERS],
            id="full",
        ),
    ],
)
def test_server_is_checked_for_what_would_lose_messages(
    durable: ValkeyServer, commands: list[str], expected: list[tuple[str, str]]
) -> None:
    assert said(durable, *commands) == [REACHABLE, *expected]


def test_server_that_forgets_at_a_restart_is_a_warning_outside_production(
    durable: ValkeyServer,
) -> None:
    found = said(durable, APPEND_NOTHING, production=False)

    assert found == [REACHABLE, WRITES, KEEPS, ("warning", FORGETFUL[1])]


def test_broker_may_forget(durable: ValkeyServer) -> None:
    """It carries wake-ups, which the ledger repeats."""
    assert said(durable, APPEND_NOTHING, EVICT, keeps=False) == [REACHABLE, WRITES]


def test_server_with_another_password_is_one_mistake(durable: ValkeyServer) -> None:
    assert said(durable, "CONFIG SET requirepass right") == [
        ("mistake", "does not answer (AuthenticationError)")
    ]


def test_server_that_is_away_is_one_mistake_without_its_password() -> None:
    away = redis_client("redis://:a-password@127.0.0.1:1/0", "manage")

    assert check_server(away, "REDIS_URL", keeps=True, production=True) == [
        CheckResult(
            Level.MISTAKE,
            "REDIS_URL",
            "does not answer (ConnectionError)",
            "start the server, or correct the address",
        )
    ]


def context(ledger_url: str, broker_url: str) -> Context:
    store = Store(redis_client(ledger_url, "manage"), privacy_key="k")
    return Context(store, load_settings({}), redis_client(broker_url, "manage"))


@pytest.mark.parametrize(("broker_db", "level"), [(2, Level.MISTAKE), (1, Level.OK)])
def test_databases_are_compared_whatever_their_addresses(
    valkey: ValkeyServer, broker_db: int, level: Level
) -> None:
    """A socket and a port look different, and are the same server."""
    urls = valkey.url(2), f"unix://{valkey.socket}?db={broker_db}"

    assert [it.level for it in check_separate_databases(context(*urls))] == [level]


def test_databases_that_cannot_be_told_apart_are_a_warning(durable: ValkeyServer) -> None:
    said(durable, "ACL SETUSER default -info")
    found = check_separate_databases(context(durable.url(0), durable.url(0)))

    assert [it.level for it in found] == [Level.WARNING]
