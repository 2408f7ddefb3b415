"""Hands the ledger from this host's Redis to its replica on another, and leads all clients there.

Reads JSON from standard input: ``address`` and ``port`` of the other, ``password`` of the
operator's user, ``authority`` (PEM), and ``second``, whether there is one Redis more, for wake-ups,
which the ledger repeats. Units of sockets, the doors, lead from this host to the other. The order,
whatever breaks off in it:

1. The replica is in step, or nothing is done.
2. Writes wait (CLIENT PAUSE); the replica has all of them, or they go on here.
3. This server is fenced for good: its file and its memory say that it listens nowhere and takes no
   writes. From here on it cannot be a master that anybody writes to, also after a restart.
4. The replica is promoted, and this server's file says so.
5. The doors are opened, and every client is cut off: it connects again, by a door, and repeats.

Broken off before 3, nothing has happened: the pause ends by itself. Between 3 and 5 webhooks are
refused until it is run again; it goes on where it stopped, since it asks both servers what they
are. Exit status 1 with a line that says why, 0 when the other server is the ledger.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

HERE = "/run/redis-ledger/redis.sock"
SYSTEMCTL = "/usr/bin/systemctl"
FILE = Path("/etc/redis/redis-ledger.conf")
#: No replica of this server will ever be that many.
FENCE = {"port": "0", "tls-port": "0", "min-replicas-to-write": "100"}
FENCED = "# Whoever looks for the ledger here is led elsewhere.\n"
#: Stands in the file once the other server was promoted.
MOVED = "# The ledger is elsewhere.\n"
PAUSE_MS, IN_STEP_S = 10_000, 0.5


class Server:
    """A connection to a Redis, as the operator."""

    def __init__(self, connection: socket.socket, password: str) -> None:
        connection.settimeout(5)
        self._connection = connection
        self._answers = connection.makefile("rb")
        self("AUTH", "admin", password)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._connection.close()

    def __call__(self, *words: str) -> str:
        """Return what a command comes to. Exit with what the server says where it refuses."""
        parts = (f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        self._connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        first = self._answers.readline().decode().rstrip()
        if not first or first[0] == "-":
            sys.exit(f"{words[0]}: {first[1:] or 'the server is gone'}")
        if first[0] == "$":
            return self._answers.read(int(first[1:]) + 2).decode()
        return first[1:]

    def replication(self) -> dict[str, str]:
        """Return the section of INFO."""
        lines = self("INFO", "replication").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def main() -> None:
    """Switch, or go on with what was begun."""
    given = json.load(sys.stdin)
    with _here(given["password"]) as here, _there(given) as there:
        _switch(here, there)
    if given["second"]:
        _systemctl("stop", "redis-server@broker.service")
        _systemctl("start", "ai-admin-door-moved-broker.socket")


def _switch(here: Server, there: Server) -> None:
    if MOVED not in FILE.read_text():
        seen = there.replication()
        if seen["role"] == "slave":
            _give_up(here, there)
        elif seen["master_replid2"] != here.replication()["master_replid"]:
            sys.exit("the other server is a master of its own")
        # From here on the other one may have what this one has not.
        _write(FILE.read_text() + MOVED)
    _systemctl("start", "ai-admin-door-moved-ledger.socket")
    here("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _systemctl(*words: str) -> None:
    subprocess.run([SYSTEMCTL, "--quiet", *words], check=True)  # noqa: S603 - words of our own


def _here(password: str) -> Server:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(HERE)
    return Server(connection, password)


def _there(given: dict[str, str]) -> Server:
    trust = ssl.create_default_context(cadata=given["authority"])
    plain = socket.create_connection((given["address"], int(given["port"])), timeout=5)
    return Server(trust.wrap_socket(plain, server_hostname=given["address"]), given["password"])


def _give_up(here: Server, there: Server) -> None:
    if there.replication()["master_link_status"] != "up":
        _serve_on(here)
        sys.exit("the replica has no link to this server, which serves on")
    here("CLIENT", "PAUSE", str(PAUSE_MS), "WRITE")
    _wait_until_in_step(here, there)
    _fence_file()
    here("CONFIG", "SET", *(word for pair in FENCE.items() for word in pair))
    # The pause may have ended meanwhile, if we stood still.
    _wait_until_in_step(here, there)
    there("REPLICAOF", "NO", "ONE")


def _wait_until_in_step(here: Server, there: Server) -> None:
    end = time.monotonic() + IN_STEP_S
    while here.replication()["master_repl_offset"] != there.replication()["slave_repl_offset"]:
        if time.monotonic() > end:
            _serve_on(here)
            sys.exit("the replica does not come in step with this server, which serves on")
        time.sleep(0.005)


def _fence_file() -> None:
    """Write the fence at the end, where it holds against what stands above it."""
    if FENCED not in FILE.read_text():
        fence = "".join(f'{name} "{value}"\n' for name, value in FENCE.items())
        _write(FILE.read_text() + FENCED + fence)


def _serve_on(here: Server) -> None:
    """Take the fence away again, where one stands: nothing was handed over behind it."""
    here("CLIENT", "UNPAUSE")
    text, fenced, _ = FILE.read_text().partition(FENCED)
    if fenced:
        words = [line.split(" ", 1) for line in text.splitlines() if line.split(" ")[0] in FENCE]
        before = {"min-replicas-to-write": "0"} | {name: value.strip('"') for name, value in words}
        here("CONFIG", "SET", *(word for pair in before.items() for word in pair))
        _write(text)


def _write(text: str) -> None:
    with FILE.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
