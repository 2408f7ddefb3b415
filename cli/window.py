"""``bursts`` and ``replay-window``: what customers write when, and what another window would do."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from batching.bursts import Bursts, Outcome, Settings, masked, replayed
from batching.errors import ConfigurationError
from batching.model import Limits
from channels.inbound import kind_of
from cli.common import Request, UsageError, account_ids, table, up_to, write

_HOUR_MS = 3_600_000
_MESSAGES_MAX = 1_000
_FILE_BYTES_MAX = 200_000_000
_HEAD = (
    *("bursts", "messages", "calls", "saved", "split", "split %"),
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
    """Add the window to try, and the file."""
    for name, most, default, says in (
        ("--idle-ms", _HOUR_MS, Limits().idle_ms, "how long to wait after the last message"),
        ("--max-wait-ms", _HOUR_MS, Limits().max_wait_ms, "how long a batch may collect"),
        ("--max-messages", _MESSAGES_MAX, Limits().max_messages, "messages of a full batch"),
        ("--answer-ms", _HOUR_MS, Settings(Limits()).answer_ms, "how long an answer takes"),
    ):
        parser.add_argument(
            name, type=up_to(most), default=default, metavar="N", help=f"{says} ({default})"
        )
    parser.add_argument("--window", choices=("fixed", "adaptive"), default="fixed")
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
    """Print what a window makes of bursts. Raise UsageError."""
    typed = request.arguments
    limits = replace(
        Limits(),
        idle_ms=typed.idle_ms,
        max_wait_ms=typed.max_wait_ms,
        max_messages=typed.max_messages,
    )
    settings = Settings(
        limits,
        adaptive=typed.window == "adaptive",
        ignores_closing=typed.closing == "ignore",
        answer_ms=typed.answer_ms,
    )
    outcome = replayed(_read(typed.file), settings)
    request.show(_as_json(outcome), table([_HEAD, _row(outcome)], numbers=True))
    return True


def _read(path: Path) -> Bursts:
    try:
        if str(path) == "-":
            return Bursts.decode(sys.stdin)
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise UsageError(f"--from: must be at most {_FILE_BYTES_MAX} bytes")
        return Bursts.decode(path.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise UsageError(f"--from: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigurationError("bursts", "--from: is not UTF-8") from None


def _row(found: Outcome) -> Sequence[str]:
    numbers = (found.bursts, found.messages, found.calls, found.saved, found.split)
    share = 100 * found.split / found.bursts if found.bursts else 0.0
    waits_ms = (found.wait_mean_ms, found.wait_ms(50), found.wait_ms(95))
    waits = (f"{ms / 1000:.1f}" for ms in waits_ms)
    return (*map(str, numbers), f"{share:.1f}", *waits, str(found.billed), str(found.ignored))


def _as_json(found: Outcome) -> dict[str, object]:
    return {
        "bursts": found.bursts,
        "messages": found.messages,
        "calls": found.calls,
        "calls_saved": found.saved,
        "bursts_split": found.split,
        "wait_mean_ms": found.wait_mean_ms,
        "wait_p50_ms": found.wait_ms(50),
        "wait_p95_ms": found.wait_ms(95),
        "messages_billed": found.billed,
        "ignored": found.ignored,
    }
