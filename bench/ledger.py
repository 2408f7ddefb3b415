"""The ledger alone: what an open conversation weighs, and what a tick costs with nothing due."""

import time
from collections.abc import Callable

from batching.model import InboundMessage, Kind, Limits
from batching.store import Pipeline, Store
from bench.figures import Figure, Scale, percentile
from tests.stack.stack import Stack

ACCOUNT = "bench"
SENT_AT_MS = 1_700_000_000_000
#: So far away that nothing becomes due or overdue while we measure: filling takes minutes.
LIMITS = Limits(idle_ms=3_600_000, max_wait_ms=3_600_000, overdue_ms=3_600_000)
#: Conversations in one round trip while filling.
CHUNK = 500
#: What a customer's message of 300 bytes is made of.
TEXT = "Can I book for tomorrow at three? ".ljust(300, ".")


def weigh(stack: Stack, scale: Scale) -> list[Figure]:
    """Return the bytes that an open conversation of three messages of 300 bytes takes."""
    store = stack.ledger.store
    fill(store, range(-100, 0), messages=3, text=TEXT)
    before = stack.ledger.used_bytes()
    fill(store, range(scale.conversations), messages=3, text=TEXT)
    each = (stack.ledger.used_bytes() - before) / scale.conversations
    return [
        Figure("open conversation, three 300-byte messages", f"{each:,.0f} B", "at most 2,048 B"),
        Figure("  the same, messages alone", f"{3 * len(TEXT):,} B"),
        Figure("  conversations measured", f"{scale.conversations:,}"),
    ]


def tick(stack: Stack, scale: Scale) -> list[Figure]:
    """Return what a scheduler's look and a flusher's collect cost at each number of open ones."""
    store, filled = stack.ledger.store, 0
    looks, collects = [], []
    for conversations in scale.open_conversations:
        fill(store, range(filled, conversations), messages=1, text="Hi")
        filled = conversations
        looks.append(_tick_figure("look", conversations, store.watch, scale.ticks))
        collects.append(
            _tick_figure("collect", conversations, lambda: _collect(store), scale.ticks)
        )
    return looks + collects


def fill(store: Store, customers: range, *, messages: int, text: str) -> None:
    """Open one conversation for each number, through the same script as a webhook."""
    round_trip = store.pipeline()
    for number, customer in enumerate(customers, start=1):
        _append(store, round_trip, customer, messages, text)
        if number % CHUNK == 0:
            round_trip.execute()
    round_trip.execute()


def _append(store: Store, round_trip: Pipeline, customer: int, messages: int, text: str) -> None:
    # As long as the ids of the Cloud API, and no number that anybody has.
    number = f"7000{customer:08d}"
    conversation_id = store.conversation_id(ACCOUNT, number)
    for n in range(messages):
        message_id = f"wamid.bench.{customer}.{n}".ljust(58, "x")
        message = InboundMessage(ACCOUNT, number, message_id, Kind.TEXT, text, SENT_AT_MS)
        round_trip.append(conversation_id, message, LIMITS)


def _collect(store: Store) -> None:
    for shard in store.keyring.shards:
        store.collect(shard, limit=100)
        store.reap(shard, limit=100)


def _tick_figure(what: str, conversations: int, call: Callable[[], object], times: int) -> Figure:
    # The first tenth is thrown away: connections, caches and the processor wake up.
    spent_us = [_timed_us(call) for _ in range(times + times // 10)][times // 10 :]
    value = f"{percentile(spent_us, 50):,.0f} µs"
    return Figure(f"{what}, {conversations:,} open", value, "the same in each row")


def _timed_us(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e6
