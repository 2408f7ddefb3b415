"""What the flow needs from outside: a model, a channel, a queue, accounts, a lease renewer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from batching.model import Answer, Budget, Exchange, Handover, Limits, Outbound, Waiting, WakeUp


class Model(Protocol):
    """Answers a customer."""

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
        """Return the answer to ``turn``, the batch's texts joined by newlines.

        ``history``: earlier exchanges, oldest first. ``now_ms``: the server's clock, so that the
        model knows the day. Raise TransientError or PermanentError, ModelStoppedError where the
        model refuses every question of the account, SupersededError where the lease renewer cut it
        off. Safe to run twice.
        """
        ...


class Desk(Protocol):
    """Knows when a person is to answer, whatever a model says, and what the customer is told."""

    def claims(self, customers: Sequence[str], turn: str) -> Handover | None:
        """Return why a person is to answer before a model is asked, None for no reason.

        ``customers``: the ids under which the messages of ``turn`` came.
        """
        ...

    def settled(self, history: Sequence[Exchange], answer: Answer) -> Answer:
        """Return a model's answer with words, and with a hand-over where its words promise one."""
        ...


class Channel(Protocol):
    """Carries text to a customer."""

    def split(self, text: str) -> list[str]:
        """Return ``text`` in parts the provider takes; joined they say all of it. At least one."""
        ...

    def send(self, outbound: Outbound) -> str:
        """Hand one part over and return the provider's id for it, "" if it gives none.

        Not safe to run twice. Raise TransientError or PermanentError only where the provider
        certainly did not take it, ChannelStoppedError where the account as a whole cannot send,
        AmbiguousError where the outcome is unknown.
        """
        ...


class Queue(Protocol):
    """Carries wake-ups to workers."""

    def enqueue(self, wake_up: WakeUp) -> None:
        """Wake a worker for a batch. May be lost, repeated or late. Raise TransientError."""
        ...


#: Renews a lease while a slow call runs: calls the given function several times in each lease,
#: which is given in ms, until the context ends. The function returns STALE when the run has lost
#: its batch, SUPERSEDED when the model's call under way is to be cut off where that can be done.
LeaseRenewer = Callable[[Callable[[], int], int], AbstractContextManager[None]]


#: Waits for so many ms between two tries to record a step; False when the process is about to end,
#: and there is no time for another.
Pause = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Account:
    """One business number: how it is answered, and by what limits.

    ``ambiguous``: what to do with a part of which no status came: "alert" makes the batch a dead
    letter, "resend" sends the part once more first. ``budget``: None where no model costs anything.
    ``fallbacks``: further models, at most two, asked in turn while those before cannot answer.
    ``apology``: sent to a customer whose batch becomes a dead letter without an answer, "" for no
    word. ``desk``: None where only a model hands over. ``waiting``: what is done while a person is
    awaited.
    """

    account_id: str
    limits: Limits
    channel: Channel
    model: Model
    ambiguous: Literal["alert", "resend"] = "alert"
    budget: Budget | None = None
    fallbacks: tuple[Model, ...] = ()
    apology: str = ""
    desk: Desk | None = None
    waiting: Waiting = field(default_factory=Waiting)


class Accounts(Protocol):
    """Finds accounts."""

    def get(self, account_id: str) -> Account | None:
        """Return the account, None if it is not configured. Raise what building it raises."""
        ...
