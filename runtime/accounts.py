"""The accounts of this installation: read from the accounts file, checked, built when first needed.

Secrets are never written in the file, only the names of the environment variables that hold them.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx2
import redis
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails

from batching.errors import ConfigurationError
from batching.model import CANARY_ACCOUNT, Budget, Limits
from batching.ports import Account, Channel, Model
from canary.channel import CanarySink
from channels.simulator import Simulator
from channels.venom import VenomGateway
from channels.whatsapp_cloud import WhatsAppCloud
from config import (
    ENV_SUFFIX,
    Digits,
    EnvName,
    EnvNames,
    Mistake,
    Table,
    Url,
    Whole,
    Word,
    matches,
    problem_of,
    refuse,
    suggestion,
)
from llm import MODELS
from llm.anthropic import AnthropicModel
from llm.guard import Guarded
from llm.openai_compatible import OpenAICompatibleModel
from llm.prompt import Prompt
from llm.scripted import ScriptedModel
from runtime.clients import http_client
from runtime.settings import AccountBudget, AccountLimits, masked, order_mistakes


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    return name


AccountId = Annotated[
    str,
    matches(r"[a-z0-9-]{1,40}", "must be 1..40 of a-z, 0-9 and -"),
    matches(rf"(?!{CANARY_ACCOUNT}$).*", "is reserved for the canary"),
]
Language = Annotated[str, matches(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?", 'must look like "en"')]
Timezone = Annotated[str, AfterValidator(_timezone)]
FilePath = Annotated[str, matches(r"[^\0\n]{1,200}", "must be a path")]


ModelEntry = Annotated[
    ScriptedModel | OpenAICompatibleModel | AnthropicModel, Field(discriminator="provider")
]


class _AccountEntry(Table):
    id: AccountId
    language: Language
    timezone: Timezone
    prompt_file: FilePath
    model: ModelEntry
    batch: AccountLimits = AccountLimits()
    budget: AccountBudget = AccountBudget()
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
        AccountLimits,
        AccountBudget,
    )
    return frozenset(name for table in tables for name in table.model_fields)


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """An account ready to be built: limits resolved, prompt read, secrets found.

    ``business`` is the text of the prompt file. ``secrets`` prove a webhook, two while one
    replaces the other, none for the simulator. ``verify_token`` is "" where the channel has none.
    ``found`` holds every secret by the name of its variable.
    """

    account_id: str
    channel: str
    limits: Limits
    budget: Budget
    entry: AnyAccount
    business: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    verify_token: str = field(repr=False)
    found: dict[str, str] = field(repr=False)

    @property
    def language(self) -> str:
        """Return the language the account answers in, such as "en"."""
        return self.entry.language


class AccountBook:
    """Finds accounts; iterating gives their configurations in the order of the file.

    ``build`` makes an account of a configuration; it is called once for each account, when that
    is first asked for. ``limits`` are those of an account that nobody knows.
    """

    def __init__(
        self,
        configs: Sequence[AccountConfig],
        *,
        limits: Limits,
        build: Callable[[AccountConfig], Account],
    ) -> None:
        self._configs = {config.account_id: config for config in configs}
        self._by_number = {
            config.entry.phone_number_id: config.account_id
            for config in configs
            if isinstance(config.entry, WhatsAppCloudAccount)
        }
        self._limits = limits
        self._build = build
        self._built: dict[str, Account] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[AccountConfig]:
        return iter(self._configs.values())

    def __len__(self) -> int:
        return len(self._configs)

    def get(self, account_id: str) -> Account | None:
        """Return the account, None if it is not configured."""
        config = self._configs.get(account_id)
        if config is None:
            return None
        with self._lock:
            if account_id not in self._built:
                self._built[account_id] = self._build(config)
            return self._built[account_id]

    def config(self, account_id: str) -> AccountConfig | None:
        """Return what is known of the account, None if it is not configured."""
        return self._configs.get(account_id)

    def by_phone_number_id(self, phone_number_id: str) -> str | None:
        """Return the id of the account with this number at Meta, None if there is none."""
        return self._by_number.get(phone_number_id)

    def limits_of(self, account_id: str) -> Limits:
        """Return the account's limits, those of the settings for one that is not configured."""
        config = self._configs.get(account_id)
        return self._limits if config is None else config.limits


