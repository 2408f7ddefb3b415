"""The settings: one frozen object, read once from the environment. Nothing else reads that.

All mistakes are reported at once, and a process with a mistake in its settings does not start.
"""

import ast
import hashlib
import hmac
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model
from pydantic_settings import BaseSettings, DotEnvSettingsSource
from redis.connection import SSLConnection, parse_url

from batching.errors import ConfigurationError
from batching.model import Budget, Limits, Timing
from config import Mistake, Table, Whole, http_url, matches, problem_of, refuse, suggestion
from config.hours import quiet_hours
from config.secrecy import secret_problem
from config.urls import shown_url, url_parts

#: A variable with one of these prefixes that is no setting is a mistake: probably a typing error.
OUR_PREFIXES = ("AI_ADMIN_", "BATCH_", "BUDGET_")
#: Former names, which still work → the names of today.
RENAMED = {"BATCH_RING_MS": "BATCH_WAKE_UP_MS"}
#: Read from the working directory.
ENV_FILE = Path(".env")
#: The credential that systemd may hand over: a JSON object, name → value, of further variables.
CREDENTIAL = "secrets"
#: Lets a developer start without making secrets; production refuses it.
DEVELOPMENT_PRIVACY_KEY = "development-only-privacy-key"

REDIS_SCHEMES = ("redis", "rediss", "unix")
AMQP_SCHEMES = ("amqp", "amqps")
_WHOLE, _DECIMAL = r"[0-9]{1,9}", r"[0-9]{1,9}(\.[0-9]+)?"
_AMQP_OPTIONS = {
    **dict.fromkeys(("heartbeat", "connection_attempts", "channel_max", "frame_max"), _WHOLE),
    **dict.fromkeys(("socket_timeout", "stack_timeout", "retry_delay"), _DECIMAL),
    "blocked_connection_timeout": _DECIMAL,
    "locale": r"\w{1,20}",
}
#: Written as Python's dictionaries.
_AMQP_TABLES = ("ssl_options", "tcp_options", "client_properties")
_CERT_REQS = ("none", "optional", "required")
_EXAMPLES = dict.fromkeys(REDIS_SCHEMES, "redis://127.0.0.1:6379/0") | {
    "amqp": "amqp://user:password@127.0.0.1/"
}

_PORT_REDIS = 6379
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_SECRET_LENGTH_MAX = 256

#: Settings that processes of one role need; all others are for every role.
OF_ONE_ROLE = {"CONSOLE_TOKEN": "web", "NOTIFY_URLS": "scheduler"} | dict.fromkeys(
    ("EVENTS_URL", "EVENTS_SECRET"), "scheduler"
)

_SYSTEMD_NAMES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")

#: The first limit of each pair must be at least the second.
_ORDER = (
    ("max_wait_ms", "idle_ms"),
    ("overdue_ms", "max_wait_ms"),
    ("reply_deadline_ms", "overdue_ms"),
    ("reply_deadline_ms", "lease_ms"),
)


def is_redis(url: str) -> bool:
    """Return whether ``url`` is an address of Redis rather than of RabbitMQ."""
    return urlsplit(url).scheme in REDIS_SCHEMES


def database_of(url: str) -> tuple[str, int]:
    """Return server and database of a valid Redis address; loopback addresses are one server."""
    parts = urlsplit(url)
    db = int(_database_part(parts) or 0)
    if parts.scheme == "unix":
        return parts.path, db
    host = (parts.hostname or "").lower()
    host = "loopback" if host in _LOOPBACK else host
    return f"{host}:{parts.port or _PORT_REDIS}", db


def url_problem(url: str, schemes: tuple[str, ...]) -> str | None:
    """Return what is wrong with an address of a server, None if nothing is."""
    scheme = url.partition("://")[0]
    if scheme not in schemes:
        return f"must begin with {', '.join(f'{scheme}://' for scheme in schemes)}"
    parts = url_parts(url)
    if parts is None:
        return (
            f"must be an address such as {_EXAMPLES.get(scheme, _EXAMPLES['amqp'])}; "
            "in a password write / as %2F, @ as %40, : as %3A, ? as %3F, # as %23, % as %25"
        )
    if scheme == "unix":
        if not parts["path"]:
            return "must name a socket, such as unix:///run/valkey/valkey.sock?db=0"
    elif not parts["host"]:
        return "must name a host, such as 127.0.0.1"
    return _redis_problem(url) if scheme in REDIS_SCHEMES else _amqp_problem(url)


