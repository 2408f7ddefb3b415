"""The checks of /readyz, /healthz, ``manage.py doctor`` and the scheduler's monitor.

One function each. All run the same checks, so that they agree. A check raises
LedgerUnavailableError where the ledger's Redis does not answer, and RedisError where only the
broker's does not.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import redis

from batching import flow, inspect
from batching.alerts import Alerts
from batching.errors import ConfigurationError, TransientError
from batching.inspect import census, counters, dead_letter_headers
from batching.keys import BACKUP, CANARY
from batching.model import Dependency, Reason, Stage
from batching.store import Store, reached, server_ms
from runtime.certificates import LATE_MS, SOON_MS, certificates
from runtime.clients import Role, database_id, redis_client, server_info, trouble
from runtime.fleet import ROLES, Member, drift, members, missing
from runtime.meanings import kind, meaning
from runtime.settings import Settings, is_redis
from runtime.silence import NEVER, describe_lag, is_silent
from runtime.units import size, span

log = logging.getLogger(__name__)

#: A server this full needs a person, in per cent of its maxmemory.
MEMORY_PERCENT_MAX = 80
#: How long an alert may stay undelivered, ms; it normally takes seconds.
UNDELIVERED_MS_MAX = 300_000
#: How many canaries in a row may be missing, and how late the last one may be, ms.
CANARIES_MISSED_MAX, CANARY_SLACK_MS = 3, 20_000
#: How many of the newest alerts of each shard are searched for what still matters.
RECENT_ALERTS_MAX = 1_000
#: How many cases a result names, the newest of them.
CASES_MAX = 1_000
#: How long a model or a provider must have failed, ms, and how long ago it may have done so last:
#: a batch that fails is tried again within five minutes.
FAILING_MS, FAILED_MS_AGO_MAX = 30_000, 600_000
MONITOR_EVERY_MS = 10_000
HOUR_MS = 3_600_000

#: How far the clocks of two hosts may differ, ms: signatures with a time are refused later on.
CLOCK_OFF_MS_MAX = 5_000

_PROBE_KEY, _PROBE_MS = "aa:probe", 1_000


class Level(StrEnum):
    """How bad a check's result is: a mistake must be corrected, or a person must act."""

    OK = "ok"
    WARNING = "warning"
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was checked, what was found in plain words, and what to do, "" if nothing.

    ``cases``: by what ids each of what was found is known again, the newest CASES_MAX.
    """

    level: Level
    about: str
    says: str
    advice: str = ""
    cases: tuple[str, ...] = ()


def ok(about: str, says: str) -> CheckResult:
    """Return the result of a check that found nothing wrong."""
    return CheckResult(Level.OK, about, says)


def warning(about: str, says: str, advice: str = "") -> CheckResult:
    """Return the result of a check that found something to know of."""
    return CheckResult(Level.WARNING, about, says, advice)


def mistake(about: str, says: str, advice: str, cases: Sequence[str] = ()) -> CheckResult:
    """Return the result of a check that found something wrong."""
    return CheckResult(Level.MISTAKE, about, says, advice, tuple(cases))


# The Redis servers, for whatever process asks.


def check_server(
    client: redis.Redis, about: str, *, keeps: bool, production: bool
) -> list[CheckResult]:
    """Check the Redis behind the setting ``about``; the first result is reachability.

    ``keeps``: messages live there, so it must not lose data. Never raises.
    """
    try:
        client.ping()
        results = [ok(about, "is reachable"), _check_writes(client, about)]
        if keeps:
            results.append(_check_eviction(client, about))
            results += _check_disk(client, about, production=production)
    except redis.RedisError as error:
        found = trouble(error)
        return [mistake(about, found.says, found.advice)]
    return results


def _check_writes(client: redis.Redis, about: str) -> CheckResult:
    try:
        client.set(_PROBE_KEY, "1", px=_PROBE_MS)
    except redis.ReadOnlyError:
        return mistake(about, "is a replica: it takes no writes", "use the address of the primary")
    except redis.ResponseError as error:
        says = f"takes no writes ({type(error).__name__})"
        return mistake(about, says, "look at its memory, its disk and the rights of our user")
    return ok(about, "takes writes")


def _check_eviction(client: redis.Redis, about: str) -> CheckResult:
    policy = _server_setting(client, "maxmemory-policy", "memory", "maxmemory_policy")
    if policy is None:
        return _unknown(about, "maxmemory-policy", "noeviction")
    if policy != "noeviction":
        says = f"maxmemory-policy={policy}: must be noeviction"
        return mistake(
            about, says, "when memory is full this server would delete customers' messages"
        )
    return ok(about, "maxmemory-policy is noeviction")


def _check_disk(client: redis.Redis, about: str, *, production: bool) -> Iterator[CheckResult]:
    appending = _server_setting(client, "appendonly", "persistence", "aof_enabled")
    if appending is None:
        yield _unknown(about, "appendonly", "yes")
        return
    if appending not in {"yes", "1"}:
        says, advice = "appendonly=no: must be yes", "a restart would lose unanswered messages"
        yield CheckResult(Level.MISTAKE if production else Level.WARNING, about, says, advice)
        return
    yield ok(about, "appendonly is yes")
    if _server_setting(client, "appendfsync") == "no":
        says = "appendfsync=no: should be everysec or always"
        yield warning(about, says, "a power cut would cost half a minute of messages")


def _unknown(about: str, name: str, wanted: str) -> CheckResult:
    says = f"cannot tell {name}: neither CONFIG nor INFO is allowed"
    return warning(about, says, f"make sure that it is {wanted}")


def _server_setting(
    client: redis.Redis, name: str, section: str = "", field: str = ""
) -> str | None:
    """Return a setting of the server from CONFIG, else from a field of INFO; None if unknown."""
    with contextlib.suppress(redis.ResponseError):
        given: Any = client.config_get(name)
        if given:
            return _text(next(iter(given.values())))
    value = server_info(client, section).get(field) if section else None
    return None if value is None else _text(value)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def check_sync(client: redis.Redis) -> CheckResult:
    """Check that the server can confirm a write on its disk (WAITAOF). Raise RedisError."""
    try:
        client.execute_command("WAITAOF", 1, 0, 1)  # type: ignore[no-untyped-call]
    except redis.exceptions.NoPermissionError:
        says = "always: our user may not wait for the disk (WAITAOF)"
        return mistake("BATCH_DURABILITY", says, "run site.yml, or give the user +waitaof")
    except redis.ResponseError as error:
        advice = (
            "set appendonly yes on Valkey, or on Redis 7.2 or newer; an older Redis does the same"
            " by appendfsync always, with BATCH_DURABILITY=everysec here"
        )
        return mistake(
            "BATCH_DURABILITY", f"always: this server cannot wait for its disk ({error})", advice
        )
    return ok("BATCH_DURABILITY", "always: the server tells when a write is safe")


# The running installation.


@dataclass(frozen=True, slots=True)
class Context:
    """The installation to check.

    ``broker``: None if it is RabbitMQ. ``account_ids``: the accounts whose circuits are checked.
    ``ledger_id``: the ledger that the process works with, "" for one that only checks; ``me``: that
    process.
    """

    store: Store
    settings: Settings
    broker: redis.Redis | None
    account_ids: tuple[str, ...] = ()
    ledger_id: str = ""
    me: Member | None = None


Check = Callable[[Context], list[CheckResult]]


def context_of(store: Store, settings: Settings, role: Role) -> Context:
    """Return the installation as a process of ``role`` sees it. Connects nowhere."""
    broker = settings.broker_url
    return Context(store, settings, redis_client(broker, role) if is_redis(broker) else None)


def check_writable(context: Context) -> list[CheckResult]:
    """Check that the ledger takes writes in every shard."""
    context.store.probe()
    return [ok("ledger", "writable")]


def check_ledger_id(context: Context) -> list[CheckResult]:
    """Check that there is a ledger of our form, and that it is the one the process works with."""
    try:
        found = context.store.ledger_id()
    except ConfigurationError as error:
        advice = "set BATCH_SHARDS and PRIVACY_KEY as it was made with, or use another database"
        return [mistake("identity", error.detail, advice)]
    ours = context.ledger_id
    if found and ours in {found, ""}:
        return [ok("identity", f"the ledger is {found}")]
    if not ours:
        advice = (
            "start the processes: the first makes one. If they ran already, they use another "
            "REDIS_URL, or this Redis lost its data: docs/runbook.md says what to do then"
        )
        return [mistake("identity", "no ledger is in this Redis yet", advice)]
    says = f"ledger {found} is in the place of {ours}" if found else "no ledger is in this Redis"
    advice = (
        "it was emptied, or it is another one: correct REDIS_URL, or restore the old ledger; "
        "processes that run make a new one within seconds"
    )
    return [mistake("identity", says, advice)]


def check_flusher(context: Context) -> list[CheckResult]:
    """Check that batches are collected from this very Redis."""
    lag_ms = context.store.watch().flusher_lag_ms
    if not is_silent(lag_ms):
        return [ok("flusher", f"last collected {span(lag_ms)} ago")]
    advice = "start a scheduler and a worker; if they run, give all processes the same REDIS_URL"
    return [mistake("flusher", describe_lag(lag_ms), advice)]


def check_flushed(context: Context) -> list[CheckResult]:
    """Check that this Redis is one that is flushed, though perhaps not at the moment.

    What is taken while workers are away is kept, and answered when they are back, until its reply
    deadline.
    """
    lag_ms = context.store.watch().flusher_lag_ms
    if lag_ms == NEVER or lag_ms > context.settings.batch_reply_deadline_ms:
        return check_flusher(context)
    if is_silent(lag_ms):
        return [warning("flusher", describe_lag(lag_ms), "`/healthz` and `doctor` say more")]
    return [ok("flusher", f"last collected {span(lag_ms)} ago")]


def check_own_version(context: Context) -> list[CheckResult]:
    """Check that this process is not the one that differs in settings or release."""
    found, grace_ms = members(context.store.client), context.settings.deploy_grace_ms
    if wrong := drift(found, grace_ms, context.me):
        advice = "restart this process with the settings and the release of the others"
        return [mistake("fleet", says, advice) for says in wrong]
    advice = "`/healthz` and `doctor` say whether that lasts"
    others = [warning("fleet", says, advice) for says in drift(found, 0)]
    return others or [ok("fleet", "agrees with the others")]


def check_roles(context: Context) -> list[CheckResult]:
    """Check that a process of every role is alive in this Redis."""
    advice = "start it, or correct its REDIS_URL; `manage.py fleet` lists who is here"
    absent = [mistake("roles", says, advice) for says in missing(members(context.store.client))]
    return absent or [ok("roles", f"{', '.join(ROLES)} are alive in this Redis")]


def check_agreement(context: Context) -> list[CheckResult]:
    """Check that processes agree on settings and release, apart from a deploy's grace."""
    found, grace_ms = members(context.store.client), context.settings.deploy_grace_ms
    if lasting := drift(found, grace_ms):
        advice = "restart the stale processes with the settings and the release of the others"
        return [mistake("fleet", says, advice) for says in lasting]
    advice = f"end the deploy: from {span(grace_ms)} on this is an alarm"
    alive = sum(member.is_alive for member in found)
    return [warning("fleet", says, advice) for says in drift(found, 0)] or [
        ok("fleet", f"{alive} processes agree")
    ]


