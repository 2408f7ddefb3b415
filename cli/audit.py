"""``audit``: compare the counters with what is really kept, without stopping anybody."""

import time
from dataclasses import asdict

from batching.audit import audit
from cli.common import EXIT_ACT, EXIT_OK, Request, open_store, span, write, write_json

#: A step in between is over long before.
PAUSE_S = 1.0


def run(request: Request) -> int:
    """Print what contradicts the ledger's invariants; 1 if something does.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    store, began = open_store(request.environ), time.monotonic()
    report = audit(store, lambda: time.sleep(PAUSE_S))
    took_ms = int((time.monotonic() - began) * 1000)
    if request.as_json:
        found = asdict(report)
        counts = {"conversations": found["conversations"], "letters": found.pop("dead_letters")}
        write_json({"ok": not report.problems, "took_ms": took_ms} | counts | found)
    else:
        looked = f"{report.conversations} conversations and {report.dead_letters} dead letters"
        lines = [*report.problems, f"Looked at {looked} in {span(took_ms)}."]
        lines += [f"In use, so not exact: {line}." for line in report.undecided]
        if report.problems:
            lines.append(f"Problems: {len(report.problems)}. Somebody else writes into this Redis,")
            lines.append("or it is a fault of ours: report it.")
        else:
            lines.append("The books agree with what is kept.")
        write(lines)
    return EXIT_ACT if report.problems else EXIT_OK
