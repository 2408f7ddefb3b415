"""The checks of /readyz, ``manage.py doctor`` and the scheduler, in plain words: one function each.

All three run the same checks, so that they cannot tell different stories. Every check raises
LedgerUnavailableError where Redis does not answer, and RedisError where only the broker's does not.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import redis

from batching.alerts import Alerts
from batching.errors import ConfigurationError, TransientError
from batching.inspect import census, counters
from batching.keys import CANARY
from batching.store import Store, reached
from runtime.clients import Role, database_id, redis_client, server_info
from runtime.fleet import ROLES, describe_lag, drift, is_silent, members, missing
from runtime.settings import Settings, is_redis

PROBE_KEY = "aa:probe"
PROBE_MS = 1_000


class Level(StrEnum):
    """How bad a finding is: a mistake must be mended before anything starts."""

    OK = "ok"
    WARNING = "warning"
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at, in plain words; ``advice`` says what to do, "" if nothing."""

    level: Level
    about: str
    says: str
    advice: str = ""


def syncing(client: redis.Redis) -> CheckResult:
    """Return whether the server can tell when a write is on its disk. Raise RedisError."""
    try:
        client.execute_command("WAITAOF", 1, 0, 1)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        says = f"always: this server cannot wait for its disk ({error})"
        advice = (
            "set appendonly yes on Valkey, or on Redis 7.2 or newer; an older Redis does the same"
            " by appendfsync always, with BATCH_DURABILITY=everysec here"
        )
        return CheckResult(Level.MISTAKE, "BATCH_DURABILITY", says, advice)
    return CheckResult(
        Level.OK, "BATCH_DURABILITY", "always: the server tells when a write is safe"
    )


def memory(client: redis.Redis) -> tuple[int, int]:
    """Return the bytes in use and the limit, 0 if there is none or it cannot be told.

    Raise RedisError.
    """
    told = server_info(client, "memory")
    return int(str(told.get("used_memory", 0))), int(str(told.get("maxmemory", 0)))


def inspect(client: redis.Redis, about: str, *, keeps: bool, production: bool) -> list[CheckResult]:
    """Return what there is to say about the Redis behind ``about``; the first is reachability.

    ``keeps``: messages live there, so that it must not forget. Never raises.
    """
    try:
        client.ping()
        found = [CheckResult(Level.OK, about, "is reachable")]
        found.append(_writable(client, about))
        if keeps:
            found += _memory(client, about)
            found += _disk(client, about, production=production)
    except redis.RedisError as error:
        # Its words may quote the address, and so a password.
        says = f"does not answer ({type(error).__name__})"
        return [CheckResult(Level.MISTAKE, about, says, "start the server, or correct the address")]
    return found


def separateness(ledger: redis.Redis, broker: redis.Redis) -> CheckResult:
    """Return whether ledger and broker are different databases, whatever their addresses say.

    Raise RedisError.
    """
    first, second = database_id(ledger), database_id(broker)
    if not first.run_id:
        return CheckResult(
            Level.WARNING, "BROKER_URL", "cannot tell whether it is another database"
        )
    if first == second:
        says = "is the same database as REDIS_URL"
        advice = "choose another number at its end: the broker's upkeep would block the ledger"
        return CheckResult(Level.MISTAKE, "BROKER_URL", says, advice)
    return CheckResult(Level.OK, "BROKER_URL", "is another database than REDIS_URL")


def _writable(client: redis.Redis, about: str) -> CheckResult:
    try:
        client.set(PROBE_KEY, "1", px=PROBE_MS)
    except redis.ReadOnlyError:
        says, advice = "is a replica: it takes no writes", "use the address of the primary"
    except redis.ResponseError as error:
        says = f"takes no writes ({type(error).__name__})"
        advice = "look at its memory, its disk and the rights of our user"
    else:
        return CheckResult(Level.OK, about, "takes writes")
    return CheckResult(Level.MISTAKE, about, says, advice)


def _memory(client: redis.Redis, about: str) -> Iterator[CheckResult]:
    policy = _setting(client, "maxmemory-policy", "memory", "maxmemory_policy")
    if policy is None:
        yield _unknown(about, "maxmemory-policy", "noeviction")
    elif policy != "noeviction":
        says = f"maxmemory-policy={policy}: must be noeviction"
        advice = "when memory is full this server would delete customers' messages"
        yield CheckResult(Level.MISTAKE, about, says, advice)
    else:
        yield CheckResult(Level.OK, about, "maxmemory-policy is noeviction")


