"""Validated field types for settings and the accounts file, and what is said of a wrong value.

Secrets are never written in a file: a field whose name ends with ``_env`` holds the NAME of the
environment variable that has the secret.
"""

import difflib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from batching.errors import ConfigurationError
from config.urls import is_http, is_url, shown_url

#: Longer values are cut in messages.
SHOWN_MAX = 60
#: Names of fields that hold the name of an environment variable end so.
ENV_SUFFIX = "_env"

_SECRETS_MAX = 2
_PROBLEMS = {
    "missing": "is missing",
    "string_type": "must be text in quotes",
    "list_type": "must be a list",
    "model_type": "must be a table",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong setting: its name, what is wrong, and its value where that may be shown."""

    name: str
    problem: str
    value: str | None = None

    def __str__(self) -> str:
        given = "" if self.value is None else f"={_short(self.value)}"
        return f"{self.name}{given}: {self.problem}"


def refuse(code: str, mistakes: Sequence[Mistake]) -> None:
    """Raise ConfigurationError that lists ``mistakes`` one a line; do nothing if there are none."""
    if mistakes:
        raise ConfigurationError(code, "\n".join(map(str, mistakes)))


def problem_of(error: ErrorDetails) -> str:
    """Return what pydantic found wrong in our words, without the value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be one of {context['expected'].replace(chr(39), '').replace(' or ', ', ')}"
    return _PROBLEMS.get(kind) or error["msg"][:1].lower() + error["msg"][1:]


def suggestion(name: str, known: Collection[str]) -> str:
    """Return ``"; did you mean X?"`` for the known name nearest to ``name``, "" if none is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _short(value: str) -> str:
    # Whatever the field is meant for: an address may have been written into the wrong one.
    value = shown_url(value) if is_url(value) else value
    line = value.encode("unicode_escape").decode() if not value.isprintable() else value
    return line if len(line) <= SHOWN_MAX else f"{line[:SHOWN_MAX]}…"


class Table(BaseModel):
    """Frozen fields, such as a table of the accounts file has; unknown names are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from ``least`` to ``most``, both included: ``Annotated[int, Whole(1, 9)]``."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}..{self.most}"

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a schema with this check around the one of ``int``."""
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def _check(self, value: object, parse: Callable[[object], int]) -> int:
        try:
            # Python takes a bool for a number; in a file of settings it is a slip.
            number = None if isinstance(value, bool) else parse(value)
        except ValidationError:
            number = None
        if number is None or not self.least <= number <= self.most:
            raise ValueError(f"must be {self}")
        return number


def matches(pattern: str, problem: str) -> AfterValidator:
    """Return a check that a text matches ``pattern`` as a whole; ``problem`` is said if not."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


def up_to_names(most: int) -> Callable[[object], object]:
    """Return a check that a value is one name, or a list of 1..``most``; it gives a list."""

    def check(value: object) -> object:
        names = [value] if isinstance(value, str) else value
        if isinstance(names, list) and not 1 <= len(names) <= most:
            raise ValueError(f"must be one name, or a list of 1..{most}")
        return names

    return check


#: The form of an environment variable's name.
ENV_NAME = r"[A-Z_][A-Z0-9_]{0,63}"
EnvName = Annotated[str, matches(ENV_NAME, "must be the NAME of an environment variable")]
#: One name, or two while one secret replaces the other.
EnvNames = Annotated[list[EnvName], BeforeValidator(up_to_names(_SECRETS_MAX))]
Digits = Annotated[str, matches(r"\d{5,20}", "must be 5..20 digits in quotes")]
Word = Annotated[str, matches(r"[\w.:/@+-]{1,100}", "must be 1..100 letters, digits or .:/@+-_")]


def http_url(problem: str) -> AfterValidator:
    """Return a check that a text is an http(s) address without login and query."""

    def check(text: str) -> str:
        if not is_http(text):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


Url = Annotated[str, http_url("must look like https://HOST/PATH")]
