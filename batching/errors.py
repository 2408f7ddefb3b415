"""What can go wrong, by what the caller does about it.

    AdminError
    ├── TransientError            may pass: back off and try again
    │   ├── LedgerUnavailableError    Redis did not take the command
    │   ├── StoppedError              the account's calls are in vain: open a circuit, alert, defer
    │   │   ├── ChannelStoppedError       it cannot send
    │   │   └── ModelStoppedError         its model cannot answer
    │   ├── CircuitOpenError          the circuit is open: defer
    │   ├── BudgetSpentError          the model may not be asked now: defer
    │   └── UnusableAnswerError       the model was paid for nothing: ask twice more at most
    ├── PermanentError            will not pass: the batch becomes a dead letter
    ├── SupersededError           the customer wrote again: put the batch back
    ├── AmbiguousError            the provider may or may not have it: never repeat blindly
    ├── MalformedError            what came in does not have the documented form
    └── ConfigurationError        this process must not start like this

Only adapters know status codes; all other code knows these classes.
``code`` is short, constant and free of customers' data, e.g. ``model_429`` or ``cloud_131047``.
"""


class AdminError(Exception):
    """A failure with a ``code`` that may be logged, counted and shown to the operator."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class TransientError(AdminError):
    """May pass. ``retry_after_ms``: the least wait that the other side asked for, None if none.

    ``free``: a model that was asked certainly did no work, so the question counts in no budget.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after_ms: int | None = None,
        free: bool = False,
    ) -> None:
        super().__init__(code, detail)
        self.retry_after_ms = retry_after_ms
        self.free = free


class LedgerUnavailableError(TransientError):
    """Redis is away, read-only, full or too slow; nothing may be acknowledged."""


class StoppedError(TransientError):
    """True of every batch of the account until a person acts; no attempt is spent."""


class ChannelStoppedError(StoppedError):
    """The account as a whole cannot send (key revoked, number locked)."""


class ModelStoppedError(StoppedError):
    """The account's model as a whole cannot answer (key refused, no money, no such model)."""


class CircuitOpenError(TransientError):
    """Not called at all, because it is in vain; ``retry_after_ms`` says when to try again."""


class BudgetSpentError(TransientError):
    """The model may not be asked for ``retry_after_ms``; a person is alerted, no attempt spent."""


class UnusableAnswerError(TransientError):
    """The model answered, at its full price, what no customer may get: asked twice more at most.

    What a customer wrote may be the cause, and then every further answer is as useless.
    """


class PermanentError(AdminError):
    """Will not pass, however often it is tried."""


class AmbiguousError(AdminError):
    """The request may have been carried out, and its answer is lost."""


class SupersededError(AdminError):
    """The customer wrote again before any of the answer left: it is made anew with everything.

    ``draft``: an answer is discarded by this; not where no model was asked yet.
    """

    def __init__(self, code: str = "superseded", detail: str = "", *, draft: bool = True) -> None:
        super().__init__(code, detail)
        self.draft = draft


class MalformedError(AdminError):
    """Input without the documented form; ``detail`` names the thing, the value and the limit."""


class ConfigurationError(AdminError):
    """Settings, accounts or a ledger that this process must not run with."""
