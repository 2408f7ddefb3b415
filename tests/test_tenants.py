"""One person writes to two businesses: each answers by itself, with nothing of the other's."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.operations import Operations
from runtime.build import Runtime, build
from tests.http_server import HttpServer, Reply
from tests.llm.openai_asking import completion
from tests.valkey_server import ValkeyServer
from tests.web.requests import APP_SECRET, CUSTOMER, Caller, body, change, text_message
from tests.web.workers import Workers
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
api_url = "{graph}"
language = "en"
timezone = "UTC"
prompt_file = "{name}.md"
[account.model]
provider = "{provider}"
model = "{name}-model"
base_url = "{model}"
api_key_env = "{upper}_KEY"
[account.batch]
max_messages = 2
"""


@dataclass
class Business:
    """One account, its model's server, and what was written to it."""

    name: str
    number: str
    model: HttpServer
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
    graph: HttpServer
    businesses: dict[str, Business]
    caller: Caller
    workers: Workers

    def empty(self) -> None:
        """Forget all that was said."""
        self.runtime.store.client.flushdb()
        for server in (self.graph, *(business.model for business in self.businesses.values())):
            server.requests.clear()
        for business in self.businesses.values():
            business.written.clear()


@pytest.fixture
def street(
    valkey: ValkeyServer,
    client: redis.Redis,  # noqa: ARG001 - an empty ledger
    tmp_path: Path,
) -> Iterator[Street]:
    graph = HttpServer()
    businesses = {
        name: Business(name, f"10000000000000{n}", HttpServer()) for n, name in enumerate(NAMES)
    }
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
                graph=graph.url,
                model=business.model.url,
                provider="openai_compatible" if name == "salon" else "anthropic",
            )
        )
        environ |= {
            f"{name.upper()}_{kind}": f"{name}-{kind}" for kind in ("TOKEN", "KEY", "VERIFY")
        }
    (tmp_path / "accounts.toml").write_text("".join(entries))
    runtime = build("worker", environ)
    http = falcon.testing.TestClient(create_app(runtime))
    yield Street(runtime, graph, businesses, Caller(http), Workers(runtime))
    for server in (graph, *(business.model for business in businesses.values())):
        server.close()
    runtime.store.client.connection_pool.disconnect()


def script(street: Street) -> None:
    """Let every server answer whatever may come; each model says whose it is."""
    most = range(sum(len(business.written) for business in street.businesses.values()))
    for name, business in street.businesses.items():
        said = f"Answer of the {name}"
        anthropic = {"content": [{"type": "text", "text": said}], "stop_reason": "end_turn"}
        reply = completion(said) if name == "salon" else anthropic
        business.model.answer(*(Reply(body=reply) for _ in most))
    sent = len(street.graph.requests)
    street.graph.answer(*(Reply(body={"messages": [{"id": f"w{sent + n}"}]}) for n in most))


#: Who is written to, step by step; "both" in one webhook, as Meta delivers them for one app.
STEPS = st.lists(st.sampled_from([*NAMES, "both"]), min_size=2, max_size=10)


@settings(max_examples=25)
@given(steps=STEPS, settle_after=st.sets(st.integers(0, 9)))
def test_businesses_answer_the_same_customer_each_by_itself(
    street: Street, steps: list[str], settle_after: set[int]
) -> None:
    street.empty()
    for n, step in enumerate(steps):
        names = NAMES if step == "both" else (step,)
        changes = [street.businesses[name].message(f"to the {name}, step {n}") for name in names]
        assert street.caller.cloud(body(*changes)).status_code == 200
        if n in settle_after:
            settle(street)
    settle(street)

    for name, business in street.businesses.items():
        other = next(one for one in NAMES if one != name)
        assert [turn_of(asked.json) for asked in business.model.requests] == batches(street, name)
        for asked in business.model.requests:
            told = asked.body.decode() + json.dumps(dict(asked.headers))
            assert f"{name}-word" in told
            assert f"{name}-KEY" in told
            assert asked.json["model"] == f"{name}-model"
            assert other not in told
    texts = [sent for sent in street.graph.requests if sent.json.get("type") == "text"]
    assert len(texts) == sum(len(b.model.requests) for b in street.businesses.values())
    for sent in street.graph.requests:
        name = next(n for n, b in street.businesses.items() if b.number in sent.path)
        assert sent.headers["authorization"] == f"Bearer {name}-TOKEN"
        if sent.json.get("type") == "text":
            assert (sent.json["to"], sent.json["text"]["body"]) == (
                CUSTOMER,
                f"Answer of the {name}",
            )
    (book,) = Operations(street.runtime.store).balance()
    assert (book.holds, book.lost, book.dead) == (True, 0, 0)


def batches(street: Street, name: str) -> list[str]:
    """Return what was asked of a business's model: its own messages in order, whole."""
    asked = [turn_of(request.json) for request in street.businesses[name].model.requests]
    written = street.businesses[name].written
    lines = [line for turn in asked for line in turn.split("\n")]
    assert lines == written[: len(lines)]
    assert len(written) - len(lines) < BATCH
    return asked


def turn_of(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def settle(street: Street) -> None:
    """Answer what is due."""
    street.workers.flush()
    script(street)
    street.workers.answer()


def test_conversations_of_one_customer_with_two_businesses_share_no_key(street: Street) -> None:
    for business in street.businesses.values():
        street.caller.cloud(body(business.message("Hi")))

    client: Any = street.runtime.store.client
    conversations = {street.runtime.store.conversation_id(name, CUSTOMER) for name in NAMES}
    kept = [key.decode() for key in client.scan_iter("*c_*")]
    assert len(conversations) == 2
    assert sorted(kept) == sorted(
        f"{{aa1.0}}:{kind}:{conversation}"
        for kind in ("c", "o", "seen")
        for conversation in conversations
    )
