"""The ledger changes its host: what was acknowledged is there, wherever the change breaks off."""

import importlib.util
import itertools
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.processes import Guard, OwnedProcess
from tests.repository import ROOT
from tests.valkey_server import free_port
from tests.waiting import eventually

FILES = ROOT / "ansible/roles/ledger/files"
ADDRESS, PASSWORD = "127.0.0.1", "p" * 32


class BrokenOffError(Exception):
    """The program was killed here."""


class Host:
    """A Redis with TLS as the role sets it up: its file, its socket, its operator."""

    def __init__(self, directory: Path, guard: Guard, name: str) -> None:
        self.file, self.socket = directory / name, directory / f"{name}.s"
        self.port = free_port()
        data = directory / f"{name}.data"
        data.mkdir()
        lines = (
            *(f'port "0"\ntls-port "{self.port}"', f'bind "{ADDRESS}"', "databases 1"),
            *(f"tls-{kind}-file {directory}/tls.pem" for kind in ("cert", "key")),
            *(f"tls-ca-cert-file {directory}/ca.pem", "tls-auth-clients no", "appendonly yes"),
            *(f"dir {data}", f"unixsocket {self.socket}", f"user admin on >{PASSWORD} ~* &* +@all"),
            *("user default off", "repl-diskless-sync-delay 0", 'save ""'),
        )
        self.file.write_text("\n".join(lines) + "\n")
        binary = shutil.which("redis-server") or pytest.fail("redis-server is not installed")
        command = [binary, str(self.file)]
        self._process = OwnedProcess(command, log_path=directory / f"{name}.log", guard=guard)

    def start(self) -> None:
        """Return when it serves."""
        self._process.start()
        eventually(lambda: self.says("ping"), what=self._process.log())

    def restart(self) -> None:
        """As after a power cut of its host."""
        self._process.kill()
        self.start()

    def stop(self) -> None:
        """End it."""
        self._process.kill()

    def says(self, *words: str) -> Any:
        """Return what it answers the operator, "" where it does not."""
        with redis.Redis(
            unix_socket_path=str(self.socket), username="admin", password=PASSWORD, protocol=2
        ) as client:
            try:
                return client.execute_command(*words)
            except redis.RedisError:
                return ""

    def info(self) -> dict[str, Any]:
        """Return what it says of replication."""
        return dict(self.says("INFO", "replication"))

    def follow(self, other: "Host") -> None:
        """Become a replica as tasks/move.yml has it, unless it was promoted, and be in step."""
        mine, others = self.info(), other.info()
        if mine["role"] == "master" and mine["master_replid2"] != others["master_replid"]:
            self.says("CONFIG", "SET", "masteruser", "admin", "masterauth", PASSWORD)
            self.says("CONFIG", "SET", "tls-replication", "yes")
            self.says("REPLICAOF", ADDRESS, str(other.port))