def check_counters(context: Context) -> list[CheckResult]:
    """Check in every shard that accepted messages equal those answered, ended and waiting."""
    advice = "report this as a fault; `manage.py audit` shows which conversation it is"
    broken = [
        mistake("books", f"do not add up in shard {it.shard}: {it}", advice)
        for it in counters(context.store)
        if not it.holds
    ]
    return broken or [ok("books", "every accepted message is accounted for")]


def check_lost(context: Context) -> list[CheckResult]:
    """Check that no content ever vanished from Redis."""
    lost = sum(shard.lost for shard in counters(context.store))
    if not lost:
        return [ok("lost", "no message is lost")]
    advice = "something else deleted messages in Redis: eviction, FLUSHDB, a restore, a person"
    return [mistake("lost", f"messages lost: {lost}", advice)]


def check_durability(context: Context) -> list[CheckResult]:
    """Check that the ledger's server, as it is set now, keeps what it is given."""
    client, settings = context.store.client, context.settings
    found = check_server(client, "REDIS_URL", keeps=True, production=settings.is_production)
    if settings.batch_durability == "always" and found[0].level is Level.OK:
        found.append(check_sync(client))
    return found


def check_memory(context: Context) -> list[CheckResult]:
    """Check that the ledger's server is far from its memory limit."""
    with reached():
        info = server_info(context.store.client, "memory")
    used, limit = int(str(info.get("used_memory", 0))), int(str(info.get("maxmemory", 0)))
    if not limit:
        return [ok("memory", f"{size(used)} in use, without a limit")]
    says = f"{used * 100 // limit} % of maxmemory={size(limit)} in use"
    if used * 100 < limit * MEMORY_PERCENT_MAX:
        return [ok("memory", says)]
    advice = "give it more: when it is full, every webhook is refused until batches are answered"
    return [mistake("memory", says, advice)]


