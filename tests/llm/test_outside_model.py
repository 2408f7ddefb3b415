"""A model from outside the package: one file, one line in the registry, nothing else."""

from collections.abc import Callable

import pytest

from batching.errors import AdminError, ConfigurationError
from batching.model import Exchange
from batching.ports import Account
from llm import MODELS
from runtime.build import build
from tests.fakes import NOON_MS
from tests.http_server import HttpServer, Reply
from tests.llm.dialects import dialogue
from tests.llm.parrot import PARROT

KEY = "key-of-the-tests"
ACCOUNT = """
[[account]]
id = "salon"
channel = "simulator"
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
[account.model]
provider = "parrot"
model = "grey-1"
base_url = "{url}"
api_key_env = "PARROT_KEY"
output_tokens_max = 50
"""


@pytest.fixture
def environ(
    environ_of_accounts: Callable[..., dict[str, str]], http_server: HttpServer
) -> dict[str, str]:
    return environ_of_accounts(ACCOUNT.format(url=http_server.url), PARROT_KEY=KEY)


@pytest.fixture
def account(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setitem(MODELS, "parrot", PARROT)
    account = build("worker", environ).accounts.get("salon")
    assert account is not None
    return account


def test_account_is_answered_by_a_model_from_outside(
    account: Account, http_server: HttpServer
) -> None:
    http_server.answer(Reply(200, {"speech": "Until 18:00, see evil.example.com!"}))

    answer = account.model.answer([Exchange("Hi", "Hello!")], "Open today?", now_ms=NOON_MS).text

    (asked,) = http_server.requests
    # It passes the guard as every model does, and its calls count against the budget.
    assert answer == "Until 18:00, see […]!"
    assert account.budget is not None
    assert (asked.path, asked.headers["x-parrot-key"]) == ("/speak", KEY)
    assert asked.json["limit"] == 50
    assert asked.json["messages"] == dialogue("Hi", "Hello!", "Open today?")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(401), "model_auth"),
        (Reply(503), "model_503"),
        (Reply(200, {"speech": ""}), "model_empty"),
        (Reply(200, {}), "model_malformed: no speech"),
    ],
)
def test_its_failures_are_those_of_every_model(
    account: Account, http_server: HttpServer, reply: Reply, error: str
) -> None:
    http_server.answer(reply)

    with pytest.raises(AdminError, match=rf"^{error}"):
        account.model.answer([], "Hi", now_ms=NOON_MS)


def test_model_that_is_not_registered_is_a_mistake(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build("worker", environ)

    problem = "must be one of scripted, openai_compatible, anthropic"
    assert caught.value.detail.endswith(f"account salon: model.provider=parrot: {problem}")
