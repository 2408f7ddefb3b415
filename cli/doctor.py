"""``doctor``: what is wrong with the running installation, and what to do about it."""

from collections.abc import Iterator
from dataclasses import replace

import redis

from cli.check import show_results
from cli.common import Request
from runtime import health
from runtime.health import CheckResult, Level

#: Without a Redis or a ledger in it the others cannot be answered.
FIRST: tuple[health.Check, ...] = (health.check_durability, health.check_ledger_id)
#: In the order in which they are worth reading.
CHECKS: tuple[health.Check, ...] = (
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
    """Print every result; 1 if a person must act.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    found = list(results(request))
    return show_results(request, found, good="All is well.", bad="A person must act.")


def results(request: Request) -> Iterator[CheckResult]:
    """Yield the results of all checks, or only those of FIRST if one of them fails."""
    context = health.context_of(request.store(), request.settings(), "manage")
    context = replace(context, account_ids=tuple(request.accounts()))
    for check in FIRST:
        found = check(context)
        yield from found
        if found[0].level is Level.MISTAKE:
            return
    for check in CHECKS:
        yield from check(context)
    try:
        yield from health.check_separate_databases(context)
    except redis.RedisError as error:
        says = f"does not answer ({type(error).__name__})"
        advice = "start the broker: until then nothing is flushed and nothing is answered"
        yield health.mistake("BROKER_URL", says, advice)
