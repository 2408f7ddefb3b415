"""The composition root: everything a process needs, built once and passed down."""

import hashlib
import json
import logging
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import NoReturn

import redis

from batching.alerts import Alerts
from batching.errors import AdminError, ConfigurationError, LedgerUnavailableError
from batching.inspect import census
from batching.model import CANARY_ACCOUNT
from batching.store import Store, digests, reached
from canary import channel as canary
from llm.scripted import ScriptedModel
from runtime import health, sentry
from runtime.accounts import (
    AccountBook,
    AccountConfig,
    Adapters,
    CanaryAccount,
    Surroundings,
    agreement,
    load_accounts,
)
from runtime.clients import Role, database_id, ledger_client
from runtime.fleet import Fleet, Silence
from runtime.notifier import Notifier
from runtime.settings import Settings, former_names, load_settings, process_environment

log = logging.getLogger(__name__)

#: How long a starting process waits for its Redis. Shorter than gunicorn's patience with a worker.
LEDGER_WAIT_S = 10.0
_LEDGER_LOOK_S = 0.5
#: gunicorn gives up on a worker that ends so; with any other status it starts the next at once.
EXIT_CANNOT_START = 3


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one process runs with. ``ledger_id``: the identity of the ledger it began with."""

    role: Role
    settings: Settings
    accounts: AccountBook
    store: Store
    silence: Silence
    fleet: Fleet
    notifier: Notifier
    fingerprint: str
    ledger_id: str


def build(role: Role, environ: Mapping[str, str] | None = None) -> Runtime:
    """Return the runtime of a process of ``role``; ``environ`` is that of the process by default.

    Raise ConfigurationError with all mistakes, or LedgerUnavailableError if Redis stays away.
    The fleet is not started: a process does that when it is ready to work.
    """
    environ = process_environment() if environ is None else environ
    settings = load_settings(environ)
    configs = accounts_of(settings, environ)
    sentry.configure(settings, role)
    for former, setting in former_names(environ).items():
        log.warning("setting.renamed", extra={"former": former, "setting": setting})
    client = ledger_client(settings, role)
    store = store_of(settings, client)
    ledger_id = _open(store)
    _refuse_unsynced(store)
    adapters = Adapters(client, store.conversation_id)
    everyone = with_canary(settings, configs)
    accounts = AccountBook(everyone, limits=settings.limits(), build=adapters.account)
    fingerprint = fingerprint_of(settings, configs)
    silence = Silence()
    fleet = Fleet(
        store,
        role=role,
        release=settings.release,
        fingerprint=fingerprint,
        scripts=_digest(digests()),
        ledger_id=ledger_id,
        grace_ms=settings.deploy_grace_ms,
        silence=silence,
    )
    sentry.log_start(settings, fingerprint=fingerprint, ledger=_found(store, ledger_id))
    notifier = Notifier(Alerts(store), ledger_id, sentry=bool(settings.sentry_dsn))
    return Runtime(
        role, settings, accounts, store, silence, fleet, notifier, fingerprint, ledger_id
    )


def build_or_exit(role: Role) -> Runtime:
    """Return the runtime, or end this process with its mistakes on stderr, one a line."""
    try:
        return build(role)
    except AdminError as error:
        exit_with(error)


def exit_with(error: AdminError) -> NoReturn:
    """End this process, saying why on stderr in plain lines."""
    print(error_text(error), file=sys.stderr)  # noqa: T201 - logs may not be set up yet
    raise SystemExit(EXIT_CANNOT_START)


def error_text(error: AdminError) -> str:
    """Return what is wrong in lines for a person, who knows settings and no exceptions."""
    if isinstance(error, LedgerUnavailableError):
        return f"REDIS_URL: does not answer ({error.detail})"
    return error.detail or error.code


def accounts_of(settings: Settings, environ: Mapping[str, str]) -> tuple[AccountConfig, ...]:
    """Return the accounts of the file that the settings name. Raise ConfigurationError."""
    around = Surroundings(
        environ, settings.limits(), settings.budget(), production=settings.is_production
    )
    return load_accounts(settings.accounts_file, around)


def with_canary(settings: Settings, configs: Iterable[AccountConfig]) -> list[AccountConfig]:
    """Return the accounts of the file, and the canary's, which every installation has."""
    entry = CanaryAccount(
        id=CANARY_ACCOUNT,
        channel="canary",
        language="en",
        timezone="UTC",
        prompt_file="-",
        model=ScriptedModel(provider="scripted"),
    )
    account = AccountConfig(
        account_id=CANARY_ACCOUNT,
        channel="canary",
        limits=canary.LIMITS,
        budget=settings.budget(),
        entry=entry,
        business=canary.BUSINESS,
        secrets=(canary.webhook_secret(settings.privacy_key),),
        verify_token="",
        found={},
    )
    return [*configs, account]


def fingerprint_of(settings: Settings, configs: Iterable[AccountConfig]) -> str:
    """Return the fingerprint of every process with these settings and accounts of the file."""
    return settings.fingerprint_with(agreement(with_canary(settings, configs)))


def store_of(settings: Settings, client: redis.Redis) -> Store:
    """Return the ledger of an installation in the Redis of ``client``. Connects nowhere."""
    return Store(
        client,
        privacy_key=settings.privacy_key,
        shards=settings.batch_shards,
        timing=settings.timing(),
        synced=settings.batch_durability == "always",
    )


def _refuse_unsynced(store: Store) -> None:
    """Raise ConfigurationError if the ledger's server cannot keep what it was asked to promise."""
    if not store.synced:
        return
    with reached():
        found = health.syncing(store.client)
    if found.level is health.Level.MISTAKE:
        raise ConfigurationError("durability", f"{found.about}={found.says}; {found.advice}")


def _open(store: Store) -> str:
    """Return the ledger's identity, waiting a while for a Redis that is just starting.

    A process that could not look at its ledger must not serve: it might have another form.
    """
    deadline = time.monotonic() + LEDGER_WAIT_S
    while True:
        try:
            return store.open()
        except LedgerUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LEDGER_LOOK_S)


def _found(store: Store, ledger_id: str) -> dict[str, object]:
    """Return what a process tells at its start of the ledger that it found."""
    with reached():
        place = database_id(store.client)
    where = {"ledger_id": ledger_id, "redis_run_id": place.run_id, "redis_db": place.db}
    return where | {"counts": asdict(census(store))}


def _digest(versions: Mapping[str, str]) -> str:
    text = json.dumps(versions, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
