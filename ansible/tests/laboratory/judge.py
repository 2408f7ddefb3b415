"""The judge of a session: of each chapter, what is wrong that was not wrong before."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.judge import Judge
from tests.chaos.record import Record, Refused
from tests.chaos.report import Figures, count
from tests.fake_sentry import FakeSentry
from tests.stack.ledger import LedgerView

ATTEMPTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a chapter.

    ``problems``: promises that were broken in it. ``refusals``: webhooks that were not answered
    200, by what was said instead. ``figures``: of the whole session so far.
    """

    problems: list[str]
    refusals: Counter[str]
    figures: Figures


class SessionJudge:
    """Judges the chapters of a session that begins with ``ledger`` as it is."""

    def __init__(
        self, record: Record, sentry: FakeSentry, ledger: LedgerView, resends: frozenset[str]
    ) -> None:
        self._events = record.events
        self._judge = Judge(
            record.events, sentry, ledger, resend=resends, max_attempts=ATTEMPTS_MAX
        )
        self._known: set[str] = set()

    def judge(self, ledger: LedgerView, pending: Callable[[], int], began: int) -> Verdict:
        """Wait until all has come to rest, then judge. ``began``: the chapter's first event."""
        problems = self._judge.judge(ledger, pending)
        new = [problem for problem in problems if problem not in self._known]
        self._known.update(new)
        refused = (e for e in self._events[began:] if isinstance(e, Refused))
        refusals = Counter(event.status or event.why for event in refused)
        return Verdict(new, refusals, count(self._judge.history, self._events))
