"""What every verb is: a name, a sentence, something to run; and how it reaches the ledger."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from batching.keys import META
from batching.ledger import reached
from batching.store import Store
from runtime.accounts import AccountConfig
from runtime.build import accounts_of, store_of
from runtime.clients import ledger_client
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
    store = store_of(settings, ledger_client(settings, "manage"))
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
