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
from tests.valkey_server import ValkeyServer
from tests.web.workers import Workers
from tests.webhooks import APP_SECRET, Caller, change, text_message
from web import create_app

NAMES = ("salon", "barber")
#: A full batch is due at once: no test has to wait for the quiet period.
BATCH = 2
ACCOUNTS = """
[[account]]
id = "{name}"
channel = "whatsapp_cloud"
phone_number_id = "{number}"
access_token_env = "{upper}_TOKEN"
app_secret_env = "APP_SECRET"
verify_token_env = "{upper}_VERIFY"
api_url = "{url}"
language = "en"
timezone = "UTC"
prompt_file = "{name}.md"
[account.model]
provider = "{provider}"
model = "{name}-model"
base_url = "{url}"
api_key_env = "{upper}_KEY"
[account.batch]
max_messages = 2
"""


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
        """Forget all that was said."""
        self.runtime.store.client.flushdb()
        self.provider.requests.clear()
        for business in self.businesses.values():
            business.model.requests.clear()
            business.written.clear()

    def settle(self) -> None:
        """Answer what is due."""
        self.workers.flush()
        self.workers.answer()


@pytest.fixture
def street(
    valkey: ValkeyServer,
    client: redis.Redis,  # noqa: ARG001 - an empty ledger
    tmp_path: Path,
) -> Iterator[Street]:
    provider = ProviderApi()
    businesses = {name: _business(n, name, provider) for n, name in enumerate(NAMES)}
    environ = {
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": valkey.url(1),
        "ACCOUNTS_FILE": str(tmp_path / "accounts.toml"),
        "ENVIRONMENT": "test",
        "APP_SECRET": APP_SECRET,
    }
    entries = []
    for name, business in businesses.items():
        (tmp_path / f"{name}.md").write_text(f"# The {name}\n\nThe secret word is {name}-word.\n")
        entries.append(
            ACCOUNTS.format(
                name=name,
                upper=name.upper(),
                number=business.number,
                url=business.outside.url,
                provider="openai_compatible" if name == "salon" else "anthropic",
            )
        )
        environ |= {
            f"{name.upper()}_{kind}": f"{name}-{kind}" for kind in ("TOKEN", "KEY", "VERIFY")
        }
    (tmp_path / "accounts.toml").write_text("".join(entries))
    runtime = build("worker", environ)
    http = falcon.testing.TestClient(create_app(runtime))
    yield Street(runtime, provider, businesses, Caller(http), Workers(runtime))
    for business in businesses.values():
        business.outside.close()
    runtime.store.client.connection_pool.disconnect()


def _business(n: int, name: str, provider: ProviderApi) -> Business:
    model = ModelApi(says=f"Answer of the {name}")
    return Business(name, f"10000000000000{n}", model, Outside(model, provider))