def _disk(client: redis.Redis, about: str, *, production: bool) -> Iterator[CheckResult]:
    appending = _setting(client, "appendonly", "persistence", "aof_enabled")
    if appending is None:
        yield _unknown(about, "appendonly", "yes")
        return
    if appending not in {"yes", "1"}:
        says, advice = "appendonly=no: must be yes", "a restart would forget unanswered messages"
        yield CheckResult(Level.MISTAKE if production else Level.WARNING, about, says, advice)
        return
    yield CheckResult(Level.OK, about, "appendonly is yes")
    synced = _setting(client, "appendfsync", "", "")
    if synced == "no":
        says = "appendfsync=no: should be everysec or always"
        yield CheckResult(
            Level.WARNING, about, says, "a power cut would cost half a minute of messages"
        )


def _unknown(about: str, name: str, wanted: str) -> CheckResult:
    says = f"cannot tell {name}: neither CONFIG nor INFO is allowed"
    return CheckResult(Level.WARNING, about, says, f"see for yourself that it is {wanted}")


def _setting(client: redis.Redis, name: str, section: str, field: str) -> str | None:
    """Return a setting of the server by CONFIG, else the INFO field, None if nobody tells."""
    with contextlib.suppress(redis.ResponseError):
        given: Any = client.config_get(name)
        if given:
            return _text(next(iter(given.values())))
    value = server_info(client, section).get(field) if section else None
    return None if value is None else _text(value)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


log = logging.getLogger(__name__)

#: Where a server's memory is so full that a person must act, in per cent of maxmemory.
MEMORY_PERCENT_MAX = 80


@dataclass(frozen=True, slots=True)
class Context:
    """What is looked at. ``broker``: None if that is RabbitMQ. ``account_ids``: those to ask for.

    ``ledger_id``: the ledger that the process works with, "" for one that only looks.
    """

    store: Store
    settings: Settings
    broker: redis.Redis | None
    account_ids: tuple[str, ...] = ()
    ledger_id: str = ""


def context_of(store: Store, settings: Settings, role: Role) -> Context:
    """Return the installation as a process of ``role`` sees it. Connects nowhere."""
    broker = settings.broker_url
    return Context(store, settings, redis_client(broker, role) if is_redis(broker) else None)


def check_writable(context: Context) -> list[CheckResult]:
    """Whether the ledger takes writes in every shard."""
    context.store.probe()
    return [CheckResult(Level.OK, "ledger", "writable")]


def check_ledger_id(context: Context) -> list[CheckResult]:
    """Whether there is a ledger of our form, and the one that the process works with."""
    try:
        found = context.store.identity()
    except ConfigurationError as error:
        advice = "set BATCH_SHARDS and PRIVACY_KEY as it was made with, or use another database"
        return [CheckResult(Level.MISTAKE, "identity", error.detail, advice)]
    ours = context.ledger_id
    if found and ours in {found, ""}:
        return [CheckResult(Level.OK, "identity", f"the ledger is {found}")]
    says = f"ledger {found} is in the place of {ours}" if found else "no ledger is in this Redis"
    advice = (
        "it was emptied, or it is another one: correct REDIS_URL, or restore the old ledger; "
        "processes that run make a new one within seconds"
    )
    return [CheckResult(Level.MISTAKE, "identity", says, advice)]


def check_flusher(context: Context) -> list[CheckResult]:
    """Whether somebody collects from this very Redis."""
    lag_ms = context.store.watch().flusher_lag_ms
    if not is_silent(lag_ms):
        return [CheckResult(Level.OK, "flusher", f"last collected {lag_ms} ms ago")]
    advice = "start a scheduler and a worker; if they run, give all processes the same REDIS_URL"
    return [CheckResult(Level.MISTAKE, "flusher", describe_lag(lag_ms), advice)]


def check_roles(context: Context) -> list[CheckResult]:
    """Whether every role is played in this Redis."""
    lacking = missing(members(context.store.client))
    advice = "start it, or correct its REDIS_URL; `manage.py fleet` lists who is here"
    return [CheckResult(Level.MISTAKE, "roles", says, advice) for says in lacking] or [
        CheckResult(Level.OK, "roles", f"{', '.join(ROLES)} are alive in this Redis")
    ]


def check_agreement(context: Context) -> list[CheckResult]:
    """Whether processes agree; a deploy may make them differ for a while."""
    found, grace_ms = members(context.store.client), context.settings.deploy_grace_ms
    lasting = drift(found, grace_ms)
    if lasting:
        advice = "restart the stale processes with the settings and the release of the others"
        return [CheckResult(Level.MISTAKE, "fleet", says, advice) for says in lasting]
    advice = f"end the deploy: from {grace_ms} ms on this is an alarm"
    return [CheckResult(Level.WARNING, "fleet", says, advice) for says in drift(found, 0)] or [
        CheckResult(
            Level.OK, "fleet", f"{sum(member.is_alive for member in found)} processes agree"
        )
    ]


