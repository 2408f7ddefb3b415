"""What a ledger's end costs, by how often its file is synced: ``python -m tests.chaos.durability``.

A killed server loses what it had not written, a power cut also what was written and not synced.
The latter is emulated: the file is cut off after the last byte that a finished sync had covered.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from batching.errors import LedgerUnavailableError
from batching.model import InboundMessage, Kind, Limits, Status
from batching.store import Store
from demo.valkey import find_server
from tests.chaos.synced import SyncWatch, missing
from tests.processes import Guard
from tests.valkey_server import ValkeyServer

WRITERS = 8
CONVERSATIONS = 50
LIMITS = Limits(idle_ms=3_600_000, max_wait_ms=3_600_000, max_messages=100)


@dataclass(frozen=True, slots=True)
class Loss:
    """What one end of a server cost."""

    fsync: str
    end: str
    seconds: float
    acknowledged: int
    lost: int

    def __str__(self) -> str:
        rate = self.acknowledged / self.seconds
        return (
            f"appendfsync {self.fsync:<9} {self.end:<10} {self.acknowledged:>7} acknowledged"
            f" ({rate:,.0f} a second), {self.lost} lost"
        )


def lose(binary: str, guard: Guard, *, fsync: str, end: str, seconds: float) -> Loss:
    """Fill a ledger for a while, end its server by a ``kill`` or a ``power cut``, count."""
    server = ValkeyServer(binary, guard, append_only=True)
    try:
        server.start()
        with server.client() as client:
            client.config_set("appendfsync", fsync)
        (path,) = server.directory.glob("appendonlydir/*.incr.aof")
        watch = None
        if end == "power cut":
            watch = SyncWatch(server.pid, path, server.directory / "trace")
        with _load(server) as accepted:
            time.sleep(seconds)
            server.kill()
        if watch:
            os.truncate(path, watch.synced())
        server.start()
        return Loss(fsync, end, seconds, len(accepted), len(accepted - _kept(server)))
    finally:
        server.stop()


@contextmanager
def _load(server: ValkeyServer) -> Iterator[set[str]]:
    """Have messages accepted until the server is gone; the body gets the ids of those."""
    accepted: set[str] = set()
    threads = [
        threading.Thread(target=_write, args=(server, writer, accepted))
        for writer in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    yield accepted
    for thread in threads:
        thread.join()


def _write(server: ValkeyServer, writer: int, accepted: set[str]) -> None:
    with server.client() as client:
        store = _store(client)
        number = 0
        while True:
            number += 1
            # Conversations are left before they are full.
            customer = f"{writer}-{number % CONVERSATIONS}-{number // 5_000}"
            message = InboundMessage("salon", customer, f"wamid.{writer}-{number}", Kind.TEXT, "Hi")
            try:
                conversation_id = store.conversation_id("salon", customer)
                status = store.append(conversation_id, message, LIMITS).status
            except LedgerUnavailableError:
                return
            if status is Status.ACCEPTED:
                accepted.add(message.message_id)


def _kept(server: ValkeyServer) -> set[str]:
    kept: set[str] = set()
    with server.client() as client:
        for name in client.scan_iter("*:o:*", count=1_000):
            for raw in client.lrange(name, 0, -1):
                kept |= {word for word in raw.decode().split('"') if word.startswith("wamid.")}
    return kept


def _store(client: redis.Redis) -> Store:
    return Store(client, privacy_key="privacy-key-of-the-tests")


def main() -> None:
    """Print what each end costs."""
    binary = find_server()
    guard = Guard()
    for fsync in ("always", "everysec", "no"):
        for end in ("kill", "power cut"):
            if end == "power cut" and missing():
                print(f"appendfsync {fsync:<9} {end:<10} skipped: {missing()}")
            else:
                print(lose(binary, guard, fsync=fsync, end=end, seconds=5.3))
    guard.close()


if __name__ == "__main__":
    main()
