"""What every verb is: a name, a sentence, something to run; and how it reaches the ledger."""

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from batching.store import Store
from runtime.build import store_of
from runtime.clients import ledger_client
from runtime.settings import load_settings

EXIT_OK, EXIT_ACT = 0, 1


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator typed, and the environment it was typed in."""

    arguments: Namespace
    environ: Mapping[str, str]

    @property
    def as_json(self) -> bool:
        """Return whether a program reads the answer."""
        return bool(self.arguments.json)


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb of manage.py. ``run`` prints, returns the exit status, and may raise AdminError.

    ``states``: what may stand behind it, as the argument ``state``; None if nothing does.
    """

    name: str
    summary: str
    run: Callable[[Request], int]
    states: tuple[str, ...] = ()


def open_store(environ: Mapping[str, str]) -> Store:
    """Return the ledger that the settings name. Raise ConfigurationError. Connects nowhere."""
    settings = load_settings(environ)
    return store_of(settings, ledger_client(settings, "manage"))


def write(lines: list[str]) -> None:
    """Print lines for a person."""
    print("\n".join(lines))  # noqa: T201 - a command line prints


def write_json(value: object) -> None:
    """Print a JSON document for a program."""
    print(json.dumps(value, indent=2))  # noqa: T201
