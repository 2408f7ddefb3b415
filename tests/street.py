"""Two businesses on one ledger, each with a model of its own, and one provider for both."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import redis

from runtime.build import Runtime, build
from tests.outside import ModelApi, Outside, ProviderApi
from tests.stack.accounts import BusinessNumber, accounts_toml
from tests.valkey_server import ValkeyServer
from tests.web.workers import Workers
from tests.webhooks import APP_SECRET, Caller, change, text_message
from web import create_app

NAMES = ("salon", "barber")
#: A full batch is due at once: no test has to wait for the quiet period.
BATCH = 2


@dataclass
class Business:
    """One account, its model, and what was written to it."""

    name: str
    number: str
    model: ModelApi
    outside: Outside
    written: list[str] = field(default_factory=list)

    def message(self, text: str) -> dict[str, Any]:
        """Return the next message to it, inside a change."""
        self.written.append(text)
        item = text_message(f"wamid.{self.name}.{len(self.written)}", text)
        return change(item, number=self.number)


@dataclass
class Street:
    """Both businesses, the provider that they share, and the processes that serve them."""

    runtime: Runtime
    provider: ProviderApi
    businesses: dict[str, Business]
    caller: Caller
    workers: Workers

    def empty(self) -> None:
        self.runtime.store.client.flushdb()
        self.provider.requests.clear()
        for business in self.businesses.values():
            business.model.requests.clear()
            business.written.clear()

    def settle(self) -> None:
        self.workers.flush()
        self.workers.answer()


@pytest.fixture
def street(
    valkey: ValkeyServer,
    client: redis.Redis,  # noqa: ARG001 - an empty ledger
    tmp_path: Path,
) -> Iterator[Street]:
    provider = ProviderApi()
    environ = {
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": valkey.url(1),
        "ACCOUNTS_FILE": str(tmp_path / "accounts.toml"),
        "ENVIRONMENT": "test",
        "APP_SECRET": APP_SECRET,
    }
    businesses, entries = {}, []
    for n, name in enumerate(NAMES):
        business = businesses[name] = _business(n, name, provider)
        prompt = tmp_path / f"{name}.md"
        prompt.write_text(f"# The {name}\n\nThe secret word is {name}-word.\n")
        url, account = business.outside.url, _account(business)
        entries.append(accounts_toml(url, prompt_file=str(prompt), numbers=[account]))
        environ |= {
            f"{name.upper()}_{kind}": f"{name}-{kind}" for kind in ("TOKEN", "KEY", "VERIFY")
        }
    (tmp_path / "accounts.toml").write_text("\n".join(entries))
    web, runtime = build("web", environ), build("worker", environ)
    http = falcon.testing.TestClient(create_app(web))
    yield Street(runtime, provider, businesses, Caller(http), Workers(runtime))
    for business in businesses.values():
        business.outside.close()
    for built in (web, runtime):
        built.store.client.connection_pool.disconnect()


def _business(n: int, name: str, provider: ProviderApi) -> Business:
    model = ModelApi(says=f"Answer of the {name}")
    return Business(name, f"10000000000000{n}", model, Outside(model, provider))


def _account(business: Business) -> BusinessNumber:
    """Return an account that shares nothing with the other but the secret of Meta's app."""
    name, prefix = business.name, business.name.upper()
    secrets = {
        "access_token_env": f"{prefix}_TOKEN",
        "app_secret_env": "APP_SECRET",
        "verify_token_env": f"{prefix}_VERIFY",
    }
    model = {
        "provider": "openai_compatible" if name == "salon" else "anthropic",
        "model": f"{name}-model",
        "base_url": business.outside.url,
        "api_key_env": f"{prefix}_KEY",
    }
    return BusinessNumber(name, business.number, secrets, model, batch={"max_messages": BATCH})
