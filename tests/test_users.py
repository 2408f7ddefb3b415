"""What the application's users may do in Redis, and what they may not."""

import os
import re
import shutil
from collections.abc import Iterator
from importlib import resources

import pytest
import redis

from tests.guarded_server import GuardedServer, commands
from tests.processes import Guard, started
from tests.repository import SERVICE

#: What reveals, destroys or takes over a server: for the operator alone.
FORBIDDEN = (
    *("ACL LIST", "ACL SETUSER app +@all", "BGREWRITEAOF", "CLIENT LIST", "CLIENT KILL 1.2.3.4:5"),
    *("CONFIG GET *", "CONFIG SET maxmemory 1", "DEBUG SLEEP 0", "EVAL return(1) 0", "FLUSHALL"),
    *("FLUSHDB", "FUNCTION LIST", "KEYS *", "MODULE LIST", "MONITOR", "PUBLISH aa:c text"),
    *("REPLICAOF NO ONE", "RESTORE aa:k 0 text", "SCRIPT FLUSH", "SHUTDOWN", "SUBSCRIBE aa:c"),
    *("SWAPDB 0 1", "GET foreign", "SET dramatiq:default text", "RENAME aa:k foreign"),
)
#: What the user for wake-ups may do.
OF_DRAMATIQ = ("KEYS *", "SET dramatiq:default text")
#: Redis and Valkey word it differently; DEBUG is switched off for everybody.
REFUSAL = (
    "permissions|ACL failure|DEBUG command not allowed"
    "|executing the script can't (run this command|access at least one of the keys)"
)
#: It reads a queue of Dramatiq's.
OF_THE_BROKER = {"broker.py"}
#: What redis-py calls otherwise than Redis.
NAMES = {
    "delete": "del",
    "incr": "incrby",
    "script_load": "script|load",
    "xgroup_create": "xgroup|create",
    "xinfo_groups": "xinfo|groups",
}
#: Methods that are no commands, or of no client of Redis, or asked for where it is allowed.
NO_COMMANDS = {
    *("pipeline", "execute", "execute_command", "get_connection_kwargs", "config_get"),
    *("build_request", "send", "watch"),
}


@pytest.fixture(scope="module")
def servers(valkey_binary: str, guard: Guard) -> Iterator[dict[str, GuardedServer]]:
    """Return a server for each user: the application's ledger, and the broker."""
    with (
        started(GuardedServer(valkey_binary, guard, "app")) as ledger,
        started(GuardedServer(valkey_binary, guard, "broker")) as broker,
    ):
        yield {"app": ledger, "broker": broker}


@pytest.fixture
def ledger(servers: dict[str, GuardedServer]) -> GuardedServer:
    return servers["app"]


def scripted(package: str, directory: str) -> set[str]:
    """Return the commands that the scripts of a package run."""
    files = resources.files(package).joinpath(directory).iterdir()
    scripts = [file.read_text(encoding="utf-8") for file in files if file.name.endswith(".lua")]
    found = {name for text in scripts for name in re.findall(r'redis\.p?call\(\s*"(\w+)"', text)}
    assert sum(len(re.findall(r"redis\.p?call\b", text)) for text in scripts) == sum(
        len(re.findall(r'redis\.p?call\(\s*"\w+"', text)) for text in scripts
    )
    return {name.lower() for name in found}


def called() -> set[str]:
    """Return the commands that our Python gives to a client of the ledger."""
    text = "".join(path.read_text() for path in SERVICE if path.name not in OF_THE_BROKER)
    methods = set(re.findall(r"\b_?(?:client|pipeline|pipe|ledger)\.([a-z_]+)\(", text))
    methods |= set(re.findall(r'_streams\([^"\n]*"([a-z]+)"', text))
    return {NAMES.get(name, name) for name in methods - NO_COMMANDS}


def test_application_may_do_what_the_code_does_and_nothing_else() -> None:
    connection = {"auth", "client|setname", "evalsha", "multi", "exec"}

    assert commands("app") == called() | scripted("batching", "lua") | connection


def test_user_for_wake_ups_may_do_what_dramatiq_does_and_little_else() -> None:
    """Those that only measure a queue are for dramatiq's own tests."""
    ours = {"ping", "info", "set"}
    connection = {"auth", "client|setname", "evalsha", "script|load"}

    asked = scripted("dramatiq", "brokers/redis") - {"hlen", "scard"}
    assert commands("broker") == asked | ours | connection


@pytest.mark.parametrize(
    ("user", "command"),
    [
        *(("app", it) for it in FORBIDDEN),
        *(("broker", it) for it in FORBIDDEN if it not in OF_DRAMATIQ),
    ],
)
def test_user_is_refused(servers: dict[str, GuardedServer], user: str, command: str) -> None:
    with servers[user].client() as client, pytest.raises(redis.ResponseError, match=REFUSAL):
        client.execute_command(*command.split())


@pytest.mark.parametrize("command", ["FLUSHALL", "KEYS *", "HLEN aa:k", "GET foreign"])
def test_script_may_do_no_more_than_its_caller(ledger: GuardedServer, command: str) -> None:
    """A key that a script does not declare is no way around."""
    words = ", ".join(f'"{word}"' for word in command.split())
    with ledger.client() as client:
        digest = client.script_load(f"return redis.call({words})")

        with pytest.raises(redis.ResponseError, match=REFUSAL):
            client.evalsha(str(digest), 0)


def test_nobody_comes_without_a_password(ledger: GuardedServer) -> None:
    with (
        redis.Redis(unix_socket_path=ledger.socket, protocol=2) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


@pytest.mark.parametrize("login", [(), ("default", ""), ("default", "password")])
def test_nobody_is_the_default_user(ledger: GuardedServer, login: tuple[str, ...]) -> None:
    with (
        redis.Redis(unix_socket_path=ledger.socket, protocol=2, driver_info=None) as client,
        pytest.raises(redis.RedisError, match=r"WRONGPASS|uthentication required|invalid username"),
    ):
        client.execute_command(*(("AUTH", *login) if login else ("GET", "aa:k")))


@pytest.mark.parametrize("program", ["valkey", "redis-server"])
def test_what_scripts_wrote_is_there_after_a_restart(
    program: str, valkey_binary: str, guard: Guard
) -> None:
    """Redis 7.0 replays what a script did as a transaction of its user ``default``."""
    binary = valkey_binary if program == "valkey" else shutil.which(program)
    if not binary:
        assert os.environ.get("CI") != "true", f"{program} is missing: apt install {program}"
        pytest.skip(f"no {program}: apt install {program}")
    with started(GuardedServer(binary, guard, "app")) as server:
        with server.client() as client:
            digest = client.script_load(
                'redis.call("HSET", KEYS[1], "a", 1) redis.call("HSET", KEYS[1], "b", 2)'
            )
            client.evalsha(str(digest), 1, "aa:kept")

        server.kill()
        server.start()

        with server.client() as client:
            kept = client.hgetall("aa:kept")
    assert kept == {b"a": b"1", b"b": b"2"}


def test_passwords_are_kept_as_digests_alone(ledger: GuardedServer) -> None:
    text = (ledger.directory / "users.acl").read_text()

    assert "password" not in text
