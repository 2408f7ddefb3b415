"""``check``: what can be known to be wrong before a process starts, all at once.

``doctor``: what is wrong with the running installation, and what to do about it.
"""

import socket
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from urllib.parse import urlsplit

import redis

from batching.errors import AdminError, ConfigurationError, LedgerUnavailableError
from batching.keys import META
from batching.store import Store
from cli.common import Request
from cli.online import check_online
from runtime import health
from runtime.accounts import AccountConfig, load_accounts
from runtime.build import fingerprint_of
from runtime.clients import PATIENCE, Role, database_id, http_client, trouble
from runtime.health import (
    CheckResult,
    Context,
    Level,
    check_ledger_id,
    check_server,
    mistake,
    ok,
    warning,
)
from runtime.needs import secret_digests, variables_of
from runtime.safety import exposed, unsafe
from runtime.settings import Settings, former_names, load_settings, valid_settings
from runtime.sinks import addresses_of
from runtime.traces import require

_AMQP_PORTS = {"amqp": 5672, "amqps": 5671}
_MARKS = {Level.OK: "ok      ", Level.WARNING: "warning ", Level.MISTAKE: "MISTAKE "}


#: As hosts call the roles: each has a user of its own in Redis, and files of its own.
USERS: dict[str, Role] = {
    "web": "web",
    "worker": "worker",
    "scheduler": "scheduler",
    "operator": "manage",
}
#: Without a Redis or a ledger in it the others cannot be answered.
FIRST: tuple[health.Check, ...] = (health.check_durability, check_ledger_id)
#: In the order in which they are worth reading.
CHECKS: tuple[health.Check, ...] = (
    health.check_flusher,
    health.check_roles,
    health.check_agreement,
    health.check_counters,
    health.check_lost,
    health.check_memory,
    health.check_backup,
    health.check_alerts,
    health.check_reports,
    health.check_dead_letters,
    health.check_handovers,
    health.check_channels,
    health.check_circuits,
    health.check_failing,
    health.check_answers,
    health.check_models,
    health.check_overdue,
    health.check_understood,
    health.check_canary,
    health.check_certificates,
    health.check_clock,
)


def arguments(parser: ArgumentParser) -> None:
    """Add --online."""
    parser.add_argument(
        "--online",
        action="store_true",
        help="also ask each account's provider, and its model a question of a few words",
    )


def check(request: Request) -> bool:
    """Print every result; False if one is a mistake. Changes nothing and raises no AdminError."""
    found = Preflight(request)
    found.check()
    facts: dict[str, object] = {
        "fingerprint": found.fingerprint,
        "secrets": found.secrets,
        "ledger": found.ledger,
    }
    good, bad = "Ready to start.", "Processes will not start like this."
    return _show(request, found.results, facts, good=good, bad=bad)


def variables(request: Request) -> bool:
    """Print which variables each role needs; their values need not be there. Always True."""
    environ = request.environ
    configs = load_accounts(valid_settings(environ), environ, purposes=())
    found = {name: sorted(variables_of(role, configs)) for name, role in USERS.items()}
    request.show(found, [f"{name}: {', '.join(names)}" for name, names in found.items()])
    return True


def doctor(request: Request) -> bool:
    """Print every result; False if a person must act."""
    found = list(_running(request))
    return _show(request, found, {}, good="All is well.", bad="A person must act.")


def _running(request: Request) -> Iterator[CheckResult]:
    """Yield the results of all checks, or only those of FIRST if one of them fails."""
    context = health.context_of(request.store(), request.settings(), "manage")
    context = replace(context, account_ids=tuple(request.accounts()))
    for first in FIRST:
        results = first(context)
        yield from results
        if results[0].level is Level.MISTAKE:
            return
    for each in CHECKS:
        yield from each(context)
    try:
        yield from health.check_separate_databases(context)
    except redis.RedisError as error:
        found = trouble(error)
        advice = f"{found.advice}; until then nothing is answered"
        yield mistake("BROKER_URL", found.says, advice)


def _show(
    request: Request,
    found: Sequence[CheckResult],
    facts: dict[str, object],
    *,
    good: str,
    bad: str,
) -> bool:
    """Print ``good`` or ``bad`` and how many mistakes and warnings, then all results.

    ``facts`` are for the JSON.
    """
    levels = Counter(result.level for result in found)
    mistakes, warnings = levels[Level.MISTAKE], levels[Level.WARNING]
    document = {"ok": not mistakes} | facts | {"findings": [asdict(result) for result in found]}
    said = [bad, f"Mistakes: {mistakes}."] if mistakes else [good]
    said += [f"Warnings: {warnings}."] if warnings else []
    request.show(document, [" ".join(said), *map(_line, found)])
    return not mistakes


def _line(result: CheckResult) -> str:
    advice = f"\n          {result.advice}" if result.advice else ""
    return f"{_MARKS[result.level]}{result.about}: {result.says}{advice}"


