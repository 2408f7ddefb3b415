"""Stand-ins for the ports: plain classes that record calls and answer as they were set up."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from batching.model import Answer, Exchange, Outbound, WakeUp
from batching.ports import Account

#: 2026-01-15 12:00:00 UTC: a fixed, plausible "now" for tests.
NOON_MS = 1_768_478_400_000


class FakeClock:
    """Time that stands still until it is moved. Call it for the milliseconds since the epoch."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Return the present, in milliseconds since the epoch."""
        return self.now_ms

    def advance_ms(self, step_ms: int) -> int:
        """Move forward by ``step_ms`` and return the new present."""
        self.now_ms += step_ms
        return self.now_ms


@dataclass(frozen=True, slots=True)
class Question:
    """What a model was asked."""

    turn: str
    history: tuple[Exchange, ...]
    now_ms: int


class FakeModel:
    """Answers each question with the next of ``outcomes``, raising those that are exceptions.

    When they are used up it answers "Answer to: <turn>". ``before`` runs inside each call, for
    what must happen while a generation is under way.
    """

    def __init__(
        self, *outcomes: str | Answer | Exception, before: Callable[[], object] | None = None
    ) -> None:
        self.outcomes = list(outcomes)
        self.before = before
        self.questions: list[Question] = []

    @property
    def turns(self) -> list[str]:
        """Return the turns asked about, in order."""
        return [question.turn for question in self.questions]

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
        """Record the question, then return or raise the next outcome."""
        self.questions.append(Question(turn, tuple(history), now_ms))
        if self.before is not None:
            self.before()
        outcome = self.outcomes.pop(0) if self.outcomes else f"Answer to: {turn}"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome if isinstance(outcome, Answer) else Answer(outcome)


class FakeChannel:
    """Takes each part with the next of ``outcomes`` as its id, raising those that are exceptions.

    When they are used up the ids are "out-1", "out-2", …, by the number of the call. Text is split
    into pieces of ``length_max`` characters. ``before`` runs inside each ``send``. ``attempts``
    holds every part that was offered, ``sent`` those that were taken.
    """

    def __init__(
        self,
        *outcomes: str | Exception,
        length_max: int = 4096,
        before: Callable[[], object] | None = None,
    ) -> None:
        self.outcomes = list(outcomes)
        self.length_max = length_max
        self.before = before
        self.attempts: list[Outbound] = []
        self.sent: list[Outbound] = []

    @property
    def texts(self) -> list[str]:
        """Return the texts that were taken, in order."""
        return [outbound.text for outbound in self.sent]

    def split(self, text: str) -> list[str]:
        """Return ``text`` in pieces of at most ``length_max`` characters, at least one."""
        starts = range(0, max(len(text), 1), self.length_max)
        return [text[start : start + self.length_max] for start in starts]

    def send(self, outbound: Outbound) -> str:
        """Record the part, then return or raise the next outcome."""
        self.attempts.append(outbound)
        if self.before is not None:
            self.before()
        outcome = self.outcomes.pop(0) if self.outcomes else f"out-{len(self.attempts)}"
        if isinstance(outcome, Exception):
            raise outcome
        self.sent.append(outbound)
        return outcome


class FakeQueue:
    """Keeps the wake-ups; raises the next of ``failures`` instead where there is one."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.wake_ups: list[WakeUp] = []

    def enqueue(self, wake_up: WakeUp) -> None:
        """Record the wake-up or raise the next failure."""
        if self.failures:
            raise self.failures.pop(0)
        self.wake_ups.append(wake_up)

    def take(self) -> list[WakeUp]:
        """Return the wake-ups so far and forget them."""
        taken, self.wake_ups = self.wake_ups, []
        return taken


@dataclass(slots=True)
class FakeAccounts:
    """Accounts by id, all others unknown."""

    accounts: dict[str, Account] = field(default_factory=dict)

    @classmethod
    def of(cls, *accounts: Account) -> "FakeAccounts":
        """Return a book of just these accounts."""
        return cls({account.account_id: account for account in accounts})

    def get(self, account_id: str) -> Account | None:
        """Return the account, None if it was not given."""
        return self.accounts.get(account_id)


@dataclass(slots=True)
class FakePause:
    """Waits for nothing; ``waits`` holds how long it was to wait. The process ends at the last.

    ``after``: what happens in the pause of a number, from 1.
    """

    last: int = 9
    after: dict[int, Callable[[], object]] = field(default_factory=dict)
    waits: list[int] = field(default_factory=list)

    def __call__(self, ms: int) -> bool:
        """Record the wait and let happen what is to; False at the last."""
        self.waits.append(ms)
        self.after.get(len(self.waits), lambda: None)()
        return len(self.waits) < self.last


@dataclass(slots=True)
class FakeLeaseRenewer:
    """A lease renewer that renews nothing by itself; ``calls`` holds what it was given."""

    calls: list[tuple[Callable[[], int], int]] = field(default_factory=list)

    @contextmanager
    def __call__(self, extend: Callable[[], int], every_ms: int) -> Iterator[None]:
        """Record the call and let the body run."""
        self.calls.append((extend, every_ms))
        yield
