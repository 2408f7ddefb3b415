"""A Valkey server of our own for a test: started, killed, restarted, stopped."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import time

import redis

from tests.processes import Guard, OwnedProcess

#: A cold start on a busy machine; a healthy one needs some 20 ms.
START_DEADLINE_S = 60.0


#: Below those that systems give to outgoing connections, which would take one before its server.
PORTS = range(20_000, 32_000)
#: Numbers the ports that this process was given.
_given = itertools.count()


def free_port() -> int:
    """Return a TCP port of the loopback on which nothing listens; another at each call."""
    while True:
        # Test processes run side by side: each has a hundred ports before those of the next.
        port = PORTS[(os.getpid() * 100 + next(_given)) % len(PORTS)]
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class ValkeyServer:
    """One server process on a unix socket and a TCP port of the loopback, in its own directory.

    ``append_only``: keep an append-only file synced at every write, so that ``kill`` and
    ``start`` lose nothing. Without it the data live as long as the process.
    """

    def __init__(self, binary: str, guard: Guard, *, append_only: bool = False) -> None:
        self.binary = binary
        self.append_only = append_only
        self.directory = guard.new_directory("valkey")
        self.socket = str(self.directory / "s")
        self.port = free_port()
        self._process = OwnedProcess(
            self._command(), log_path=self.directory / "log", guard=guard, cwd=self.directory
        )

    def url(self, db: int = 0) -> str:
        """Return the TCP address of database ``db``, as REDIS_URL wants it."""
        return f"redis://127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 0) -> redis.Redis:
        """Return a client of database ``db`` through the unix socket; the caller closes it."""
        return redis.Redis(unix_socket_path=self.socket, db=db, protocol=2)

    @property
    def pid(self) -> int:
        """Return the id of the process, 0 where it was not started."""
        return self._process.group

    @property
    def running(self) -> bool:
        return self._process.running

    def start(self) -> None:
        """Start the process and return once it answers. Raise RuntimeError if it does not."""
        self._process.start()
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            if not self._process.running or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.binary} did not start:\n{self.log()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End the process as a power cut would; ``start`` brings it back. Safe to run twice."""
        self._process.kill()

    def stop(self) -> None:
        """End the process and remove its directory. Safe to run twice."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def pause(self) -> None:
        """Stop the process from answering while its connections stay open: a black hole."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.signal(signal.SIGCONT)

    def empty(self) -> None:
        """Forget everything: what a test finds must not depend on those that ran before it."""
        with self.client() as client:
            client.flushall()

    def log(self) -> str:
        return self._process.log()

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": self.socket,
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes" if self.append_only else "no",
            "appendfsync": "always" if self.append_only else "no",
            "maxmemory-policy": "noeviction",
        }
        flags = (item for name, value in options.items() for item in (f"--{name}", value))
        return [self.binary, *flags]

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