def agreement(configs: Iterable[AccountConfig]) -> str:
    """Return all that processes must agree on, secrets included: for a keyed digest only."""
    return json.dumps(
        [
            [config.entry.model_dump(mode="json"), config.business, config.found]
            for config in configs
        ],
        sort_keys=True,
    )


PROMPT_BYTES_MAX = 64_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What accounts are read against: secrets, the settings' limits, and how serious it is."""

    environ: Mapping[str, str]
    limits: Limits
    budget: Budget
    production: bool


def resolve(
    entry: AnyAccount, where: str, folder: Path, around: Surroundings
) -> tuple[AccountConfig, list[Mistake]]:
    """Return the account, usable if there are no mistakes, and the mistakes."""
    found, mistakes = _secrets(entry, where, around.environ)
    limits = replace(around.limits, **entry.batch.model_dump(exclude_none=True))
    ordered = order_mistakes(limits, "batch.{}".format, f"{where}: ")
    mistakes += [mistake for _, mistake in ordered]
    business, problem = _prompt(folder / entry.prompt_file)
    if problem:
        mistakes.append(Mistake(f"{where}: prompt_file", problem, entry.prompt_file))
    if isinstance(entry, SimulatorAccount) and around.production:
        problem = "is refused with ENVIRONMENT=production: anybody could write to it"
        mistakes.append(Mistake(f"{where}: channel", problem, entry.channel))
    secrets, verify_token = _webhook_secrets(entry)
    config = AccountConfig(
        account_id=entry.id,
        channel=entry.channel,
        limits=limits,
        budget=replace(around.budget, **entry.budget.model_dump(exclude_none=True)),
        entry=entry,
        business=business,
        secrets=tuple(found[name] for name in secrets),
        verify_token=found.get(verify_token, ""),
        found=found,
    )
    return config, mistakes


def _webhook_secrets(entry: AnyAccount) -> tuple[list[str], str]:
    """Return the variables that prove a webhook, and the one of the verify token, "" if none."""
    match entry:
        case WhatsAppCloudAccount():
            return entry.app_secret_env, entry.verify_token_env
        case VenomAccount():
            return entry.webhook_secret_env, ""
        case SimulatorAccount() | CanaryAccount():
            return [], ""


def _secrets(
    entry: AnyAccount, where: str, environ: Mapping[str, str]
) -> tuple[dict[str, str], list[Mistake]]:
    """Return the value of each variable that the account names, and what is wrong with them."""
    found, mistakes = dict[str, str](), list[Mistake]()
    for name, variable in env_names(entry):
        found[variable] = value = environ.get(variable, "")
        if not value:
            problem = "this environment variable is not set"
        elif not value.isascii() or not value.isprintable() or " " in value:
            problem = "this environment variable holds a space, a line end or a non-ASCII character"
        else:
            continue
        mistakes.append(Mistake(f"{where}: {name}", problem, variable))
    return found, mistakes


def _prompt(path: Path) -> tuple[str, str]:
    """Return the text of a prompt file, and what is wrong with it, "" if nothing is."""
    try:
        raw = path.read_bytes()
        text = raw.decode()
    except OSError as error:
        return "", f"cannot be read ({error.strerror}); it is looked for beside the accounts file"
    except UnicodeDecodeError:
        return "", "must be UTF-8 text"
    if not text.strip() or len(raw) > PROMPT_BYTES_MAX:
        return "", f"has {len(raw)} bytes: must be 1..{PROMPT_BYTES_MAX}, and not blank"
    return text, ""


FILE_BYTES_MAX = 1_000_000
ACCOUNTS_MAX = 1_000

_ENTRY: TypeAdapter[AnyAccount] = TypeAdapter(AccountEntry)
_ADVICE = "copy accounts.example.toml to begin"
#: Words that pydantic puts into the place of a mistake and the file does not have.
_TAGS = frozenset(
    {"whatsapp_cloud", "venom", "simulator", "scripted", "openai_compatible", "anthropic"}
)
_NAMES = known_names()


