"""The accounts of this installation: read from the accounts file, checked, built when first needed.

Secrets are never written in the file, only the names of the environment variables that hold them.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.model import (
    CANARY_ACCOUNT,
    FALLBACKS_MAX,
    Budget,
    Limits,
    Reception,
    Waiting,
    plain,
)
from batching.model import MODELS as DEPENDENCIES
from batching.ports import Account
from batching.store import Store
from channels import CHANNELS
from channels.provider import ChannelAccount, Outside, Provider
from config import (
    ENV_NAME,
    ENV_SUFFIX,
    EnvName,
    Mistake,
    Table,
    Whole,
    Word,
    matches,
    problem_of,
    refuse,
    suggestion,
    up_to_names,
)
from config.urls import is_url, shown_url
from llm import MODELS
from llm.client import HttpModel, RemoteModel
from llm.desk import PhraseDesk, default
from llm.guard import Guarded
from llm.markdown import Formatted, Formatting
from llm.prompt import Prompt
from runtime.clients import http_client
from runtime.needs import NEEDED_BY, Purpose, env_names, named_secrets
from runtime.settings import AccountBudget, AccountLimits, Settings, order_mistakes
from runtime.traces import about_model

FILE_BYTES_MAX = 1_000_000
ACCOUNTS_MAX = 1_000
PROMPT_BYTES_MAX = 64_000
#: For so long after an alert of contacts removed from an account's answers there is no other, ms.
REDACTED_COOLDOWN_MS = 3_600_000

_ADVICE = "copy accounts.example.toml to begin"
_ID = r"[a-z0-9-]{1,40}"

Kind = TypeVar("Kind")
AnyTable = TypeVar("AnyTable", bound=Table)


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone such as Europe/Berlin") from None
    return name


_WAITING = Waiting()
Words = Annotated[str, matches(r"[^\0]{0,1000}", "must be at most 1000 characters")]


class AccountHandover(Table):
    """The keys of ``[account.handover]``: what is done where a person is to answer.

    ``sentence``, ``apology``: "" for the language's own. ``vip``: customers' ids.
    """

    while_waiting: Literal["silent", "answer_simple"] = "silent"
    remind_ms: Annotated[int, Whole(60_000, 86_400_000)] = _WAITING.remind_ms
    apology_ms: Annotated[int, Whole(0, 86_400_000)] = _WAITING.apology_ms
    expires_ms: Annotated[int, Whole(600_000, 7 * 86_400_000)] = _WAITING.expires_ms
    sentence: Words = ""
    apology: Words = ""
    words: tuple[Annotated[str, matches(r"[^\0\n]{1,100}", "must be 1..100 characters")], ...] = ()
    vip: tuple[Word, ...] = ()

    def waiting(self, language: str) -> Waiting:
        """Return what the account does while a person is awaited."""
        return Waiting(
            silent=self.while_waiting == "silent",
            remind_ms=self.remind_ms,
            apology_ms=self.apology_ms,
            expires_ms=self.expires_ms,
            apology=self.apology.strip() or default(language, "apology"),
        )


class AccountEntry(Table):
    """The keys of an ``[[account]]`` that every channel has, without ``model``."""

    id: Annotated[str, matches(_ID, "must be 1..40 of a-z, 0-9 and -")]
    channel: str
    language: Annotated[str, matches(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?", 'must look like "en"')]
    timezone: Annotated[str, AfterValidator(_timezone)]
    prompt_file: Annotated[str, matches(r"[^\0\n]{1,200}", "must be a path")]
    batch: AccountLimits = AccountLimits()
    budget: AccountBudget = AccountBudget()
    ambiguous: Literal["alert", "resend"] = "alert"
    formatting: Formatting = "whatsapp"
    on_call: Literal["answer", "alert", "ignore"] = "answer"
    window: Literal["fixed", "adaptive"] = "fixed"
    closing: Literal["answer", "ignore"] = "answer"
    on_new_message: Literal["queue", "supersede"] = "queue"
    automatic_texts: tuple[
        Annotated[str, matches(r"(?s).*\S.*", "must be the whole text, at most 4096 characters")],
        ...,
    ] = ()
    notify_urls_env: Annotated[list[EnvName], BeforeValidator(up_to_names(5))] = Field(
        default_factory=list
    )
    apology: Words = ""
    handover: AccountHandover = AccountHandover()


Hosts = tuple[
    Annotated[str, matches(r"[a-z0-9._:-]{1,253}", "must be a host, such as gateway.internal")], ...
]


class Exceptions(Table):
    """The keys at the top of the file: what production refuses and this installation means.

    Hosts stand as in the address, in lower case and without a port. ``allow_weak_secrets``: names
    of variables and settings. ``allow_open_files``: names of files without their directory.
    """

    allow_http_hosts: Hosts = ()
    allow_link_local_hosts: Hosts = ()
    allow_unverified_hosts: Hosts = ()
    allow_weak_secrets: tuple[EnvName, ...] = ()
    allow_open_files: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """An account ready to be built: limits resolved, prompt and secrets read.

    ``entry`` has the keys of its channel too, ``model`` is the table of the provider it names,
    ``fallbacks`` those of further models.
    ``business``: the text of the prompt file. ``secrets_for``: the values of the environment
    variables that the tables name, for each purpose of this process's role. ``webhook_secrets``
    prove a webhook, two while one replaces the other; none in a role that takes none.
    """

    entry: AccountEntry
    model: Any
    limits: Limits
    budget: Budget
    business: str = field(repr=False)
    secrets_for: Mapping[Purpose, Mapping[str, str]] = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    fallbacks: tuple[Any, ...] = ()

    @property
    def models(self) -> tuple[tuple[str, Any], ...]:
        """Return the tables of all models, each after what its keys' names begin with."""
        return (("model.", self.model), *(("model.fallback.", it) for it in self.fallbacks))

    @property
    def secrets(self) -> dict[str, str]:
        """Return the value of each environment variable that this process's role needs."""
        return {name: value for it in self.secrets_for.values() for name, value in it.items()}

    @property
    def account_id(self) -> str:
        """Return the id that the file gives the account."""
        return self.entry.id

    @property
    def channel(self) -> str:
        """Return the name of the account's provider."""
        return self.entry.channel

    @property
    def reception(self) -> Reception:
        """Return how the account takes in what its customers, and its own app, send."""
        entry = self.entry
        return _reception(
            entry.on_call, entry.automatic_texts, entry.window, entry.closing, entry.language
        )

    def secrets_of(self, key: str) -> tuple[str, ...]:
        """Return the secrets that a key of the account names; none for the key "".

        None either where the role of this process does not need them.
        """
        named = (variable for name, variable in env_names(self.entry) if name == key)
        return tuple(self.secrets[variable] for variable in named if variable in self.secrets)