def check_backup(context: Context) -> list[CheckResult]:
    """Check that the last copy of the ledger is young enough, where copies are made of it."""
    now_ms = context.store.watch().now_ms
    with reached():
        found: Any = context.store.client.hmget(BACKUP, "stale_ms", "made_ms", "since_ms", "failed")
    *times, failed = ((it or b"").decode() for it in found)
    stale_ms, made_ms, since_ms = (int(it) if it.isdigit() else 0 for it in times)
    if not stale_ms:
        return [ok("backup", "no copies of the ledger are made that it knows of")]
    age_ms = now_ms - (made_ms or since_ms)
    says = f"the last copy is {span(max(0, age_ms))} old" if made_ms else "no copy was made yet"
    if failed:
        says += f"; the last try failed at: {failed}"
    advice = "on the ledger's host: journalctl -u ai-admin-backup -u ai-admin-backup.timer"
    if age_ms > stale_ms:
        return [mistake("backup", says, advice)]
    return [warning("backup", says, advice) if failed else ok("backup", says)]


def check_separate_databases(context: Context) -> list[CheckResult]:
    """Check that ledger and broker are different databases, whatever their addresses."""
    if context.broker is None:
        return [ok("BROKER_URL", "is not a Redis")]
    first, second = database_id(context.store.client), database_id(context.broker)
    if not first.run_id:
        return [warning("BROKER_URL", "cannot tell whether it is another database")]
    if first == second:
        advice = "choose another number at its end: the broker's upkeep would block the ledger"
        return [mistake("BROKER_URL", "is the same database as REDIS_URL", advice)]
    return [ok("BROKER_URL", "is another database than REDIS_URL")]


