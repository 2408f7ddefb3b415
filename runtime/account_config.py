"""One ``[[account]]`` of the accounts file: what may be written there, and nothing else.

Secrets are never written there, only the names of the environment variables that hold them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime import bounds
from runtime.account_types import (
    AccountId,
    Digits,
    EnvName,
    EnvNames,
    FilePath,
    Language,
    Temperature,
    Timezone,
    Url,
    Word,
)
from runtime.bounds import Whole
from runtime.budgets import AccountDay, ConversationHour

#: Names of fields that hold the name of an environment variable end so.
ENV_SUFFIX = "_env"


class Entry(BaseModel):
    """A table of the file: unknown names are mistakes, and nothing changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class BatchEntry(Entry):
    """``[account.batch]``: limits of this account in place of the BATCH_* settings."""

    idle_ms: bounds.IdleMs | None = None
    max_messages: bounds.MaxMessages | None = None
    max_wait_ms: bounds.MaxWaitMs | None = None
    overdue_ms: bounds.OverdueMs | None = None
    reply_deadline_ms: bounds.ReplyDeadlineMs | None = None
    lease_ms: bounds.LeaseMs | None = None
    max_attempts: bounds.MaxAttempts | None = None


class BudgetEntry(Entry):
    """``[account.budget]``: budgets of this account in place of the BUDGET_* settings."""

    conversation_hour: ConversationHour | None = None
    account_day: AccountDay | None = None


class ScriptedModel(Entry):
    """Answers from the prompt file alone, without a network: for demos and tests."""

    provider: Literal["scripted"]
    pause_ms: Annotated[int, Whole(0, 10_000)] = 0


class _RemoteModel(Entry):
    model: Word
    timeout_ms: Annotated[int, Whole(1_000, 300_000)] = 60_000
    output_tokens_max: Annotated[int, Whole(16, 32_000)] = 800
    temperature: Temperature | None = None


class OpenAICompatibleModel(_RemoteModel):
    """Any API of the form of OpenAI's chat completions. Without ``api_key_env`` no key is sent."""

    provider: Literal["openai_compatible"]
    base_url: Url = "https://api.openai.com/v1"
    api_key_env: EnvName | None = None
    token_limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"  # noqa: S105 - counts, opens nothing


class AnthropicModel(_RemoteModel):
    """Anthropic's messages API."""

    provider: Literal["anthropic"]
    base_url: Url = "https://api.anthropic.com"
    api_key_env: EnvName


ModelEntry = Annotated[
    ScriptedModel | OpenAICompatibleModel | AnthropicModel, Field(discriminator="provider")
]


class _AccountEntry(Entry):
    id: AccountId
    language: Language
    timezone: Timezone
    prompt_file: FilePath
    model: ModelEntry
    batch: BatchEntry = BatchEntry()
    budget: BudgetEntry = BudgetEntry()
    ambiguous: Literal["alert", "resend"] = "alert"


class WhatsAppCloudAccount(_AccountEntry):
    """A number of Meta's WhatsApp Cloud API."""

    channel: Literal["whatsapp_cloud"]
    phone_number_id: Digits
    access_token_env: EnvName
    app_secret_env: EnvNames
    verify_token_env: EnvName
    api_url: Url = "https://graph.facebook.com/v24.0"
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


class VenomAccount(_AccountEntry):
    """A number behind a Venom, WPPConnect or compatible gateway."""

    channel: Literal["venom"]
    api_url: Url
    token_env: EnvName
    webhook_secret_env: EnvNames
    session: Word = "default"
    flavour: Literal["wppconnect", "gateway"] = "wppconnect"
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


class SimulatorAccount(_AccountEntry):
    """A number that exists on our own page alone; refused in production."""

    channel: Literal["simulator"]


class CanaryAccount(_AccountEntry):
    """The reserved account of the canary, in every installation and in no file."""

    id: Literal["canary"]
    channel: Literal["canary"]


FileAccount = WhatsAppCloudAccount | VenomAccount | SimulatorAccount
AnyAccount = FileAccount | CanaryAccount
AccountEntry = Annotated[FileAccount, Field(discriminator="channel")]


def env_names(entry: BaseModel, path: str = "") -> list[tuple[str, str]]:
    """Return the environment variables that a table names, each with the field that names it."""
    named: list[tuple[str, str]] = []
    for name in type(entry).model_fields:
        value: Any = getattr(entry, name)
        if isinstance(value, BaseModel):
            named += env_names(value, f"{path}{name}.")
        elif name.endswith(ENV_SUFFIX) and value is not None:
            values = value if isinstance(value, list) else [value]
            named += [(f"{path}{name}", variable) for variable in values]
    return named


def known_names() -> frozenset[str]:
    """Return every name that some table of the file may have."""
    tables = (
        WhatsAppCloudAccount,
        VenomAccount,
        SimulatorAccount,
        ScriptedModel,
        OpenAICompatibleModel,
        AnthropicModel,
        BatchEntry,
        BudgetEntry,
    )
    return frozenset(name for table in tables for name in table.model_fields)
