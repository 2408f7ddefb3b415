"""Real servers with wrong settings, and what the checks say of each."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread

import pytest

from batching.store import Store
from runtime.clients import redis_client
from runtime.health import Context, Level, check_separate_databases, check_server
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


@pytest.fixture
def locked(durable: ValkeyServer) -> Iterator[ValkeyServer]:
    """Return a server that asks for a password, and has a user who may do next to nothing."""
    client = durable.client(0)
    client.execute_command("ACL", "SETUSER", "weak", "on", ">a-password", "~*", "+ping")
    client.config_set("requirepass", "a-password")
    yield durable
    client.config_set("requirepass", "")


@pytest.fixture
def impostor() -> Iterator[int]:
    """Return the port of a server that speaks HTTP, whatever it is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    visitor, _ = server.accept()
                    with visitor:
                        visitor.recv(1_000)
                        visitor.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = Thread(target=answer, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


#: The address; what is said, and the word that the advice turns on.
TROUBLES = [
    ("redis://{locked}/0", "refuses our user or password (AuthenticationError)", "server is up"),
    ("redis://:b@{locked}/0", "refuses our user or password (AuthenticationError)", "server is up"),
    (
        "redis://me:b@{locked}/0",
        "refuses our user or password (AuthenticationError)",
        "server is up",
    ),
    ("redis://weak:a-password@{locked}/0", "lets our user in, and refuses it a command", "rights"),
    ("redis://:a-password@{locked}/99", "refuses the database of the address", "number"),
    ("redis://:a-password@127.0.0.1:1/0", "does not answer: nothing listens there", "start"),
    ("redis://:a-password@no-such-host.invalid/0", "its host's name is unknown", "correct"),
    ("unix:///no/such.sock?password=a-password", "there is no such socket", "correct"),
    ("redis://:a-password@127.0.0.1:{impostor}/0", "does not answer as a Redis does", "port"),
    ("rediss://:a-password@127.0.0.1:{impostor}/0", "no TLS connection came about", "redis://"),
]


@pytest.mark.parametrize(("url", "says", "advice"), TROUBLES)
def test_server_that_does_not_serve_us_is_one_mistake_that_names_the_cause(
    locked: ValkeyServer, impostor: int, url: str, says: str, advice: str
) -> None:
    address = url.format(locked=f"127.0.0.1:{locked.port}", impostor=impostor)
    client = redis_client(address, "manage")

    (found,) = check_server(client, "REDIS_URL", keeps=True, production=True)

    assert (found.level, found.about) == (Level.MISTAKE, "REDIS_URL")
    assert says in found.says
    assert advice in found.advice
    assert "a-password" not in found.says + found.advice


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
