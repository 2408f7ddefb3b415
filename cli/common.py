"""What every verb of manage.py shares: its request, the ledger, naming a conversation, printing."""

import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batching.inspect import conversation_of
from batching.keys import META
from batching.store import Store, reached
from runtime.accounts import AccountConfig
from runtime.build import accounts_of, store_of
from runtime.clients import redis_client
from runtime.settings import load_settings

EXIT_OK, EXIT_ACT = 0, 1


class UsageError(Exception):
    """The command was wrong; its text says how, without repeating what was typed."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator typed, and the environment it was typed in."""

    arguments: Namespace
    environ: Mapping[str, str]

    @property
    def as_json(self) -> bool:
        """Return whether a program reads the answer."""
        return bool(self.arguments.json)


def _no_arguments(_parser: ArgumentParser) -> None:
    """Add nothing: most verbs only look."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of manage.py. ``run`` prints, returns the exit status, and may raise AdminError.

    ``arguments`` adds to the parser what ``run`` reads; ``run`` may raise UsageError about it.
    """

    name: str
    summary: str
    run: Callable[[Request], int]
    arguments: Callable[[ArgumentParser], None] = _no_arguments


def open_store(environ: Mapping[str, str]) -> Store:
    """Return the ledger that the settings name; one that does not exist yet is not made.

    Raise ConfigurationError, also if it was made with other settings: everything would be looked
    for in the wrong place. Raise LedgerUnavailableError.
    """
    settings = load_settings(environ)
    store = store_of(settings, redis_client(settings.redis_url, "manage"))
    with reached():
        is_there = store.client.exists(META)
    if is_there:
        store.open()
    return store


def open_accounts(environ: Mapping[str, str]) -> dict[str, AccountConfig]:
    """Return the accounts by their ids. Raise ConfigurationError."""
    configs = accounts_of(load_settings(environ), environ)
    return {config.account_id: config for config in configs}


def up_to(most: int) -> Callable[[str], int]:
    """Return what reads an argument that is a whole number, 1..``most``."""

    def number(typed: str) -> int:
        if not 1 <= int(typed) <= most:
            raise ValueError
        return int(typed)

    return number


def write(lines: list[str]) -> None:
    """Print lines for a person."""
    print("\n".join(lines))  # noqa: T201 - a command line prints


def write_json(value: object) -> None:
    """Print a JSON document for a program."""
    print(json.dumps(value, indent=2))  # noqa: T201


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


CONVERSATION = re.compile(r"c_[0-9a-f]{24}")
_TYPED_NUMBER = re.compile(r"[+\d ().-]+")


def add_customer(parser: ArgumentParser) -> None:
    """Add --customer and --account."""
    parser.add_argument("--customer", metavar="ID", help="the customer's id as it was delivered")
    parser.add_argument("--account", metavar="ACCOUNT", help="the account that was written to")


def conversations(request: Request, store: Store) -> list[str]:
    """Return the conversations of --customer, likeliest first. Raise UsageError.

    A customer may be known by a second id, and have written under it before it was known for one.
    """
    account_id = one_account(request)
    found: dict[str, None] = {}
    for spelling in _spellings(request.arguments.customer):
        found[conversation_of(store, account_id, spelling)] = None
        found[store.conversation_id(account_id, spelling)] = None
    return list(found)


def one_account(request: Request) -> str:
    """Return the account of --account, or the only one there is. Raise UsageError."""
    configs = open_accounts(request.environ)
    given: str | None = request.arguments.account
    if given is None and len(configs) == 1:
        return next(iter(configs))
    return _known(configs, given)


def _known(configs: Mapping[str, AccountConfig], given: str | None) -> str:
    if given is None or given not in configs:
        raise UsageError(f"--account must be one of: {', '.join(configs)}")
    return given


def account_ids(request: Request) -> list[str]:
    """Return --account alone, or all accounts. Raise UsageError."""
    configs = open_accounts(request.environ)
    given: str | None = request.arguments.account
    return list(configs) if given is None else [_known(configs, given)]


def _spellings(customer: str) -> list[str]:
    """Return the ids that may be meant: as typed; a number also as Meta and WhatsApp Web write it.

    National prefixes are not guessed: a number must be typed with its country code.
    """
    digits = re.sub(r"\D", "", customer)
    if digits and _TYPED_NUMBER.fullmatch(customer):
        return list(dict.fromkeys((customer, digits, f"{digits}@c.us")))
    return [customer]