def check_counters(context: Context) -> list[CheckResult]:
    """Whether the books of every shard hold."""
    broken = [shard for shard in counters(context.store) if not shard.holds]
    advice = "report this as a fault; `manage.py audit` shows which conversation it is"
    return [
        CheckResult(Level.MISTAKE, "books", f"do not hold in shard {found.shard}: {found}", advice)
        for found in broken
    ] or [CheckResult(Level.OK, "books", "hold: every accepted message is accounted for")]


def check_lost(context: Context) -> list[CheckResult]:
    """Whether content has vanished from Redis by itself, ever."""
    lost = sum(shard.lost for shard in counters(context.store))
    if not lost:
        return [CheckResult(Level.OK, "lost", "no message is lost")]
    advice = "something deleted messages behind our back: eviction, FLUSHDB, a restore, a person"
    return [CheckResult(Level.MISTAKE, "lost", f"messages lost: {lost}", advice)]


def check_durability(context: Context) -> list[CheckResult]:
    """Whether the server keeps what it is given, as it is set now."""
    client, settings = context.store.client, context.settings
    found = inspect(client, "REDIS_URL", keeps=True, production=settings.is_production)
    if settings.batch_durability == "always" and found[0].level is Level.OK:
        found.append(syncing(client))
    return found


def check_memory(context: Context) -> list[CheckResult]:
    """Whether the server's memory is far from its limit: beyond it, webhooks are refused."""
    with reached():
        used, limit = memory(context.store.client)
    if not limit:
        return [CheckResult(Level.OK, "memory", f"{used} bytes in use, without a limit")]
    says = f"{used * 100 // limit} % of maxmemory={limit} in use"
    if used * 100 < limit * MEMORY_PERCENT_MAX:
        return [CheckResult(Level.OK, "memory", says)]
    advice = "give it more: when it is full, every webhook is refused until batches are answered"
    return [CheckResult(Level.MISTAKE, "memory", says, advice)]


def check_separate_databases(context: Context) -> list[CheckResult]:
    """Whether ledger and broker are different databases, whatever their addresses say."""
    if context.broker is None:
        return [CheckResult(Level.OK, "BROKER_URL", "is not a Redis")]
    return [separateness(context.store.client, context.broker)]


#: How long an alert may wait to be told, ms: it takes seconds, or something is wrong.
UNDELIVERED_MS_MAX = 300_000
#: So many canaries in a row may be missing, and so much later may the last one be, ms.
CANARIES_MISSED_MAX, CANARY_SLACK_MS = 3, 20_000
#: So many of the newest alerts of each shard are looked through.
LOOKED_AT = 1_000


def check_alerts(context: Context) -> list[CheckResult]:
    """Whether alerts reach a person."""
    waiting = Alerts(context.store).undelivered()
    says = f"not told yet: {waiting.count}, the oldest for {waiting.oldest_ms} ms"
    if waiting.oldest_ms <= UNDELIVERED_MS_MAX:
        return [CheckResult(Level.OK, "alerts", says)]
    advice = "see that a scheduler runs and reaches SENTRY_DSN; `manage.py alerts` lists them"
    return [CheckResult(Level.MISTAKE, "alerts", says, advice)]


def check_dead_letters(context: Context) -> list[CheckResult]:
    """Whether dead letters wait for a decision."""
    counted = census(context.store)
    if not counted.dead_letters:
        return [CheckResult(Level.OK, "dead letters", "none wait")]
    says = (
        f"waiting: {counted.dead_letters} with {counted.dead} messages, "
        f"the oldest for {counted.oldest_dead_letter_ms} ms"
    )
    advice = "`manage.py dead list`, then `manage.py dead replay BATCH` or `dead discard BATCH`"
    return [CheckResult(Level.WARNING, "dead letters", says, advice)]


def check_circuits(context: Context) -> list[CheckResult]:
    """Whether accounts cannot send: their customers are not answered."""
    shards, ids = context.store.keyring.shards, context.account_ids
    why = context.store.read([shard.stopped(name) for name in ids for shard in shards])
    found = []
    for n, account_id in enumerate(ids):
        codes = {code for code in why[n * len(shards) : (n + 1) * len(shards)] if code}
        if codes:
            says = f"{account_id} cannot send: {', '.join(sorted(codes))}"
            advice = "see to its key and its number at the provider; its batches wait meanwhile"
            found.append(CheckResult(Level.MISTAKE, "accounts", says, advice))
    return found or [CheckResult(Level.OK, "accounts", "none is stopped")]


