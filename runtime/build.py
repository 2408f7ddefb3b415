"""The composition root: everything a process needs, built once and passed down."""

import json
import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import redis

from batching.alerts import Alerts
from batching.errors import AdminError, ConfigurationError, LedgerUnavailableError
from batching.inspect import census
from batching.model import CANARY_ACCOUNT
from batching.store import Store, reached
from canary import channel as canary
from channels import CHANNELS
from channels.provider import Provider
from llm.scripted import ScriptedModel
from runtime import health, sentry
from runtime.accounts import (
    AccountConfig,
    AccountEntry,
    AccountRegistry,
    agreed,
    load_accounts,
)
from runtime.clients import DatabaseId, Role, database_id, redis_client, trouble
from runtime.fleet import Fleet, Member, this_process
from runtime.logs import start_logging
from runtime.needs import purposes_of, secret_digests
from runtime.notifier import Notifier
from runtime.outages import Outages, namer_of, take_turn
from runtime.people import People
from runtime.safety import log_unsafe
from runtime.settings import Settings, former_names, load_settings, process_environment
from runtime.silence import Silence
from runtime.sinks import Address, addresses_of
from runtime.traces import require, traces_of

log = logging.getLogger(__name__)

#: How long a starting process waits for its Redis; less than gunicorn waits for a worker.
LEDGER_WAIT_S = 10.0
_RETRY_S = 0.5
#: Of so many accounts at most a process announces a digest each; the fleet is read every second.
ACCOUNTS_NAMED_MAX = 50
#: With this status gunicorn gives up; after any other it starts the next worker at once.
EXIT_CANNOT_START = 3


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process runs with.

    ``channels``: every provider by its name, the canary's too. ``fingerprint``: that of its
    settings and accounts.
    """

    role: Role
    settings: Settings
    channels: Mapping[str, Provider]
    accounts: AccountRegistry
    store: Store
    silence: Silence
    outages: Outages
    fleet: Fleet
    notifier: Notifier
    fingerprint: str


def build(
    role: Role,
    environ: Mapping[str, str] | None = None,
    *,
    channels: Mapping[str, Provider] = CHANNELS,
) -> Runtime:
    """Return the runtime of a process of ``role``; ``environ`` is that of the process by default.

    ``channels``: the providers that accounts of the file may name.
    Raise ConfigurationError with all mistakes, or LedgerUnavailableError if Redis stays away.
    The fleet is not started: a process does that when it is ready to work.
    """
    environ = process_environment() if environ is None else environ
    settings = load_settings(environ)
    require(settings)
    configs = load_accounts(settings, environ, channels, purposes=purposes_of(role))
    _start_reporting(settings, role)
    addresses = addresses_of(settings, configs) if role == "scheduler" else []
    log_unsafe(settings, configs, channels, addresses)
    store = store_of(settings, redis_client(settings.redis_url, role))
    found = _find(store)
    me = _this_process(role, settings, configs, found.ledger_id)
    channel_of = {it.account_id: it.channel for it in configs}
    store.figures.traces = traces_of(settings, role, me.ledger_id, channel_of)
    _log_start(settings, environ, me, found)
    everyone = with_canary(settings, configs)
    providers = {**channels, canary.CANARY.name: canary.CANARY}
    outages, silence = _watchers(settings)
    return Runtime(
        role=role,
        settings=settings,
        channels=providers,
        accounts=AccountRegistry(everyone, providers, store, limits=settings.limits()),
        store=store,
        silence=silence,
        outages=outages,
        fleet=_fleet(store, settings, me, silence, outages),
        notifier=_notifier(store, settings, me, addresses),
        fingerprint=me.fingerprint,
    )


def _watchers(settings: Settings) -> tuple[Outages, Silence]:
    """Return what tells, once by a host, that something we depend on is away."""
    name = namer_of(settings)
    return Outages(name), Silence(turn=partial(take_turn, name("flusher")))


def _fleet(
    store: Store, settings: Settings, me: Member, silence: Silence, outages: Outages
) -> Fleet:
    return Fleet(
        store,
        me,
        grace_ms=settings.deploy_grace_ms,
        silence=silence,
        outages=outages,
        announced=not settings.on_trial,
    )


def _notifier(
    store: Store, settings: Settings, me: Member, addresses: Sequence[Address]
) -> Notifier:
    people = People(store, settings, addresses)
    return Notifier(Alerts(store), me.ledger_id, bool(settings.sentry_dsn), people)


def _this_process(
    role: Role, settings: Settings, configs: Sequence[AccountConfig], ledger_id: str
) -> Member:
    return this_process(
        role,
        release=settings.release,
        fingerprint=fingerprint_of(settings, configs),
        digests=digests_of(settings, configs),
        ledger_id=ledger_id,
        secrets=secret_digests(settings, configs, role),
    )


def _start_reporting(settings: Settings, role: Role) -> None:
    start_logging(role=role, release=settings.release, level=settings.log_level)
    sentry.start_reporting(settings, role)


def build_or_exit(role: Role) -> Runtime:
    """Return the runtime, or end this process with its mistakes on stderr, one a line."""
    try:
        return build(role)
    except AdminError as error:
        print(error_text(error), file=sys.stderr)  # noqa: T201 - logs may not be set up yet
        raise SystemExit(EXIT_CANNOT_START) from None


def error_text(error: AdminError) -> str:
    """Return what is wrong, in lines for an operator: settings are named, not exceptions."""
    if isinstance(error, LedgerUnavailableError) and error.code != "scripts_missing":
        found = trouble(error.__cause__ or error)
        return f"REDIS_URL: {found.says}; {found.advice}"
    return error.detail or error.code


def with_canary(settings: Settings, configs: Iterable[AccountConfig]) -> list[AccountConfig]:
    """Return the accounts of the file, and the canary's, which every installation has."""
    entry = AccountEntry(
        id=CANARY_ACCOUNT,
        channel=canary.CANARY.name,
        language="en",
        timezone="UTC",
        prompt_file="-",
    )
    account = AccountConfig(
        entry=entry,
        model=ScriptedModel(provider="scripted"),
        limits=canary.LIMITS,
        budget=settings.budget(),
        business=canary.BUSINESS,
        secrets_for={},
        webhook_secrets=(canary.webhook_secret(settings.privacy_key),),
    )
    return [*configs, account]


