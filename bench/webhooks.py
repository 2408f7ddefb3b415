"""Webhooks a second: the signed endpoint beside no-ops, and what a synced ledger costs it."""

from bench import load
from bench.figures import Figure, Scale
from tests.stack.stack import Stack


def measure(stack: Stack, scale: Scale) -> list[Figure]:
    """Return the rates of both endpoints, one after the other, and how they compare.

    Nobody flushes, so nothing but web and ledger is at work.
    """
    requests = load.raw_posts(scale.webhooks_max)
    with stack.other_web("bench.noop:application") as web:
        noop = load.send(web, requests, scale)
    with stack.other_web() as web:
        live = load.send(web, [b"GET /livez HTTP/1.1\r\nHost: bench\r\n\r\n"], scale)
        signed = load.send(web, requests, scale)
    (shard,) = stack.ledger.store.keyring.shards
    duplicates = int(stack.ledger.client.hget(shard.stats, "duplicate") or 0)
    return [
        Figure("signed webhook", f"{signed.per_s:,.0f} /s"),
        Figure("no-op of the same server (GET /livez)", f"{live.per_s:,.0f} /s"),
        Figure("signed webhook / no-op", f"{signed.per_s / live.per_s:.2f}", "at least 0.5"),
        Figure("the same body, bare WSGI, no framework", f"{noop.per_s:,.0f} /s"),
        Figure("signed webhook, p99", f"{signed.p99_ms:.1f} ms"),
        Figure("failed requests", f"{noop.failed + live.failed + signed.failed}", "0"),
        Figure("duplicates (webhooks prepared ran out)", f"{duplicates:,}"),
        Figure("load generator, on the same processors", load.generator()),
    ]


def durability(stack: Stack, scale: Scale) -> list[Figure]:
    """Return the rates of BATCH_DURABILITY's values: acknowledged before a sync, and after."""
    requests = load.raw_posts(scale.webhooks_max)
    loads = {}
    for value in ("everysec", "always"):
        stack.ledger.client.flushall()
        with stack.other_web(BATCH_DURABILITY=value) as web:
            loads[value] = load.send(web, requests, scale)
    return [
        *(Figure(f"signed webhook, {name}", f"{one.per_s:,.0f} /s") for name, one in loads.items()),
        Figure("always / everysec", f"{loads['always'].per_s / loads['everysec'].per_s:.2f}"),
        *(Figure(f"p99, {name}", f"{one.p99_ms:.1f} ms") for name, one in loads.items()),
        Figure("failed requests", f"{sum(one.failed for one in loads.values())}", "0"),
    ]
