"""A server that is lost with its disk, and its ledger restored from a copy (docs/runbook.md)."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batching.hold import hold
from batching.inspect import dead_letters
from batching.store import Store
from tests.batching.world import BORIS, World
from tests.fakes import FakeClock
from tests.processes import Guard
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

KEY = "k"


@pytest.fixture
def started(valkey_binary: str, guard: Guard) -> Iterator[Callable[..., ValkeyServer]]:
    """Return what starts a server on a directory of its own, with what is put there before."""
    servers: list[ValkeyServer] = []

    def start(*, append_only: bool, copied: Path | None = None) -> ValkeyServer:
        server = ValkeyServer(valkey_binary, guard, append_only=append_only)
        if copied is not None:
            shutil.copytree(copied, server.directory, dirs_exist_ok=True)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def world_on(server: ValkeyServer, clock: FakeClock) -> World:
    store = Store(server.client(), privacy_key=KEY, clock=clock)
    store.open()
    return World(store, clock)


def copy_append_only_files(server: ValkeyServer, target: Path) -> None:
    """Copy a log that is being written: no rewrite may begin meanwhile."""
    with server.client() as client:
        client.config_set("auto-aof-rewrite-percentage", 0)
        shutil.copytree(server.directory / "appendonlydir", target / "appendonlydir")
        client.config_set("auto-aof-rewrite-percentage", 100)


def copy_snapshot(server: ValkeyServer, target: Path) -> None:
    target.mkdir()
    with server.client() as client:
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
    shutil.copy(server.directory / "dump.rdb", target)


def snapshot_with_a_message(start: Callable[..., ValkeyServer], target: Path) -> None:
    source = start(append_only=True)
    world_on(source, FakeClock()).write("hello")
    copy_snapshot(source, target)


def restore_append_only_files(start: Callable[..., ValkeyServer], copied: Path) -> ValkeyServer:
    return start(append_only=True, copied=copied)


def restore_snapshot(start: Callable[..., ValkeyServer], copied: Path) -> ValkeyServer:
    """Start without the append-only file, which else would be made empty, and switch it on."""
    server = start(append_only=False, copied=copied)
    with server.client() as client:
        client.config_set("appendonly", "yes")
        eventually(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
        eventually(lambda: client.info("persistence")["aof_rewrite_scheduled"] == 0)
    return server


def restore_snapshot_as_base(start: Callable[..., ValkeyServer], copied: Path) -> ValkeyServer:
    """Start once, with a snapshot as the base of the append-only files, as restore.yml does."""
    base, directory = "appendonly.aof.1.base.rdb", copied / "appendonlydir"
    directory.mkdir()
    (copied / "dump.rdb").rename(directory / base)
    (directory / "appendonly.aof.manifest").write_text(f"file {base} seq 1 type b\n")
    return start(append_only=True, copied=copied)


WAYS = {
    "append-only files": (copy_append_only_files, restore_append_only_files),
    "snapshot": (copy_snapshot, restore_snapshot),
    "snapshot as the base of append-only files": (copy_snapshot, restore_snapshot_as_base),
}


@pytest.mark.parametrize("way", WAYS)
def test_ledger_comes_back_as_it_was_and_what_waits_is_a_persons(
    started: Callable[..., ValkeyServer], tmp_path: Path, way: str
) -> None:
    back_up, restore = WAYS[way]
    clock = FakeClock()
    lost = started(append_only=True)
    world = world_on(lost, clock)
    world.answer(world.generate(world.to_generating("answered before the copy")))
    world.write("waits, and is answered after the copy")
    back_up(lost, tmp_path / "copy")
    world.settle()
    world.write("came after the copy", customer=BORIS)
    ledger_id = world.store.ledger_id()
    lost.stop()

    server = restore(started, tmp_path / "copy")
    again = world_on(server, clock)
    clock.advance_ms(60_000)
    held = hold(again.store, wait_s=0)

    assert again.store.ledger_id() == ledger_id
    assert (held.batches, held.messages) == (1, 0)
    (letter,) = dead_letters(again.store)
    assert [it.text for it in letter.messages] == ["waits, and is answered after the copy"]
    # Of what came after the copy nothing is known: its redelivery would be accepted.
    assert again.counts() == {"accepted": 2, "answered": 1, "dead": 1}
    again.check()
    again.written = world.written
    again.write("a new message")
    again.settle()
    assert again.counts() == {"accepted": 3, "answered": 2, "dead": 1}


def test_server_with_append_only_on_ignores_a_snapshot(
    started: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    """The trap of the procedure: it would begin empty, and say nothing."""
    snapshot_with_a_message(started, tmp_path / "copy")

    server = started(append_only=True, copied=tmp_path / "copy")

    with server.client() as client:
        assert client.dbsize() == 0


def test_restored_ledger_survives_its_next_restart(
    started: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    snapshot_with_a_message(started, tmp_path / "copy")

    server = restore_snapshot(started, tmp_path / "copy")
    shutil.copytree(server.directory / "appendonlydir", tmp_path / "kept" / "appendonlydir")

    with restore_append_only_files(started, tmp_path / "kept").client() as client:
        assert client.dbsize() > 0