class Switch:
    """The program, which can be killed before any of its steps."""

    def __init__(self, directory: Path, before: Host, after: Host) -> None:
        spec = importlib.util.spec_from_file_location("switch", FILES / "switch.py")
        assert spec
        assert spec.loader
        self.module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.door = directory / "door"
        systemctl = directory / "systemctl"
        systemctl.write_text(f"#!/bin/sh\n[ $2 != start ] || touch {self.door}\n")
        systemctl.chmod(0o755)
        places = {"SYSTEMCTL": str(systemctl), "HERE": str(before.socket), "FILE": before.file}
        vars(self.module).update(places | {"PAUSE_MS": 200})
        self._given = {"address": ADDRESS, "password": PASSWORD, "port": after.port, "second": True}
        self._given["authority"] = (directory / "ca.pem").read_text()
        self._left: Iterator[int] = iter(())
        call = self.module.Server.__call__
        self.module.Server.__call__ = self._broken_off(call)
        for name in ("_systemctl", "_write"):
            setattr(self.module, name, self._broken_off(getattr(self.module, name)))

    def _broken_off(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*given: Any) -> Any:
            if "AUTH" not in given and next(self._left, None) is None:
                raise BrokenOffError
            return step(*given)

        return taken

    def run(self, steps: int, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Return whether it came to its end within so many steps."""
        self._left = iter(range(steps))
        monkeypatch.setattr("sys.stdin", StringIO(json.dumps(self._given)))
        try:
            self.module.main()
        except (BrokenOffError, SystemExit):
            return False
        return True


@contextmanager
def customers(before: Host, after: Host, door: Path, authority: Path) -> Iterator[list[int]]:
    """Have somebody write during the body, by the address of before; yield what was taken."""
    acknowledged, over = list[int](), threading.Event()

    def write() -> None:
        client: redis.Redis | None = None
        for number in itertools.count():
            while not over.is_set():
                # Behind the door is the other server, on whatever port its host has it.
                port = after.port if door.exists() else before.port
                client = client or redis.Redis.from_url(
                    f"rediss://admin:{PASSWORD}@{ADDRESS}:{port}/0?ssl_ca_certs={authority}",
                    protocol=2,
                )
                try:
                    client.zadd("messages", {str(number): number})
                except redis.RedisError:
                    client.close()
                    client = None
                    continue
                acknowledged.append(number)
                break
            if over.is_set():
                return

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield acknowledged
    finally:
        over.set()
        thread.join()


@pytest.fixture
def certified(tmp_path: Path) -> Path:
    """Return a directory with a certificate."""
    make = importlib.util.spec_from_file_location("certificates", FILES / "certificates.py")
    assert make
    assert make.loader
    module = importlib.util.module_from_spec(make)
    make.loader.exec_module(module)
    module.main(tmp_path, f"ledger={ADDRESS}")
    made = yaml.safe_load((tmp_path / "certificates.yml").read_text())
    (tmp_path / "tls.pem").write_text(made["ledger_tls_certificate"] + made["ledger_tls_key"])
    return tmp_path


# redis-py leaves a socket open where the server dies in the middle of a handshake.
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
@pytest.mark.parametrize("hurt", ["nobody", "before", "after"])
def test_what_was_acknowledged_is_there_wherever_it_breaks_off(
    hurt: str, certified: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``hurt``: which server loses its power at each break; the program is run until its end."""
    before, after = Host(certified, guard, "before"), Host(certified, guard, "after")
    hurt_host = {"before": before, "after": after}.get(hurt)
    switch = Switch(certified, before, after)
    before.start()
    after.start()
    try:
        with customers(before, after, switch.door, certified / "ca.pem") as acknowledged:
            eventually(lambda: acknowledged)
            # A start of a server costs ten breaks.
            for steps in itertools.count(step=3 if hurt_host else 1):
                if switch.module.MOVED not in before.file.read_text():
                    after.follow(before)
                if switch.run(steps, monkeypatch):
                    break
                # Two that both take writes would be two ledgers.
                masters = [it for it in (before, after) if it.says("SET", "probe", "1")]
                assert len(masters) < 2
                if hurt_host:
                    hurt_host.restart()
            written = len(acknowledged)
            eventually(lambda: len(acknowledged) > written)

        there = {int(member) for member in after.says("ZRANGE", "messages", "0", "-1")}
        assert {*acknowledged} <= there
        assert not before.says("SET", "probe", "1")
    finally:
        before.stop()
        after.stop()


def test_a_door_waits_until_the_port_is_let_go() -> None:
    """Not before, as systemd would fail, and not long after, as customers are refused meanwhile."""
    program = ROOT / "ansible/roles/addresses/files/free.py"
    with socket.create_server((ADDRESS, 0)) as server:
        port = str(server.getsockname()[1])
        # As the unit has it: one word between single quotes.
        assert not set("'%$\\") & set(program.read_text())
        command = [sys.executable, "-c", program.read_text(), ADDRESS, port]
        waiting = subprocess.Popen(command)
        time.sleep(1)
        assert waiting.poll() is None
    assert waiting.wait(5) == 0
