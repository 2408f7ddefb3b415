"""Mistakes in settings and accounts, worded so that whoever made one can mend it.

All of them are told at once, one a line: ``BATCH_LEASE_MS=500: must be 1000..600000``.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic_core import ErrorDetails

from batching.errors import ConfigurationError

#: Longer values are cut: a message names a value, it does not archive it.
SHOWN_MAX = 60

#: A name with one of these that is no setting is a slip, not somebody else's variable.
OUR_PREFIXES = ("AI_ADMIN_", "BATCH_", "BUDGET_")

_PROBLEMS = {
    "missing": "is missing",
    "union_tag_not_found": "is missing",
    "string_type": "must be text in quotes",
    "list_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to mend: its name, what is wrong, and the value where that may be shown."""

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
    """Return what is wrong, in our words, without the value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in {"literal_error", "union_tag_invalid"}:
        expected = str(context.get("expected") or context["expected_tags"])
        return f"must be one of {expected.replace(chr(39), '').replace(' or ', ', ')}"
    return _PROBLEMS.get(kind) or error["msg"][:1].lower() + error["msg"][1:]


def suggestion(name: str, known: Collection[str]) -> str:
    """Return ``"; did you mean X?"`` for the known name nearest to ``name``, "" if none is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_names(environ: Mapping[str, str], known: Collection[str]) -> Iterator[Mistake]:
    """Yield names in ``environ`` that are meant for us and are no setting."""
    for name in sorted(environ):
        if name.startswith(OUR_PREFIXES) and name not in known:
            near = suggestion(name, known) or suggestion(name.removeprefix(OUR_PREFIXES[0]), known)
            yield Mistake(name, f"is not a setting{near}")


def _short(value: str) -> str:
    line = value.encode("unicode_escape").decode() if not value.isprintable() else value
    return line if len(line) <= SHOWN_MAX else f"{line[:SHOWN_MAX]}…"
