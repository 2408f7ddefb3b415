"""Real servers with wrong settings: what is said of each."""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from runtime.clients import database_id, redis_client
from runtime.health import CheckResult, Level, inspect, separateness
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


def looked_at(client: redis.Redis, *, production: bool = True) -> list[tuple[str, str]]:
    found = inspect(client, "REDIS_URL", keeps=True, production=production)
    assert {finding.about for finding in found} == {"REDIS_URL"}
    return [(finding.level.value, finding.says) for finding in found]


GOOD = [
    ("ok", "is reachable"),
    ("ok", "takes writes"),
    ("ok", "maxmemory-policy is noeviction"),
    ("ok", "appendonly is yes"),
]


def test_durable_server_has_nothing_against_it(start: Start) -> None:
    assert looked_at(start(appendonly="yes")) == GOOD


def test_server_that_evicts_is_a_mistake(start: Start) -> None:
    client = start(**{"appendonly": "yes", "maxmemory-policy": "allkeys-lru"})

    assert looked_at(client)[2] == (
        "mistake",
        "maxmemory-policy=allkeys-lru: must be noeviction",
    )


def test_server_that_forgets_at_a_restart_is_a_mistake_in_production(start: Start) -> None:
    client = start(appendonly="no")

    assert looked_at(client, production=True) == [
        *GOOD[:3],
        ("mistake", "appendonly=no: must be yes"),
    ]
    assert looked_at(client, production=False) == [
        *GOOD[:3],
        ("warning", "appendonly=no: must be yes"),
    ]


def test_server_that_never_syncs_is_warned_about(start: Start) -> None:
    found = looked_at(start(appendonly="yes", appendfsync="no"))

    assert found == [*GOOD, ("warning", "appendfsync=no: should be everysec or always")]


def test_refused_config_is_asked_of_info(start: Start) -> None:
    client = start(**{"appendonly": "no", "maxmemory-policy": "volatile-lru"})
    client.execute_command("ACL", "SETUSER", "default", "-config")

    assert looked_at(client)[2:] == [
        ("mistake", "maxmemory-policy=volatile-lru: must be noeviction"),
        ("mistake", "appendonly=no: must be yes"),
    ]


def test_refused_config_and_info_are_warnings_not_guesses(start: Start) -> None:
    client = start(appendonly="yes")
    client.execute_command("ACL", "SETUSER", "default", "-config", "-info")

    assert looked_at(client) == [
        *GOOD[:2],
        ("warning", "cannot tell maxmemory-policy: neither CONFIG nor INFO is allowed"),
        ("warning", "cannot tell appendonly: neither CONFIG nor INFO is allowed"),
    ]
    assert separateness(client, client).level is Level.WARNING


def test_replica_takes_no_writes(start: Start) -> None:
    client = start(appendonly="yes", replicaof="127.0.0.1 1")

    found = looked_at(client)

    assert found[1] == ("mistake", "is a replica: it takes no writes")


def test_full_server_takes_no_writes(start: Start) -> None:
    client = start(appendonly="yes", maxmemory="1mb")

    assert looked_at(client)[1] == ("mistake", "takes no writes (OutOfMemoryError)")


def test_server_that_is_away_is_one_mistake() -> None:
    found = inspect(
        redis_client("redis://:a-password@127.0.0.1:1/0", "manage"),
        "REDIS_URL",
        keeps=True,
        production=True,
    )

    assert found == [
        CheckResult(
            Level.MISTAKE,
            "REDIS_URL",
            "does not answer (ConnectionError)",
            "start the server, or correct the address",
        )
    ]


def test_server_with_another_password_is_one_mistake(start: Start) -> None:
    client = start(requirepass="right")

    assert looked_at(client) == [("mistake", "does not answer (AuthenticationError)")]


def test_broker_may_forget(start: Start) -> None:
    """It carries wake-ups, and the ledger rings again."""
    client = start(**{"appendonly": "no", "maxmemory-policy": "allkeys-lru"})

    found = inspect(client, "BROKER_URL", keeps=False, production=True)

    assert [finding.level for finding in found] == [Level.OK, Level.OK]


def test_one_database_by_two_addresses_is_found(valkey: ValkeyServer) -> None:
    """A socket and a port look different, and are the same place."""
    ledger = redis_client(valkey.url(2), "manage")
    broker = redis_client(f"unix://{valkey.socket}?db=2", "manage")

    assert database_id(ledger) == database_id(broker)
    assert separateness(ledger, broker).level is Level.MISTAKE


def test_two_databases_of_one_server_are_separate(valkey: ValkeyServer) -> None:
    ledger = redis_client(valkey.url(0), "manage")
    broker = redis_client(valkey.url(1), "manage")

    assert separateness(ledger, broker).level is Level.OK
