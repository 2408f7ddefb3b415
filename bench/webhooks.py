"""Webhooks a second: the signed endpoint of the Cloud API beside a no-op in the same server."""

from pathlib import Path

import redis

from batching.store import Store
from bench import load
from bench.figures import Figure, Scale
from bench.world import served, settings


def measure(client: redis.Redis, redis_url: str, directory: Path, scale: Scale) -> list[Figure]:
    """Return the rates of both endpoints, one after the other, and how they compare.

    Nobody flushes, so nothing but web and ledger is at work.
    """
    client.flushall()
    environ = settings(directory, redis_url, "http://127.0.0.1:9", scale.idle_ms)
    requests = load.raw_posts(scale.webhooks_max)
    with served("bench.noop:application", environ, directory) as port:
        noop = load.send(port, requests, scale)
    with served("wsgi:application", environ, directory) as port:
        live = load.send(port, [b"GET /livez HTTP/1.1\r\nHost: bench\r\n\r\n"], scale)
        signed = load.send(port, requests, scale)
    (shard,) = Store(client, privacy_key=environ["PRIVACY_KEY"]).keyring.shards
    duplicates = int(client.hget(shard.stats, "duplicate") or 0)
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
