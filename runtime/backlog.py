"""What waits for a person in a ledger: further questions of the diagnosis, in plain words.

Every function raises LedgerUnavailableError.
"""

from typing import Any

from batching.alert import untold_ms
from batching.alerts import Alerts
from batching.census import census
from batching.keys import CANARY
from batching.ledger import reached
from runtime.diagnosis import Subject
from runtime.durability import Finding, Level

#: How long an alert may wait to be told, ms: it takes seconds, or something is wrong.
UNTOLD_MS_MAX = 300_000
#: So many canaries in a row may be missing, and so much later may the last one be, ms.
CANARIES_MISSED_MAX, CANARY_SLACK_MS = 3, 20_000
#: So many of the newest alerts of each shard are looked through.
LOOKED_AT = 1_000


def told(subject: Subject) -> list[Finding]:
    """Whether alerts reach a person."""
    waiting, now_ms = census(subject.store).untold, subject.store.watch().now_ms
    age_ms = untold_ms(Alerts(subject.store).kept(LOOKED_AT), now_ms)
    says = f"not told yet: {waiting}, the oldest for {age_ms} ms"
    if age_ms <= UNTOLD_MS_MAX:
        return [Finding(Level.OK, "alerts", says)]
    advice = "see that a scheduler runs and reaches SENTRY_DSN; `manage.py alerts` lists them"
    return [Finding(Level.MISTAKE, "alerts", says, advice)]


def letters(subject: Subject) -> list[Finding]:
    """Whether dead letters wait for a decision."""
    counted = census(subject.store)
    if not counted.letters:
        return [Finding(Level.OK, "dead letters", "none wait")]
    says = (
        f"waiting: {counted.letters} with {counted.dead} messages, "
        f"the oldest for {counted.oldest_letter_ms} ms"
    )
    advice = "`manage.py dead list`, then `manage.py dead replay BATCH` or `dead discard BATCH`"
    return [Finding(Level.WARNING, "dead letters", says, advice)]


def stopped(subject: Subject) -> list[Finding]:
    """Whether accounts cannot send: their customers are not answered."""
    shards, ids = subject.store.keyring.shards, subject.account_ids
    why = subject.store.read([shard.stopped(name) for name in ids for shard in shards])
    found = []
    for n, account_id in enumerate(ids):
        codes = {code for code in why[n * len(shards) : (n + 1) * len(shards)] if code}
        if codes:
            says = f"{account_id} cannot send: {', '.join(sorted(codes))}"
            advice = "see to its key and its number at the provider; its batches wait meanwhile"
            found.append(Finding(Level.MISTAKE, "accounts", says, advice))
    return found or [Finding(Level.OK, "accounts", "none is stopped")]


def overdue(subject: Subject) -> list[Finding]:
    """Whether batches wait too long: those that a person was told of, and those not yet."""
    waiting = _told_and_waiting(subject)
    late = census(subject.store).late
    if not waiting and not late:
        return [Finding(Level.OK, "overdue", "no batch waits too long")]
    shown = f", such as {waiting[0]}" if waiting else ""
    says = f"batches that wait too long: {len(waiting) + late}{shown}"
    advice = "`manage.py trace CONVERSATION` shows where one is"
    return [Finding(Level.WARNING, "overdue", says, advice)]


def canary(subject: Subject) -> list[Finding]:
    """Whether a synthetic message came out of the whole way lately."""
    settings = subject.settings
    if not settings.canary_url:
        advice = "set it to where our webhooks are: else a way that is broken is seen by customers"
        return [Finding(Level.WARNING, "CANARY_URL", "is not set: no canary is sent", advice)]
    now_ms = subject.store.watch().now_ms
    with reached():
        found: Any = subject.store.client.hmget(CANARY, "answered_ms", "round_trip_ms")
    answered_ms, round_trip_ms = (int(value or 0) for value in found)
    age_ms = now_ms - answered_ms
    if answered_ms and age_ms <= CANARIES_MISSED_MAX * settings.canary_every_ms + CANARY_SLACK_MS:
        says = f"came out {age_ms} ms ago, after {round_trip_ms} ms"
        return [Finding(Level.OK, "canary", says)]
    says = f"came out last {age_ms} ms ago" if answered_ms else "never came out"
    advice = "`manage.py alerts` tells the step where it was last seen (canary_late)"
    return [Finding(Level.MISTAKE, "canary", says, advice)]


def _told_and_waiting(subject: Subject) -> list[str]:
    """Return the conversations whose overdue batch is still open or in flight, newest first."""
    store = subject.store
    alerts = [alert for alert in Alerts(store).kept(LOOKED_AT) if alert.kind == "overdue"]
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
