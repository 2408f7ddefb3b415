"""Waits until an installation has come to rest, and holds its history against its promises.

What customers, model and provider saw is judged by ``tests.history.checker``. Here the ledger's
dead letters and alerts are added to it, and what a history cannot show is compared: the counters
with the content and with what was acknowledged, the alerts with what Sentry received.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from batching.alerts import Alert, Alerts
from batching.audit import audit
from batching.inspect import DeadLetter, counters, dead_letters
from batching.model import Tag
from tests.chaos.record import Healed, Noted, Refused, Struck, accepted_ms
from tests.fake_sentry import FakeSentry
from tests.history.checker import DROPS, check
from tests.history.events import Alerted, Asked, Died, Happening, Offered, Paused, Taken
from tests.stack.ledger import LedgerView
from tests.waiting import eventually

#: Longer than every backoff that a batch may still be in when all is well again.
CALM_S = 420.0
#: How long after a fault a call that began under it may still run, ms: the callers' patience.
TAIL_MS = 3_000
#: More alerts than a run has.
ALERTS_MAX = 100_000


class Judge:
    """Judges what happens to ``ledger`` from now on.

    ``resend``: the accounts that send a part in doubt once more. ``max_attempts``: how often a
    model may be asked about one batch.
    """

    def __init__(
        self,
        events: Sequence[Noted],
        sentry: FakeSentry,
        ledger: LedgerView,
        *,
        resend: frozenset[str],
        max_attempts: int,
    ) -> None:
        self._events = events
        self._sentry = sentry
        self._resend = resend
        self._max_attempts = max_attempts
        self._accepted_before = accepted_count(ledger)
        self._alerts_before = {alert.name for alert in alerts_of(ledger)}
        #: What the last judgement was about.
        self.history: list[Happening] = []

    def judge(self, ledger: LedgerView, pending: Callable[[], int]) -> list[str]:
        """Wait until all has come to rest, then return every promise that was broken.

        ``pending`` returns how many webhooks are still to be delivered.
        """
        problems = list(self._calm_down(ledger, pending))
        alerts = [a for a in alerts_of(ledger) if a.name not in self._alerts_before]
        self.history = whole(self._events, dead_letters(ledger.store), alerts)
        problems += check(self.history, resend=self._resend, max_attempts=self._max_attempts)
        problems += self._miscounted(ledger)
        # A summary of older alerts may stand for new ones too.
        return problems + (undelivered(ledger, self._sentry) if not self._alerts_before else [])

    def _calm_down(self, ledger: LedgerView, pending: Callable[[], int]) -> Iterator[str]:
        def is_calm() -> bool:
            rests = not any(count.open or count.flight for count in counters(ledger.store))
            return rests and not pending() and all_delivered(ledger)

        try:
            eventually(is_calm, what="calm", deadline_s=CALM_S, every_s=0.2)
        except AssertionError:
            left = f"{pending()} deliveries left, {counters(ledger.store)}"
            yield f"never came to rest: {left}"

    def _miscounted(self, ledger: LedgerView) -> Iterator[str]:
        """Yield where the counters contradict the content, or what was seen from outside."""
        for count in counters(ledger.store):
            if not count.holds or count.lost:
                yield f"counters: {count}"
        yield from (f"audit: {line}" for line in audit(ledger.store).problems)
        accepted = accepted_count(ledger) - self._accepted_before
        acknowledged = len(accepted_ms(self._events))
        if accepted != acknowledged:
            yield f"counters: {accepted} accepted, {acknowledged} acknowledged"


def accepted_count(ledger: LedgerView) -> int:
    return sum(count.accepted for count in counters(ledger.store))


def alerts_of(ledger: LedgerView) -> list[Alert]:
    """Return the alerts of a ledger, notified or not, oldest first."""
    return Alerts(ledger.store).newest(ALERTS_MAX)[::-1]


def all_delivered(ledger: LedgerView) -> bool:
    return not Alerts(ledger.store).undelivered().count


def alert_in(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the alert that an event of Sentry's is about, empty if it is about something else."""
    found = (event.get("contexts") or {}).get("alert")
    return dict(found) if found else {}


def undelivered(ledger: LedgerView, sentry: FakeSentry) -> list[str]:
    """Return of which alerts Sentry has nothing, by account, kind and cause."""
    due = Counter(alert.rate_name for alert in alerts_of(ledger))
    single: dict[str, str] = {}
    # Those that are notified by summaries, now or later.
    throttled = Counter(Alerts(ledger.store).throttled_counts())
    for event in sentry.events:
        if alert := alert_in(event):
            told = Alert(0, "", alert["kind"], alert.get("detail", ""), alert.get("account", ""))
            name = told.rate_name
            if count := alert.get("throttled"):
                throttled[name] += int(count)
            else:
                single[str(event["event_id"])] = name
    notified = Counter(single.values())
    return [
        f"undelivered: {name}: {count} alerts, {notified[name]} single, {throttled[name]} throttled"
        for name, count in due.items()
        if notified[name] + throttled[name] < count
    ]


def whole(
    events: Sequence[Noted], letters: Sequence[DeadLetter], alerts: Sequence[Alert]
) -> list[Happening]:
    """Return the history with the dead, the alerts, and the moments when leases may be lost."""
    shaken = _shaken(events)
    history: list[Happening] = []
    for event in events:
        if isinstance(event, Struck | Healed | Refused):
            continue
        history.append(event)
        if isinstance(event, Asked):
            who = {worker for since, until, worker in shaken if since <= event.at_ms <= until}
            history += [Paused(event.at_ms, worker) for worker in sorted(who)]
    end_ms = events[-1].at_ms if events else 0
    dead = {f"{letter.conversation_id}:{letter.batch_id}": letter for letter in letters}
    for batch, letter in dead.items():
        words = tuple(message.text for message in letter.messages)
        history.append(Died(end_ms, batch, words))
    settled = {_batch_of(alert) for alert in alerts if alert.kind in DROPS} - set(dead)
    history += [Died(end_ms, *found) for found in sorted(_said(events, settled).items())]
    history += [Alerted(end_ms, alert.kind, _batch_of(alert)) for alert in alerts]
    return history


def _batch_of(alert: Alert) -> str:
    return f"{alert.conversation_id}:{alert.batch_id}" if alert.batch_id else ""


def _shaken(events: Sequence[Noted]) -> list[tuple[int, int, str]]:
    """Return when a worker may have lost a lease: from, until, the worker or "" for any."""
    end_ms = events[-1].at_ms if events else 0
    healed = {event.number: event.at_ms for event in events if isinstance(event, Healed)}
    return [
        (event.at_ms, healed.get(event.number, end_ms) + TAIL_MS, event.unsettles)
        for event in events
        if isinstance(event, Struck) and event.unsettles is not None
    ]


def _said(events: Sequence[Noted], batches: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the words of those dead letters that a late status settled: they were sent."""
    known = {event.word for event in events if isinstance(event, Offered)}
    found: dict[str, tuple[str, ...]] = {}
    for event in events:
        if isinstance(event, Taken) and (tag := Tag.parse(event.tag)):
            batch = f"{tag.conversation_id}:{tag.batch_id}"
            if batch in batches:
                found[batch] = tuple(word for word in event.text.split() if word in known)
    return found
