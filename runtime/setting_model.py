"""What every process of an installation is told: the fields, their bounds, what follows of them."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from batching.limits import Limits, Pace
from runtime import bounds
from runtime.bounds import Whole
from runtime.budgets import BudgetSettings
from runtime.setting_types import (
    BrokerUrl,
    CanaryUrl,
    Environment,
    LogLevel,
    RedisUrl,
    Release,
    Secret,
    SentryDsn,
)

#: Lets a developer start without making secrets; production refuses it.
DEVELOPMENT_PRIVACY_KEY = "development-only-privacy-key"


class Settings(BudgetSettings):
    """What every process of one installation is told; names are those of the environment.

    All ``*_ms`` are milliseconds. docs/operations.md has a sentence for each.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    broker_url: BrokerUrl = "redis://127.0.0.1:6379/1"
    accounts_file: Path = Path("accounts.toml")
    environment: Environment = "development"
    release: Release = "unknown"
    log_level: LogLevel = "INFO"
    sentry_dsn: SentryDsn = ""
    sentry_traces_percent: Annotated[int, Whole(0, 100)] = 0
    console_token: Secret = ""
    privacy_key: Secret = DEVELOPMENT_PRIVACY_KEY
    batch_idle_ms: bounds.IdleMs = 9_000
    batch_max_messages: bounds.MaxMessages = 10
    batch_max_wait_ms: bounds.MaxWaitMs = 45_000
    batch_overdue_ms: bounds.OverdueMs = 120_000
    batch_reply_deadline_ms: bounds.ReplyDeadlineMs = 86_400_000
    batch_lease_ms: bounds.LeaseMs = 30_000
    batch_max_attempts: bounds.MaxAttempts = 8
    batch_durability: Literal["everysec", "always"] = "everysec"
    batch_shards: Annotated[int, Whole(1, 1_024)] = 1
    batch_ambiguous_ms: Annotated[int, Whole(1_000, 3_600_000)] = 60_000
    batch_ring_ms: Annotated[int, Whole(500, 60_000)] = 10_000
    flush_tick_ms: Annotated[int, Whole(10, 5_000)] = 50
    deploy_grace_ms: Annotated[int, Whole(0, 3_600_000)] = 300_000
    canary_url: CanaryUrl = ""
    canary_every_ms: Annotated[int, Whole(1_000, 3_600_000)] = 60_000

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the framework's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from ``load_settings`` alone: accounts read their secrets from there too."""
        return (init_settings,)

    @property
    def is_production(self) -> bool:
        """Return whether real customers are answered."""
        return self.environment == "production"

    def limits(self) -> Limits:
        """Return the limits of an account that overrides none."""
        return Limits(
            **{field: getattr(self, f"batch_{name}") for name, field in bounds.LIMIT_FIELDS.items()}
        )

    def pace(self) -> Pace:
        """Return how the ledger waits, repeats and forgets."""
        return Pace(
            ring_ms=self.batch_ring_ms,
            ring_max_ms=max(Pace().ring_max_ms, self.batch_ring_ms),
            ambiguous_ms=self.batch_ambiguous_ms,
        )

    def fingerprint_with(self, *parts: str) -> str:
        """Return 12 hex digits of all that processes must agree on, ``parts`` included.

        Addresses are left out, one database has many names; the fleet compares the databases
        themselves. Keyed, so that nothing can be learned of the secrets among the parts.
        """
        agreed = {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name.startswith(("batch_", "budget_")) or name == "environment"
        }
        text = json.dumps([sorted(agreed.items()), parts])
        return hmac.new(self.privacy_key.encode(), text.encode(), hashlib.sha256).hexdigest()[:12]
