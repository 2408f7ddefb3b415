"""Alerts as the scripts write them, and what became of them."""

from collections.abc import Sequence
from typing import Any

from batching.alerts import Alerts
from batching.store import Store
from runtime.notifier import Notifier
from runtime.people import People
from runtime.settings import load_settings
from runtime.sinks import addresses_of


def raise_alerts(store: Store, count: int = 1, *, shard: int = 0, **fields: str) -> None:
    """Write alerts into a shard's stream."""
    client: Any = store.client
    for n in range(count):
        entry = {"kind": "poison", "account": "salon", "batch": f"b{n}"} | fields
        client.xadd(store.keyring.all_shards[shard].alerts, entry)


def end_window(store: Store) -> None:
    """End the window of the rate of ``raise_alerts``, and the turn of the last summary."""
    shard = store.keyring.shards[0]
    for kind in ("rate:poison", "held:poison"):
        store.client.delete(shard.cooldown("salon", kind))


def notified(store: Store) -> list[bool]:
    """Return of each alert whether a person was notified of it, newest first."""
    return [alert.notified for alert in Alerts(store).newest(1_000)]


def people(store: Store, urls: Sequence[str] = (), **settings: str) -> People:
    """Return those who are told at addresses, with settings by their names."""
    given = load_settings({"NOTIFY_URLS": " ".join(urls)} | settings)
    return People(store, given, addresses_of(given, []))


def notifier(
    store: Store, urls: Sequence[str] = (), *, sentry: bool = False, **settings: Any
) -> Notifier:
    """Return what delivers alerts, as the scheduler runs it."""
    return Notifier(Alerts(store), "a-ledger", sentry, people(store, urls, **settings))
