"""``check --online`` against real servers that let an account in, or do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Operator
from tests.http_server import Answer, HttpServer, Reply, Request, hang_up
from tests.outside import completion, graph_error, model_error

TOKEN, KEY = "value-of-the-token", "value-of-the-key"
#: The channel's keys, and the path at which it is asked.
CHANNELS = {
    "whatsapp_cloud": (
        """
phone_number_id = "100000000000001"
app_secret_env = "APP_SECRET"
access_token_env = "TOKEN"
verify_token_env = "VERIFY"
api_url = "{url}/v25.0"
""",
        "/v25.0/100000000000001?fields=id",
    ),
    "venom": (
        'api_url = "{url}"\ntoken_env = "TOKEN"\nwebhook_secret_env = "APP_SECRET"',
        "/api/default/check-connection-session",
    ),
}
ACCOUNT = """
[[account]]
id = "salon"
channel = "{channel}"
{keys}
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
[account.model]
provider = "{model}"
model = "small-1"
base_url = "{url}"
api_key_env = "KEY"
"""
ANSWER_MAX = 16
CONNECTED = Reply(body={"status": True, "message": "Connected"})
COMPLETIONS, MESSAGES = "/chat/completions", "/v1/messages"
COMES = Reply(body={"content": [{"type": "text", "text": "Yes."}], "stop_reason": "end_turn"})


class Providers(HttpServer):
    """A provider and a model; the key of a request is its path."""

    def key_of(self, request: Request) -> str:
        return request.path


@pytest.fixture
def providers() -> Iterator[Providers]:
    server = Providers()
    yield server
    server.close()


@pytest.fixture
def online(operator: Operator, providers: Providers, tmp_path: Path) -> Operator:
    """Return the operator; ``install`` chooses the channel and the model of the one account."""
    operator.environ |= {"TOKEN": TOKEN, "KEY": KEY, "APP_SECRET": "a" * 40, "VERIFY": "b" * 40}
    install(tmp_path, providers)
    return operator


def install(
    directory: Path,
    providers: Providers,
    channel: str = "whatsapp_cloud",
    model: str = "openai_compatible",
) -> None:
    keys = CHANNELS[channel][0].format(url=providers.url)
    text = ACCOUNT.format(channel=channel, keys=keys, model=model, url=providers.url)
    (directory / "accounts.toml").write_text(text)


def said(operator: Operator) -> list[tuple[str, str]]:
    """Return level and words of what is said of the account over the network."""
    done = operator("check", "--online", "--json")
    assert TOKEN not in done.out + done.err
    assert KEY not in done.out + done.err
    found = [it for it in done.json["findings"] if it["about"] == "account salon"]
    return [(it["level"], it["says"]) for it in found][1:]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("model", "path", "answer"),
    [("openai_compatible", COMPLETIONS, completion("Yes.")), ("anthropic", MESSAGES, COMES)],
)
def test_account_that_is_let_in_everywhere_is_ready(
    online: Operator,
    providers: Providers,
    tmp_path: Path,
    channel: str,
    model: str,
    path: str,
    answer: Reply,
) -> None:
    install(tmp_path, providers, channel, model)
    providers.answer(CONNECTED, to=CHANNELS[channel][1])
    providers.answer(answer, to=path)

    assert said(online) == [
        ("ok", f"{channel} lets us in"),
        ("ok", "the model small-1 answers"),
    ]
    asked, question = providers.requests
    assert (asked.method, asked.headers["authorization"]) == ("GET", f"Bearer {TOKEN}")
    # It is paid for: no prompt file goes along, and a word is enough.
    assert b"haircut" not in question.body
    assert ANSWER_MAX in question.json.values()


NO_SESSION = Reply(body={"status": False, "message": "Disconnected"})


@pytest.mark.parametrize(
    ("channel", "answer", "words"),
    [
        ("whatsapp_cloud", graph_error(190), "cloud_190"),
        ("whatsapp_cloud", graph_error(100), "cloud_100"),
        ("whatsapp_cloud", Reply(404), "cloud_http_404"),
        ("whatsapp_cloud", Reply(302), "cloud_http_302"),
        ("whatsapp_cloud", hang_up, "cloud_broken"),
        ("venom", Reply(401), "venom_http_401"),
        ("venom", NO_SESSION, "venom_http_404, the gateway's session is not connected"),
        ("venom", Reply(500), "venom_http_500"),
    ],
)
def test_provider_that_refuses_is_a_mistake_in_plain_words(
    online: Operator,
    providers: Providers,
    tmp_path: Path,
    channel: str,
    answer: Answer,
    words: str,
) -> None:
    install(tmp_path, providers, channel)
    providers.answer(answer, to=CHANNELS[channel][1])
    providers.answer(completion("Yes."), to=COMPLETIONS)

    (level, says), model = said(online)

    assert (level, model) == ("mistake", ("ok", "the model small-1 answers"))
    assert says.startswith(f"{channel} does not let us in: {words}")


NO_MONEY = "model_quota, the model's account has no money or no quota left"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (model_error(401), "model_auth, the model's key is refused"),
        (model_error(404), "model_404, there is no such model at this address"),
        (model_error(402), NO_MONEY),
        (model_error(429, "insufficient_quota"), NO_MONEY),
        (hang_up, "model_connection, the model's server cannot be reached"),
    ],
)
def test_model_that_refuses_is_a_mistake(
    online: Operator, providers: Providers, answer: Answer, words: str
) -> None:
    providers.answer(answer, to=COMPLETIONS)

    assert said(online)[1] == ("mistake", f"the model small-1 does not let us in: {words}")


def test_nothing_is_asked_without_being_told_to(online: Operator, providers: Providers) -> None:
    online("check")

    assert providers.requests == []


def test_model_without_a_key_and_a_channel_without_a_network_are_not_asked(
    operator: Operator,
) -> None:
    assert said(operator) == [
        ("ok", "simulator has nothing that can be asked without sending"),
        ("ok", "the model scripted needs no key"),
    ]
