"""``doctor``: what is wrong with the running installation, and what to do about it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import redis

from runtime import backlog, diagnosis
from runtime.build import accounts_of, store_of
from runtime.clients import ledger_client
from runtime.commands.check import report
from runtime.commands.verb import Request
from runtime.durability import Finding, Level
from runtime.settings import load_settings

#: In the order in which they are worth reading.
QUESTIONS = (
    diagnosis.flusher,
    diagnosis.roles,
    diagnosis.agreement,
    diagnosis.balanced,
    diagnosis.complete,
    diagnosis.roomy,
    backlog.told,
    backlog.letters,
    backlog.stopped,
    backlog.overdue,
    backlog.canary,
)


def run(request: Request) -> int:
    """Print every finding; 1 if a person must act. Raise ConfigurationError."""
    found = list(findings(request.environ))
    return report(request, found, "All is well.", "A person must act.")


def findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what there is to say. Without a Redis or a ledger in it, only that is said.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    settings = load_settings(environ)
    ids = tuple(config.account_id for config in accounts_of(settings, environ))
    store = store_of(settings, ledger_client(settings, "manage"))
    subject = replace(diagnosis.subject_of(store, settings, "manage"), account_ids=ids)
    found = diagnosis.durable(subject)
    yield from found
    if found[0].level is Level.MISTAKE:
        return
    found = diagnosis.same_ledger(subject)
    yield from found
    if found[0].level is Level.MISTAKE:
        return
    for ask in QUESTIONS:
        yield from ask(subject)
    try:
        yield from diagnosis.separate(subject)
    except redis.RedisError as error:
        says = f"does not answer ({type(error).__name__})"
        advice = "start the broker: until then nothing is flushed and nothing is answered"
        yield Finding(Level.MISTAKE, "BROKER_URL", says, advice)