def _database_part(parts: SplitResult) -> str:
    path = "" if parts.scheme == "unix" else parts.path.strip("/")
    return parse_qs(parts.query).get("db", [path])[0]


def _redis_problem(url: str) -> str | None:
    # redis-py lets an address override our timeouts, and reads a malformed database as 0: both
    # would be noticed only when a call hangs or a queue and the ledger share a database. What else
    # it cannot read it would find out about when it connects.
    parts = urlsplit(url)
    options = parse_qs(parts.query, keep_blank_values=True)
    if any(option != "db" and not option.startswith("ssl_") for option in options):
        return "options other than db and ssl_* are not allowed"
    known = inspect.signature(SSLConnection).parameters if parts.scheme == "rediss" else ()
    if not {"db", *known}.issuperset(options):
        return "options ssl_* must be those of redis-py, of an address with rediss://"
    if options.get("ssl_cert_reqs", ["none"])[0] not in _CERT_REQS:
        return f"ssl_cert_reqs must be one of {', '.join(_CERT_REQS)}"
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        return "has an option that cannot be read"
    database = _database_part(parts)
    if database and not (database.isascii() and database.isdigit()):
        return "must end with the number of a database, such as /0"
    return None


def _amqp_problem(url: str) -> str | None:
    # pika's exception would quote what it cannot read.
    parts = urlsplit(url)
    if parts.username and parts.password is None:
        return "must have a password after the user, such as amqp://user:password@127.0.0.1/"
    for name, values in parse_qs(parts.query, keep_blank_values=True).items():
        pattern = _AMQP_OPTIONS.get(name)
        plain = pattern and re.fullmatch(pattern, values[0])
        if len(values) > 1 or not (plain or (name in _AMQP_TABLES and _is_table(values[0]))):
            known = ", ".join((*_AMQP_OPTIONS, *_AMQP_TABLES))
            return f"has an option that cannot be read; each may stand once: {known}"
    return None