def fingerprint_of(settings: Settings, configs: Iterable[AccountConfig]) -> str:
    """Return the fingerprint of every process with these settings and accounts of the file."""
    return settings.fingerprint_with(*agreed(with_canary(settings, configs)).values())


def digests_of(settings: Settings, configs: Iterable[AccountConfig]) -> str:
    """Return "NAME=digest ..." of each setting and account in the fingerprint.

    It tells in what two processes differ. Of many accounts there is one digest for all.
    """
    accounts = {f"account:{name}": text for name, text in agreed(configs).items()}
    if len(accounts) > ACCOUNTS_NAMED_MAX:
        accounts = {"accounts": json.dumps(accounts)}
    named = {name.upper(): json.dumps(value) for name, value in settings.agreed().items()}
    named |= accounts
    return " ".join(f"{name}={settings.digest(text)[:6]}" for name, text in named.items())


def store_of(settings: Settings, client: redis.Redis) -> Store:
    """Return the ledger of these settings in the Redis of ``client``. Connects nowhere."""
    return Store(
        client,
        privacy_key=settings.privacy_key,
        shards=settings.batch_shards,
        timing=settings.timing(),
        synced=settings.batch_durability == "always",
        trial=settings.on_trial,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The ledger as a starting process found it; ``counts``: how much there is of everything."""

    ledger_id: str
    database: DatabaseId
    counts: Mapping[str, int]


def _find(store: Store) -> _Found:
    """Return the ledger, opened; wait up to LEDGER_WAIT_S for a Redis that is just starting.

    A process that has not seen its ledger must not serve: its form may be another. No more is asked
    of Redis before it serves: a worker that fails ends all that gunicorn runs, those that serve
    too. Raise ConfigurationError also if BATCH_DURABILITY=always asks too much of the server.
    """
    deadline = time.monotonic() + LEDGER_WAIT_S
    while True:
        try:
            return _look(store)
        except LedgerUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)


def _look(store: Store) -> _Found:
    ledger_id = store.open()
    with reached():
        database = database_id(store.client)
        if store.synced:
            _require_sync(store)
    undelivered = Alerts(store).undelivered().count
    return _Found(ledger_id, database, asdict(census(store)) | {"undelivered": undelivered})


def _require_sync(store: Store) -> None:
    found = health.check_sync(store.client)
    if found.level is health.Level.MISTAKE:
        raise ConfigurationError("durability", f"{found.about}={found.says}; {found.advice}")


def _log_start(settings: Settings, environ: Mapping[str, str], me: Member, found: _Found) -> None:
    """Log what this process is, what it runs with and which ledger it found.

    Two processes with different settings or another Redis are found by comparing these lines.
    """
    for former, setting in former_names(environ).items():
        log.warning("setting.renamed", extra={"former": former, "setting": setting})
    log.info(
        "process.started",
        extra={
            "pid": me.pid,
            "environment": settings.environment,
            "fingerprint": me.fingerprint,
            "limits": asdict(settings.limits()),
            "ledger_id": me.ledger_id,
            "redis_run_id": found.database.run_id,
            "redis_db": found.database.db,
            "counts": found.counts,
        },
    )
