"""Builds what an account needs to answer: its channel and its model, out of its configuration."""

from collections.abc import Callable
from functools import cached_property

import httpx2
import redis

from batching.ports import Account, Channel, Model
from channels.canary import CanarySink
from channels.simulator import Simulator
from channels.venom import VenomGateway
from channels.whatsapp_cloud import WhatsAppCloud
from llm.anthropic import Anthropic
from llm.guarded import Guarded
from llm.openai_compatible import OpenAICompatible
from llm.prompt import Prompt
from llm.scripted import Scripted
from runtime.account_config import (
    AnthropicModel,
    CanaryAccount,
    OpenAICompatibleModel,
    ScriptedModel,
    SimulatorAccount,
    VenomAccount,
    WhatsAppCloudAccount,
)
from runtime.accounts import AccountConfig
from runtime.clients import http_client


class Adapters:
    """Builds accounts. All share one HTTP client, opened when the first needs it.

    ``ledger`` and ``conversation_id``, which makes an id of an account and a customer, are for
    the simulator, which keeps in Redis what it was sent.
    """

    def __init__(self, ledger: redis.Redis, conversation_id: Callable[[str, str], str]) -> None:
        self._ledger = ledger
        self._conversation_id = conversation_id

    def account(self, config: AccountConfig) -> Account:
        """Return the account, ready to answer. Connects nowhere."""
        prompt = Prompt(
            business=config.business,
            language=config.entry.language,
            timezone=config.entry.timezone,
        )
        model = self._model(config, prompt)
        return Account(
            account_id=config.account_id,
            limits=config.limits,
            channel=self._channel(config),
            model=Guarded(model, prompt=prompt, account_id=config.account_id),
            ambiguous=config.entry.ambiguous,
            budget=None if isinstance(config.entry.model, ScriptedModel) else config.budget,
        )

    @cached_property
    def _http(self) -> httpx2.Client:
        return http_client()

    def _channel(self, config: AccountConfig) -> Channel:
        entry, found = config.entry, config.found
        match entry:
            case WhatsAppCloudAccount():
                return WhatsAppCloud(
                    phone_number_id=entry.phone_number_id,
                    access_token=found[entry.access_token_env],
                    api_url=entry.api_url,
                    http=self._http,
                    timeout_ms=entry.timeout_ms,
                )
            case VenomAccount():
                return VenomGateway(
                    api_url=entry.api_url,
                    token=found[entry.token_env],
                    session=entry.session,
                    flavour=entry.flavour,
                    http=self._http,
                    timeout_ms=entry.timeout_ms,
                )
            case CanaryAccount():
                return CanarySink(self._ledger)
            case SimulatorAccount():
                return Simulator(
                    account_id=entry.id,
                    client=self._ledger,
                    conversation_id=self._conversation_id,
                )

    def _model(self, config: AccountConfig, prompt: Prompt) -> Model:
        entry, found = config.entry.model, config.found
        match entry:
            case ScriptedModel():
                return Scripted(prompt=prompt, pause_ms=entry.pause_ms)
            case OpenAICompatibleModel():
                return OpenAICompatible(
                    prompt=prompt,
                    model=entry.model,
                    base_url=entry.base_url,
                    api_key=found[entry.api_key_env] if entry.api_key_env else "",
                    http=self._http,
                    timeout_ms=entry.timeout_ms,
                    output_tokens_max=entry.output_tokens_max,
                    token_limit_field=entry.token_limit_field,
                    temperature=entry.temperature,
                )
            case AnthropicModel():
                return Anthropic(
                    prompt=prompt,
                    model=entry.model,
                    base_url=entry.base_url,
                    api_key=found[entry.api_key_env],
                    http=self._http,
                    timeout_ms=entry.timeout_ms,
                    output_tokens_max=entry.output_tokens_max,
                    temperature=entry.temperature,
                )
