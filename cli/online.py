"""``check --online``: whether each account's provider and model let us in, asked over the network.

A number is only read, and nothing is sent to anybody. A model is asked a question of a few words
without the business's prompt, which costs some 500 tokens.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from batching.errors import AdminError, UnusableAnswerError
from batching.store import Store
from channels import CHANNELS
from channels.outbound import HttpChannel
from channels.provider import ChannelAccount, Outside
from llm import MODELS
from llm.prompt import Prompt
from runtime.accounts import AccountConfig
from runtime.clients import http_client
from runtime.health import CheckResult, mistake, ok
from runtime.meanings import meaning

_QUESTION = "Are you there?"
_MODEL_ADVICE = "correct api_key_env, model or base_url of the account, or see to its bill"
_TOKENS_MAX = 16
_PROMPT = Prompt(business="Answer every message with: Yes.", language="en", timezone="UTC")


def check_online(configs: Iterable[AccountConfig], store: Store) -> Iterator[CheckResult]:
    """Yield two results for each account: of its provider, then of its model."""
    outside = Outside(http_client(), store)
    with outside.http:
        for config in configs:
            yield _check_provider(config, outside)
            for _, table in config.models:
                yield _check_model(config, table, outside)


def _check_provider(config: AccountConfig, outside: Outside) -> CheckResult:
    about = f"account {config.account_id}"
    account = ChannelAccount(config.account_id, config.entry, config.secrets)
    channel = CHANNELS[config.channel].build(account, outside)
    try:
        if isinstance(channel, HttpChannel) and channel.probe():
            return ok(about, f"{config.channel} lets us in")
    except AdminError as error:
        found = meaning(error.code)
        says = (
            f"{config.channel} does not let us in: {error.code}{f', {found.says}' if found else ''}"
        )
        return mistake(about, says, found.to_do if found else "look the code up in docs/runbook.md")
    return ok(about, f"{config.channel} has nothing that can be asked without sending")


def _check_model(config: AccountConfig, table: Any, outside: Outside) -> CheckResult:  # noqa: ANN401 - of its provider
    about, name = f"account {config.account_id}", table.provider
    maker = MODELS[name]
    if maker.free:
        return ok(about, f"the model {name} needs no key")
    brief = table.model_copy(update={"output_tokens_max": _TOKENS_MAX})
    model = maker.build(config=brief, secrets=config.secrets, prompt=_PROMPT, http=outside.http)
    try:
        model.answer([], _QUESTION, now_ms=time.time_ns() // 1_000_000)
    except UnusableAnswerError:
        pass  # It let us in, and that was the question.
    except AdminError as error:
        found = meaning(error.code)
        says = f"the model {table.model} does not let us in: {error.code}"
        says += f", {found.says}" if found else ""
        return mistake(about, says, found.to_do if found else _MODEL_ADVICE)
    return ok(about, f"the model {table.model} answers")
