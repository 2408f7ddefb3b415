"""What alert kinds, dead letter reasons and codes mean in words, and what a person should do.

The table is ``meanings.toml``; the codes of providers stand beside what they do, in ``channels``.
Whatever shows one of them to a person asks here, and docs/reference.md is compared with it.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from channels import explain


class Severity(StrEnum):
    """How urgent an alert is. FATAL: nobody of an account, or of the installation, is answered.

    ERROR: a person must act. WARNING: somebody should see to it. INFO: nothing is to do.
    """

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What happened, what to do, and the section of docs/runbook.md about it, "" for none.

    ``says`` and ``to_do`` begin in lower case and end without a full stop, to stand in a sentence.
    """

    says: str
    to_do: str
    runbook: str = ""

    def __str__(self) -> str:
        return f"{self.says}: {self.to_do}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Meaning):
    """What an alert of a kind means; its kind may be the reason of a dead letter.

    ``title``, ``titles``: what one or several say, with {account} and {waited}; a cause follows.
    ``runbook_of``: another section, by the first word of a code. ``events``: the log events of the
    same fact.
    """

    severity: Severity
    title: str
    titles: str
    runbook_of: Mapping[str, str]
    events: Sequence[str]

    def section(self, code: str) -> str:
        """Return the section of the runbook about an alert with ``code``."""
        return self.runbook_of.get(code.partition("_")[0], self.runbook)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Meaning):
    """What a log event at ERROR means. ``kind``: of the alert that tells the same, "" for none."""

    kind: str = ""


def kind(name: str) -> Kind:
    """Return what an alert of a kind means; one of another release's has words that fit any."""
    return kinds().get(name) or _kind(
        severity="error",
        title="An alert about {account}",
        titles="Alerts about {account}",
        says="this release does not know it",
        to_do="look into the runbook of the newest release",
        runbook="",
    )


def meaning(code: str) -> Meaning | None:
    """Return what a code means, a provider's too, None if nobody knows it."""
    if code in codes():
        return codes()[code]
    if found := kinds().get(code):
        return found
    if provided := explain(code):
        return Meaning(provided.says, provided.advice)
    return next((known for pattern, known in _patterns() if pattern.fullmatch(code)), None)


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind of alert and every reason of a dead letter, by name."""
    return {name: _kind(**row) for name, row in _table()["kind"].items()}


@cache
def codes() -> Mapping[str, Meaning]:
    """Return what every code of ours means; N stands for a digit."""
    return {
        name: Meaning(row["says"], row["to_do"], row["runbook"])
        for row in _table()["codes"]
        for name in row["names"]
    }


@cache
def events() -> Mapping[str, Event]:
    """Return every log event that is reported by itself, by name."""
    return {name: _event(**row) for name, row in _table()["event"].items()}


@cache
def _patterns() -> list[tuple[re.Pattern[str], Meaning]]:
    return [
        (re.compile(re.escape(name).replace("N", "[0-9]")), known)
        for name, known in codes().items()
        if "N" in name
    ]


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads((files("runtime") / "meanings.toml").read_text("utf-8"))


def _event(*, kind: str = "", **row: str) -> Event:
    if not kind:
        return Event(**row)
    same = kinds()[kind]
    return Event(f"{same.title}: {same.says}", same.to_do, same.runbook, kind=kind)


def _kind(
    *,
    severity: str,
    runbook_of: Mapping[str, str] | None = None,
    events: Sequence[str] = (),
    **row: str,
) -> Kind:
    return Kind(
        severity=Severity(severity), runbook_of=runbook_of or {}, events=tuple(events), **row
    )
