"""missing.py read FROM-ms | sum: what the logs know of messages that came after a copy was made.

``read``: asks the journal of this host; prints, as JSON, each batch with the messages that were
accepted into it since, the batches that have ended, and since when the journal tells anything.
``sum``: takes what ``read`` printed on each host, as JSON {host: {"groups": […], "said": "…"}} on
standard input; prints what has no end, which batches have one, and which hosts know too little.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

#: Events by which a batch has an end that a customer or a person knows of.
ENDS = ("batch.answered", "batch.suppressed")
#: Whose logs tell what was accepted, and whose what was answered.
TAKES, ANSWERS = "web", "workers"


def journal(*options: str) -> "subprocess.Popen[str]":
    """Return what gives lines of the journal."""
    command = ["journalctl", "--no-pager", "--quiet", *options]
    return subprocess.Popen(  # noqa: S603 - the journal, by its units
        command, stdout=subprocess.PIPE, text=True, errors="replace"
    )


def oldest_ms() -> int:
    """Return of when the oldest line of the journal is, 0 if there is none."""
    with journal("--output=json", "--output-fields=MESSAGE") as asked:
        line = asked.stdout.readline() if asked.stdout else ""
        # All that follows is of no use.
        asked.kill()
    return int(json.loads(line)["__REALTIME_TIMESTAMP"]) // 1_000 if line else 0


def lines_since(since_ms: int) -> "subprocess.Popen[str]":
    """Return what gives the lines of web processes and workers since then."""
    units = [f"--unit=ai-admin-{kind}@*" for kind in ("web", "worker")]
    return journal("--output=cat", *units, f"--since=@{since_ms // 1_000}")


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


def total(hosts: Mapping[str, Mapping[str, Any]], since_ms: int) -> dict[str, Any]:
    """Return ``missing``, a count of messages; ``batches``, a line for each; and ``ended``.

    ``blind``: hosts that may have accepted more than they can tell of; ``unsure``: those that may
    have answered more. Each has the time since when its log tells anything.
    """
    found = {host: json.loads(it["said"]) for host, it in hosts.items() if it["said"]}
    ended = {name for told in found.values() for name in told["ended"]}
    open_: dict[str, tuple[int, str, int]] = {}
    for told in found.values():
        for name, (at_ms, account, count) in told["accepted"].items():
            if name not in ended:
                first_ms, _, more = open_.get(name, (at_ms, account, 0))
                open_[name] = (min(first_ms, at_ms), account, more + count)
    oldest = {host: found.get(host, {}).get("oldest_ms", 0) for host in hosts}
    short = {host: at_ms for host, at_ms in oldest.items() if not 0 < at_ms <= since_ms}

    def of(group: str) -> list[str]:
        chosen = [host for host in sorted(short) if group in hosts[host]["groups"]]
        return [f"{host} ({_since(short[host])})" for host in chosen]

    lines = [
        f"{_moment(at_ms)} {account} {name}: {count}"
        for name, (at_ms, account, count) in sorted(open_.items(), key=lambda it: it[1])
    ]
    missing = sum(count for _, _, count in open_.values())
    return {
        "missing": missing, "batches": lines, "ended": sorted(ended),
        "blind": of(TAKES), "unsure": of(ANSWERS),
    }  # fmt: skip


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _since(at_ms: int) -> str:
    return f"since {_moment(at_ms)}" if at_ms else "no log"


if __name__ == "__main__":
    verb, since_ms = sys.argv[1], int(sys.argv[2])
    if verb == "read":
        with lines_since(since_ms) as asked:
            printed = read(asked.stdout or (), since_ms) | {"oldest_ms": oldest_ms()}
    else:
        printed = total(json.load(sys.stdin), since_ms)
    json.dump(printed, sys.stdout)
