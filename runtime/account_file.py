"""Reads the accounts file: all its mistakes at once, or accounts with nothing left to find out."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from batching.errors import ConfigurationError
from runtime.account_config import (
    ENV_SUFFIX,
    AccountEntry,
    AnyAccount,
    WhatsAppCloudAccount,
    known_names,
)
from runtime.account_resolve import Surroundings, resolve
from runtime.accounts import AccountConfig
from runtime.mistakes import Mistake, problem_of, refuse, suggestion
from runtime.urls import masked

FILE_BYTES_MAX = 1_000_000
ACCOUNTS_MAX = 1_000

_ENTRY: TypeAdapter[AnyAccount] = TypeAdapter(AccountEntry)
_ADVICE = "copy accounts.example.toml to begin"
#: Words that pydantic puts into the place of a mistake and the file does not have.
_TAGS = frozenset(
    {"whatsapp_cloud", "venom", "simulator", "scripted", "openai_compatible", "anthropic"}
)
_NAMES = known_names()


def load_accounts(path: Path, around: Surroundings) -> tuple[AccountConfig, ...]:
    """Return the accounts in ``path``, in its order; at least one.

    Raise ConfigurationError with every mistake on a line of its own. Secrets are never shown.
    """
    entries, configs, mistakes = list[AnyAccount](), list[AccountConfig](), list[Mistake]()
    for number, table in enumerate(_tables(path), start=1):
        where = f"{path}: account {_name(table, number)}"
        try:
            entry = _ENTRY.validate_python(table)
        except ValidationError as error:
            mistakes += [_mistake(where, detail) for detail in error.errors()]
            continue
        config, found = resolve(entry, where, path.parent, around)
        entries.append(entry)
        configs.append(config)
        mistakes += found
    refuse("accounts", [*mistakes, *_duplicates(path, entries)])
    return tuple(configs)


def _tables(path: Path) -> list[Any]:
    """Return the ``[[account]]`` tables as written. Raise ConfigurationError."""
    try:
        raw = path.read_bytes()
        given = tomllib.loads(raw.decode()) if len(raw) <= FILE_BYTES_MAX else None
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); {_ADVICE}"
        raise ConfigurationError("accounts", f"ACCOUNTS_FILE={path}: {problem}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The parser's own words may quote the file, and so a secret: only the place is told.
        place = re.search(r"\(at [^)]*\)$", str(error))
        problem = f"is not TOML {place.group() if place else ''}".strip()
        raise ConfigurationError("accounts", f"{path}: {problem}") from None
    if given is None:
        raise ConfigurationError("accounts", f"{path}: must be at most {FILE_BYTES_MAX} bytes")
    tables = given.pop("account", [])
    refuse("accounts", [Mistake(f"{path}: {name}", "is not known here") for name in given])
    if not isinstance(tables, list) or not 1 <= len(tables) <= ACCOUNTS_MAX:
        problem = f"must hold 1..{ACCOUNTS_MAX} tables [[account]]"
        raise ConfigurationError("accounts", f"{path}: {problem}; {_ADVICE}")
    return tables


def _name(table: object, number: int) -> str:
    account_id = str(table.get("id")) if isinstance(table, dict) and "id" in table else ""
    return account_id if re.fullmatch(r"[a-z0-9-]{1,40}", account_id) else str(number)


def _mistake(where: str, error: ErrorDetails) -> Mistake:
    """Return one of pydantic's findings in our words."""
    parts = [str(part) for part in error["loc"] if part not in _TAGS and isinstance(part, str)]
    problem, value = problem_of(error), error["input"]
    match error["type"]:
        case "extra_forbidden":
            return Mistake(f"{where}: {'.'.join(parts)}", f"is not known here{_near(parts[-1])}")
        case "union_tag_invalid" | "union_tag_not_found":
            parts.append("provider" if parts else "channel")
            value = error.get("ctx", {}).get("tag")
    if not parts:
        return Mistake(where, problem)
    # What was written in place of a variable's name may be the secret itself.
    hidden = parts[-1].endswith(ENV_SUFFIX) or not isinstance(value, str | int | float)
    shown = None if hidden else masked(value) if parts[-1].endswith("_url") else str(value)
    return Mistake(f"{where}: {'.'.join(parts)}", problem, shown)


def _near(name: str) -> str:
    return suggestion(name, sorted(_NAMES))


def _duplicates(path: Path, entries: list[AnyAccount]) -> Iterator[Mistake]:
    """Yield what two accounts must not share."""
    numbers = [e.phone_number_id for e in entries if isinstance(e, WhatsAppCloudAccount)]
    for name, values in (("id", [e.id for e in entries]), ("phone_number_id", numbers)):
        for value, count in Counter(values).items():
            if count > 1:
                yield Mistake(f"{path}: {name}", f"belongs to {count} accounts, must to one", value)