def check_alerts(context: Context) -> list[CheckResult]:
    """Check that alerts reach a person."""
    waiting = Alerts(context.store).undelivered()
    says = f"undelivered: {waiting.count}, the oldest for {span(waiting.oldest_ms)}"
    if waiting.oldest_ms <= UNDELIVERED_MS_MAX:
        if context.settings.sentry_dsn or context.settings.notify_urls:
            return [ok("alerts", says)]
        advice = "set SENTRY_DSN or NOTIFY_URLS, or watch the log for alert.told"
        return [warning("alerts", f"{says}; they go to the log alone", advice)]
    advice = "see that a scheduler runs and reaches Sentry or people; `manage.py alerts` lists them"
    return [mistake("alerts", says, advice)]


def check_dead_letters(context: Context) -> list[CheckResult]:
    """Check that no dead letters wait for a decision."""
    found = census(context.store)
    if not found.dead_letters:
        return [ok("dead letters", "none wait")]
    letters = sorted(dead_letter_headers(context.store), key=lambda letter: -letter.died_ms)
    undelivered = sum(letter.reason == Reason.UNDELIVERED for letter in letters)
    cases = [f"{letter.batch_id} {letter.reason}" for letter in letters[:CASES_MAX]]
    says = (
        f"waiting: {found.dead_letters} with {found.dead} messages, "
        f"the oldest for {span(found.oldest_dead_letter_ms)}"
        f"{f'; sent, not delivered: {undelivered}' if undelivered else ''}"
    )
    advice = "`manage.py dead list`, then `manage.py dead replay BATCH` or `dead discard BATCH`"
    return [mistake("dead letters", says, advice, cases)]


