"""``doctor``: what is wrong with the running installation, and what to do about it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import redis

from cli.check import report
from cli.common import Request
from runtime import health
from runtime.build import accounts_of, store_of
from runtime.clients import redis_client
from runtime.health import CheckResult, Level
from runtime.settings import load_settings

#: In the order in which they are worth reading.
QUESTIONS = (
    health.check_flusher,
    health.check_roles,
    health.check_agreement,
    health.check_counters,
    health.check_lost,
    health.check_memory,
    health.check_alerts,
    health.check_dead_letters,
    health.check_circuits,
    health.check_overdue,
    health.check_canary,
)


def run(request: Request) -> int:
    """Print every finding; 1 if a person must act. Raise ConfigurationError."""
    found = list(findings(request.environ))
    return report(request, found, "All is well.", "A person must act.")


def findings(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yield what there is to say. Without a Redis or a ledger in it, only that is said.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    settings = load_settings(environ)
    ids = tuple(config.account_id for config in accounts_of(settings, environ))
    store = store_of(settings, redis_client(settings.redis_url, "manage"))
    context = replace(health.context_of(store, settings, "manage"), account_ids=ids)
    found = health.check_durability(context)
    yield from found
    if found[0].level is Level.MISTAKE:
        return
    found = health.check_ledger_id(context)
    yield from found
    if found[0].level is Level.MISTAKE:
        return
    for ask in QUESTIONS:
        yield from ask(context)
    try:
        yield from health.check_separate_databases(context)
    except redis.RedisError as error:
        says = f"does not answer ({type(error).__name__})"
        advice = "start the broker: until then nothing is flushed and nothing is answered"
        yield CheckResult(Level.MISTAKE, "BROKER_URL", says, advice)