def _is_table(text: str) -> bool:
    try:
        return isinstance(ast.literal_eval(text), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if problem := url_problem(url, schemes):
            raise ValueError(problem)
        return url

    return AfterValidator(check)


def _secret(text: str) -> str:
    if len(text) > _SECRET_LENGTH_MAX or not text.isprintable() or not text.isascii():
        raise ValueError(f"must be at most {_SECRET_LENGTH_MAX} printable ASCII characters")
    return text


Secret = Annotated[str, AfterValidator(_secret), Field(repr=False)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]
Release = Annotated[str, matches(r"[\w.+@-]{1,64}", "must be 1..64 letters, digits or . _ + @ -")]
Dsn = Annotated[
    str,
    matches(r"|https?://[^\s@/]+@[^\s@]+/\d+", "must look like https://KEY@HOST/PROJECT"),
    Field(repr=False),
]
#: Of pages for people; they are linked to, and nothing is asked there.
PageUrl = Annotated[
    str,
    http_url("must look like https://HOST/PATH, where a person reads"),
    AfterValidator(lambda url: url.rstrip("/")),
]
EventsUrl = Annotated[
    str, http_url("must look like https://HOST/PATH, without login and query"), Field(repr=False)
]
#: One, or two while one replaces the other, as Standard Webhooks writes them.
EventsSecret = Annotated[
    str,
    matches(
        r"|whsec_[A-Za-z0-9+/]{32,88}={0,2}( whsec_[A-Za-z0-9+/]{32,88}={0,2})?",
        "must be whsec_ and 24 to 64 bytes in base64, or two of these with a space between: "
        "echo whsec_$(openssl rand -base64 32)",
    ),
    Field(repr=False),
]
CanaryUrl = Annotated[
    str,
    http_url("must look like https://HOST, where our webhooks are"),
    AfterValidator(lambda url: url.rstrip("/")),
]


TracesUrl = Annotated[
    str, http_url("must look like https://HOST/v1/traces, where a collector takes spans")
]
TracesHeaders = Annotated[
    Secret,
    matches(
        r"|[\w-]+=[^\s,=]+(=*)(,[\w-]+=[^\s,=]+(=*))*",
        "must look like NAME=VALUE,NAME=VALUE, with spaces and commas as %20 and %2C",
    ),
]


class Settings(Table):
    """The settings of an installation; every process has the same. Names are the environment's.

    All ``*_ms`` are milliseconds. docs/reference.md describes each.
    """

    redis_url: Annotated[str, _url(*REDIS_SCHEMES), Field(repr=False)] = "redis://127.0.0.1:6379/0"
    broker_url: Annotated[str, _url(*REDIS_SCHEMES, *AMQP_SCHEMES), Field(repr=False)] = (
        "redis://127.0.0.1:6379/1"
    )
    accounts_file: Path = Path("accounts.toml")
    environment: Literal["development", "test", "demo", "staging", "production"] = "development"
    release: Release = "unknown"
    log_level: LogLevel = "INFO"
    sentry_dsn: Dsn = ""
    sentry_traces_percent: Annotated[int, Whole(0, 100)] = 0
    # Where spans go, by OTLP over HTTP; the extra ``traces`` is needed.
    traces_url: TracesUrl = ""
    traces_headers: TracesHeaders = ""
    traces_percent: Annotated[int, Whole(0, 100)] = 100
    docs_url: PageUrl = ""
    console_url: PageUrl = ""
    # Where people are told, beside Sentry, and of what.
    notify_urls: Annotated[str, Field(repr=False)] = ""
    notify_min_severity: Literal["info", "warning", "error", "fatal"] = "warning"
    notify_quiet: Annotated[str, AfterValidator(quiet_hours)] = ""
    notify_repeat_ms: Annotated[int, Whole(0, 86_400_000)] = 3_600_000
    # Where our own systems are told what became of batches, by signed webhooks.
    events_url: EventsUrl = ""
    events_secret: EventsSecret = ""
    console_token: Secret = ""
    privacy_key: Secret = DEVELOPMENT_PRIVACY_KEY

    # The limits: each is a field of Limits, and an account may override it (AccountLimits).
    batch_idle_ms: Annotated[int, Whole(100, 600_000)] = 9_000
    batch_max_messages: Annotated[int, Whole(1, 100)] = 10
    batch_max_wait_ms: Annotated[int, Whole(100, 3_600_000)] = 45_000
    batch_overdue_ms: Annotated[int, Whole(1_000, 86_400_000)] = 120_000
    batch_reply_deadline_ms: Annotated[int, Whole(1_000, 604_800_000)] = 86_400_000
    batch_lease_ms: Annotated[int, Whole(1_000, 600_000)] = 6_000
    batch_max_attempts: Annotated[int, Whole(1, 50)] = 8
    batch_supersede_max: Annotated[int, Whole(0, 10)] = 3

    # Questions to models, failed ones included; beyond a budget batches wait.
    budget_conversation_hour: Annotated[int, Whole(1, 10_000)] = 60
    budget_conversation_day: Annotated[int, Whole(1, 100_000)] = 100
    budget_account_day: Annotated[int, Whole(1, 1_000_000)] = 2_000
    budget_installation_day: Annotated[int, Whole(1, 10_000_000)] = 10_000

    batch_durability: Literal["everysec", "always"] = "everysec"
    batch_shards: Annotated[int, Whole(1, 1_024)] = 1
    batch_ambiguous_ms: Annotated[int, Whole(1_000, 3_600_000)] = 60_000
    delivery_watch_ms: Annotated[int, Whole(0, 604_800_000)] = Timing().delivery_ms
    batch_wake_up_ms: Annotated[int, Whole(500, 60_000)] = 5_000
    flush_tick_ms: Annotated[int, Whole(10, 5_000)] = 50
    deploy_grace_ms: Annotated[int, Whole(0, 3_600_000)] = 300_000
    canary_url: CanaryUrl = ""
    canary_every_ms: Annotated[int, Whole(1_000, 3_600_000)] = 60_000
    # Of one process: it takes part in a trial, not in the service.
    trial: Annotated[int, Whole(0, 1)] = 0

    @property
    def is_production(self) -> bool:
        """Return whether real customers are answered."""
        return self.environment == "production"

    @property
    def on_trial(self) -> bool:
        """Return whether this process works on the canaries of a trial, and on nothing else."""
        return bool(self.trial)

    def limits(self) -> Limits:
        """Return the limits of an account that overrides none, and has new messages wait."""
        named = {it.name: getattr(self, f"batch_{it.name}") for it in fields(Limits)}
        return Limits(**named | {"supersede_max": 0})

    def budget(self) -> Budget:
        """Return the budget of an account that overrides none."""
        return Budget(**{it.name: getattr(self, f"budget_{it.name}") for it in fields(Budget)})

    def timing(self) -> Timing:
        """Return the delays of the ledger."""
        return Timing(
            wake_up_ms=self.batch_wake_up_ms,
            wake_up_max_ms=max(Timing().wake_up_max_ms, self.batch_wake_up_ms),
            ambiguous_ms=self.batch_ambiguous_ms,
            delivery_ms=self.delivery_watch_ms,
            # By its id a provider without our tag names what did not arrive.
            sent_ms=max(Timing().sent_ms, self.delivery_watch_ms),
        )

    def digest(self, text: str) -> str:
        """Return 12 hex digits that reveal nothing of ``text``."""
        return hmac.new(self.privacy_key.encode(), text.encode(), hashlib.sha256).hexdigest()[:12]

    def agreed(self) -> dict[str, object]:
        """Return the settings, by name, that all processes must agree on.

        Addresses are left out, because one database has many; the fleet compares databases by
        themselves.
        """
        return {
            name: value
            for name, value in sorted(self.model_dump(mode="json").items())
            if name.startswith(("batch_", "budget_")) or name == "environment"
        }

    def fingerprint_with(self, *parts: str) -> str:
        """Return a digest of all that processes must agree on, ``parts`` included."""
        return self.digest(json.dumps([list(self.agreed().items()), parts]))


if TYPE_CHECKING:
    AccountLimits = Table
    AccountBudget = Table
else:

    def _overrides(name: str, prefix: str, names: list[str]) -> type[Table]:
        """Return a table with the settings ``prefix`` + names, each with its bounds, optional."""
        bounds = {it: Settings.model_fields[f"{prefix}{it}"].metadata for it in names}
        optional = {it: (Annotated[int, *given] | None, None) for it, given in bounds.items()}
        return create_model(name, __base__=Table, **optional)

    #: ``[account.batch]``: an account's limits in place of the BATCH_* settings.
    AccountLimits = _overrides("AccountLimits", "batch_", [it.name for it in fields(Limits)])
    #: ``[account.budget]``: an account's budget in place of the BUDGET_* settings.
    AccountBudget = _overrides(
        "AccountBudget", "budget_", ["conversation_hour", "conversation_day", "account_day"]
    )


def order_mistakes(
    limits: Limits, name_of: Callable[[str], str], where: str = ""
) -> Iterator[tuple[frozenset[str], Mistake]]:
    """Yield each pair of limits in the wrong order: the names of both, and the mistake.

    ``name_of`` turns "idle_ms" into the name that the reader knows, ``where`` stands before it.
    """
    for greater, lesser in _ORDER:
        value, least = getattr(limits, greater), getattr(limits, lesser)
        if value < least:
            problem = f"must be at least {name_of(lesser)}={least}"
            mistake = Mistake(f"{where}{name_of(greater)}", problem, str(value))
            yield frozenset((greater, lesser)), mistake


def setting_names() -> list[str]:
    """Return the name of every setting as the environment has it."""
    return [name.upper() for name in Settings.model_fields]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in ``environ``, that of the process by default; an empty value is unset.

    Raise ConfigurationError with every mistake on a line of its own.
    """
    environ = process_environment() if environ is None else environ
    settings, mistakes = _validated(environ)
    crossed = [it for names, it in _cross_mistakes(settings) if names.isdisjoint(mistakes)]
    names = [*_unknown_names(environ), *_contradictions(environ)]
    refuse("settings", [*names, *mistakes.values(), *crossed])
    return settings


def valid_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings with defaults in place of mistakes, to be able to check more."""
    return _validated(environ)[0]


def former_names(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the former names that ``environ`` uses, each with the name of today."""
    return {old: new for old, new in RENAMED.items() if environ.get(old)}


def process_environment(env_file: Path = ENV_FILE) -> Mapping[str, str]:
    """Return the environment over the ``.env`` of the working directory, if there is one.

    What neither gives a value comes from systemd's credential, if there is one. Raise
    ConfigurationError for a credential in another form.
    """
    source = DotEnvSettingsSource(BaseSettings, env_file=env_file, case_sensitive=True)
    given = {name: value for name, value in source.env_vars.items() if value is not None}
    given |= os.environ
    return given | {name: it for name, it in _credential().items() if not given.get(name)}


def _credential() -> dict[str, str]:
    """Return the variables that systemd handed over to this process alone, in no environment."""
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY") or os.devnull, CREDENTIAL)
    try:
        given = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError):
        given = None
    if isinstance(given, dict) and all(isinstance(value, str) for value in given.values()):
        return given
    problem = "must be a JSON object of texts, which this process may read"
    raise ConfigurationError("settings", f"the credential {CREDENTIAL}: {problem}")


def systemd_environment() -> Mapping[str, str]:
    """Return what systemd told this very process; ``.env`` has no say in it."""
    return {name: os.environ[name] for name in _SYSTEMD_NAMES if name in os.environ}


def _validated(environ: Mapping[str, str]) -> tuple[Settings, dict[str, Mistake]]:
    """Return the settings, with defaults in place of mistakes, and the mistakes by field."""
    renamed = {new: environ[old] for old, new in former_names(environ).items()}
    values = renamed | {name: value for name, value in environ.items() if value}
    given = {name: values[name.upper()] for name in Settings.model_fields if name.upper() in values}
    try:
        return Settings.model_validate(given), {}
    except ValidationError as error:
        details = {str(detail["loc"][0]): detail for detail in error.errors()}
    mistakes = {
        name: Mistake(name.upper(), problem_of(detail), _shown(name, given[name]))
        for name, detail in details.items()
    }
    valid = {name: value for name, value in given.items() if name not in mistakes}
    return Settings.model_validate(valid), mistakes


def _shown(name: str, value: str) -> str | None:
    """Return the value of a setting without what is secret in it, None if it is one."""
    if name.endswith("_url"):
        return shown_url(value)
    return value if Settings.model_fields[name].repr else None


def _unknown_names(environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Yield names that are meant for us and are no setting."""
    known = setting_names()
    for name in sorted(environ):
        if name.startswith(OUR_PREFIXES) and name not in known and name not in RENAMED:
            near = suggestion(name, known) or suggestion(name.removeprefix(OUR_PREFIXES[0]), known)
            yield Mistake(name, f"is not a setting{near}")


def _contradictions(environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Yield former names whose value differs from that of the name of today."""
    for old, new in former_names(environ).items():
        if environ.get(new) and environ[new] != environ[old]:
            problem = f"is the former name of {new}, which has another value: remove it"
            yield Mistake(old, problem)


def _cross_mistakes(settings: Settings) -> Iterator[tuple[frozenset[str], Mistake]]:
    """Yield what is wrong between settings: the fields concerned, and the mistake."""
    for limits, mistake in order_mistakes(settings.limits(), lambda name: f"BATCH_{name.upper()}"):
        yield frozenset(f"batch_{name}" for name in limits), mistake
    broker = settings.broker_url
    if is_redis(broker) and database_of(broker) == database_of(settings.redis_url):
        why = "must not be the database of REDIS_URL: the broker's upkeep would block the ledger"
        yield frozenset({"redis_url", "broker_url"}), Mistake("BROKER_URL", why, broker)
    if settings.events_url and not settings.events_secret:
        problem = "is missing: EVENTS_URL would get what nobody can verify"
        yield frozenset({"events_secret"}), Mistake("EVENTS_SECRET", problem)
    if settings.is_production:
        yield from _weak_secrets(settings)


def _weak_secrets(settings: Settings) -> Iterator[tuple[frozenset[str], Mistake]]:
    key, token = settings.privacy_key, settings.console_token
    if problem := secret_problem("" if key == DEVELOPMENT_PRIVACY_KEY else key):
        yield frozenset({"privacy_key"}), Mistake("PRIVACY_KEY", problem)
    if token and (problem := secret_problem(token)):
        yield frozenset({"console_token"}), Mistake("CONSOLE_TOKEN", problem)
    if token == key:
        problem = "must not be the same as PRIVACY_KEY"
        yield frozenset({"privacy_key", "console_token"}), Mistake("CONSOLE_TOKEN", problem)
