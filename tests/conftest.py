"""What every test may ask for: a real Valkey of its own, a client, a clock that stands, a store."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
import sentry_sdk
from hypothesis import HealthCheck, Phase, settings

from demo.child import DemoError
from demo.valkey import find_server
from tests.fake_sentry import FakeSentry
from tests.fakes import FakeClock
from tests.notify_socket import NotifySocket
from tests.processes import Guard, LeftBehindError, started
from tests.rabbitmq_server import RabbitMQServer, find_rabbitmq
from tests.valkey_server import ValkeyServer

if TYPE_CHECKING:
    from batching.store import Store

ROOT = Path(__file__).parent.parent

#: Under CI a run must be repeatable and a missing server is a fault, not a reason to skip.
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def needed(program: str) -> str:
    """Return the path of a program; skip the test where there is none, fail in CI."""
    found = shutil.which(program)
    if found is None:
        (pytest.fail if IN_CI else pytest.skip)(f"needs {program}")
    return found


settings.register_profile(
    "dev",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
#: What fails is wanted, not the smallest example of it.
settings.register_profile(
    "mutants",
    settings.get_profile("ci"),
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("ci" if IN_CI else "dev")


#: Owns what the whole run, all of its workers, makes.
RUN = pytest.StashKey[Guard]()
LEFT_BEHIND = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have everything that the run makes in one directory, so that what it leaves is found.

    So is every ``tmp_path``: ``--basetemp=DIRECTORY`` keeps them.
    """
    if hasattr(config, "workerinput"):
        return
    run = config.stash[RUN] = Guard()
    config.option.basetemp = config.option.basetemp or run.directory / "tmp"
    os.environ |= run.environ
    tempfile.tempdir = str(run.directory)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with some of the longest tests, so that none is left for the end."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    longest = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    share = len(others) // workers + 1
    items.clear()
    for n in range(workers):
        # Workers are given equal shares; a few tests keep a long one off the seam.
        mine = others[n * share : (n + 1) * share]
        items += [*mine[:5], *longest[n::workers], *mine[5:]]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that left a process or a file behind. The workers have ended by now."""
    if run := session.config.stash.get(RUN, None):
        shutil.rmtree(run.directory / "tmp", ignore_errors=True)
        try:
            run.close()
        except LeftBehindError as error:
            session.config.stash[LEFT_BEHIND] = str(error)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left behind."""
    if left := config.stash.get(LEFT_BEHIND, ""):
        terminalreporter.section("left behind by the tests", red=True)
        terminalreporter.line(left)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes of an installation wrote beside a failure."""
    report = yield
    for value in getattr(item, "funcargs", {}).values():
        if report.failed and (shown := getattr(value, "shown", None)):
            report.sections.append(("processes", shown()))
    return report


@pytest.fixture(scope="session")
def valkey_binary() -> str:
    """Return the server's path; skip where there is none, fail in CI."""
    try:
        return find_server()
    except DemoError as error:
        if IN_CI:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Return what owns the processes and directories of the tests; fail if a test left one."""
    owner = Guard()
    yield owner
    owner.close()


@pytest.fixture(scope="session")
def valkey(valkey_binary: str, guard: Guard) -> Iterator[ValkeyServer]:
    """Return a server that lives for the session and keeps nothing."""
    with started(ValkeyServer(valkey_binary, guard)) as server:
        yield server


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """Return a client of database 0 of an empty server."""
    valkey.empty()
    with valkey.client() as connection:
        yield connection


@pytest.fixture
def other_valkey(valkey_binary: str, guard: Guard) -> Iterator[ValkeyServer]:
    """Return a second server, not started, for the test to start and end."""
    server = ValkeyServer(valkey_binary, guard)
    yield server
    server.stop()


@pytest.fixture
def durable(valkey_binary: str, guard: Guard) -> Iterator[ValkeyServer]:
    """Return a second server, started, that keeps everything."""
    with started(ValkeyServer(valkey_binary, guard, append_only=True)) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_script() -> str:
    """Return the path of RabbitMQ's script; skip where there is none."""
    script = find_rabbitmq()
    if script is None:
        pytest.skip("rabbitmq-server is not installed")
    return script


@pytest.fixture(scope="module")
def rabbitmq(rabbitmq_script: str, guard: Guard) -> Iterator[RabbitMQServer]:
    """Return a RabbitMQ that lives for a module."""
    with started(RabbitMQServer(rabbitmq_script, guard)) as server:
        yield server


@pytest.fixture
def demo_environ(valkey: ValkeyServer, client: redis.Redis) -> dict[str, str]:
    """Return the environment of a process with the demo's accounts and an empty ledger."""
    assert client.dbsize() == 0
    return {
        "PATH": os.environ["PATH"],
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": valkey.url(1),
        "ACCOUNTS_FILE": str(ROOT / "demo" / "accounts.toml"),
        "ENVIRONMENT": "test",
    }


@pytest.fixture
def environ_of_accounts(
    valkey: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> Callable[..., dict[str, str]]:
    """Return what gives the environment of a process with such accounts and an empty ledger."""
    assert client.dbsize() == 0

    def write(accounts: str, /, **variables: str) -> dict[str, str]:
        (tmp_path / "prompt.md").write_text("# Salon\n\nOpen from 9:00 to 18:00.\n")
        (tmp_path / "accounts.toml").write_text(accounts)
        return {
            "REDIS_URL": valkey.url(0),
            "BROKER_URL": valkey.url(1),
            "ACCOUNTS_FILE": str(tmp_path / "accounts.toml"),
            **variables,
        }

    return write


@pytest.fixture
def sentry() -> Iterator[FakeSentry]:
    """Yield a Sentry on the loopback; a test that reports to it stops with it."""
    server = FakeSentry()
    yield server
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    server.close()


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """Return the root logger, which building a process configures; put it back after the test."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands at noon of an ordinary day."""
    return FakeClock()


@pytest.fixture
def store(client: redis.Redis, clock: FakeClock) -> "Store":
    """Return a store with the default timing on an empty ledger, on the clock that stands."""
    from batching.store import Store  # noqa: PLC0415 - a test without a store needs no domain

    return Store(client, privacy_key="privacy-key-of-the-tests", clock=clock)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    """Return what listens as systemd does."""
    listening = NotifySocket(tmp_path / "notify")
    yield listening
    listening.close()
