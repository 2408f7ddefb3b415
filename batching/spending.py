"""What the model may cost: a question is counted before it is asked, and not asked beyond a budget.

Budgets are of the whole installation, so all that belongs to them is in the first shard.
"""

import logging
from typing import Any

from batching.errors import BudgetSpentError
from batching.keys import Shard
from batching.ledger import reached
from batching.limits import Budget
from batching.records import Run
from batching.scripts import run
from batching.settling import about
from batching.store import Store

log = logging.getLogger(__name__)

#: In place of an account: all of them.
_ALL = "*"


def spend(store: Store, held: Run, budget: Budget | None) -> None:
    """Count the question that the run is about to ask; None has no budget. Safe to run twice.

    Raise BudgetSpentError where it may not be asked; a person is told, once an hour.
    """
    if budget is None:
        return
    conversation_id, account_id = held.ring.conversation_id, held.account_id
    s = _home(store)
    keys = (
        s.spent(conversation_id), s.spent(account_id), s.spent(_ALL),
        s.told(account_id, "budget_conversation"), s.told(account_id, "budget_account"),
        s.told(_ALL, "budget_installation"), s.told(_ALL, "model_off"),
        s.model_off, s.alerts, s.stats,
    )  # fmt: skip
    most = (budget.conversation_hour, budget.account_day, budget.installation_day)
    args = (conversation_id, account_id, held.token, *most)
    granted, left_ms, why, told = run(store.client, store.timed("spend", keys, args))
    if granted:
        return
    code, park_ms = why.decode(), store.pace.park_ms
    if told:
        log.error("budget.spent", extra=about(held) | {"code": code})
    # Looked at again soon, for a person may have raised the budget or switched the model on.
    raise BudgetSpentError(code, retry_after_ms=park_ms if left_ms < 0 else min(left_ms, park_ms))


def switch_model(store: Store, *, on: bool) -> None:
    """Let questions be asked from now on, or none; what waits is kept. Safe to run twice."""
    with reached():
        if on:
            store.client.delete(_home(store).model_off)
        else:
            store.client.set(_home(store).model_off, 1)


def model_is_on(store: Store) -> bool:
    """Return whether questions may be asked."""
    with reached():
        return not store.client.exists(_home(store).model_off)


def asked(store: Store) -> int:
    """Return how many questions the installation asked in its day, which begins with the first."""
    with reached():
        count: Any = store.client.hget(_home(store).spent(_ALL), "count")
    return int(count or 0)


def _home(store: Store) -> Shard:
    return store.keyring.shards[0]