def check_handovers(context: Context) -> list[CheckResult]:
    """Check that no customer waits for a person."""
    waiting = inspect.awaited(context.store)
    if not waiting:
        return [ok("hand-overs", "no customer waits for a person")]
    longest = span(max(0, context.store.now_ms() - waiting[0].since_ms))
    says = f"customers who wait for a person: {len(waiting)}, the longest for {longest}"
    advice = "write to them from the phone, or `manage.py handovers resume CONVERSATION`"
    return [mistake("hand-overs", says, advice)]


def check_circuits(context: Context) -> list[CheckResult]:
    """Check that no account's circuit is open: its customers would get no answers."""
    found = []
    for circuit in context.store.circuits(context.account_ids):
        known = meaning(circuit.code)
        is_channel = circuit.of is Dependency.CHANNEL
        what = "cannot send" if is_channel else f"cannot ask its {circuit.of}"
        says = f"{circuit.account_id} {what}: {circuit.code}" + (f"; {known.says}" if known else "")
        advice = (known or kind(circuit.of.alert)).to_do
        found.append(mistake("accounts", says, f"{advice}; its batches wait meanwhile"))
    return found or [ok("accounts", "all can send")]


def check_failing(context: Context) -> list[CheckResult]:
    """Check that no account's model or provider has failed for long, without a success between."""
    now_ms, found = context.store.watch().now_ms, []
    for it in inspect.failing(counters(context.store)):
        is_late = now_ms - it.since_ms >= FAILING_MS
        if is_late and now_ms - it.last_ms <= FAILED_MS_AGO_MAX:
            what = "model" if it.stage is Stage.GENERATE else "provider"
            known = meaning(it.code)
            says = (
                f"{it.account_id}'s {what} has failed for {span(now_ms - it.since_ms)}: {it.code}"
            )
            says += f"; {known.says}" if known else ""
            advice = known.to_do if known else f"see whether the {what} is up, and can be reached"
            found.append(mistake("failing", says, f"{advice}; its batches are tried again"))
    return found or [ok("failing", "no model and no provider fails for long")]


def check_answers(context: Context) -> list[CheckResult]:
    """Tell when each account last sent something; nothing is wrong where nobody writes."""
    now_ms = context.store.watch().now_ms
    shards = counters(context.store)
    told = []
    for account_id in context.account_ids:
        sent_ms = max(shard.named[f"sent_ms:{account_id}"] for shard in shards)
        when = f"{span(max(0, now_ms - sent_ms))} ago" if sent_ms else "not yet"
        told.append(f"{account_id} {when}")
    return [ok("last answers", ", ".join(told) or "no account")]


def check_channels(context: Context) -> list[CheckResult]:
    """Check that no account's provider says that its channel is lost: logged out, or banned."""
    now_ms = context.store.watch().now_ms
    found = []
    for lost in context.store.lost_channels():
        code, says, advice = (*lost.detail.split(": ", 2), "", "")[:3]
        since = span(max(0, now_ms - lost.since_ms))
        says = f"{lost.account_id}: {says} ({code}, for {since})"
        found.append(mistake("channels", says, advice))
    return found or [ok("channels", "no provider says that one is lost")]


def check_overdue(context: Context) -> list[CheckResult]:
    """Check that no batch waits too long, with or without an alert about it."""
    alerted, late = _overdue_and_waiting(context.store), inspect.overdue(context.store)
    if not alerted and not late:
        return [ok("overdue", "no batch waits too long")]
    example = f", such as {alerted[0].partition(':')[0]}" if alerted else ""
    says = f"batches that wait too long: {len(alerted) + len(late)}{example}"
    advice = "`manage.py trace CONVERSATION` shows where one is"
    return [mistake("overdue", says, advice, [*alerted, *late][:CASES_MAX])]


