"""What is certain when a call fails.

    WireError
    ├── UnsendableError   the URL or a header cannot be sent, and will not be next time
    ├── UnsentError       nothing left, for no connection came about
    └── UnansweredError   the other side may have the request

No error holds a URL, a header or a body.
"""

from enum import StrEnum


class Fault(StrEnum):
    """What went wrong."""

    REQUEST = "request"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    OVERSIZED = "oversized"


class WireError(Exception):
    """A call that brought no whole answer. ``detail`` may be logged."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


class UnsendableError(WireError):
    """The request cannot be sent as it is; always Fault.REQUEST."""


class UnsentError(WireError):
    """Certainly not sent: Fault.TIMEOUT or Fault.BROKEN, before a connection stood."""


class UnansweredError(WireError):
    """Perhaps sent, and perhaps carried out: Fault.TIMEOUT, BROKEN or OVERSIZED."""
