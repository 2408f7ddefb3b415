"""What verbs share: the request, the ledger, a customer's conversations, printing."""

import json
import os
import re
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from batching.inspect import conversation_of
from batching.keys import META
from batching.store import Store, reached
from runtime.accounts import AccountConfig, load_accounts
from runtime.build import store_of
from runtime.clients import redis_client
from runtime.settings import Settings, load_settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONVERSATION = re.compile(r"c_[0-9a-f]{24}")
#: Typed in place of a customer's or a message's id: it is read from standard input.
READ = "-"
_TYPED_NUMBER = re.compile(r"[+\d ().-]+")
_READ_MAX = 1_000
#: WhatsApp's message ids tell it too, in base64; those of gateways as they are.
_TELLS_NUMBER = re.compile(r"wamid\.|@|\d(?:[ ().-]{0,3}\d){5}")
NOTICE = (
    "Notice: the logs of sudo and systemd, the shell's history and ps show what is typed on a "
    "command line, here a customer's id. Type - in its place: then it is asked for."
)


class UsageError(Exception):
    """The command was wrong. The text says how, without repeating what was typed."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator typed, and the environment it was typed in."""

    arguments: Namespace
    environ: Mapping[str, str]

    def settings(self) -> Settings:
        """Return the settings. Raise ConfigurationError."""
        return load_settings(self.environ)

    def accounts(self) -> dict[str, AccountConfig]:
        """Return the accounts of the file by their ids. Raise ConfigurationError."""
        configs = load_accounts(self.settings(), self.environ)
        return {config.account_id: config for config in configs}

    def store(self) -> Store:
        """Return the ledger as it may be, even one that does not exist. Connects nowhere."""
        settings = self.settings()
        return store_of(settings, redis_client(settings.redis_url, "manage"))

    def open_store(self) -> Store:
        """Return the ledger; one that does not exist yet is not made.

        Raise LedgerUnavailableError, or ConfigurationError if it was made with other settings:
        nothing would be found in it.
        """
        store = self.store()
        with reached():
            is_there = store.client.exists(META)
        if is_there:
            store.open()
        return store

    def show(self, document: Mapping[str, object], lines: Sequence[str]) -> None:
        """Print ``document`` as JSON if --json was typed, else ``lines``."""
        write((json.dumps(document, indent=2) if self.arguments.json else "\n".join(lines)) + "\n")


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of manage.py. ``run`` prints, and returns False if a person must act.

    It may raise UsageError about what ``arguments`` added to the parser, ConfigurationError and
    LedgerUnavailableError.
    """

    name: str
    summary: str
    run: Callable[[Request], bool]
    arguments: Callable[[ArgumentParser], None] = lambda _parser: None


def write(text: str) -> None:
    """Print ``text`` and all that was printed before. A reader that has left is no error."""
    try:
        print(text, end="", flush=True)  # noqa: T201 - a command line prints
    except BrokenPipeError:
        # As "head -1" leaves. The interpreter flushes once more at its end: to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_json(value: "DataclassInstance", **names: str) -> dict[str, Any]:
    """Return a dataclass for JSON; ``names``: field → the name that programs know it by."""
    return {names.get(name, name): found for name, found in asdict(value).items()}


def up_to(most: int) -> Callable[[str], int]:
    """Return a parser of an argument that is a whole number, 1..``most``."""

    def number(typed: str) -> int:
        if not 1 <= int(typed) <= most:
            raise ValueError
        return int(typed)

    return number


def confirmed(warnings: Sequence[str], question: str, *, yes: bool) -> bool:
    """Return whether the operator is sure: by --yes, else by an answer on the terminal.

    ``warnings`` are shown first. Raise UsageError without a terminal.
    """
    print(*warnings, sep="\n", end="\n" if warnings else "", file=sys.stderr)  # noqa: T201
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on: say --yes if you are sure")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    print("Nothing was changed.", file=sys.stderr)  # noqa: T201
    return False


def table(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Return rows as lines with aligned columns, ``numbers`` to the right; [] for no rows."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """Return a customer's text without control characters, which could steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def read_id(typed: str, what: str) -> str:
    """Return a customer's or a message's id: ``typed``, or a line of standard input if that is "-".

    A terminal is asked for it, by the name ``what``. One that was typed and may tell a customer's
    number is used, with a notice. Raise UsageError if the line is empty, too long or no text.
    """
    if typed != READ:
        if _TELLS_NUMBER.search(typed):
            print(NOTICE, file=sys.stderr)  # noqa: T201 - a command line prints
        return typed
    if sys.stdin.isatty():
        print(f"{what}: ", end="", file=sys.stderr, flush=True)  # noqa: T201
    try:
        line = sys.stdin.readline(_READ_MAX + 1).strip()
    except UnicodeDecodeError:
        line = ""
    if not 1 <= len(line) <= _READ_MAX or not line.isprintable():
        raise UsageError(f"standard input must bring an id of 1..{_READ_MAX} characters")
    return line