def load_accounts(path: Path, around: Surroundings) -> tuple[AccountConfig, ...]:
    """Return the accounts in ``path``, in its order; at least one.

    Raise ConfigurationError with every mistake on a line of its own. Secrets are never shown.
    """
    entries, configs, mistakes = list[AnyAccount](), list[AccountConfig](), list[Mistake]()
    for number, table in enumerate(_tables(path), start=1):
        where = f"{path}: account {_name(table, number)}"
        try:
            entry = _ENTRY.validate_python(table)
        except ValidationError as error:
            mistakes += [_mistake(where, detail) for detail in error.errors()]
            continue
        config, found = resolve(entry, where, path.parent, around)
        entries.append(entry)
        configs.append(config)
        mistakes += found
    refuse("accounts", [*mistakes, *_duplicates(path, entries)])
    return tuple(configs)


def _tables(path: Path) -> list[Any]:
    """Return the ``[[account]]`` tables as written. Raise ConfigurationError."""
    try:
        raw = path.read_bytes()
        given = tomllib.loads(raw.decode()) if len(raw) <= FILE_BYTES_MAX else None
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); {_ADVICE}"
        raise ConfigurationError("accounts", f"ACCOUNTS_FILE={path}: {problem}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The parser's own words may quote the file, and so a secret: only the place is told.
        place = re.search(r"\(at [^)]*\)$", str(error))
        problem = f"is not TOML {place.group() if place else ''}".strip()
        raise ConfigurationError("accounts", f"{path}: {problem}") from None
    if given is None:
        raise ConfigurationError("accounts", f"{path}: must be at most {FILE_BYTES_MAX} bytes")
    tables = given.pop("account", [])
    refuse("accounts", [Mistake(f"{path}: {name}", "is not known here") for name in given])
    if not isinstance(tables, list) or not 1 <= len(tables) <= ACCOUNTS_MAX:
        problem = f"must hold 1..{ACCOUNTS_MAX} tables [[account]]"
        raise ConfigurationError("accounts", f"{path}: {problem}; {_ADVICE}")
    return tables


def _name(table: object, number: int) -> str:
    account_id = str(table.get("id")) if isinstance(table, dict) and "id" in table else ""
    return account_id if re.fullmatch(r"[a-z0-9-]{1,40}", account_id) else str(number)


def _mistake(where: str, error: ErrorDetails) -> Mistake:
    """Return one of pydantic's findings in our words."""
    parts = [str(part) for part in error["loc"] if part not in _TAGS and isinstance(part, str)]
    problem, value = problem_of(error), error["input"]
    match error["type"]:
        case "extra_forbidden":
            return Mistake(f"{where}: {'.'.join(parts)}", f"is not known here{_near(parts[-1])}")
        case "union_tag_invalid" | "union_tag_not_found":
            parts.append("provider" if parts else "channel")
            value = error.get("ctx", {}).get("tag")
    if not parts:
        return Mistake(where, problem)
    # What was written in place of a variable's name may be the secret itself.
    hidden = parts[-1].endswith(ENV_SUFFIX) or not isinstance(value, str | int | float)
    shown = None if hidden else masked(value) if parts[-1].endswith("_url") else str(value)
    return Mistake(f"{where}: {'.'.join(parts)}", problem, shown)


def _near(name: str) -> str:
    return suggestion(name, sorted(_NAMES))


def _duplicates(path: Path, entries: list[AnyAccount]) -> Iterator[Mistake]:
    """Yield what two accounts must not share."""
    numbers = [e.phone_number_id for e in entries if isinstance(e, WhatsAppCloudAccount)]
    for name, values in (("id", [e.id for e in entries]), ("phone_number_id", numbers)):
        for value, count in Counter(values).items():
            if count > 1:
                yield Mistake(f"{path}: {name}", f"belongs to {count} accounts, must to one", value)


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
            budget=None if MODELS[config.entry.model.provider].free else config.budget,
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
        return MODELS[config.entry.model.provider].build(
            config=config.entry.model, secrets=config.found, prompt=prompt, http=self._http
        )
