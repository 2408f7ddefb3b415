"""After a restore: give what waits to a person, because it may have been answered since the copy.

A copy of the ledger knows nothing of what happened after it was made. Started as it is, it would
answer again what was open then.
"""

import time
from dataclasses import dataclass, field

from batching import flow
from batching.inspect import census
from batching.model import Reason, WakeUp
from batching.store import Store

#: Between two looks at what has become due, s.
_POLL_S = 0.5


@dataclass(slots=True)
class _Taken:
    """A queue that nobody else reads."""

    wake_ups: list[WakeUp] = field(default_factory=list)

    def enqueue(self, wake_up: WakeUp) -> None:
        self.wake_ups.append(wake_up)


@dataclass(frozen=True, slots=True)
class Held:
    """``batches`` that became dead letters, and ``messages`` that wait all the same."""

    batches: int
    messages: int


def hold(store: Store, *, wait_s: float) -> Held:
    """Make a dead letter of every batch; wait up to ``wait_s`` for those that are not due yet.

    No other process may work with this ledger. Safe to run again. Raise LedgerUnavailableError.
    """
    deadline, batches = time.monotonic() + wait_s, 0
    while True:
        taken = _Taken()
        flow.flush(store, taken)
        for wake_up in taken.wake_ups:
            if run := store.begin(wake_up):
                flow.dead_letter(store, run, Reason.RESTORED, "restored")
                batches += 1
        found = census(store)
        waiting = found.open + found.flight
        if not waiting or time.monotonic() > deadline:
            return Held(batches, waiting)
        if not taken.wake_ups:
            time.sleep(_POLL_S)
