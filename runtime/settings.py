"""The settings: one frozen object, read once from the environment, the only reader of it.

A process that must not run like this is told all its mistakes at once, and never starts.
"""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from batching.model import Budget, Limits, Timing
from config import Mistake, Whole, problem_of, refuse, suggestion

#: A name with one of these that is no setting is a slip, not somebody else's variable.
OUR_PREFIXES = ("AI_ADMIN_", "BATCH_", "BUDGET_")


def unknown_names(environ: Mapping[str, str], known: Collection[str]) -> Iterator[Mistake]:
    """Yield names in ``environ`` that are meant for us and are no setting."""
    for name in sorted(environ):
        if name.startswith(OUR_PREFIXES) and name not in known:
            near = suggestion(name, known) or suggestion(name.removeprefix(OUR_PREFIXES[0]), known)
            yield Mistake(name, f"is not a setting{near}")


REDIS_SCHEMES = ("redis", "rediss", "unix")
AMQP_SCHEMES = ("amqp", "amqps")
_PORT_REDIS = 6379
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Database:
    """One database of one Redis server, as far as an address tells."""

    server: str
    db: int


def is_redis(url: str) -> bool:
    """Return whether ``url`` leads to Redis rather than to RabbitMQ."""
    return urlsplit(url).scheme in REDIS_SCHEMES


def url_problem(url: str, schemes: tuple[str, ...]) -> str | None:
    """Return what is wrong with an address, None if nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be an address such as redis://127.0.0.1:6379/0"
    if parts.scheme not in schemes:
        return f"must begin with {', '.join(f'{scheme}://' for scheme in schemes)}"
    if parts.scheme == "unix":
        if not parts.path:
            return "must name a socket, such as unix:///run/valkey/valkey.sock?db=0"
    elif not parts.hostname or port == 0:
        return "must name a host, such as 127.0.0.1"
    return _database_problem(parts) if parts.scheme in REDIS_SCHEMES else None


def database_of(url: str) -> Database:
    """Return where a checked Redis address leads; all names of the loopback are one server."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Database(parts.path, int(_database_part(parts) or 0))
    host = (parts.hostname or "").lower()
    server = f"{'loopback' if host in _LOOPBACK else host}:{parts.port or _PORT_REDIS}"
    return Database(server, int(_database_part(parts) or 0))