def check_overdue(context: Context) -> list[CheckResult]:
    """Whether batches wait too long: those that a person was told of, and those not yet."""
    waiting = _told_and_waiting(context)
    late = census(context.store).overdue
    if not waiting and not late:
        return [CheckResult(Level.OK, "overdue", "no batch waits too long")]
    shown = f", such as {waiting[0]}" if waiting else ""
    says = f"batches that wait too long: {len(waiting) + late}{shown}"
    advice = "`manage.py trace CONVERSATION` shows where one is"
    return [CheckResult(Level.WARNING, "overdue", says, advice)]


def check_canary(context: Context) -> list[CheckResult]:
    """Whether a synthetic message came out of the whole way lately."""
    settings = context.settings
    if not settings.canary_url:
        advice = "set it to where our webhooks are: else a way that is broken is seen by customers"
        return [CheckResult(Level.WARNING, "CANARY_URL", "is not set: no canary is sent", advice)]
    now_ms = context.store.watch().now_ms
    with reached():
        found: Any = context.store.client.hmget(CANARY, "answered_ms", "round_trip_ms")
    answered_ms, round_trip_ms = (int(value or 0) for value in found)
    age_ms = now_ms - answered_ms
    if answered_ms and age_ms <= CANARIES_MISSED_MAX * settings.canary_every_ms + CANARY_SLACK_MS:
        says = f"came out {age_ms} ms ago, after {round_trip_ms} ms"
        return [CheckResult(Level.OK, "canary", says)]
    says = f"came out last {age_ms} ms ago" if answered_ms else "never came out"
    advice = "`manage.py alerts` tells the step where it was last seen (canary_late)"
    return [CheckResult(Level.MISTAKE, "canary", says, advice)]


def _told_and_waiting(context: Context) -> list[str]:
    """Return the conversations whose overdue batch is still open or in flight, newest first."""
    store = context.store
    alerts = [alert for alert in Alerts(store).newest(LOOKED_AT) if alert.kind == "overdue"]
    pipeline: Any = store.client.pipeline(transaction=False)
    for alert in alerts:
        key = store.shard_of(alert.conversation_id).batches(alert.conversation_id)
        pipeline.hmget(key, "open_id", "id")
    with reached():
        present = pipeline.execute()
    return [
        alert.conversation_id
        for alert, batches in zip(alerts, present, strict=True)
        if alert.batch_id.encode() in batches
    ]


#: How often the rounds are made, ms.
MONITOR_EVERY_MS = 10_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A question that is worth an alarm. ``lasting_ms``: only if the trouble lasts so long.

    ``quiet_ms``: how long the installation then keeps quiet about it.
    """

    kind: str
    ask: Callable[[Context], list[CheckResult]]
    lasting_ms: int = 0
    quiet_ms: int = HOUR_MS


ALERT_RULES = (
    AlertRule("unbalanced", check_counters),
    # What is lost stays in the books, and the batch has had an alert of its own.
    AlertRule("lost", check_lost, quiet_ms=24 * HOUR_MS),
    AlertRule("durability", check_durability),
    AlertRule("memory", check_memory),
    AlertRule("same_database", check_separate_databases),
    # A deploy stops processes before it starts them.
    AlertRule("missing_role", check_roles, lasting_ms=60_000),
)


@dataclass(slots=True)
class Monitor:
    """Asks every question once a call. A Redis that is away is not its business: Tick tells."""

    context: Context
    #: Of each kind, how many rounds in a row have found trouble.
    seen: dict[str, int] = field(default_factory=dict)

    def __call__(self) -> None:
        """Make one round. Never raises."""
        for rule in ALERT_RULES:
            try:
                self._see_to(rule)
            except TransientError:
                return
            except redis.RedisError:
                # The broker's: the other questions are about the ledger.
                continue
            except Exception:
                log.exception("watch.failed", extra={"kind": rule.kind})

    def _see_to(self, rule: AlertRule) -> None:
        mistakes = [f for f in rule.ask(self.context) if f.level is Level.MISTAKE]
        self.seen[rule.kind] = self.seen.get(rule.kind, 0) + 1 if mistakes else 0
        if not mistakes or (self.seen[rule.kind] - 1) * MONITOR_EVERY_MS < rule.lasting_ms:
            return
        problems = [f"{found.about}: {found.says}: {found.advice}" for found in mistakes]
        detail = "; ".join(problems)
        if not self.context.store.alarm(rule.kind, detail, quiet_ms=rule.quiet_ms):
            return
        if rule.kind == "unbalanced":
            log.error("ledger.unbalanced", extra={"problems": problems})
        else:
            log.error("alarm.raised", extra={"kind": rule.kind, "problems": problems})