def check_models(context: Context) -> list[CheckResult]:
    """Check that nobody waits because a person has switched the models off."""
    if context.store.model_is_on():
        return [ok("models", "are switched on")]
    waiting, advice = census(context.store), "`manage.py model on` when they may be asked again"
    messages = waiting.open + waiting.flight
    if not messages:
        return [warning("models", "are switched off; no message waits", advice)]
    return [mistake("models", f"are switched off; messages that wait: {messages}", advice)]


def _overdue_and_waiting(store: Store) -> list[str]:
    """Return overdue batches that are still open or in flight, CONVERSATION:BATCH, newest first."""
    alerts = [it for it in Alerts(store).newest(RECENT_ALERTS_MAX) if it.kind == "overdue"]
    pipeline: Any = store.client.pipeline(transaction=False)
    for alert in alerts:
        key = store.shard_of(alert.conversation_id).batches(alert.conversation_id)
        pipeline.hmget(key, "open_id", "id")
    with reached():
        present = pipeline.execute()
    return [
        f"{alert.conversation_id}:{alert.batch_id}"
        for alert, batches in zip(alerts, present, strict=True)
        if alert.batch_id.encode() in batches
    ]


def check_canary(context: Context) -> list[CheckResult]:
    """Check that a canary was answered lately."""
    settings = context.settings
    if not settings.canary_url:
        advice = "set it to where our webhooks are, or customers meet a broken way first"
        return [warning("CANARY_URL", "is not set: no canary is sent", advice)]
    now_ms = context.store.watch().now_ms
    with reached():
        found: Any = context.store.client.hmget(CANARY, "answered_ms", "round_trip_ms")
    answered_ms, round_trip_ms = (int(n) if n and n.isdigit() else 0 for n in found)
    age_ms = now_ms - answered_ms
    if answered_ms and age_ms <= CANARIES_MISSED_MAX * settings.canary_every_ms + CANARY_SLACK_MS:
        return [ok("canary", f"answered {span(age_ms)} ago, after {span(round_trip_ms)}")]
    says = f"last answered {span(age_ms)} ago" if answered_ms else "was never answered"
    advice = "`manage.py alerts` tells the step where it was last seen (canary_late)"
    return [mistake("canary", says, advice)]


def check_reports(context: Context) -> list[CheckResult]:
    """Check that within a day every error that was to be reported came to Sentry."""
    since_ms = context.store.watch().now_ms - 24 * HOUR_MS
    alerts = Alerts(context.store).newest(RECENT_ALERTS_MAX)
    lost = [it for it in alerts if it.kind == "reports_lost" and it.at_ms > since_ms]
    if not lost:
        return [ok("reports", "none was lost within a day")]
    return [warning("reports", lost[0].detail, "read the lines at ERROR in that log")]


def check_understood(context: Context) -> list[CheckResult]:
    """Check that within a day nothing came in that may be a message and could not be read."""
    since_ms = context.store.watch().now_ms - 24 * HOUR_MS
    alerts = Alerts(context.store).newest(RECENT_ALERTS_MAX)
    unread = [it for it in alerts if it.kind == "not_understood" and it.at_ms > since_ms]
    if not unread:
        return [ok("webhooks", "what came in within a day was understood")]
    whose = unread[0].account_id or "an account"
    says = f"{whose} was posted what is not understood: {unread[0].detail}"
    more = f"; and {len(unread) - 1} more such alerts" if unread[1:] else ""
    advice = "read the chats on its phone, then see to its gateway; `manage.py alerts` lists all"
    return [mistake("webhooks", says + more, advice)]


