"""The application as production builds it, on a ledger of its own, with invented accounts."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import falcon.testing
import pytest
import redis

from batching.inspect import counters
from runtime.build import Runtime, build
from runtime.clients import Role
from tests.processes import Guard, started
from tests.valkey_server import ValkeyServer
from tests.web.server import WebServer
from tests.webhooks import APP_SECRET, NEXT_SECRET, OTHER_SECRET, Caller
from web import create_app

ACCOUNTS = """
[[account]]
id = "salon"
channel = "whatsapp_cloud"
phone_number_id = "100000000000001"
access_token_env = "SALON_TOKEN"
app_secret_env = ["SALON_SECRET", "SALON_NEXT_SECRET"]
verify_token_env = "SALON_VERIFY"
{common}

[[account]]
id = "barber"
channel = "whatsapp_cloud"
phone_number_id = "100000000000002"
access_token_env = "BARBER_TOKEN"
app_secret_env = ["BARBER_SECRET"]
verify_token_env = "BARBER_VERIFY"
{common}

[[account]]
id = "nails"
channel = "venom"
api_url = "http://127.0.0.1:9"
token_env = "NAILS_TOKEN"
webhook_secret_env = ["NAILS_SECRET"]
{common}
"""
SIMULATOR = """
[[account]]
id = "demo"
channel = "simulator"
{common}
"""
COMMON = """
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
[account.model]
provider = "scripted"
"""

Start = Callable[..., Runtime]


def write_accounts(directory: Path, *, simulator: bool = True) -> Path:
    """Write the accounts file and the prompt it names; return its path."""
    (directory / "prompt.md").write_text(
        "# Salon\n\nOpen from 9:00 to 18:00. A haircut: 35 euro.\n"
    )
    path = directory / "accounts.toml"
    path.write_text((ACCOUNTS + (SIMULATOR if simulator else "")).format(common=COMMON))
    return path


def environ_of(valkey: ValkeyServer, accounts: Path) -> dict[str, str]:
    """Return the environment of a web process that uses databases 0 and 1 of ``valkey``."""
    return {
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": valkey.url(1),
        "ACCOUNTS_FILE": str(accounts),
        "ENVIRONMENT": "test",
        "RELEASE": "r-test",
        "LOG_LEVEL": "INFO",
        "PRIVACY_KEY": "f1d2c3b4a5968778695a4b3c2d1e0f10" * 2,
        "SALON_TOKEN": "a7c1e9d3b5f20864a7c1e9d3b5f20864",
        "SALON_SECRET": APP_SECRET,
        "SALON_NEXT_SECRET": NEXT_SECRET,
        "SALON_VERIFY": "c4d8a1f7e2b90365c4d8a1f7e2b90365",
        "BARBER_TOKEN": "b8d2f0e4c6a31975b8d2f0e4c6a31975",
        "BARBER_SECRET": OTHER_SECRET,
        "BARBER_VERIFY": "d5e9b2a8f3c01476d5e9b2a8f3c01476",
        "NAILS_TOKEN": "e6f0c3b9a4d12587e6f0c3b9a4d12587",
        "NAILS_SECRET": "9a8b7c6d5e4f30219a8b7c6d5e4f3021",
    }


@pytest.fixture
def environ(valkey: ValkeyServer, client: redis.Redis, tmp_path: Path) -> Mapping[str, str]:  # noqa: ARG001 - an empty ledger
    return environ_of(valkey, write_accounts(tmp_path))


@pytest.fixture
def start(environ: Mapping[str, str]) -> Iterator[Start]:
    """Return what builds a process, with settings over those of the test, and closes it after."""
    built: list[Runtime] = []

    def start_one(role: Role = "web", /, **settings: str) -> Runtime:
        built.append(build(role, dict(environ) | settings))
        return built[-1]

    yield start_one
    for runtime in built:
        runtime.store.client.connection_pool.disconnect()


@pytest.fixture
def runtime(start: Start) -> Runtime:
    return start()


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest,
    valkey: ValkeyServer,
    guard: Guard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[WebServer]:
    """Yield a gunicorn for a module; the module's ENVIRON goes over the usual settings."""
    valkey.empty()  # a ledger that another module made, with another privacy key, is refused
    directory = tmp_path_factory.mktemp("web")
    environ = environ_of(valkey, write_accounts(directory))
    running = WebServer(environ | getattr(request.module, "ENVIRON", {}), directory, guard)
    with started(running):
        yield running


@pytest.fixture
def http(runtime: Runtime) -> falcon.testing.TestClient:
    return falcon.testing.TestClient(create_app(runtime))


@pytest.fixture
def caller(http: falcon.testing.TestClient) -> Caller:
    return Caller(http)


def accepted(runtime: Runtime) -> int:
    """Return how many messages the ledger has taken."""
    return sum(counted.accepted for counted in counters(runtime.store))


@pytest.fixture
def without_ledger(
    other_valkey: ValkeyServer, tmp_path: Path
) -> Iterator[falcon.testing.TestClient]:
    """Yield the application after its Redis went away."""
    other_valkey.start()
    runtime = build("web", environ_of(other_valkey, write_accounts(tmp_path)))
    other_valkey.kill()
    yield falcon.testing.TestClient(create_app(runtime))
    runtime.store.client.connection_pool.disconnect()