@lru_cache(maxsize=ACCOUNTS_MAX)
def _reception(
    on_call: Literal["answer", "alert", "ignore"],
    automatic_texts: tuple[str, ...],
    window: Literal["fixed", "adaptive"],
    closing: Literal["answer", "ignore"],
    language: str,
) -> Reception:
    texts = frozenset(map(plain, automatic_texts))
    return Reception(on_call, texts, window, closing, language)


class AccountRegistry:
    """Finds accounts; iterating gives their configurations in the order of the file.

    An account is built when it is first asked for; all share one HTTP client. ``limits`` are those
    of an account that is not configured.
    """

    def __init__(
        self,
        configs: Iterable[AccountConfig],
        channels: Mapping[str, Provider],
        store: Store,
        *,
        limits: Limits,
    ) -> None:
        self._configs = {config.account_id: config for config in configs}
        self._limits = limits
        self._store = store
        self._channels = channels
        self._built: dict[str, Account] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[AccountConfig]:
        return iter(self._configs.values())

    def get(self, account_id: str) -> Account | None:
        """Return the account, None if it is not configured. Connects nowhere."""
        config = self._configs.get(account_id)
        if config is None:
            return None
        with self._lock:
            if account_id not in self._built:
                self._built[account_id] = self._build(config)
            return self._built[account_id]

    def config(self, account_id: str) -> AccountConfig | None:
        """Return the account's configuration, None if there is none."""
        return self._configs.get(account_id)

    def limits_of(self, account_id: str) -> Limits:
        """Return the account's limits, those of the settings for one that is not configured."""
        config = self._configs.get(account_id)
        return self._limits if config is None else config.limits

    def reception_of(self, account_id: str) -> Reception:
        """Return how the account takes in what its customers, and its own app, send."""
        config = self._configs.get(account_id)
        return Reception() if config is None else config.reception

    def _build(self, config: AccountConfig) -> Account:
        entry = config.entry
        prompt = Prompt(business=config.business, language=entry.language, timezone=entry.timezone)
        model, *fallbacks = (
            self._model(config, of, table, prompt)
            for of, (_, table) in zip(DEPENDENCIES, config.models, strict=False)
        )
        free = all(MODELS[table.provider].free for _, table in config.models)
        account = ChannelAccount(entry.id, entry, config.secrets)
        return Account(
            account_id=entry.id,
            limits=config.limits,
            channel=self._channels[entry.channel].build(account, self._outside),
            model=model,
            ambiguous=entry.ambiguous,
            budget=None if free else config.budget,
            fallbacks=tuple(fallbacks),
            apology=entry.apology.strip(),
            desk=PhraseDesk(
                language=entry.language,
                sentence=entry.handover.sentence.strip(),
                words=entry.handover.words,
                vip=entry.handover.vip,
            ),
            waiting=entry.handover.waiting(entry.language),
        )

    def _model(self, config: AccountConfig, of: str, table: Any, prompt: Prompt) -> Guarded:  # noqa: ANN401 - of its provider
        model = MODELS[table.provider].build(
            config=table, secrets=config.secrets, prompt=prompt, http=self._outside.http
        )
        if isinstance(model, HttpModel):
            model.used = partial(self._count_tokens, config.account_id, of)
            model.asks = partial(self._note_model, table)
        alert = partial(self._alert_redacted, config.account_id)
        # Inside of the guard, which must read what leaves.
        shown = Formatted(model, config.entry.formatting)
        return Guarded(shown, prompt=prompt, account_id=config.account_id, alert=alert)

    def _note_model(self, table: RemoteModel) -> None:
        traces = self._store.figures.traces
        if traces.kept:
            traces.note(**about_model(table))

    def _count_tokens(self, account_id: str, of: str, kind: str, tokens: int) -> None:
        self._store.figures.count("tokens", account_id, of, kind, by=tokens)
        self._store.figures.traces.used(kind, tokens)

    def _alert_redacted(self, account_id: str, removed: str) -> None:
        """Alert a person once an hour. The answer must not wait for it: the log has every one."""
        with suppress(LedgerUnavailableError):
            self._store.alert_once(
                "redacted", removed, account_id=account_id, cooldown_ms=REDACTED_COOLDOWN_MS
            )

    @cached_property
    def _outside(self) -> Outside:
        return Outside(http_client(), self._store)


