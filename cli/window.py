"""``bursts`` and ``replay-window``: what customers write when, and what another window would do."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path

from batching.bursts import Bursts, Outcome, Window, masked, replayed
from batching.model import Limits
from channels.inbound import kind_of
from cli.common import Request, UsageError, account_ids, table, up_to, write

_HOUR_MS = 3_600_000
_MESSAGES_MAX = 1_000
#: Characters.
_FILE_MAX = 200_000_000
_WINDOWS = ("fixed", "adaptive")
_HEAD = (
    *("window", "idle s", "bursts", "messages", "calls", "saved", "per answer", "split", "split %"),
    *("wait mean s", "p50 s", "p95 s", "billed", "ignored"),
)


def burst_arguments(parser: ArgumentParser) -> None:
    """Add --account."""
    parser.add_argument("--account", metavar="ACCOUNT", help="the account that was written to")


def run_bursts(request: Request) -> bool:
    """Print the bursts of the ledger's recent past, without words, names and numbers."""
    configs, store = request.accounts(), request.open_store()
    languages = {it: configs[it].entry.language for it in account_ids(request)}
    for line in masked(store, languages, kind_of).encode():
        write(line + "\n")
    return True


def arguments(parser: ArgumentParser) -> None:
    """Add the windows to try, and the file."""
    limits = Limits()
    parser.add_argument(
        "--window", nargs="+", choices=_WINDOWS, default=_WINDOWS, help="a row for each (both)"
    )
    parser.add_argument(
        "--idle-ms",
        nargs="+",
        type=up_to(_HOUR_MS),
        default=[limits.idle_ms],
        metavar="N",
        help=f"how long to wait after the last message, a row for each ({limits.idle_ms})",
    )
    for name, most, default, says in (
        ("--max-wait-ms", _HOUR_MS, limits.max_wait_ms, "how long a batch may collect"),
        ("--max-messages", _MESSAGES_MAX, limits.max_messages, "messages of a full batch"),
        ("--answer-ms", _HOUR_MS, Window(limits).answer_ms, "how long an answer takes"),
    ):
        parser.add_argument(
            name, type=up_to(most), default=default, metavar="N", help=f"{says} ({default})"
        )
    parser.add_argument("--closing", choices=("answer", "ignore"), default="answer")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        required=True,
        metavar="FILE",
        help="what `bursts` printed; - reads standard input",
    )


def run(request: Request) -> bool:
    """Print what windows make of bursts, a row for each. Raise UsageError."""
    bursts = _read(request.arguments.file)
    outcomes = [(window, replayed(bursts, window)) for window in _windows(request)]
    rows = [_HEAD, *(_row(*it) for it in outcomes)]
    request.show({"windows": [_as_json(*it) for it in outcomes]}, table(rows, numbers=True))
    return True


def _windows(request: Request) -> Iterator[Window]:
    typed = request.arguments
    limits = replace(Limits(), max_wait_ms=typed.max_wait_ms, max_messages=typed.max_messages)
    for name, idle_ms in product(dict.fromkeys(typed.window), dict.fromkeys(typed.idle_ms)):
        yield Window(
            replace(limits, idle_ms=idle_ms),
            adaptive=name == "adaptive",
            ignores_closing=typed.closing == "ignore",
            answer_ms=typed.answer_ms,
        )


def _read(path: Path) -> Bursts:
    is_standard = str(path) == "-"
    try:
        with nullcontext(sys.stdin) if is_standard else path.open(encoding="utf-8") as file:
            text = file.read(_FILE_MAX + 1)
        if len(text) > _FILE_MAX:
            raise UsageError(f"--from: must be at most {_FILE_MAX} characters")
        return Bursts.decode(text.splitlines())
    except OSError as error:
        raise UsageError(f"--from: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError("--from: is not UTF-8") from None
    except ValueError as error:
        raise UsageError(f"--from: {error}") from None


def _row(window: Window, found: Outcome) -> Sequence[str]:
    share = 100 * found.split / found.bursts if found.bursts else 0.0
    waits_ms = (found.wait_mean_ms, found.wait_ms(50), found.wait_ms(95))
    return (
        *(_WINDOWS[window.adaptive], f"{window.limits.idle_ms / 1000:g}"),
        *(str(it) for it in (found.bursts, found.messages, found.calls, found.saved)),
        *(f"{found.per_answer:.2f}", str(found.split), f"{share:.1f}"),
        *(f"{ms / 1000:.1f}" for ms in waits_ms),
        *(str(found.billed), str(found.ignored)),
    )


def _as_json(window: Window, found: Outcome) -> dict[str, object]:
    return {
        "window": _WINDOWS[window.adaptive],
        "idle_ms": window.limits.idle_ms,
        "bursts": found.bursts,
        "messages": found.messages,
        "calls": found.calls,
        "calls_saved": found.saved,
        "messages_per_answer": round(found.per_answer, 3),
        "bursts_split": found.split,
        "wait_mean_ms": found.wait_mean_ms,
        "wait_p50_ms": found.wait_ms(50),
        "wait_p95_ms": found.wait_ms(95),
        "messages_billed": found.billed,
        "ignored": found.ignored,
    }
