"""Real servers with wrong settings, and what the checks say of each."""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from runtime.clients import database_id, redis_client
from runtime.health import CheckResult, Level, check_server, compare_databases
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import ValkeyServer

Start = Callable[..., redis.Redis]


@pytest.fixture
def start(valkey_binary: str, guard: Guard) -> Iterator[Start]:
    """Start a server with the given options and return a client of it."""
    processes: list[OwnedProcess] = []
    directories: list[Path] = []

    def started(**options: str) -> redis.Redis:
        directory = guard.new_directory("durability")
        path = str(directory / "s")
        given = {"port": "0", "unixsocket": path, "dir": str(directory), "save": ""} | options
        flags = [item for name, value in given.items() for item in (f"--{name}", value)]
        process = OwnedProcess(
            [valkey_binary, *flags], log_path=directory / "log", guard=guard, cwd=directory
        )
        processes.append(process)
        directories.append(directory)
        process.start()
        while not _listens(path):
            assert process.running, process.log()
        return redis_client(f"unix://{path}", "manage")

    yield started
    for process in processes:
        process.kill()
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


GOOD = [
    ("ok", "is reachable"),
    ("ok", "takes writes"),
    ("ok", "maxmemory-policy is noeviction"),
    ("ok", "appendonly is yes"),
]
EVICTING = ("mistake", "maxmemory-policy=volatile-lru: must be noeviction")
FORGETFUL = ("mistake", "appendonly=no: must be yes")
UNKNOWN = [
    ("warning", "cannot tell maxmemory-policy: neither CONFIG nor INFO is allowed"),
    ("warning", "cannot tell appendonly: neither CONFIG nor INFO is allowed"),
]


def said(client: redis.Redis, *, production: bool = True) -> list[tuple[str, str]]:
    found = check_server(client, "REDIS_URL", keeps=True, production=production)
    assert {result.about for result in found} == {"REDIS_URL"}
    return [(result.level.value, result.says) for result in found]


@pytest.mark.parametrize(
    ("options", "forbidden", "expected"),
    [
        ({}, "", GOOD),
        ({"maxmemory-policy": "volatile-lru"}, "", [*GOOD[:2], EVICTING, GOOD[3]]),
        ({"appendonly": "no"}, "", [*GOOD[:3], FORGETFUL]),
        (
            {"appendfsync": "no"},
            "",
            [*GOOD, ("warning", "appendfsync=no: should be everysec or always")],
        ),
        # Where CONFIG is refused INFO is asked; where both are, nothing is guessed.
        (
            {"appendonly": "no", "maxmemory-policy": "volatile-lru"},
            "-config",
            [*GOOD[:2], EVICTING, FORGETFUL],
        ),
        ({}, "-config -info", [*GOOD[:2], *UNKNOWN]),
    ],
)
def test_server_is_checked_for_what_would_lose_messages(
    start: Start, options: dict[str, str], forbidden: str, expected: list[tuple[str, str]]
) -> None:
    client = start(**{"appendonly": "yes"} | options)
    if forbidden:
        client.execute_command("ACL", "SETUSER", "default", *forbidden.split())

    assert said(client) == expected
    if "-info" in forbidden:
        assert compare_databases(client, client).level is Level.WARNING


def test_server_that_forgets_at_a_restart_is_a_warning_outside_production(start: Start) -> None:
    found = said(start(appendonly="no"), production=False)

    assert found == [*GOOD[:3], ("warning", "appendonly=no: must be yes")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"replicaof": "127.0.0.1 1"}, "is a replica: it takes no writes"),
        ({"maxmemory": "1mb"}, "takes no writes (OutOfMemoryError)"),
    ],
)
def test_server_that_takes_no_writes_is_a_mistake(
    start: Start, options: dict[str, str], says: str
) -> None:
    assert said(start(appendonly="yes", **options))[1] == ("mistake", says)


def test_server_with_another_password_is_one_mistake(start: Start) -> None:
    assert said(start(requirepass="right")) == [
        ("mistake", "does not answer (AuthenticationError)")
    ]


def test_server_that_is_away_is_one_mistake_without_its_password() -> None:
    away = redis_client("redis://:a-password@127.0.0.1:1/0", "manage")

    (found,) = check_server(away, "REDIS_URL", keeps=True, production=True)

    assert found == CheckResult(
        Level.MISTAKE,
        "REDIS_URL",
        "does not answer (ConnectionError)",
        "start the server, or correct the address",
    )


def test_broker_may_forget(start: Start) -> None:
    """It carries wake-ups, which the ledger repeats."""
    client = start(**{"appendonly": "no", "maxmemory-policy": "allkeys-lru"})

    found = check_server(client, "BROKER_URL", keeps=False, production=True)

    assert [result.level for result in found] == [Level.OK, Level.OK]


@pytest.mark.parametrize(("broker_db", "level"), [(2, Level.MISTAKE), (1, Level.OK)])
def test_databases_are_compared_whatever_their_addresses(
    valkey: ValkeyServer, broker_db: int, level: Level
) -> None:
    """A socket and a port look different, and are the same server."""
    ledger = redis_client(valkey.url(2), "manage")
    broker = redis_client(f"unix://{valkey.socket}?db={broker_db}", "manage")

    assert (database_id(ledger) == database_id(broker)) is (level is Level.MISTAKE)
    assert compare_databases(ledger, broker).level is level
