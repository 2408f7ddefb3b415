"""``check``: everything that can be known to be wrong before a process starts, all at once."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

import redis

from batching.errors import AdminError, ConfigurationError
from batching.keys import META
from runtime.build import accounts_of, store_of
from runtime.clients import PATIENCE, redis_client
from runtime.commands.verb import EXIT_ACT, EXIT_OK, Request, write, write_json
from runtime.diagnosis import Subject, same_ledger
from runtime.durability import Finding, Level, inspect, separateness, syncing
from runtime.settings import Settings, load_settings, valid_settings
from runtime.urls import is_redis

_AMQP_PORTS = {"amqp": 5672, "amqps": 5671}
_MARKS = {Level.OK: "ok      ", Level.WARNING: "warning ", Level.MISTAKE: "MISTAKE "}


def run(request: Request) -> int:
    """Print every finding; 1 if one is a mistake. Changes nothing, and never raises AdminError."""
    found = list(findings(request.environ))
    return report(request, found, good="Ready to start.", bad="Nothing will start like this.")


def report(request: Request, found: Sequence[Finding], *, good: str, bad: str) -> int:
    """Print findings, and what they mean where there are mistakes or none; the exit status."""
    mistakes = sum(finding.level is Level.MISTAKE for finding in found)
    if request.as_json:
        write_json({"ok": not mistakes, "findings": [asdict(finding) for finding in found]})
    else:
        write([*map(_line, found), f"Mistakes: {mistakes}. {bad}" if mistakes else good])
    return EXIT_ACT if mistakes else EXIT_OK


def findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what there is to say: settings, accounts, ledger, broker.

    Where the settings have mistakes, accounts are still looked at, with defaults in their place;
    Redis is not: the addresses may be the mistake.
    """
    try:
        settings = load_settings(environ)
    except ConfigurationError as error:
        yield from _mistakes(error)
        yield from _accounts(valid_settings(environ), environ)
        return
    yield Finding(Level.OK, "settings", f"are valid, fingerprint {settings.fingerprint}")
    if settings.is_production and not settings.sentry_dsn:
        advice = "set it, or watch the log for ERROR: a dropped batch is told nowhere else"
        yield Finding(Level.WARNING, "SENTRY_DSN", "is not set", advice)
    yield from _accounts(settings, environ)
    yield from _redis(settings)


def _accounts(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        configs = accounts_of(settings, environ)
    except ConfigurationError as error:
        yield from _mistakes(error)
        return
    for config in configs:
        model = config.entry.model.provider
        says = (
            f"answers by {model} on {config.channel}, prompt of {len(config.business)} characters"
        )
        yield Finding(Level.OK, f"account {config.account_id}", says)


def _redis(settings: Settings) -> Iterator[Finding]:
    ledger = redis_client(settings.redis_url, "manage")
    found = inspect(ledger, "REDIS_URL", keeps=True, production=settings.is_production)
    yield from found
    reachable = found[0].level is Level.OK
    if reachable:
        yield _ledger(ledger, settings)
        if settings.batch_durability == "always":
            yield syncing(ledger)
    if not is_redis(settings.broker_url):
        yield _rabbitmq(settings.broker_url)
        return
    broker = redis_client(settings.broker_url, "manage")
    found = inspect(broker, "BROKER_URL", keeps=False, production=settings.is_production)
    yield from found
    if reachable and found[0].level is Level.OK:
        yield separateness(ledger, broker)


def _ledger(client: redis.Redis, settings: Settings) -> Finding:
    """Return whether this Redis holds a ledger of our form, without making one."""
    store = store_of(settings, client)
    try:
        if not client.exists(META):
            return Finding(Level.OK, "ledger", "is new: the first process will make it")
        return same_ledger(Subject(store, settings, broker=None))[0]
    except (AdminError, redis.RedisError) as error:
        return Finding(Level.MISTAKE, "ledger", f"cannot be read ({type(error).__name__})")


def _rabbitmq(url: str) -> Finding:
    """Return whether somebody listens there; the worker will find out whether it lets us in."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or _AMQP_PORTS[parts.scheme])
    try:
        socket.create_connection(address, timeout=PATIENCE["manage"].connect_s).close()
    except OSError as error:
        says = f"nobody listens at {address[0]}:{address[1]} ({type(error).__name__})"
        return Finding(Level.MISTAKE, "BROKER_URL", says, "start RabbitMQ, or correct the address")
    return Finding(Level.OK, "BROKER_URL", "is reachable")


def _mistakes(error: ConfigurationError) -> Iterator[Finding]:
    for line in error.detail.splitlines():
        yield Finding(Level.MISTAKE, error.code, line)


def _line(finding: Finding) -> str:
    advice = f"\n          {finding.advice}" if finding.advice else ""
    return f"{_MARKS[finding.level]}{finding.about}: {finding.says}{advice}"
