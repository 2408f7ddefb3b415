"""``balance``: every accepted message is somewhere, or a person is told."""

from dataclasses import asdict

from batching.inspect import Balance, balance, reasons, totals
from cli.common import EXIT_ACT, EXIT_OK, Request, open_store, table, write, write_json

_COLUMNS = ("shard", "accepted", "answered", "suppressed", "dead", "lost", "open", "flight")
#: Counters that carry a reason behind a colon; they count since the ledger was made.
_REASONED = ("dead", "suppressed")


def run(request: Request) -> int:
    """Print the books of every shard; 1 if they do not hold or something was lost.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    store = open_store(request.environ)
    books = balance(store)
    holds, lost = all(book.holds for book in books), sum(book.lost for book in books)
    counted = totals(store)
    told = {kind: _ever(reasons(counted, kind)) for kind in _REASONED}
    if request.as_json:
        shards = [asdict(book) | {"holds": book.holds} for book in books]
        write_json({"holds": holds, "lost": lost, "shards": shards, "reasons": told})
    else:
        rows = [_COLUMNS, *([str(getattr(book, name)) for name in _COLUMNS] for book in books)]
        write([*table(rows, numbers=True), *_told(told), *_verdict(books, lost)])
    return EXIT_OK if holds and not lost else EXIT_ACT


def _ever(counts: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


def _told(by_kind: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"Ever {kind}: " + ", ".join(f"{reason} {count}" for reason, count in counts.items())
        for kind, counts in by_kind.items()
        if counts
    ]


def _verdict(books: list[Balance], lost: int) -> list[str]:
    broken = [str(book.shard) for book in books if not book.holds]
    lines = []
    if broken:
        lines.append(f"The books do not hold in shard {', '.join(broken)}: report this as a fault.")
    if lost:
        lines.append(f"Lost: {lost}. Something deleted messages in Redis behind our back.")
    return lines or ["The books hold: every accepted message is accounted for."]
