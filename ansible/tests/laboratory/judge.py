"""The judge: every acknowledged message was answered once, or a person was told, and books hold."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batching.audit import audit
from batching.inspect import counters, dead_letters
from tests.chaos import verdict
from tests.chaos.record import Record, Refused
from tests.chaos.sink import Sink
from tests.chaos.verdict import Figures
from tests.fake_sentry import FakeSentry
from tests.stack.ledger import LedgerView
from tests.waiting import eventually

#: Longer than every backoff that a batch may still be in when all is well again.
CALM_S = 420.0
ATTEMPTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a chapter.

    ``problems``: promises that were broken and not told of before. ``refusals``: webhooks that were
    not answered 200, by what was said instead. ``figures``: of the whole session so far.
    """

    problems: list[str]
    refusals: Counter[str]
    figures: Figures


class Judge:
    """Judges the history of a session that begins with ``ledger`` as it is."""

    def __init__(
        self, record: Record, sentry: FakeSentry, ledger: LedgerView, resends: frozenset[str]
    ) -> None:
        self._record = record
        self._sentry = sentry
        self._resends = resends
        self._accepted_before = _accepted(ledger)
        self._alerts_before = {alert.entry for alert in self._sink(ledger).alerts()}
        self._told: set[str] = set()

    def judge(self, ledger: LedgerView, pending: Callable[[], int], began: int) -> Verdict:
        """Wait until all has come to rest, then judge. ``began``: the chapter's first event."""
        sink = self._sink(ledger)
        problems = self._calm_down(ledger, sink, pending)
        letters = dead_letters(ledger.store)
        alerts = [alert for alert in sink.alerts() if alert.entry not in self._alerts_before]
        history = verdict.whole(self._record.events, letters, alerts)
        problems += verdict.judge(history, resend=self._resends, max_attempts=ATTEMPTS_MAX)
        problems += self._books(ledger)
        problems += sink.undelivered_count() if not self._alerts_before else ()
        new = [problem for problem in problems if problem not in self._told]
        self._told.update(new)
        refused = (e for e in self._record.events[began:] if isinstance(e, Refused))
        refusals = Counter(event.status or event.why for event in refused)
        return Verdict(new, refusals, verdict.count(history, self._record.events))

    def _sink(self, ledger: LedgerView) -> Sink:
        return Sink(ledger.client, ledger.store.keyring.shards, self._sentry)

    def _calm_down(self, ledger: LedgerView, sink: Sink, pending: Callable[[], int]) -> list[str]:
        def is_calm() -> bool:
            rests = not any(book.open or book.flight for book in counters(ledger.store))
            return rests and not pending() and sink.is_told()

        try:
            eventually(is_calm, what="calm", deadline_s=CALM_S, every_s=0.2)
        except AssertionError:
            balance = counters(ledger.store)
            return [f"never came to rest: {pending()} deliveries left, {balance}"]
        return []

    def _books(self, ledger: LedgerView) -> Iterator[str]:
        """Yield where the books contradict themselves, or what was seen from outside."""
        balance = counters(ledger.store)
        yield from (f"books: {book}" for book in balance if not book.holds or book.lost)
        yield from (f"audit: {line}" for line in audit(ledger.store).problems)
        accepted = _accepted(ledger) - self._accepted_before
        acknowledged = len(verdict.moments(self._record.events)[0])
        if accepted != acknowledged:
            yield f"books: {accepted} accepted, {acknowledged} acknowledged"


def _accepted(ledger: LedgerView) -> int:
    return sum(book.accepted for book in counters(ledger.store))
