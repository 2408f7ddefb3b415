"""``balance``: every accepted message is somewhere, or a person is told."""

from batching.inspect import MESSAGES, Counters, by_reason, counters, total
from cli.common import EXIT_ACT, EXIT_OK, Request, open_store, table, write, write_json

_COLUMNS = ("shard", *MESSAGES)
#: Counters that carry a reason behind a colon; they count since the ledger was made.
_REASONED = ("dead", "suppressed")


def run(request: Request) -> int:
    """Print the counters of every shard; 1 if they do not add up or something was lost.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    store = open_store(request.environ)
    shards = counters(store)
    holds, named = all(shard.holds for shard in shards), total(shards)
    lost = named["lost"]
    reasons = {kind: _ever(by_reason(named, kind)) for kind in _REASONED}
    if request.as_json:
        rows = [{name: getattr(shard, name) for name in (*_COLUMNS, "holds")} for shard in shards]
        write_json({"holds": holds, "lost": lost, "shards": rows, "reasons": reasons})
    else:
        cells = [_COLUMNS, *([str(getattr(shard, name)) for name in _COLUMNS] for shard in shards)]
        write([*table(cells, numbers=True), *_reasons(reasons), *_conclusion(shards, lost)])
    return EXIT_OK if holds and not lost else EXIT_ACT


def _ever(counts: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


def _reasons(by_kind: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"Ever {kind}: " + ", ".join(f"{reason} {count}" for reason, count in counts.items())
        for kind, counts in by_kind.items()
        if counts
    ]


def _conclusion(shards: list[Counters], lost: int) -> list[str]:
    broken = [str(shard.shard) for shard in shards if not shard.holds]
    lines = []
    if broken:
        lines.append(f"The books do not hold in shard {', '.join(broken)}: report this as a fault.")
    if lost:
        lines.append(f"Lost: {lost}. Something deleted messages in Redis behind our back.")
    return lines or ["The books hold: every accepted message is accounted for."]
