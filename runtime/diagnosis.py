"""What may be wrong with a running installation: one function a question, in plain words.

/readyz, ``manage.py doctor`` and the scheduler's rounds ask the same questions, so that they
cannot tell different stories. Every function raises LedgerUnavailableError where Redis does not
answer, and RedisError where only the broker's does not.
"""

from dataclasses import dataclass

import redis

from batching.errors import ConfigurationError
from batching.ledger import reached
from batching.operations import Operations
from batching.store import Store
from runtime import durability
from runtime.clients import Role, redis_client
from runtime.durability import Finding, Level
from runtime.members import ROLES, drift, members, missing
from runtime.settings import Settings
from runtime.silence import NEVER, SILENT_MS_MAX, nobody
from runtime.urls import is_redis

#: Where a server's memory is so full that a person must act, in per cent of maxmemory.
MEMORY_PERCENT_MAX = 80


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at. ``broker``: None if that is RabbitMQ. ``account_ids``: those to ask for.

    ``ledger_id``: the ledger that the process works with, "" for one that only looks.
    """

    store: Store
    settings: Settings
    broker: redis.Redis | None
    account_ids: tuple[str, ...] = ()
    ledger_id: str = ""


def subject_of(store: Store, settings: Settings, role: Role) -> Subject:
    """Return the installation as a process of ``role`` sees it. Connects nowhere."""
    broker = settings.broker_url
    return Subject(store, settings, redis_client(broker, role) if is_redis(broker) else None)


def writable(subject: Subject) -> list[Finding]:
    """Whether the ledger takes writes in every shard."""
    subject.store.probe()
    return [Finding(Level.OK, "ledger", "writable")]


def same_ledger(subject: Subject) -> list[Finding]:
    """Whether there is a ledger of our form, and the one that the process works with."""
    try:
        found = subject.store.identity()
    except ConfigurationError as error:
        advice = "set BATCH_SHARDS and PRIVACY_KEY as it was made with, or use another database"
        return [Finding(Level.MISTAKE, "identity", error.detail, advice)]
    ours = subject.ledger_id
    if found and ours in {found, ""}:
        return [Finding(Level.OK, "identity", f"the ledger is {found}")]
    says = f"ledger {found} is in the place of {ours}" if found else "no ledger is in this Redis"
    advice = (
        "it was emptied, or it is another one: correct REDIS_URL, or restore the old ledger; "
        "processes that run make a new one within seconds"
    )
    return [Finding(Level.MISTAKE, "identity", says, advice)]


def flusher(subject: Subject) -> list[Finding]:
    """Whether somebody collects from this very Redis."""
    lag_ms = subject.store.watch().flusher_lag_ms
    if lag_ms != NEVER and lag_ms <= SILENT_MS_MAX:
        return [Finding(Level.OK, "flusher", f"last collected {lag_ms} ms ago")]
    advice = "start a scheduler and a worker; if they run, give all processes the same REDIS_URL"
    return [Finding(Level.MISTAKE, "flusher", nobody(lag_ms), advice)]


def roles(subject: Subject) -> list[Finding]:
    """Whether every role is played in this Redis."""
    lacking = missing(members(subject.store.client))
    advice = "start it, or correct its REDIS_URL; `manage.py fleet` lists who is here"
    return [Finding(Level.MISTAKE, "roles", says, advice) for says in lacking] or [
        Finding(Level.OK, "roles", f"{', '.join(ROLES)} are alive in this Redis")
    ]


def agreement(subject: Subject) -> list[Finding]:
    """Whether processes agree; a deploy may make them differ for a while."""
    found, grace_ms = members(subject.store.client), subject.settings.deploy_grace_ms
    lasting = drift(found, grace_ms)
    if lasting:
        advice = "restart the stale processes with the settings and the release of the others"
        return [Finding(Level.MISTAKE, "fleet", says, advice) for says in lasting]
    advice = f"end the deploy: from {grace_ms} ms on this is an alarm"
    return [Finding(Level.WARNING, "fleet", says, advice) for says in drift(found, 0)] or [
        Finding(Level.OK, "fleet", f"{sum(member.is_alive for member in found)} processes agree")
    ]


def balanced(subject: Subject) -> list[Finding]:
    """Whether the books of every shard hold."""
    broken = [book for book in Operations(subject.store).balance() if not book.holds]
    advice = "report this as a fault; `manage.py audit` shows which conversation it is"
    return [
        Finding(Level.MISTAKE, "books", f"do not hold in shard {book.shard}: {book}", advice)
        for book in broken
    ] or [Finding(Level.OK, "books", "hold: every accepted message is accounted for")]


def complete(subject: Subject) -> list[Finding]:
    """Whether content has vanished from Redis by itself, ever."""
    lost = sum(book.lost for book in Operations(subject.store).balance())
    if not lost:
        return [Finding(Level.OK, "lost", "no message is lost")]
    advice = "something deleted messages behind our back: eviction, FLUSHDB, a restore, a person"
    return [Finding(Level.MISTAKE, "lost", f"messages lost: {lost}", advice)]


def durable(subject: Subject) -> list[Finding]:
    """Whether the server keeps what it is given, as it is set now."""
    client, settings = subject.store.client, subject.settings
    found = durability.inspect(client, "REDIS_URL", keeps=True, production=settings.is_production)
    if settings.batch_durability == "always" and found[0].level is Level.OK:
        found.append(durability.syncing(client))
    return found


def roomy(subject: Subject) -> list[Finding]:
    """Whether the server's memory is far from its limit: beyond it, webhooks are refused."""
    with reached():
        used, limit = durability.memory(subject.store.client)
    if not limit:
        return [Finding(Level.OK, "memory", f"{used} bytes in use, without a limit")]
    says = f"{used * 100 // limit} % of maxmemory={limit} in use"
    if used * 100 < limit * MEMORY_PERCENT_MAX:
        return [Finding(Level.OK, "memory", says)]
    advice = "give it more: when it is full, every webhook is refused until batches are answered"
    return [Finding(Level.MISTAKE, "memory", says, advice)]


def separate(subject: Subject) -> list[Finding]:
    """Whether ledger and broker are different databases, whatever their addresses say."""
    if subject.broker is None:
        return [Finding(Level.OK, "BROKER_URL", "is not a Redis")]
    return [durability.separateness(subject.store.client, subject.broker)]
