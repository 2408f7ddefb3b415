"""What a scrape reads of the ledger: a fixed number of round trips, whatever there is in it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.exceptions import NoPermissionError

from batching.alerts import Alerts, Undelivered
from batching.errors import LedgerUnavailableError
from batching.figures import Summed
from batching.inspect import (
    Census,
    Counters,
    awaited,
    census,
    counters,
    to_number,
    total,
    watched_count,
)
from batching.keys import BACKUP, CANARY, FIGURES
from batching.model import CANARY_ACCOUNT, Circuit, LostChannel, Watch
from batching.store import Store, reached
from runtime.build import Runtime
from runtime.clients import server_info
from runtime.fleet import Member, drift, members

T = TypeVar("T")
#: So many accounts have figures of their own, the first of the file; the others share OTHER. Each
#: is a hundred lines, and a millisecond in which no webhook is answered.
ACCOUNTS_MAX = 50
OTHER = "other"
#: Among so many batches of each shard, those whose leases end first, the oldest is looked for.
FLIGHT_LOOKED_AT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Spent:
    """Questions that were asked in the present day of an account, or "" for the installation."""

    account_id: str
    questions: int
    most: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The ledger at one moment. ``redis``: fields of INFO, {} where that is not allowed.

    ``awaited``: since when a person is awaited in each conversation with a hand-over.
    ``copied_ms``: when the last copy of it was made, 0 for none that it knows of.
    ``oldest_flight_ms``: the age of the oldest batch in flight, 0 without one. ``spent`` is [] and
    ``model_is_on`` None where our user may not ask: its rights are of an earlier release.
    """

    watch: Watch
    shards: Sequence[Counters]
    total: Counter[str]
    census: Census
    figures: Summed
    oldest_flight_ms: int
    alerts: Undelivered
    members: Sequence[Member]
    drift: int
    circuits: Sequence[Circuit]
    lost_channels: Sequence[LostChannel]
    watched: Mapping[str, int]
    spent: Sequence[Spent]
    model_is_on: bool | None
    canary: tuple[int, int]
    copied_ms: int
    awaited: Sequence[int]
    redis: Mapping[str, object]


def accounts_of(runtime: Runtime) -> list[str]:
    """Return the accounts that have figures of their own."""
    ids = [config.account_id for config in runtime.accounts]
    return [account_id for account_id in ids if account_id != CANARY_ACCOUNT][:ACCOUNTS_MAX]


def read(runtime: Runtime) -> Reading | None:
    """Return what the ledger says now, None if it does not answer."""
    store, account_ids = runtime.store, accounts_of(runtime)
    try:
        watch, shards, found = store.watch(), counters(store), members(store.client)
        with reached():
            canary: Any = store.client.hmget(CANARY, "answered_ms", "round_trip_ms")
            info = server_info(store.client, "memory") | server_info(store.client, "commandstats")
        return Reading(
            watch=watch,
            shards=shards,
            total=total(shards),
            census=census(store),
            figures=Summed(_if_allowed(lambda: _figures(store), {})),
            oldest_flight_ms=_oldest_flight_ms(store, watch.now_ms),
            alerts=Alerts(store).undelivered(),
            members=found,
            drift=len(drift(found, 0)),
            circuits=store.circuits(account_ids),
            lost_channels=store.lost_channels(),
            watched=_if_allowed(lambda: watched_count(store, account_ids), {}),
            spent=_if_allowed(lambda: _spent(runtime, account_ids), []),
            model_is_on=_if_allowed(store.model_is_on, None),
            canary=(to_number(canary[0]), to_number(canary[1])),
            copied_ms=_if_allowed(lambda: _copied_ms(store), 0),
            awaited=_if_allowed(lambda: [it.since_ms for it in awaited(store)], []),
            redis=info,
        )
    except LedgerUnavailableError:
        return None


def _if_allowed(ask: Callable[[], T], otherwise: T) -> T:
    """Return what is asked; ``otherwise`` where our user has no right to ask."""
    try:
        return ask()
    except LedgerUnavailableError as error:
        if isinstance(error.__cause__, NoPermissionError):
            return otherwise
        raise


def _figures(store: Store) -> dict[bytes, bytes]:
    with reached():
        kept: Any = store.client.hgetall(FIGURES)
    return dict(kept)


def _copied_ms(store: Store) -> int:
    with reached():
        found: Any = store.client.hmget(BACKUP, "made_ms")
    return to_number(found[0])


def _oldest_flight_ms(store: Store, now_ms: int) -> int:
    pipeline: Any = store.client.pipeline(transaction=False)
    for shard in store.keyring.shards:
        pipeline.zrange(shard.lease, 0, FLIGHT_LOOKED_AT_MAX - 1)
    with reached():
        flying = pipeline.execute()
        for shard, conversations in zip(store.keyring.shards, flying, strict=True):
            for conversation in conversations:
                pipeline.hget(shard.batches(conversation.decode()), "first")
        first_ms = [int(at_ms) for at_ms in pipeline.execute() if at_ms]
    return max(0, now_ms - min(first_ms, default=now_ms))


def _spent(runtime: Runtime, account_ids: Sequence[str]) -> list[Spent]:
    """Return what is spent of each account's budget of the day, then of the installation's."""
    budgets = [runtime.accounts.config(it) for it in account_ids]
    most = [it.budget.account_day if it else 0 for it in budgets]
    names = [*zip(account_ids, most, strict=True), ("", runtime.settings.budget_installation_day)]
    counts = runtime.store.asked_of(account_ids)
    return [Spent(name, count, most) for (name, most), count in zip(names, counts, strict=True)]