@dataclass(slots=True)
class Preflight:
    """The results of a check, and what a deployment compares between hosts.

    ``fingerprint``: that of the processes, "" if they would not start; ``secrets``: a digest of
    what they are given beside. ``ledger``: its id is ""
    if it is not found, or not made yet.
    """

    request: Request
    results: list[CheckResult] = field(default_factory=list)
    fingerprint: str = ""
    secrets: str = ""
    ledger: dict[str, object] = field(
        default_factory=lambda: {"id": "", "redis_run_id": "", "redis_db": 0}
    )

    def check(self) -> None:
        """Check settings, accounts, ledger and broker.

        With mistakes in the settings the accounts are checked against defaults, and no server is:
        its address may be the mistake.
        """
        environ = self.request.environ
        try:
            settings = load_settings(environ)
            require(settings)
        except ConfigurationError as error:
            self.results += _mistakes(error)
            self._check_accounts(valid_settings(environ))
            return
        self.results.append(ok("settings", "are valid"))
        for former, setting in former_names(environ).items():
            says = f"is now called {setting}; the former name still works"
            self.results.append(warning(former, says, "rename it"))
        if settings.is_production and not (settings.sentry_dsn or settings.notify_urls):
            advice = "set it or NOTIFY_URLS, or watch the log for ERROR: alerts reach nobody else"
            self.results.append(warning("SENTRY_DSN", "is not set", advice))
        if settings.is_production and not settings.console_token:
            advice = "set it for Prometheus and for whoever reads /fleet and why /readyz is 503"
            says = "is not set: /fleet and /metrics are closed, /readyz answers its status alone"
            self.results.append(warning("CONSOLE_TOKEN", says, advice))
        configs = self._check_accounts(settings)
        if configs is not None:
            self._check_safety(settings, configs)
            self._check_proxy()
            self.fingerprint = fingerprint_of(settings, configs)
            self.secrets = "".join(secret_digests(settings, configs, "manage").values())
            says = f"{self.fingerprint}, of every process with these settings and accounts"
            self.results.append(ok("fingerprint", says))
        self._check_servers(settings)
        if configs is not None and self.request.arguments.online:
            self.results += check_online(configs, self.request.store())

    def _check_accounts(self, settings: Settings) -> tuple[AccountConfig, ...] | None:
        """Return the accounts, None if there are mistakes."""
        try:
            configs = load_accounts(settings, self.request.environ)
        except ConfigurationError as error:
            self.results += _mistakes(error)
            return None
        for config in configs:
            model, size = config.model.provider, len(config.business)
            says = f"answers by {model} on {config.channel}, prompt of {size} characters"
            self.results.append(ok(f"account {config.account_id}", says))
        return configs

    def _check_proxy(self) -> None:
        try:
            http_client().close()
        except ConfigurationError as error:
            self.results += _mistakes(error)

    def _check_safety(self, settings: Settings, configs: tuple[AccountConfig, ...]) -> None:
        """Check for what production refuses; staging, which has real numbers too, is warned."""
        if settings.on_trial:
            says = "is for processes on trial: with it the service answers nobody"
            self.results.append(mistake("TRIAL", says, "take it out of the settings"))
        try:
            addresses = addresses_of(settings, configs)
        except ConfigurationError as error:
            self.results += _mistakes(error)
            addresses = []
        for it in exposed(settings, configs):
            self.results.append(mistake("safety", str(it), ""))
        if settings.environment in {"production", "staging"}:
            show = mistake if settings.is_production else warning
            found = unsafe(settings, configs, addresses=addresses)
            self.results += [show("safety", str(it), "") for it in found]

    def _check_servers(self, settings: Settings) -> None:
        context = health.context_of(self.request.store(), settings, "manage")
        reachable = self._add(health.check_durability(context))
        if reachable:
            self._check_ledger(context)
        if context.broker is None:
            self.results.append(_check_rabbitmq(settings.broker_url))
            return
        production = settings.is_production
        found = check_server(context.broker, "BROKER_URL", keeps=False, production=production)
        if self._add(found) and reachable:
            self.results += health.check_separate_databases(context)

    def _add(self, found: Sequence[CheckResult]) -> bool:
        """Add results of a server; return whether it is reachable."""
        self.results += found
        return found[0].level is Level.OK

    def _check_ledger(self, context: Context) -> None:
        """Check which database this is and whether it holds a ledger of our form; make none."""
        store = context.store
        try:
            database = database_id(store.client)
            self.ledger |= {"redis_run_id": database.run_id, "redis_db": database.db}
            says = f"is database {database.db} of the server {database.run_id}"
            self.results.append(ok("REDIS_URL", says))
            self._load_scripts(store)
            if not store.client.exists(META):
                self.results.append(ok("ledger", "is new: the first process will make it"))
            elif self._add(check_ledger_id(context)):
                self.ledger["id"] = store.ledger_id()
        except (AdminError, redis.RedisError) as error:
            found = trouble(error.__cause__ or error)
            self.results.append(mistake("ledger", f"cannot be read: {found.says}", found.advice))

    def _load_scripts(self, store: Store) -> None:
        """Have Redis know the scripts before processes start whose users may not load them."""
        try:
            store.load_scripts()
        except LedgerUnavailableError as error:
            if error.code != "scripts_missing":
                raise
            self.results.append(mistake("scripts", error.detail, ""))
        else:
            self.results.append(ok("scripts", "are in Redis"))


def _check_rabbitmq(url: str) -> CheckResult:
    """Check that something listens there; the worker will find out whether it lets us in."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or _AMQP_PORTS[parts.scheme])
    try:
        socket.create_connection(address, timeout=PATIENCE["manage"].connect_s).close()
    except OSError as error:
        says = f"nothing listens at {address[0]}:{address[1]} ({type(error).__name__})"
        return mistake("BROKER_URL", says, "start RabbitMQ, or correct the address")
    return ok("BROKER_URL", "is reachable")


def _mistakes(error: ConfigurationError) -> list[CheckResult]:
    return [mistake(error.code, line, "") for line in error.detail.splitlines()]
