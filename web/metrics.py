"""``/metrics``: the ledger's own counts, as Prometheus reads them."""

from dataclasses import asdict

import falcon

from batching.operations import Operations
from runtime.build import Runtime

#: What is counted since the ledger was made; the others are how many there are now.
_COUNTERS = frozenset({"accepted", "answered", "suppressed", "lost"})


class Metrics:
    """Counts of messages by what became of them, per shard. No label names a customer."""

    def __init__(self, runtime: Runtime) -> None:
        self._operations = Operations(runtime.store)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 in Prometheus's text format. Raise LedgerUnavailableError."""
        balances = [asdict(balance) for balance in self._operations.balance()]
        names = [name for name in balances[0] if name != "shard"]
        lines: list[str] = []
        for name in names:
            kind, suffix = ("counter", "_total") if name in _COUNTERS else ("gauge", "")
            metric = f"ai_admin_messages_{name}{suffix}"
            lines.append(f"# TYPE {metric} {kind}")
            lines += [f'{metric}{{shard="{b["shard"]}"}} {b[name]}' for b in balances]
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.text = "\n".join(lines) + "\n"
