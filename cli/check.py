"""``check``: everything that can be known to be wrong before a process starts, all at once."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlsplit

import redis

from batching.errors import AdminError, ConfigurationError
from batching.keys import META
from cli.common import EXIT_ACT, EXIT_OK, Request, write, write_json
from runtime.accounts import AccountConfig
from runtime.build import accounts_of, fingerprint_of, store_of
from runtime.clients import PATIENCE, database_id, redis_client
from runtime.health import (
    CheckResult,
    Context,
    Level,
    check_ledger_id,
    inspect,
    separateness,
    syncing,
)
from runtime.settings import Settings, former_names, is_redis, load_settings, valid_settings

_AMQP_PORTS = {"amqp": 5672, "amqps": 5671}
_MARKS = {Level.OK: "ok      ", Level.WARNING: "warning ", Level.MISTAKE: "MISTAKE "}


def run(request: Request) -> int:
    """Print every finding; 1 if one is a mistake. Changes nothing, and never raises AdminError."""
    look = Look(request.environ)
    found = list(look.findings())
    good, bad = "Ready to start.", "Nothing will start like this."
    return report(
        request, found, good, bad, fingerprint=look.fingerprint, ledger=asdict(look.place)
    )


def report(
    request: Request, found: Sequence[CheckResult], good: str, bad: str, **told: object
) -> int:
    """Print findings, and what they mean where there are mistakes or none; the exit status.

    ``told``: what a program is told beside them.
    """
    mistakes = sum(finding.level is Level.MISTAKE for finding in found)
    if request.as_json:
        shown = [asdict(finding) for finding in found]
        write_json({"ok": not mistakes} | told | {"findings": shown})
    else:
        write([*map(_line, found), f"Mistakes: {mistakes}. {bad}" if mistakes else good])
    return EXIT_ACT if mistakes else EXIT_OK


@dataclass(frozen=True, slots=True)
class Place:
    """The ledger that was found, for whoever compares hosts.

    ``id`` is "" for one that does not exist yet, ``redis_run_id`` where no Redis was asked.
    """

    id: str = ""
    redis_run_id: str = ""
    redis_db: int = 0


class Look:
    """One look at an installation; what a program compares is known when ``findings`` ended.

    ``fingerprint``: that of the processes, "" where they would not start.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.fingerprint = ""
        self.place = Place()

    def findings(self) -> Iterator[CheckResult]:
        """Yield what there is to say: settings, accounts, ledger, broker.

        Where the settings have mistakes, accounts are still looked at, with defaults in their
        place; Redis is not: the addresses may be the mistake.
        """
        try:
            settings = load_settings(self._environ)
        except ConfigurationError as error:
            yield from _mistakes(error)
            yield from _accounts(_configs(valid_settings(self._environ), self._environ))
            return
        yield CheckResult(Level.OK, "settings", "are valid")
        for former, setting in former_names(self._environ).items():
            says = f"is now called {setting}; the former name still works"
            yield CheckResult(Level.WARNING, former, says, "rename it")
        if settings.is_production and not settings.sentry_dsn:
            advice = "set it, or watch the log for ERROR: a dropped batch is told nowhere else"
            yield CheckResult(Level.WARNING, "SENTRY_DSN", "is not set", advice)
        configs = _configs(settings, self._environ)
        yield from _accounts(configs)
        if not isinstance(configs, ConfigurationError):
            self.fingerprint = fingerprint_of(settings, configs)
            says = f"{self.fingerprint}, of every process with these settings and accounts"
            yield CheckResult(Level.OK, "fingerprint", says)
        yield from self._redis(settings)

    def _redis(self, settings: Settings) -> Iterator[CheckResult]:
        ledger = redis_client(settings.redis_url, "manage")
        found = inspect(ledger, "REDIS_URL", keeps=True, production=settings.is_production)
        yield from found
        reachable = found[0].level is Level.OK
        if reachable:
            yield from self._ledger(ledger, settings)
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

    def _ledger(self, client: redis.Redis, settings: Settings) -> Iterator[CheckResult]:
        """Yield where this is, and whether it holds a ledger of our form, without making one."""
        store = store_of(settings, client)
        try:
            server = database_id(client)
            self.place = Place("", server.run_id, server.db)
            says = f"is database {server.db} of the server {server.run_id}"
            yield CheckResult(Level.OK, "REDIS_URL", says)
            if not client.exists(META):
                yield CheckResult(Level.OK, "ledger", "is new: the first process will make it")
                return
            (found,) = check_ledger_id(Context(store, settings, broker=None))
            yield found
            if found.level is Level.OK:
                self.place = replace(self.place, id=store.identity())
        except (AdminError, redis.RedisError) as error:
            yield CheckResult(Level.MISTAKE, "ledger", f"cannot be read ({type(error).__name__})")


def _configs(
    settings: Settings, environ: Mapping[str, str]
) -> tuple[AccountConfig, ...] | ConfigurationError:
    try:
        return accounts_of(settings, environ)
    except ConfigurationError as error:
        return error


def _accounts(configs: tuple[AccountConfig, ...] | ConfigurationError) -> Iterator[CheckResult]:
    if isinstance(configs, ConfigurationError):
        yield from _mistakes(configs)
        return
    for config in configs:
        model = config.entry.model.provider
        says = (
            f"answers by {model} on {config.channel}, prompt of {len(config.business)} characters"
        )
        yield CheckResult(Level.OK, f"account {config.account_id}", says)


def _rabbitmq(url: str) -> CheckResult:
    """Return whether somebody listens there; the worker will find out whether it lets us in."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or _AMQP_PORTS[parts.scheme])
    try:
        socket.create_connection(address, timeout=PATIENCE["manage"].connect_s).close()
    except OSError as error:
        says = f"nobody listens at {address[0]}:{address[1]} ({type(error).__name__})"
        return CheckResult(
            Level.MISTAKE, "BROKER_URL", says, "start RabbitMQ, or correct the address"
        )
    return CheckResult(Level.OK, "BROKER_URL", "is reachable")


def _mistakes(error: ConfigurationError) -> Iterator[CheckResult]:
    for line in error.detail.splitlines():
        yield CheckResult(Level.MISTAKE, error.code, line)


def _line(finding: CheckResult) -> str:
    advice = f"\n          {finding.advice}" if finding.advice else ""
    return f"{_MARKS[finding.level]}{finding.about}: {finding.says}{advice}"