def add_customer(parser: ArgumentParser) -> None:
    """Add --customer and --account."""
    parser.add_argument(
        "--customer",
        metavar="ID",
        nargs="?",
        const=READ,
        help="the customer's id as it was delivered; without ID it is read from standard input",
    )
    parser.add_argument("--account", metavar="ACCOUNT", help="the account that was written to")


def conversations(request: Request, store: Store) -> list[str]:
    """Return the conversations of --customer, likeliest first. Raise UsageError.

    Two if the customer wrote under a second id before that was known to be theirs.
    """
    configs, given = request.accounts(), request.arguments.account
    account_id = _known(configs, given or (next(iter(configs)) if len(configs) == 1 else None))
    found: dict[str, None] = {}
    customer = read_id(request.arguments.customer, "The customer's id")
    for spelling in _spellings(customer):
        found[conversation_of(store, account_id, spelling)] = None
        found[store.conversation_id(account_id, spelling)] = None
    return list(found)


def actions_of(
    parser: ArgumentParser,
) -> Callable[[str, str, Callable[[Request], bool]], ArgumentParser]:
    """Return what adds an action to a verb that has several: its name, summary and function."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def add(name: str, summary: str, act: Callable[[Request], bool]) -> ArgumentParser:
        action: ArgumentParser = actions.add_parser(name, help=summary)
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.set_defaults(act=act)
        return action

    return add


def run_action(request: Request) -> bool:
    """Run the action that was typed."""
    fine: bool = request.arguments.act(request)
    return fine


def add_conversation(parser: ArgumentParser) -> None:
    """Add the conversation, --customer and --account; see ``named_conversations``."""
    parser.add_argument("conversation", nargs="?", help="its id, c_ and 24 hex digits")
    add_customer(parser)


def named_conversations(request: Request, store: Store) -> list[str]:
    """Return the conversation that was typed, or those of --customer. Raise UsageError."""
    typed = request.arguments
    if (typed.conversation is None) == (typed.customer is None):
        raise UsageError("name a conversation, or a customer by --customer")
    if typed.conversation is None:
        return conversations(request, store)
    if not CONVERSATION.fullmatch(typed.conversation):
        raise UsageError("a conversation is c_ and 24 hex digits; a customer is --customer")
    return [typed.conversation]


def account_ids(request: Request) -> list[str]:
    """Return --account alone, or all accounts. Raise UsageError."""
    configs, given = request.accounts(), request.arguments.account
    return list(configs) if given is None else [_known(configs, given)]


def _known(configs: Mapping[str, AccountConfig], given: str | None) -> str:
    if given is None or given not in configs:
        raise UsageError(f"--account must be one of: {', '.join(configs)}")
    return given


def _spellings(customer: str) -> list[str]:
    """Return the ids that may be meant: as typed, and a number as Meta and WhatsApp Web write it.

    A number must be typed with its country code; national prefixes are not guessed.
    """
    digits = re.sub(r"\D", "", customer)
    if digits and _TYPED_NUMBER.fullmatch(customer):
        return list(dict.fromkeys((customer, digits, f"{digits}@c.us")))
    return [customer]
