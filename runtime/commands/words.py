"""How verbs put times, ages and tables into words, and ask before they destroy."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from runtime.commands.verb import UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def moment(at_ms: int) -> str:
    """Return a time as a person reads it, UTC."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at_ms % 1000:03d}"


def span(ms: int) -> str:
    """Return a duration in its largest fitting unit: 12 ms, 9.1 s, 3 min, 5 h, 2 d."""
    for size, unit in _UNITS:
        if ms >= size:
            return f"{ms / 1_000:.1f} s" if unit == "s" else f"{ms // size} {unit}"
    return f"{ms} ms"


def table(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Return rows as lines with aligned columns; ``numbers`` stand to the right."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """Return a customer's text so that a terminal only shows it: controls become "?"."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def confirmed(warnings: Sequence[str], question: str, *, yes: bool) -> bool:
    """Return whether the operator is sure: by --yes, else by an answer on the terminal.

    ``warnings`` are shown first. Raise UsageError where nobody can be asked.
    """
    print(*warnings, sep="\n", end="\n" if warnings else "", file=sys.stderr)  # noqa: T201
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here: say --yes if you are sure")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    print("Nothing was changed.", file=sys.stderr)  # noqa: T201
    return False
