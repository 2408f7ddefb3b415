"""A provider from outside the package: one file, handed to the composition root, nothing else."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator

import falcon.testing
import pytest

from batching.errors import ConfigurationError
from channels import CHANNELS
from runtime.build import Runtime, build
from tests.channels.pigeon import PIGEON
from tests.http_server import HttpServer, Reply
from tests.web.workers import Workers
from tests.webhooks import code, counts
from web import create_app

HOOK = "/webhooks/pigeon/loft"
SECRET = "5d6e7f8091a2b3c45d6e7f8091a2b3c4"
TOKEN = "7a8b9cad0e1f20317a8b9cad0e1f2031"
RAW = json.dumps(
    {"id": "p-1", "from": "+79990000001", "text": "When are you open?", "at": 1_768_478_400}
).encode()
ACCOUNT = """
[[account]]
id = "loft"
channel = "pigeon"
api_url = "{url}"
token_env = "PIGEON_TOKEN"
webhook_secret_env = "PIGEON_SECRET"
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
[account.model]
provider = "scripted"
[account.batch]
max_messages = 1
"""


@pytest.fixture
def environ(
    environ_of_accounts: Callable[..., dict[str, str]], http_server: HttpServer
) -> dict[str, str]:
    return environ_of_accounts(
        ACCOUNT.format(url=http_server.url), PIGEON_TOKEN=TOKEN, PIGEON_SECRET=SECRET
    )


@pytest.fixture
def runtime(environ: dict[str, str]) -> Iterator[Runtime]:
    built = build("manage", environ, channels={**CHANNELS, PIGEON.name: PIGEON})
    yield built
    built.store.client.connection_pool.disconnect()


def post(runtime: Runtime, signature: str) -> falcon.testing.Result:
    headers = {"Content-Type": "application/json", "X-Pigeon-Signature": signature}
    client = falcon.testing.TestClient(create_app(runtime))
    return client.simulate_post(HOOK, body=RAW, headers=headers)


def test_message_of_an_outside_provider_is_answered_through_it(
    runtime: Runtime, http_server: HttpServer
) -> None:
    http_server.answer(Reply(200, {"id": "sent-1"}))
    signature = hmac.new(SECRET.encode(), RAW, hashlib.sha256).hexdigest()

    taken = post(runtime, signature)
    workers = Workers(runtime)
    workers.flush()
    workers.answer()

    assert (taken.status_code, taken.json) == (200, counts(accepted=1))
    (asked,) = http_server.requests
    assert (asked.path, asked.headers["authorization"]) == ("/messages", f"Bearer {TOKEN}")
    assert asked.json["to"] == "+79990000001"
    assert "Salon" in asked.json["text"]


def test_stranger_is_refused_in_the_words_of_the_provider(runtime: Runtime) -> None:
    result = post(runtime, "0" * 64)

    assert code(result) == (401, "signature")
    assert result.json["error"]["message"] == PIGEON.refusal.message


def test_channel_that_is_not_registered_is_a_mistake(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build("web", environ)

    problem = "must be one of whatsapp_cloud, venom, simulator"
    assert caught.value.detail.endswith(f"account loft: channel=pigeon: {problem}")
