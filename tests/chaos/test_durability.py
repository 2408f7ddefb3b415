"""What was acknowledged outlives the end of its server, as far as its file is synced.

A killed server loses what it had not written, a power cut also what was written and not synced.
The latter is emulated: the file is cut off after the last byte that a finished sync had covered.
``DURABILITY_SECONDS=5.3`` with ``-rP`` prints the figures of documents.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from batching.errors import LedgerUnavailableError
from batching.model import InboundMessage, Kind, Limits, Status
from batching.store import Store
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

pytestmark = pytest.mark.chaos

SECONDS = float(os.environ.get("DURABILITY_SECONDS", "1"))
WRITERS = 8
CONVERSATIONS = 50
LIMITS = Limits(idle_ms=3_600_000, max_wait_ms=3_600_000, max_messages=100)
#: One line of strace: the thread, then a call, its end, or both.
_LINE = re.compile(
    r"(?P<pid>\d+) +(?:<\.\.\. )?(?P<call>write|fdatasync)(?:\((?P<fd>\d+)| resumed)(?P<rest>.*)"
)
_RESULT = re.compile(r"= (\d+)$")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


class SyncWatch:
    """Follows the system calls of the process ``pid``, whose file is ``path``, until it ends."""

    def __init__(self, pid: int, path: Path, trace: Path) -> None:
        links = Path(f"/proc/{pid}/fd").iterdir()
        (self._fd,) = (link.name for link in links if link.resolve() == path.resolve())
        self._begun = path.stat().st_size
        self._trace = trace
        command = ["strace", "-f", "-s", "0", "-e", "trace=write,fdatasync", "-o", str(trace)]
        self._process = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.DEVNULL)
        status = Path(f"/proc/{pid}/status")
        eventually(lambda: "TracerPid:\t0" not in status.read_text(), what="strace to attach")

    def synced(self) -> int:
        """Return how many bytes of the file were synced for sure; call when the process is gone."""
        self._process.wait()
        written = synced = self._begun
        begun: dict[tuple[str, str], tuple[str, int]] = {}
        for line in self._trace.read_text(errors="replace").splitlines():
            found = _LINE.match(line)
            if not found:
                continue
            who = (found["pid"], found["call"])
            if found["fd"]:
                # A sync covers what was written before it began.
                begun[who] = (found["fd"], written)
            fd, before = begun.get(who, ("", 0))
            result = _RESULT.search(found["rest"])
            if not result or fd != self._fd:
                continue
            if found["call"] == "write":
                written += int(result[1])
            elif result[1] == "0":
                synced = max(synced, before)
        return synced


def lose(server: ValkeyServer, *, fsync: str, power_cut: bool) -> tuple[int, int]:
    """Fill a ledger for a while, end its server; return how many were acknowledged, and lost."""
    with server.client() as client:
        client.config_set("appendfsync", fsync)
    (path,) = server.directory.glob("appendonlydir/*.incr.aof")
    watch = SyncWatch(server.pid, path, server.directory / "trace") if power_cut else None
    with load(server) as accepted:
        time.sleep(SECONDS)
        server.kill()
    if watch:
        os.truncate(path, watch.synced())
    server.start()
    lost = len(accepted - kept(server))
    rate = len(accepted) / SECONDS
    print(f"{fsync}: {len(accepted)} acknowledged ({rate:,.0f} a second), {lost} lost")  # noqa: T201
    return len(accepted), lost


@contextmanager
def load(server: ValkeyServer) -> Iterator[set[str]]:
    """Have messages accepted until the server is gone; the body gets the ids of those."""
    accepted: set[str] = set()
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, server, writer, accepted) for writer in range(WRITERS)]
        yield accepted
    for one in writing:
        one.result()


def write(server: ValkeyServer, writer: int, accepted: set[str]) -> None:
    with server.client() as client:
        store = Store(client, privacy_key="privacy-key-of-the-tests")
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


def kept(server: ValkeyServer) -> set[str]:
    found: set[str] = set()
    with server.client() as client:
        for name in client.scan_iter("*:o:*", count=1_000):
            for raw in client.lrange(name, 0, -1):
                found |= {word for word in raw.decode().split('"') if word.startswith("wamid.")}
    return found


@pytest.mark.parametrize(
    ("fsync", "power_cut"),
    [
        # Not everysec: while a sync is under way its server holds writes back, and has answered.
        pytest.param("always", False, id="killed, synced at each write"),
        pytest.param("no", False, id="killed, never synced"),
        pytest.param("always", True, id="power cut, synced at each write", marks=needs_strace),
    ],
)
def test_end_of_a_server_loses_nothing_that_was_acknowledged(
    durable: ValkeyServer, fsync: str, *, power_cut: bool
) -> None:
    acknowledged, lost = lose(durable, fsync=fsync, power_cut=power_cut)

    assert acknowledged
    assert lost == 0


@needs_strace
@pytest.mark.parametrize("fsync", ["no", "everysec"])
def test_power_cut_loses_what_was_not_synced(durable: ValkeyServer, fsync: str) -> None:
    """The emulation does cut: without a single sync, nearly everything is gone."""
    acknowledged, lost = lose(durable, fsync=fsync, power_cut=True)

    assert lost > (acknowledged // 2 if fsync == "no" else 0)