def masked(url: str) -> str:
    """Return ``url`` with *** in place of its password and of its query, fit to be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    netloc = f"{user}{colon and ':***'}{at}{host}" if colon else f"{login and '***'}{at}{host}"
    query = parts.query if parts.query.startswith("db=") and parts.query[3:].isdigit() else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query or (parts.query and "***"), ""))


def _database_part(parts: SplitResult) -> str:
    path = "" if parts.scheme == "unix" else parts.path.strip("/")
    return parse_qs(parts.query).get("db", [path])[0]


def _database_problem(parts: SplitResult) -> str | None:
    # redis-py lets an address override the time limits, and takes database 0 for one it
    # cannot read: both would be found out only when something hangs or a queue is in the way.
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option != "db" and not option.startswith("ssl_"):
            return "options other than db and ssl_* are not allowed"
    database = _database_part(parts)
    if database and not (database.isascii() and database.isdigit()):
        return "must end with the number of a database, such as /0"
    return None


#: Enough for 128 bits however it is written down; `openssl rand -hex 32` gives 64.
SECRET_LENGTH_MIN = 32
_DISTINCT_MIN = 8
_PLACEHOLDER = re.compile(
    r"change|replace|example|placeholder|secret|password|default|develop|insecure|dummy|sample"
    r"|your|todo|test|demo|12345|abcdef|qwerty|[<>{}$]",
    re.IGNORECASE,
)


def secret_problem(value: str) -> str | None:
    """Return why ``value`` must not guard a production, without showing it; None if it may."""
    if not value:
        return f"is missing; make one with: openssl rand -hex {SECRET_LENGTH_MIN}"
    if len(value) < SECRET_LENGTH_MIN:
        return f"has {len(value)} characters: must be at least {SECRET_LENGTH_MIN}"
    random_hex = re.fullmatch(r"[0-9a-fA-F]{64,}", value)
    if len(set(value)) < _DISTINCT_MIN or (not random_hex and _PLACEHOLDER.search(value)):
        return "looks like a placeholder; make one with: openssl rand -hex 32"
    return None


IdleMs = Annotated[int, Whole(100, 600_000)]
MaxMessages = Annotated[int, Whole(1, 100)]
MaxWaitMs = Annotated[int, Whole(100, 3_600_000)]
OverdueMs = Annotated[int, Whole(1_000, 86_400_000)]
ReplyDeadlineMs = Annotated[int, Whole(1_000, 604_800_000)]
LeaseMs = Annotated[int, Whole(1_000, 600_000)]
MaxAttempts = Annotated[int, Whole(1, 50)]

#: An account's name for a limit → the field of Limits. A setting is BATCH_ and the same name.
LIMIT_FIELDS = {
    "idle_ms": "idle_ms",
    "max_messages": "max_messages",
    "max_wait_ms": "max_wait_ms",
    "overdue_ms": "overdue_ms",
    "reply_deadline_ms": "reply_deadline_ms",
    "lease_ms": "lease_ms",
    "max_attempts": "max_attempts",
}

#: The first of each pair may not be below the second.
_ORDER = (
    ("max_wait_ms", "idle_ms"),
    ("overdue_ms", "max_wait_ms"),
    ("reply_deadline_ms", "overdue_ms"),
    ("reply_deadline_ms", "lease_ms"),
)


def order_mistakes(
    limits: Limits, name_of: Callable[[str], str], where: str = ""
) -> Iterator[tuple[frozenset[str], Mistake]]:
    """Yield each pair of limits in the wrong order: the names concerned, and the mistake.

    ``name_of`` turns "idle_ms" into the name that the reader knows, ``where`` stands before it.
    """
    for greater, lesser in _ORDER:
        value = getattr(limits, LIMIT_FIELDS[greater])
        least = getattr(limits, LIMIT_FIELDS[lesser])
        if value < least:
            problem = f"must be at least {name_of(lesser)}={least}"
            yield (
                frozenset((greater, lesser)),
                Mistake(f"{where}{name_of(greater)}", problem, str(value)),
            )


ConversationHour = Annotated[int, Whole(1, 10_000)]
AccountDay = Annotated[int, Whole(1, 1_000_000)]
InstallationDay = Annotated[int, Whole(1, 10_000_000)]


class BudgetSettings(BaseSettings):
    """The most questions to models, failed ones included; past them batches wait."""

    budget_conversation_hour: ConversationHour = 60
    budget_account_day: AccountDay = 2_000
    budget_installation_day: InstallationDay = 10_000

    def budget(self) -> Budget:
        """Return the budget of an account that overrides none."""
        return Budget(
            conversation_hour=self.budget_conversation_hour,
            account_day=self.budget_account_day,
            installation_day=self.budget_installation_day,
        )


_SECRET_LENGTH_MAX = 256
#: Where our own webhooks may be; without a login, for it is shown.
HTTP_URL = r"https?://[^\s/@?#]+(/[^\s@?#]*)?"


def _redis_url(url: str) -> str:
    if problem := url_problem(url, REDIS_SCHEMES):
        raise ValueError(problem)
    return url


def _broker_url(url: str) -> str:
    if problem := url_problem(url, REDIS_SCHEMES + AMQP_SCHEMES):
        raise ValueError(problem)
    return url


def _canary_url(url: str) -> str:
    if url and not re.fullmatch(HTTP_URL, url):
        raise ValueError("must look like https://HOST, where our webhooks are")
    return url.rstrip("/")


def _release(text: str) -> str:
    if not re.fullmatch(r"[\w.+@-]{1,64}", text, re.ASCII):
        raise ValueError("must be 1..64 letters, digits or . _ + @ -")
    return text


def _dsn(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s@/]+@[^\s@]+/\d+", text):
        raise ValueError("must look like https://KEY@HOST/PROJECT")
    return text


def _secret(text: str) -> str:
    if len(text) > _SECRET_LENGTH_MAX or not text.isprintable() or not text.isascii():
        raise ValueError(f"must be at most {_SECRET_LENGTH_MAX} printable ASCII characters")
    return text


def _upper(text: object) -> object:
    return text.upper() if isinstance(text, str) else text


RedisUrl = Annotated[str, AfterValidator(_redis_url), Field(repr=False)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url), Field(repr=False)]
CanaryUrl = Annotated[str, AfterValidator(_canary_url)]
Release = Annotated[str, AfterValidator(_release)]
SentryDsn = Annotated[str, AfterValidator(_dsn), Field(repr=False)]
Secret = Annotated[str, AfterValidator(_secret), Field(repr=False)]
Environment = Literal["development", "test", "demo", "staging", "production"]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]


#: Lets a developer start without making secrets; production refuses it.
DEVELOPMENT_PRIVACY_KEY = "development-only-privacy-key"


class Settings(BudgetSettings):
    """What every process of one installation is told; names are those of the environment.

    All ``*_ms`` are milliseconds. docs/reference.md has a sentence for each.
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
    batch_idle_ms: IdleMs = 9_000
    batch_max_messages: MaxMessages = 10
    batch_max_wait_ms: MaxWaitMs = 45_000
    batch_overdue_ms: OverdueMs = 120_000
    batch_reply_deadline_ms: ReplyDeadlineMs = 86_400_000
    batch_lease_ms: LeaseMs = 30_000
    batch_max_attempts: MaxAttempts = 8
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
            **{field: getattr(self, f"batch_{name}") for name, field in LIMIT_FIELDS.items()}
        )

    def timing(self) -> Timing:
        """Return how the ledger waits, repeats and forgets."""
        return Timing(
            ring_ms=self.batch_ring_ms,
            ring_max_ms=max(Timing().ring_max_ms, self.batch_ring_ms),
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


__all__ = [
    "DEVELOPMENT_PRIVACY_KEY",
    "Settings",
    "load_settings",
    "process_environment",
    "setting_names",
    "systemd_environment",
    "valid_settings",
]

#: What may be told of a value that a message is about.
_HIDDEN = frozenset({"privacy_key", "console_token", "sentry_dsn"})
_MASKED = frozenset({"redis_url", "broker_url"})
_OF_SUPERVISOR = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


def setting_names() -> list[str]:
    """Return the name of every setting, as the environment has it."""
    return [name.upper() for name in Settings.model_fields]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in ``environ``, that of the process by default; an empty value is unset.

    Raise ConfigurationError with every mistake on a line of its own.
    """
    environ = process_environment() if environ is None else environ
    settings, mistakes = _validated(environ)
    crossed = [it for names, it in _cross_mistakes(settings) if names.isdisjoint(mistakes)]
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
        name: _setting_mistake(name, problem_of(detail), given[name])
        for name, detail in details.items()
    }
    valid = {name: value for name, value in given.items() if name not in mistakes}
    return Settings.model_validate(valid), mistakes


def process_environment(env_file: Path = Path(".env")) -> Mapping[str, str]:
    """Return the environment over the ``.env`` of the working directory, if there is one."""
    source = DotEnvSettingsSource(Settings, env_file=env_file, case_sensitive=True)
    given = {name: value for name, value in source.env_vars.items() if value is not None}
    return given | dict(os.environ)


def systemd_environment() -> Mapping[str, str]:
    """Return what a supervisor told this very process; a file has no say in it."""
    return {name: os.environ[name] for name in _OF_SUPERVISOR if name in os.environ}


def _setting_mistake(name: str, problem: str, value: str) -> Mistake:
    if name in _HIDDEN:
        return Mistake(name.upper(), problem)
    return Mistake(name.upper(), problem, masked(value) if name in _MASKED else value)


def _cross_mistakes(settings: Settings) -> Iterator[tuple[frozenset[str], Mistake]]:
    """Yield what is wrong between settings: the fields concerned, and the mistake."""
    for limits, mistake in order_mistakes(settings.limits(), lambda name: f"BATCH_{name.upper()}"):
        yield frozenset(f"batch_{name}" for name in limits), mistake
    broker = settings.broker_url
    if is_redis(broker) and database_of(broker) == database_of(settings.redis_url):
        why = "must not be the database of REDIS_URL: the broker's upkeep would block the ledger"
        yield _MASKED, _setting_mistake("broker_url", why, broker)
    if not settings.is_production:
        return
    for name in ("privacy_key", "console_token"):
        value = getattr(settings, name)
        if weakness := secret_problem("" if value == DEVELOPMENT_PRIVACY_KEY else value):
            yield frozenset({name}), Mistake(name.upper(), weakness)
    if settings.privacy_key == settings.console_token != "":
        problem = "must not be the same as PRIVACY_KEY"
        yield frozenset({"privacy_key", "console_token"}), Mistake("CONSOLE_TOKEN", problem)
