"""missing.py read FROM-ms | sum: what the logs know of messages that came after a copy was made.

``read``: asks the journal of this host; prints, as JSON, each batch with the messages that were
accepted into it since, and the batches that have ended. ``sum``: takes what ``read`` printed on
each host, as a JSON list on standard input; prints what has no end, and which batches have one.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

#: Events by which a batch has an end that a customer or a person knows of.
ENDS = ("batch.answered", "batch.suppressed")


def journal(since_ms: int) -> "subprocess.Popen[str]":
    """Return what gives the lines of web processes and workers since then."""
    units = [f"--unit=ai-admin-{kind}@*" for kind in ("web", "worker")]
    command = ["journalctl", "--output=cat", "--no-pager", "--quiet", *units]
    command += [f"--since=@{since_ms // 1_000}"]
    return subprocess.Popen(  # noqa: S603 - the journal, by its units
        command, stdout=subprocess.PIPE, text=True, errors="replace"
    )


def read(lines: Iterable[str], since_ms: int) -> dict[str, Any]:
    """Return ``accepted``, batch → first ms, account and count, and ``ended``, by their names."""
    accepted: dict[str, tuple[int, str, int]] = {}
    ended: set[str] = set()
    for line in lines:
        try:
            told = json.loads(line)
            conversation = str(told.get("conversation", ""))
        except (ValueError, AttributeError):
            continue
        # Canaries have conversations of their own.
        if not conversation.startswith("c_"):
            continue
        name = f"{conversation}:{told.get('batch', '')}"
        if told.get("event") in ENDS:
            ended.add(name)
        elif told.get("event") == "message.appended" and told.get("status") == "accepted":
            at_ms = int(datetime.fromisoformat(told["ts"]).timestamp() * 1_000)
            if at_ms > since_ms:
                first_ms, account, count = accepted.get(name, (at_ms, str(told.get("account")), 0))
                accepted[name] = (min(first_ms, at_ms), account, count + 1)
    return {"accepted": accepted, "ended": sorted(ended)}


def total(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return ``missing``, a count of messages; ``batches``, a line for each; and ``ended``."""
    ended = {name for host in found for name in host["ended"]}
    open_: dict[str, tuple[int, str, int]] = {}
    for host in found:
        for name, (at_ms, account, count) in host["accepted"].items():
            if name not in ended:
                first_ms, _, more = open_.get(name, (at_ms, account, 0))
                open_[name] = (min(first_ms, at_ms), account, more + count)
    lines = []
    for name, (at_ms, account, count) in sorted(open_.items(), key=lambda it: it[1]):
        when = datetime.fromtimestamp(at_ms / 1_000, UTC)
        lines.append(f"{when:%Y-%m-%d %H:%M:%S} UTC {account} {name}: {count}")
    missing = sum(count for _, _, count in open_.values())
    return {"missing": missing, "batches": lines, "ended": sorted(ended)}


if __name__ == "__main__":
    verb, *given = sys.argv[1:]
    if verb == "read":
        with journal(int(given[0])) as asked:
            found = read(asked.stdout or (), int(given[0]))
    else:
        found = total(json.load(sys.stdin))
    json.dump(found, sys.stdout)
