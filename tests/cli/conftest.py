"""An installation with a ledger in use, and the operator at its command line."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

import manage
from batching.errors import AmbiguousError, PermanentError
from batching.inspect import DeadLetter, dead_letters
from batching.keys import FLEET
from batching.store import Store
from runtime.settings import DEVELOPMENT_PRIVACY_KEY
from tests.batching.world import ANNA, World
from tests.fakes import FakeChannel, FakeClock, FakeModel
from tests.valkey_server import ValkeyServer

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60
#: Almost an hour, so that a slow machine does not make it more.
AGO_MS = 3_570_000
#: What a customer wrote, and must be found nowhere but where it is asked for.
CANARY = "the-words-of-the-customer"
ACCOUNTS = """
[[account]]
id = "{name}"
channel = "simulator"
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
[account.model]
provider = "scripted"
"""


@dataclass
class Answer:
    """What a verb gave back."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What a program reads."""
        return json.loads(self.out)


@dataclass
class Operator:
    """Runs manage.py in the installation's directory and environment."""

    directory: Path
    environ: dict[str, str]
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, **changes: str) -> Answer:
        """Run a verb in this process; nothing that it says may hold a customer's words.

        ``changes`` go over the environment.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.directory)
            for name in os.environ:
                patch.delenv(name)
            for name, value in (self.environ | changes).items():
                patch.setenv(name, value)
            try:
                status = manage.main(arguments)
            except SystemExit as error:
                status = int(str(error.code))
        said = self.capture.readouterr()
        if "--content" not in arguments and "export" not in arguments:
            assert CANARY not in said.out + said.err
            assert ANNA not in said.out + said.err
        return Answer(status, said.out, said.err)

    def process(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE
    ) -> Answer:
        """Run a verb as a process of its own, without a terminal unless ``stdin`` is one."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=self.directory,
            env=self.environ,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return Answer(done.returncode, done.stdout or "", done.stderr)

    def starting(self, **changes: str) -> list[dict[str, Any]]:
        """Return the log lines of a worker that starts as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", "from runtime.build import build; build('worker')"],
            cwd=self.directory,
            env=self.environ | {"PYTHONPATH": str(ROOT)} | changes,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def environ(
    valkey: ValkeyServer,
    client: redis.Redis,  # noqa: ARG001 - for what it does: the server is empty
    tmp_path: Path,
) -> dict[str, str]:
    accounts = "".join(ACCOUNTS.format(name=name) for name in ("salon", "sister"))
    (tmp_path / "accounts.toml").write_text(accounts)
    (tmp_path / "prompt.md").write_text("A haircut: 35 euro.\n")
    return {"PATH": os.defpath, "REDIS_URL": valkey.url(0), "BROKER_URL": valkey.url(1)}


@pytest.fixture
def operator(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Operator:
    return Operator(tmp_path, environ, capsys)


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands in the past: the verbs ask the server for the time."""
    return FakeClock(int(time.time() * 1000) - AGO_MS)


@pytest.fixture
def world(client: redis.Redis, clock: FakeClock) -> Iterator[World]:
    """Return a world in the installation's ledger; its invariants hold when the test ends."""
    store = Store(client, privacy_key=DEVELOPMENT_PRIVACY_KEY, clock=clock)
    store.open()
    it = World(store, clock)
    yield it
    it.check()


@pytest.fixture
def conversation(world: World) -> str:
    """Return the conversation of Anna with the salon."""
    return world.store.conversation_id("salon", ANNA)


def answered(world: World) -> None:
    """Have a message answered."""
    world.write(CANARY)
    world.settle()


def refused(world: World, *texts: str, **customer: str) -> DeadLetter:
    """Return a dead letter that the model refused."""
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(*(texts or (CANARY,)), **customer)
    world.settle()
    return dead_letters(world.store)[-1]


def doubtful(world: World) -> DeadLetter:
    """Return a dead letter whose answer may have been sent."""
    world.channel = FakeChannel(AmbiguousError("timeout"))
    world.send(world.to_sending(CANARY))
    world.settle(60_000)
    return dead_letters(world.store)[-1]


SILENT: dict[str, str | int] = {
    "role": "web",
    "host": "host-1",
    "pid": 7,
    "release": "r1",
    "fingerprint": "f1",
    "scripts": "s1",
    "started_ms": 1,
    "heartbeat_ms": 1,
    "ledger_id": "l1",
}


def announce_all(client: redis.Redis) -> None:
    """Have every role alive, on settings and a release that they agree on."""
    told: Any = client.time()
    for role in ("web", "worker", "scheduler"):
        member = SILENT | {"role": role, "heartbeat_ms": told[0] * 1000}
        client.hset(FLEET, f"{role}:host-1:7", json.dumps(member))
