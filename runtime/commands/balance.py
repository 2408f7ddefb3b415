"""``balance``: every accepted message is somewhere, or a person is told."""

from dataclasses import asdict

from batching.operations import Balance, Operations
from runtime.commands.verb import EXIT_ACT, EXIT_OK, Request, open_store, write, write_json

_COLUMNS = ("shard", "accepted", "answered", "suppressed", "dead", "lost", "open", "flight")


def run(request: Request) -> int:
    """Print the books of every shard; 1 if they do not hold or something was lost.

    Raise ConfigurationError or LedgerUnavailableError.
    """
    books = Operations(open_store(request.environ)).balance()
    holds, lost = all(book.holds for book in books), sum(book.lost for book in books)
    if request.as_json:
        shards = [asdict(book) | {"holds": book.holds} for book in books]
        write_json({"holds": holds, "lost": lost, "shards": shards})
    else:
        write([*_table(books), *_verdict(books, lost)])
    return EXIT_OK if holds and not lost else EXIT_ACT


def _table(books: list[Balance]) -> list[str]:
    rows = [_COLUMNS, *([str(getattr(book, name)) for name in _COLUMNS] for book in books)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(_COLUMNS))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _verdict(books: list[Balance], lost: int) -> list[str]:
    broken = [str(book.shard) for book in books if not book.holds]
    lines = []
    if broken:
        lines.append(f"The books do not hold in shard {', '.join(broken)}: report this as a fault.")
    if lost:
        lines.append(f"Lost: {lost}. Something deleted messages in Redis behind our back.")
    return lines or ["The books hold: every accepted message is accounted for."]
