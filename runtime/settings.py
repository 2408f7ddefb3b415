"""The settings: one frozen object, read once from the environment, the only reader of it.

A process that must not run like this is told all its mistakes at once, and never starts.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from batching.limits import Limits, Pace
from runtime import bounds
from runtime.bounds import Whole
from runtime.mistakes import Mistake, problem_of, refuse, unknown_names
from runtime.secrecy import secret_problem
from runtime.setting_types import (
    BrokerUrl,
    Environment,
    LogLevel,
    RedisUrl,
    Release,
    Secret,
    SentryDsn,
)
from runtime.urls import is_redis, masked, place_of

#: Lets a developer start without making secrets; production refuses it.
DEVELOPMENT_PRIVACY_KEY = "development-only-privacy-key"


class Settings(BaseSettings):
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
    console_token: Secret = ""
    privacy_key: Secret = DEVELOPMENT_PRIVACY_KEY
    batch_idle_ms: bounds.IdleMs = 9_000
    batch_max_messages: bounds.MaxMessages = 10
    batch_max_wait_ms: bounds.MaxWaitMs = 45_000
    batch_overdue_ms: bounds.OverdueMs = 120_000
    batch_reply_deadline_ms: bounds.ReplyDeadlineMs = 86_400_000
    batch_lease_ms: bounds.LeaseMs = 30_000
    batch_max_attempts: bounds.MaxAttempts = 8
    batch_shards: Annotated[int, Whole(1, 1_024)] = 1
    batch_ambiguous_ms: Annotated[int, Whole(1_000, 3_600_000)] = 60_000
    batch_ring_ms: Annotated[int, Whole(500, 60_000)] = 10_000
    flush_tick_ms: Annotated[int, Whole(10, 5_000)] = 50
    deploy_grace_ms: Annotated[int, Whole(0, 3_600_000)] = 300_000

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
            if name.startswith("batch_") or name == "environment"
        }
        text = json.dumps([sorted(agreed.items()), parts])
        return hmac.new(self.privacy_key.encode(), text.encode(), hashlib.sha256).hexdigest()[:12]

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the settings alone."""
        return self.fingerprint_with()


#: What may be told of a value that a message is about.
_HIDDEN = frozenset({"privacy_key", "console_token", "sentry_dsn"})
_MASKED = frozenset({"redis_url", "broker_url"})


def setting_names() -> list[str]:
    """Return the name of every setting, as the environment has it."""
    return [name.upper() for name in Settings.model_fields]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in ``environ``, that of the process by default; an empty value is unset.

    Raise ConfigurationError with every mistake on a line of its own.
    """
    environ = process_environment() if environ is None else environ
    settings, mistakes = _validated(environ)
    crossed = [
        mistake
        for concerned, mistake in _cross_mistakes(settings)
        if concerned.isdisjoint(mistakes)
    ]
    refuse("settings", [*unknown_names(environ, setting_names()), *mistakes.values(), *crossed])
    return settings


def valid_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings with defaults in place of those that are mistakes: to look further."""
    return _validated(environ)[0]


def _validated(environ: Mapping[str, str]) -> tuple[Settings, dict[str, Mistake]]:
    names = {name.upper(): name for name in Settings.model_fields}
    given = {names[name]: value for name, value in environ.items() if name in names and value}
    try:
        return Settings.model_validate(given), {}
    except ValidationError as error:
        details = {str(detail["loc"][0]): detail for detail in error.errors()}
    mistakes = {
        name: _mistake(name, problem_of(detail), given[name]) for name, detail in details.items()
    }
    valid = {name: value for name, value in given.items() if name not in mistakes}
    return Settings.model_validate(valid), mistakes


def process_environment(env_file: Path = Path(".env")) -> Mapping[str, str]:
    """Return the environment over the ``.env`` of the working directory, if there is one."""
    source = DotEnvSettingsSource(Settings, env_file=env_file, case_sensitive=True)
    given = {name: value for name, value in source.env_vars.items() if value is not None}
    return given | dict(os.environ)


def _mistake(name: str, problem: str, value: str) -> Mistake:
    if name in _HIDDEN:
        return Mistake(name.upper(), problem)
    return Mistake(name.upper(), problem, masked(value) if name in _MASKED else value)


def _cross_mistakes(settings: Settings) -> Iterator[tuple[frozenset[str], Mistake]]:
    """Yield what is wrong between settings: the fields concerned, and the mistake."""
    for limits, mistake in bounds.order_mistakes(
        settings.limits(), lambda name: f"BATCH_{name.upper()}"
    ):
        yield frozenset(f"batch_{name}" for name in limits), mistake
    broker = settings.broker_url
    if is_redis(broker) and place_of(broker) == place_of(settings.redis_url):
        why = "must not be the database of REDIS_URL: the broker's upkeep would block the ledger"
        yield _MASKED, _mistake("broker_url", why, broker)
    if not settings.is_production:
        return
    for name in ("privacy_key", "console_token"):
        value = getattr(settings, name)
        if weakness := secret_problem("" if value == DEVELOPMENT_PRIVACY_KEY else value):
            yield frozenset({name}), Mistake(name.upper(), weakness)
    if settings.privacy_key == settings.console_token != "":
        problem = "must not be the same as PRIVACY_KEY"
        yield frozenset({"privacy_key", "console_token"}), Mistake("CONSOLE_TOKEN", problem)