def agreed(configs: Iterable[AccountConfig]) -> dict[str, str]:
    """Return all that processes of every role must agree on, by account: for digests only."""
    return {
        it.account_id: json.dumps([_as_json(it), it.business], sort_keys=True) for it in configs
    }


def _as_json(config: AccountConfig) -> dict[str, Any]:
    """Return the account as the file has it."""
    model, *fallbacks = (table.model_dump(mode="json") for _, table in config.models)
    return config.entry.model_dump(mode="json") | {
        "model": model | ({"fallback": fallbacks} if fallbacks else {})
    }


def load_accounts(
    settings: Settings,
    environ: Mapping[str, str],
    channels: Mapping[str, Provider] = CHANNELS,
    *,
    purposes: Collection[Purpose] = tuple(NEEDED_BY),
) -> tuple[AccountConfig, ...]:
    """Return the accounts of the file that the settings name, in its order; at least one.

    Secrets for other ``purposes`` are not looked at, and need not be there.
    Raise ConfigurationError with every mistake on a line of its own. Secrets are never shown.
    """
    path = settings.accounts_file
    configs, mistakes = list[AccountConfig](), list[Mistake]()
    _, tables = _document(path)
    for number, table in enumerate(tables, start=1):
        where = f"{path}: account {_name(table, number)}"
        reader = _Reader(where, settings, environ, channels, purposes)
        config = reader.read(table)
        configs += [config] if config else []
        mistakes += reader.mistakes
    refuse("accounts", [*mistakes, *_duplicates(path, configs, channels)])
    return tuple(configs)


