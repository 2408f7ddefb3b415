"""Gives every way in which a run can fail its place in the ledger, so that none is the end."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from batching.backoff import backoff_ms
from batching.errors import (
    AmbiguousError,
    BudgetSpentError,
    ChannelStoppedError,
    LedgerUnavailableError,
    PermanentError,
    TransientError,
)
from batching.model import Reason, Ring
from batching.records import Run
from batching.store import DONE, SPENT, Setback, Store

log = logging.getLogger(__name__)


@contextmanager
def settling(store: Store, run: Run, *, fatal: Reason) -> Iterator[None]:
    """Turn what a run raises into the batch's next state, so that no failure is the end of it."""
    try:
        yield
    except LedgerUnavailableError:
        # Nothing can be recorded now; the lease brings the batch back.
        raise
    except ChannelStoppedError as error:
        if store.stop(run, error.code):
            told = about(run) | {"code": error.code}
            log.error("channel.stopped", extra=told)  # noqa: TRY400 - the code says it all
        _set_back(store, run, "park", store.pace.park_ms, fatal, error.code)
    except BudgetSpentError as error:
        wait_ms = error.retry_after_ms or store.pace.park_ms
        _set_back(store, run, "park", wait_ms, fatal, error.code)
    except AmbiguousError as error:
        _set_back(store, run, "ambiguous", store.pace.ambiguous_ms, fatal, error.code)
    except TransientError as error:
        ring = run.ring
        wait_ms = backoff_ms(ring.attempt, ring.batch_id, least_ms=error.retry_after_ms)
        _set_back(store, run, "retry", wait_ms, fatal, error.code)
    except PermanentError as error:
        bury(store, run.ring, run.token, run.account_id, fatal, error.code)
    except Exception as error:
        # A fault of ours. A part may be out already: "ambiguous" retries only if none is.
        log.exception("batch.crashed", extra=about(run))
        code = type(error).__name__
        _set_back(store, run, "ambiguous", store.pace.ambiguous_ms, Reason.POISON, code)


def _set_back(
    store: Store, run: Run, verdict: Setback, wait_ms: int, fatal: Reason, code: str
) -> None:
    """Let the batch wait for its next attempt; bury it where there is none left."""
    outcome = store.fail(run.ring, run.token, verdict, wait_ms, code)
    if outcome == SPENT:
        bury(store, run.ring, run.token, run.account_id, fatal, code)
    elif outcome == DONE:
        told = {"verdict": verdict, "code": code, "wait_ms": wait_ms}
        log.warning("batch.retried", extra=about(run) | told)


def bury(
    store: Store, ring: Ring, token: str, account_id: str, reason: Reason, detail: str
) -> None:
    """Give the batch to a person: a dead letter and one alert, in one step."""
    counts = store.bury(ring, token, reason, detail)
    if counts:
        told = {"reason": reason, "detail": detail, "kept": counts[0], "lost": counts[1]}
        log.error("batch.dropped", extra=named(ring, account_id) | told)


def salvage(store: Store, conversation_id: str) -> None:
    """Give what is left of a batch that vanished to a person, and tell that it did."""
    for batch_id, detail, kept in store.salvage(conversation_id):
        told = {"conversation": conversation_id, "batch": batch_id, "kept": kept, "lost": 0}
        log.error("batch.dropped", extra=told | {"reason": Reason.VANISHED, "detail": detail})


def about(run: Run) -> dict[str, object]:
    """Return the log fields of a run."""
    return named(run.ring, run.account_id) | {"batch_size": run.count}


def named(ring: Ring, account_id: str) -> dict[str, object]:
    """Return the log fields that name a batch."""
    return {
        "account": account_id,
        "conversation": ring.conversation_id,
        "batch": ring.batch_id,
        "stage": ring.stage,
        "attempt": ring.attempt,
    }