def check_clock(context: Context) -> list[CheckResult]:
    """Check that this host's clock agrees with that of the ledger's Redis, which times batches."""
    before_ms = time.time_ns() // 1_000_000
    with reached():
        ledger_ms = server_ms(context.store.client.time())
    after_ms = time.time_ns() // 1_000_000
    # It was read between the two, nobody knows when.
    off_ms = max(0, before_ms - ledger_ms, ledger_ms - after_ms)
    if off_ms <= CLOCK_OFF_MS_MAX:
        return [ok("clock", "agrees with the ledger's")]
    says = f"of this host and of the ledger's differ by {span(off_ms)}"
    advice = "see which is wrong and have it synchronized: timedatectl"
    return [mistake("clock", says, advice)]


def check_certificates(context: Context) -> list[CheckResult]:
    """Check that the certificates which servers show us do not end soon."""
    now_ms, found = context.store.watch().now_ms, []
    for it in certificates(context.settings):
        if it.until_ms is None:
            says = f"that of the {it.of} cannot be seen: {it.why}"
            found.append(warning("certificates", says, f"see whether {it.about} can be reached"))
            continue
        left_ms = it.until_ms - now_ms
        ends = f"ends in {span(left_ms)}" if left_ms > 0 else "has ended"
        show = mistake if left_ms < LATE_MS else warning
        if left_ms < SOON_MS:
            advice = "renew it: docs/deploy.md, Certificates"
            found.append(show("certificates", f"that of the {it.of} {ends}", advice))
        else:
            found.append(ok("certificates", f"that of the {it.of} {ends}"))
    return found or [ok("certificates", "no server is reached by TLS")]


# The scheduler's monitor.


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Raise an alert of ``kind`` when ``check`` finds mistakes.

    ``lasting_ms``: for how long it must find them first. ``cooldown_ms``: how long no further
    alert of that kind is raised by the installation.
    """

    kind: str
    check: Check
    lasting_ms: int = 0
    cooldown_ms: int = HOUR_MS


ALERT_RULES = (
    AlertRule("unbalanced", check_counters),
    # The count never goes down, and the batch raised an alert of its own.
    AlertRule("lost", check_lost, cooldown_ms=24 * HOUR_MS),
    AlertRule("durability", check_durability),
    AlertRule("memory", check_memory),
    AlertRule("backup_stale", check_backup, cooldown_ms=24 * HOUR_MS),
    AlertRule("same_database", check_separate_databases),
    # A restart takes seconds, of a process and of the broker.
    AlertRule("missing_role", check_roles, lasting_ms=20_000),
    AlertRule("flusher_silent", check_flusher, lasting_ms=20_000),
    AlertRule("failing", check_failing),
)


@dataclass(slots=True)
class Monitor:
    """Run every alert rule once a call. A Redis that is away is reported by the tick, not here."""

    context: Context
    #: For each kind, how many runs in a row found mistakes.
    found: dict[str, int] = field(default_factory=dict)

    def __call__(self) -> None:
        """Run the rules. Never raises."""
        try:
            # Where no worker lives to find it.
            if is_silent(self.context.store.watch().flusher_lag_ms):
                flow.raise_overdue(self.context.store)
        except TransientError:
            return
        for rule in ALERT_RULES:
            try:
                self._run(rule)
            except TransientError:
                return
            except redis.RedisError:
                # The broker's Redis; the other rules need only the ledger.
                continue
            except Exception:
                log.exception("watch.failed", extra={"kind": rule.kind})

    def _run(self, rule: AlertRule) -> None:
        mistakes = [it for it in rule.check(self.context) if it.level is Level.MISTAKE]
        self.found[rule.kind] = self.found.get(rule.kind, 0) + 1 if mistakes else 0
        if not mistakes or (self.found[rule.kind] - 1) * MONITOR_EVERY_MS < rule.lasting_ms:
            return
        problems = [f"{it.about}: {it.says}: {it.advice}" for it in mistakes]
        detail = "; ".join(problems)
        if not self.context.store.alert_once(rule.kind, detail, cooldown_ms=rule.cooldown_ms):
            return
        if rule.kind == "unbalanced":
            log.error("ledger.unbalanced", extra={"problems": problems})
        else:
            log.error("alarm.raised", extra={"kind": rule.kind, "problems": problems})