def load_exceptions(settings: Settings) -> Exceptions:
    """Return what stands at the top of the accounts file. Raise ConfigurationError."""
    return _document(settings.accounts_file)[0]


def _document(path: Path) -> tuple[Exceptions, list[Any]]:
    """Return the file's own keys, and its ``[[account]]`` tables as written.

    Raise ConfigurationError.
    """
    try:
        raw = path.read_bytes()
        given = tomllib.loads(raw.decode()) if len(raw) <= FILE_BYTES_MAX else None
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); {_ADVICE}"
        shown = shown_url(str(path)) if is_url(str(path)) else path
        raise ConfigurationError("accounts", f"ACCOUNTS_FILE={shown}: {problem}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("accounts", f"{path}: {_not_toml(raw, error)}") from None
    if given is None:
        raise ConfigurationError("accounts", f"{path}: must be at most {FILE_BYTES_MAX} bytes")
    tables = given.pop("account", [])
    try:
        exceptions = Exceptions.model_validate(given)
    except ValidationError as error:
        refuse("accounts", [_of_the_top(path, detail) for detail in error.errors()])
        raise
    if not isinstance(tables, list) or not 1 <= len(tables) <= ACCOUNTS_MAX:
        problem = f"must hold 1..{ACCOUNTS_MAX} tables [[account]]"
        raise ConfigurationError("accounts", f"{path}: {problem}; {_ADVICE}")
    return exceptions, tables


def _not_toml(raw: bytes, error: ValueError) -> str:
    """Return what is wrong with a file, and where. The parser's message may quote a secret."""
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (at line {_line_of(error)})"
    found = re.search(r"\(at (line \d+, column \d+)\)$", str(error))
    lines = len(raw.splitlines())
    return f"is not TOML (at {found[1] if found else f'its end, line {lines}'})"


def _line_of(error: UnicodeDecodeError) -> int:
    return error.object.count(b"\n", 0, error.start) + 1


def _of_the_top(path: Path, error: ErrorDetails) -> Mistake:
    name, value = str(error["loc"][0]), error["input"]
    if error["type"] == "extra_forbidden":
        near = suggestion(name, sorted(Exceptions.model_fields))
        return Mistake(f"{path}: {name}", f"is not known here{near}")
    is_list = error["type"] == "tuple_type"
    problem = "must be a list" if is_list else problem_of(error)
    return Mistake(f"{path}: {name}", problem, value if isinstance(value, str) else None)


def _name(table: object, number: int) -> str:
    account_id = str(table.get("id")) if isinstance(table, dict) and "id" in table else ""
    return account_id if re.fullmatch(_ID, account_id) else str(number)


@cache
def _entry_type(own: type[Table]) -> type[AccountEntry]:
    """Return the table ``[[account]]`` of a channel: the common keys, then its ``own``."""
    bases: Any = (own, AccountEntry)
    entry: type[AccountEntry] = create_model("Entry", __base__=bases)
    return entry


@dataclass(slots=True)
class _Reader:
    """Reads one ``[[account]]``, called ``where`` in messages, and collects its mistakes."""

    where: str
    settings: Settings
    environ: Mapping[str, str]
    channels: Mapping[str, Provider]
    purposes: Collection[Purpose]
    mistakes: list[Mistake] = field(default_factory=list)

    def read(self, table: object) -> AccountConfig | None:
        """Return the account, usable if there are no mistakes; None for a table of wrong form."""
        if not isinstance(table, dict):
            self.mistakes.append(Mistake(self.where, "must be a table"))
            return None
        provider = self._chosen(self.channels, table, "channel")
        if provider is None:
            return None
        given = {name: value for name, value in table.items() if name != "model"}
        entry = self._validated(_entry_type(provider.config), given)
        models = self._models(table)
        if entry and models:
            return self._resolved(provider, entry, models)
        self._look_further(table)
        return None

    def _models(self, table: Mapping[str, object]) -> list[Table]:
        """Return the account's model and its fallbacks, [] if one of them is a mistake."""
        given = table.get("model")
        if not isinstance(given, dict):
            self._add("model", "must be a table" if "model" in table else "is missing")
            return []
        first = {name: value for name, value in given.items() if name != "fallback"}
        further = given.get("fallback", [])
        if not isinstance(further, list) or len(further) > FALLBACKS_MAX:
            self._add("model.fallback", f"must be at most {FALLBACKS_MAX} tables")
            return []
        read = [self._model(first, "model.")]
        read += [self._model(it, "model.fallback.") for it in further]
        models = [model for model in read if model]
        return models if len(models) == len(read) else []

    def _model(self, given: object, path: str) -> Table | None:
        if not isinstance(given, dict):
            self._add(path.rstrip("."), "must be a table")
            return None
        maker = self._chosen(MODELS, given, "provider", path)
        return self._validated(maker.config, given, path) if maker else None

    def _look_further(self, table: Mapping[str, Any]) -> None:
        """Add what is wrong outside the file too, so that all is told at once."""
        if isinstance(name := table.get("prompt_file"), str) and "\0" not in name:
            self._prompt(name)
        model = table.get("model")
        for path, part in (("", table), ("model.", model if isinstance(model, dict) else {})):
            given = {name: value for name, value in part.items() if name.endswith(ENV_SUFFIX)}
            self._secrets(
                (f"{path}{name}", variable)
                for name, variables in given.items()
                for variable in (variables if isinstance(variables, list) else [variables])
                if isinstance(variable, str) and re.fullmatch(ENV_NAME, variable)
            )

    def _chosen(
        self, kinds: Mapping[str, Kind], table: Mapping[str, object], name: str, path: str = ""
    ) -> Kind | None:
        if name not in table:
            self._add(f"{path}{name}", "is missing")
            return None
        given = str(table[name])
        if given not in kinds:
            self._add(f"{path}{name}", f"must be one of {', '.join(kinds)}", given)
        return kinds.get(given)

    def _validated(
        self, kind: type[AnyTable], table: Mapping[str, object], path: str = ""
    ) -> AnyTable | None:
        try:
            return kind.model_validate(table)
        except ValidationError as error:
            for detail in error.errors():
                self._add_detail(detail, path)
        return None

    def _resolved(
        self, provider: Provider, entry: AccountEntry, models: Sequence[Table]
    ) -> AccountConfig:
        limits = self._limits(entry)
        budget = replace(self.settings.budget(), **entry.budget.model_dump(exclude_none=True))
        ordered = order_mistakes(limits, "batch.{}".format, f"{self.where}: ")
        self.mistakes += [mistake for _, mistake in ordered]
        if entry.id == CANARY_ACCOUNT:
            self._add("id", "is reserved for the canary", entry.id)
        if provider.development_only and self.settings.is_production:
            problem = "is refused with ENVIRONMENT=production: anybody could write to it"
            self._add("channel", problem, entry.channel)
        model, *fallbacks = models
        business = self._prompt(entry.prompt_file)
        config = AccountConfig(entry, model, limits, budget, business, {}, (), (*fallbacks,))
        named = named_secrets(provider, entry, config.models)
        secrets = {purpose: self._secrets(named[purpose]) for purpose in self.purposes}
        config = replace(config, secrets_for=secrets)
        return replace(config, webhook_secrets=config.secrets_of(provider.secrets_field))

    def _limits(self, entry: AccountEntry) -> Limits:
        supersede_max = self.settings.batch_supersede_max
        own = {"supersede_max": supersede_max, **entry.batch.model_dump(exclude_none=True)}
        if entry.on_new_message == "queue":
            own["supersede_max"] = 0
        return replace(self.settings.limits(), **own)

    def _secrets(self, named: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return the value of each environment variable, "" for one that is not set."""
        secrets: dict[str, str] = {}
        for name, variable in named:
            secrets[variable] = value = self.environ.get(variable, "")
            if not value:
                self._add(name, "this environment variable is not set", variable)
            elif not value.isascii() or not value.isprintable() or " " in value:
                problem = "holds a space, a line end or a non-ASCII character"
                self._add(name, f"this environment variable {problem}", variable)
        return secrets

    def _prompt(self, name: str) -> str:
        """Return the text of the prompt file, "" if it is a mistake."""
        try:
            raw = (self.settings.accounts_file.parent / name).read_bytes()
            text = raw.decode()
        except OSError as error:
            problem = f"cannot be read ({error.strerror}); "
            problem += "it is looked for beside the accounts file"
        except UnicodeDecodeError as error:
            problem = f"must be UTF-8 text; line {_line_of(error)} is not"
        else:
            if text.strip() and len(raw) <= PROMPT_BYTES_MAX:
                return text
            problem = f"has {len(raw)} bytes: must be 1..{PROMPT_BYTES_MAX}, and not blank"
        self._add("prompt_file", problem, name)
        return ""

    def _add(self, name: str, problem: str, value: str | None = None) -> None:
        self.mistakes.append(Mistake(f"{self.where}: {name}", problem, value))

    def _add_detail(self, error: ErrorDetails, path: str) -> None:
        """Add what pydantic found, in our words."""
        parts = [part for part in error["loc"] if isinstance(part, str)]
        name, value = f"{path}{'.'.join(parts)}", error["input"]
        if error["type"] == "extra_forbidden":
            near = suggestion(parts[-1], sorted(known_names(self.channels)))
            self._add(name, f"is not known here{near}")
            return
        # What was written in place of a variable's name may be the secret itself.
        hidden = name.endswith(ENV_SUFFIX) or not isinstance(value, str | int | float)
        shown = shown_url(str(value)) if name.endswith("_url") else str(value)
        self._add(name, problem_of(error), None if hidden else shown)


def known_names(channels: Mapping[str, Provider] = CHANNELS) -> frozenset[str]:
    """Return every name that some table of the file may have."""
    tables: list[type[Table]] = [Exceptions, AccountEntry, AccountHandover]
    tables += [AccountLimits, AccountBudget]
    tables += [kind.config for kinds in (channels, MODELS) for kind in kinds.values()]
    return frozenset({"fallback", *(name for table in tables for name in table.model_fields)})


def _duplicates(
    path: Path, configs: Sequence[AccountConfig], channels: Mapping[str, Provider]
) -> Iterator[Mistake]:
    """Yield what two accounts must not share: their id, and their number at the provider."""
    numbers = [(config, channels[config.channel].number_field) for config in configs]
    shared = [("", "id", config.account_id) for config in configs]
    shared += [(it.channel, name, getattr(it.entry, name)) for it, name in numbers if name]
    for (_, name, value), count in Counter(shared).items():
        if count > 1:
            problem = f"belongs to {count} accounts, must belong to one"
            yield Mistake(f"{path}: {name}", problem, value)
