"""What BATCH_DURABILITY=always costs: the same signed webhooks, acknowledged before and after."""

from pathlib import Path

import redis

from bench import load
from bench.figures import Figure, Scale
from bench.world import served, settings


def measure(client: redis.Redis, redis_url: str, directory: Path, scale: Scale) -> list[Figure]:
    """Return the rates of both settings on one server, whose file is synced each second."""
    environ = settings(directory, redis_url, "http://127.0.0.1:9", scale.idle_ms)
    requests = load.raw_posts(scale.webhooks_max)
    client.config_set("appendfsync", "everysec")
    loads = {}
    for durability in ("everysec", "always"):
        client.flushall()
        changed = environ | {"BATCH_DURABILITY": durability}
        with served("wsgi:application", changed, directory) as port:
            loads[durability] = load.send(port, requests, scale)
    everysec, always = loads["everysec"], loads["always"]
    return [
        Figure("signed webhook, everysec", f"{everysec.per_s:,.0f} /s"),
        Figure("signed webhook, always", f"{always.per_s:,.0f} /s"),
        Figure("always / everysec", f"{always.per_s / everysec.per_s:.2f}"),
        Figure("p99, everysec", f"{everysec.p99_ms:.1f} ms"),
        Figure("p99, always", f"{always.p99_ms:.1f} ms"),
        Figure("failed requests", f"{everysec.failed + always.failed}", "0"),
    ]
